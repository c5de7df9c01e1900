#!/usr/bin/env python3
"""What query-blockstats counts, by clients whose requests are known, and the write threshold's event
beside qemu-storage-daemon's."""

import firn_test
from firn_test import MIB, Nbd, QmpError, needs, run

QSD = "qemu-storage-daemon"


class BlockStatsTest(firn_test.Case):
    def start_disk(self, *more):
        path = self.image(size="64M")
        return self.start("--blockdev", f"file,node-name=f,filename={path},discard=unmap",
                          "--blockdev", "qcow2,node-name=d,file=f,discard=unmap", *more)

    def client(self, daemon, name="e"):
        nbd = Nbd(daemon.nbd_path)
        self.addCleanup(nbd.close)
        nbd.go(name)
        return nbd

    def flush(self, nbd):
        nbd.request(Nbd.FLUSH)
        self.assertEqual(0, nbd.simple_reply()[0])

    @firn_test.firn_only("devices")
    def test_a_device_counts_through_snapshots(self):
        daemon = self.start_disk("--device", "id=vda,node-name=d",
                                 "--export", "nbd,id=e,node-name=d,name=e,writable=on")
        nbd = self.client(daemon)
        stats, = daemon.execute("query-blockstats")
        self.assertEqual(("vda", "d"), (stats["device"], stats["node-name"]))
        self.assertNotIn("idle_time_ns", stats["stats"])
        self.assertEqual(0, stats["stats"]["wr_operations"])
        for number in range(10):
            nbd.write(number * MIB, b"x" * 4096)
        self.flush(nbd)
        daemon.execute("blockdev-snapshot-sync", device="vda", snapshot_node_name="s",
                       snapshot_file=str(self.folder / "s.qcow2"))
        for number in range(7):
            nbd.read(number * MIB, 512)
        nbd.write(20 * MIB, b"y" * 512)
        nbd.request(Nbd.WRITE_ZEROES, 30 * MIB, 65536)
        nbd.simple_reply()
        nbd.request(Nbd.TRIM, 0, 65536)
        nbd.simple_reply()
        stats, = daemon.execute("query-blockstats")
        self.assertEqual(("vda", "s"), (stats["device"], stats["node-name"]))
        counts = stats["stats"]
        self.assertEqual({"rd_operations": 7, "rd_bytes": 7 * 512, "wr_operations": 12,
                          "wr_bytes": 10 * 4096 + 512 + 65536, "unmap_operations": 1,
                          "unmap_bytes": 65536, "failed_wr_operations": 0,
                          "wr_highest_offset": 30 * MIB + 65536},
                         {key: counts[key] for key in
                          ("rd_operations", "rd_bytes", "wr_operations", "wr_bytes",
                           "unmap_operations", "unmap_bytes", "failed_wr_operations",
                           "wr_highest_offset")})
        self.assertGreaterEqual(counts["flush_operations"], 1)
        for key in ("rd_total_time_ns", "wr_total_time_ns", "flush_total_time_ns", "idle_time_ns"):
            self.assertGreater(counts[key], 0, key)
        self.assertEqual("d", stats["backing"]["node-name"])
        self.assertEqual(9 * MIB + 4096, stats["backing"]["stats"]["wr_highest_offset"])
        self.assertEqual("f", stats["backing"]["parent"]["node-name"])
        self.assertGreater(stats["backing"]["parent"]["stats"]["wr_operations"], 10)

    def test_nodes_are_told_apart(self):
        daemon = self.start_disk("--export", "nbd,id=e,node-name=d,name=e,writable=on")
        nbd = self.client(daemon)
        nbd.write(0, b"x" * 4096)
        nodes = {node["node-name"]: node
                 for node in daemon.execute("query-blockstats", query_nodes=True)}
        self.assertEqual({"d", "f"}, set(nodes))
        self.assertEqual("f", nodes["d"]["parent"]["node-name"])
        self.assertNotIn("backing", nodes["d"])
        self.assertEqual(4096, nodes["d"]["stats"]["wr_highest_offset"])
        self.assertEqual("file", nodes["f"]["driver-specific"]["driver"])
        self.assertGreaterEqual(nodes["f"]["stats"]["wr_highest_offset"], 4096)
        if not firn_test.against_peer():
            self.assertEqual(1, nodes["d"]["stats"]["wr_operations"])

    @needs(QSD)
    def test_the_answer_has_the_peers_members(self):
        def members(value, path=""):
            if isinstance(value, dict):
                found = set()
                for key, inner in value.items():
                    found |= {f"{path}.{key}"} | members(inner, f"{path}.{key}")
                return found
            if isinstance(value, list):
                return set().union(*(members(inner, path + "[]") for inner in value))
            return set()

        path = self.image(size="1M")
        answers = []
        for program in (firn_test.daemon_path(), QSD):
            daemon = self.start("--blockdev", f"file,node-name=f,filename={path}",
                                "--blockdev", "qcow2,node-name=d,file=f", nbd=False, path=program)
            answers.append(daemon.execute("query-blockstats", query_nodes=True))
            daemon.stop()
        self.assertEqual(members(answers[1]), members(answers[0]))

    @needs(QSD)
    def test_the_write_threshold_is_the_peers(self):
        heard = []
        for number, program in enumerate((firn_test.daemon_path(), QSD)):
            path = self.image(f"{number}.raw", size="64M", fmt="raw")
            daemon = self.start("--blockdev", f"file,node-name=f,filename={path}",
                                "--blockdev", "raw,node-name=d,file=f",
                                "--export", "nbd,id=e,node-name=d,name=e,writable=on", path=program)
            nbd = self.client(daemon)
            said = []

            def threshold():
                for node in daemon.execute("query-named-block-nodes", flat=True):
                    if node["node-name"] == "f":
                        said.append(node["write_threshold"])

            daemon.execute("block-set-write-threshold", node_name="f", write_threshold=MIB)
            threshold()
            nbd.write(0, b"x" * MIB)
            threshold()
            nbd.write(MIB - 512, b"x" * 4096)
            nbd.write(8 * MIB, b"x" * 4096)
            event = daemon.qmp.wait_event("BLOCK_WRITE_THRESHOLD")
            said.append(event["data"])
            threshold()
            daemon.execute("query-version")
            said.append([event["event"] for event in daemon.qmp.events])
            daemon.execute("block-set-write-threshold", node_name="f", write_threshold=MIB)
            daemon.execute("block-set-write-threshold", node_name="f", write_threshold=0)
            nbd.write(8 * MIB, b"x" * 4096)
            daemon.execute("query-version")
            said.append([event["event"] for event in daemon.qmp.events])
            with self.assertRaises(QmpError) as error:
                daemon.execute("block-set-write-threshold", node_name="nope", write_threshold=1)
            said.append(error.exception.desc)
            heard.append(said)
            daemon.stop()
        self.assertEqual(heard[1], heard[0])
        self.assertEqual({"node-name": "f", "amount-exceeded": 3584, "write-threshold": MIB},
                         heard[0][2])

    @needs("qemu-io")
    def test_a_growing_image_crosses_its_files_threshold(self):
        """The use that it is for: a qcow2 image on a store that has to grow in time."""
        daemon = self.start_disk("--export", "nbd,id=e,node-name=d,name=e,writable=on")
        daemon.execute("block-set-write-threshold", node_name="f", write_threshold=4 * MIB)
        run("qemu-io", "-f", "raw", "-c", "write 0 1M", daemon.uri("e"))
        daemon.execute("query-version")
        self.assertEqual([], daemon.qmp.events)
        run("qemu-io", "-f", "raw", "-c", "write 32M 8M", daemon.uri("e"))
        event = daemon.qmp.wait_event("BLOCK_WRITE_THRESHOLD")
        self.assertEqual(("f", 4 * MIB),
                         (event["data"]["node-name"], event["data"]["write-threshold"]))


if __name__ == "__main__":
    firn_test.main()

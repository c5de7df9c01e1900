#!/usr/bin/env python3
"""Live snapshots, judged by QEMU's tools and by the prefix checker."""

import json
import os
import subprocess
import time

import firn_test
from firn_test import MIB, firn_only, run, run_json

SIZE = 64 * MIB


def checker():
    return os.environ.get("FIRN_TEST_CHECKER",
                          str(firn_test.ROOT / "build" / "release" / "tests" / "prefix_checker"))


class SnapshotTest(firn_test.Case):
    def backing_of(self, path):
        return run_json("qemu-img", "info", "-U", "--output=json", path).get("full-backing-filename")

    def test_frozen_layer_keeps_what_was_before(self):
        disk = self.image(size=SIZE)
        overlay = self.folder / "s1.qcow2"
        daemon = self.serve(disk)
        self.io(daemon, "write -q -P 1 0 8M")
        self.snapshot(daemon, "disk0", overlay, "s1")
        self.io(daemon, "write -q -P 2 1M 1M", "write -q -P 3 4096 512", "write -q -z 6M 64k")
        self.io(daemon, "read -q -P 1 0 4096", "read -q -P 3 4096 512", "read -q -P 1 4608 3584",
                "read -q -P 2 1M 1M", "read -q -P 1 2M 4M", "read -q -P 0 6M 64k")
        daemon.stop()
        for path in (disk, overlay):
            self.check_image(path)
        self.io(disk, "read -q -P 1 0 8M")
        self.io(overlay, "read -q -P 1 0 4096", "read -q -P 3 4096 512", "read -q -P 2 1M 1M",
                "read -q -P 0 6M 64k")
        self.assertEqual(str(disk), self.backing_of(overlay))
        info = run_json("qemu-img", "info", "--output=json", overlay)
        self.assertEqual("qcow2", info["backing-filename-format"])
        self.assertEqual(SIZE, info["virtual-size"])

    def test_a_transaction_takes_all_or_none(self):
        daemon = self.serve(self.image(size=SIZE))
        other = self.image("other.qcow2", size=SIZE)
        daemon.execute("blockdev-add", {
            "driver": "qcow2", "node-name": "disk1",
            "file": {"driver": "file", "filename": str(other)}})
        self.io(daemon, "write -q -P 1 0 1M")

        def action(node, number, folder=self.folder):
            return {"type": "blockdev-snapshot-sync", "data": {
                "node-name": node, "snapshot-node-name": f"t{number}",
                "snapshot-file": str(folder / f"t{number}.qcow2")}}
        with self.assertRaisesRegex(firn_test.QmpError, "Could not create"):
            daemon.execute("transaction", {"actions": [
                action("disk0", 0), action("disk1", 1, self.folder / "none")]})
        if not firn_test.against_peer():
            self.assertFalse((self.folder / "t0.qcow2").exists())
        daemon.execute("transaction", {"actions": [action("disk0", 2), action("disk1", 3)]})
        self.io(daemon, "write -q -P 2 0 64k", "read -q -P 1 64k 960k")
        daemon.stop()
        for number, below in ((2, "disk"), (3, "other")):
            overlay = self.folder / f"t{number}.qcow2"
            self.check_image(overlay)
            self.assertIn(below, self.backing_of(overlay))

    def test_an_open_node_becomes_the_head(self):
        disk = self.image(size=SIZE)
        overlay = self.image("overlay.qcow2", size=None, backing=disk)
        daemon = self.serve(disk)
        self.io(daemon, "write -q -P 1 0 1M")
        daemon.execute("blockdev-add", {
            "driver": "qcow2", "node-name": "over", "backing": None,
            "file": {"driver": "file", "filename": str(overlay)}})
        daemon.execute("blockdev-snapshot", {"node": "disk0", "overlay": "over"})
        self.io(daemon, "write -q -P 2 0 4k", "read -q -P 1 4k 1020k")
        daemon.stop()
        self.check_image(overlay)
        self.io(disk, "read -q -P 1 0 1M")
        self.io(overlay, "read -q -P 2 0 4k", "read -q -P 1 4k 1020k")

    @firn_only("its default has subclusters")
    def test_new_overlays_have_subclusters(self):
        daemon = self.serve(self.image(size=SIZE))
        overlay = self.folder / "s1.qcow2"
        self.io(daemon, "write -q -P 1 0 1M")
        self.snapshot(daemon, "disk0", overlay, "s1")
        self.io(daemon, "write -q -P 2 4096 4096")
        daemon.stop()
        info = run_json("qemu-img", "info", "--output=json", overlay)
        self.assertTrue(info["format-specific"]["data"]["extended-l2"])
        depths = [e["depth"] for e in run_json("qemu-img", "map", "--output=json", overlay)
                  if e["start"] < MIB]
        self.assertEqual([1, 0, 1], depths, "a write of 4 KiB copies nothing")
        self.check_image(overlay)

    def test_chain_of_many(self):
        disk = self.image(size=SIZE)
        daemon = self.serve(disk)
        layers = [disk]
        node = "disk0"
        count = 30
        for number in range(count):
            self.io(daemon, f"write -q -P {number + 1} {number}M 1M",
                    f"write -q -P {number + 1} 40M 4096")
            overlay = self.folder / f"s{number}.qcow2"
            self.snapshot(daemon, node, overlay, f"s{number}")
            node = f"s{number}"
            layers.append(overlay)
        for number in range(count):
            self.io(daemon, f"read -q -P {number + 1} {number}M 1M")
        self.io(daemon, f"read -q -P {count} 40M 4096")
        daemon.stop()
        for number, layer in enumerate(layers):
            self.check_image(layer)
            if number:
                self.assertEqual(str(layers[number - 1]), self.backing_of(layer))
                self.io(layer, f"read -q -P {number} {number - 1}M 1M")
            if number < count:
                self.io(layer, f"read -q -P {number + 1} 40M 4096",
                        f"read -q -P 0 {number + 1}M 1M")

    def test_frozen_layer_is_let_go_for_readers_and_kept_from_writers(self):
        disk = self.image(size=SIZE)
        daemon = self.serve(disk)
        self.io(daemon, "write -q -P 1 0 1M")
        self.snapshot(daemon, "disk0", self.folder / "s1.qcow2", "s1")
        run("qemu-img", "check", disk)
        self.io(disk, "read -q -P 1 0 1M", check=False)
        result = run("qemu-io", "-r", "-f", "qcow2", "-c", "read -P 1 0 1M", disk)
        self.assertNotIn("failed", result.stdout)
        writer = run("qemu-io", "-f", "qcow2", "-c", "write 0 512", disk, check=False)
        self.assertNotEqual(0, writer.returncode)
        daemon.stop()

    def test_existing_mode(self):
        disk = self.image(size=SIZE)
        overlay = self.image("ready.qcow2", size=SIZE, backing=disk, options="cluster_size=4k")
        daemon = self.serve(disk)
        self.io(daemon, "write -q -P 1 0 1M")
        self.snapshot(daemon, "disk0", overlay, "s1", mode="existing")
        self.io(daemon, "write -q -P 2 4096 512", "read -q -P 1 0 4096", "read -q -P 2 4096 512")
        daemon.stop()
        self.check_image(overlay)
        self.assertEqual(4096, run_json("qemu-img", "info", "--output=json", overlay)["cluster-size"])

    def test_an_existing_file_is_used(self):
        disk = self.image(size=SIZE)
        overlay = self.folder / "s1.qcow2"
        overlay.write_bytes(b"something else" * 1000)
        daemon = self.serve(disk)
        self.io(daemon, "write -q -P 1 0 1M")
        self.snapshot(daemon, "disk0", overlay, "s1")
        self.io(daemon, "write -q -P 2 0 4096")
        daemon.stop()
        self.check_image(overlay)
        self.io(overlay, "read -q -P 2 0 4096", "read -q -P 1 4096 64k")

    @firn_only("it stores a relative name as it was typed")
    def test_relative_name_is_stored_as_a_path_that_leads_there(self):
        disk = self.image(size=SIZE)
        here = os.getcwd()
        os.chdir(self.folder)
        try:
            daemon = self.start(
                "--blockdev", "driver=file,node-name=file0,filename=disk.qcow2",
                "--blockdev", "driver=qcow2,node-name=disk0,file=file0",
                "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on")
            (self.folder / "sub").mkdir()
            self.io(daemon, "write -q -P 1 0 1M")
            self.snapshot(daemon, "disk0", "sub/s1.qcow2", "s1")
            daemon.stop()
        finally:
            os.chdir(here)
        overlay = self.folder / "sub" / "s1.qcow2"
        self.assertTrue(os.path.samefile(disk, self.backing_of(overlay)))
        self.io(overlay, "read -q -P 1 0 1M")

    def test_raw_disk(self):
        disk = self.image("disk.raw", size=SIZE, fmt="raw")
        overlay = self.folder / "s1.qcow2"
        daemon = self.serve(disk, fmt="raw")
        self.io(daemon, "write -q -P 1 0 1M")
        self.snapshot(daemon, "disk0", overlay, "s1")
        self.io(daemon, "write -q -P 2 0 512", "read -q -P 2 0 512", "read -q -P 1 512 65024")
        daemon.stop()
        info = run_json("qemu-img", "info", "--output=json", overlay)
        self.assertEqual("raw", info["backing-filename-format"])
        self.check_image(overlay)
        self.io(disk, "read -q -P 1 0 1M", fmt="raw")

    def test_graph_after_snapshot(self):
        daemon = self.serve(self.image(size=SIZE))
        overlay = self.folder / "s1.qcow2"
        self.snapshot(daemon, "disk0", overlay, "s1")
        nodes = {n["node-name"]: n for n in daemon.execute("query-named-block-nodes")}
        self.assertTrue(nodes["disk0"]["ro"])
        self.assertFalse(nodes["s1"]["ro"])
        self.assertEqual(str(overlay), nodes["s1"]["file"])
        self.assertEqual(1, nodes["s1"]["backing_file_depth"])
        self.assert_qmp_error(
            daemon.execute, "blockdev-snapshot-sync", node_name="disk0",
            snapshot_file=str(self.folder / "x"), snapshot_node_name="x",
            contains="Node 'disk0' is busy: node is used as backing hd of 's1'")
        daemon.stop()

    @firn_only("the device, and the event")
    def test_by_device_with_the_event(self):
        disk = self.image(size=SIZE)
        daemon = self.start(
            "--blockdev", f"driver=file,node-name=file0,filename={disk}",
            "--blockdev", "driver=qcow2,node-name=disk0,file=file0",
            "--device", "id=vda,node-name=disk0",
            "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on")
        self.io(daemon, "write -q -P 1 0 1M")
        for number in (1, 2):
            daemon.execute("blockdev-snapshot-sync", device="vda",
                           snapshot_file=str(self.folder / f"s{number}.qcow2"))
            event = daemon.qmp.wait_event("BLOCK_SNAPSHOT_COMPLETED")
            self.assertLess(event["data"]["pause-ns"], 1_000_000_000)
            self.assertEqual("vda", event["data"]["device"])
        self.io(daemon, "read -q -P 1 0 1M")
        devices = {d["device"]: d for d in daemon.execute("query-block")}
        self.assertEqual(str(self.folder / "s2.qcow2"), devices["vda"]["inserted"]["file"])
        daemon.stop()
        self.check_image(self.folder / "s2.qcow2")


class PointInTimeTest(firn_test.Case):
    """Under load, every frozen layer is a point in time; and the checker would notice if not."""

    COUNT = 4

    def serve_and_snapshot(self, disk, fmt="qcow2"):
        daemon = self.serve(disk, fmt=fmt)
        argv = [checker(), "run", "--uri", daemon.uri("vda"), "--qmp", daemon.qmp_path,
                "--history", self.folder / "history", "--interval", "0.5", "--connections", 3,
                "--depth", 16, "--flush-every", 50]
        layers = [disk]
        for number in range(1, self.COUNT + 1):
            node = f"s{number - 1}" if number > 1 else "disk0"
            overlay = self.folder / f"s{number}.qcow2"
            argv += ["--snapshot", json.dumps({
                "execute": "blockdev-snapshot-sync",
                "arguments": {"node-name": node, "snapshot-file": str(overlay),
                              "snapshot-node-name": f"s{number}"}})]
            layers.append(overlay)
        report = run_json(*argv)
        self.assertIsNone(report["error"])
        for snapshot in report["snapshots"]:
            self.assertIn("return", snapshot["reply"])
        daemon.stop()
        return layers

    def verify(self, layer, fmt, which):
        raw = self.folder / "layer.raw"
        run("qemu-img", "convert", "-f", fmt, "-O", "raw", layer, raw)
        return run(checker(), "verify", "--history", self.folder / "history", "--snapshot", which,
                   "--file", raw, check=False)

    def check_all(self, layers, first_format):
        for number, layer in enumerate(layers, 1):
            last = number == len(layers)
            fmt = first_format if number == 1 else "qcow2"
            if fmt == "qcow2":
                self.check_image(layer)
            result = self.verify(layer, fmt, "end" if last else number)
            self.assertEqual(0, result.returncode, result.stdout)

    def test_qcow2_disk(self):
        layers = self.serve_and_snapshot(self.image(size=48 * MIB))
        self.check_all(layers, "qcow2")
        # The layers differ, so that each fails in the place of another.
        self.assertEqual(1, self.verify(layers[2], "qcow2", 2).returncode)
        self.assertEqual(1, self.verify(layers[0], "qcow2", 2).returncode)
        self.assertEqual(1, self.verify(layers[3], "qcow2", "end").returncode)

    def test_disk_of_small_clusters(self):
        self.check_all(self.serve_and_snapshot(
            self.image(size=48 * MIB, options="cluster_size=512")), "qcow2")

    def test_raw_disk(self):
        self.check_all(self.serve_and_snapshot(self.image("disk.raw", size=48 * MIB, fmt="raw"),
                                               fmt="raw"), "raw")

    def test_killed_daemon_leaves_sound_images(self):
        disk = self.image(size=48 * MIB)
        daemon = self.serve(disk)
        clients = subprocess.Popen(
            [checker(), "run", "--uri", daemon.uri("vda"), "--history",
             str(self.folder / "history"), "--interval", "5", "--flush-every", "50"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        layers = [disk]
        node = "disk0"
        for number in range(1, 4):
            time.sleep(0.3)
            overlay = self.folder / f"s{number}.qcow2"
            self.snapshot(daemon, node, overlay, f"s{number}")
            node = f"s{number}"
            layers.append(overlay)
        time.sleep(0.3)
        daemon.kill()
        self.assertEqual(1, clients.wait(60), "the clients notice")
        for layer in layers:
            result = run("qemu-img", "check", layer, check=False)
            self.assertIn(result.returncode, (0, 3), f"leaks at most: {result.stdout}")
        # The history was kept although the run broke off: nothing flushed is lost.
        result = self.verify(layers[-1], "qcow2", "crash")
        self.assertEqual(0, result.returncode, result.stdout)


if __name__ == "__main__":
    firn_test.main()

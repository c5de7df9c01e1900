#!/usr/bin/env python3
"""`firn snapshot --group`, `tree`, `diff`, `revert` and `fork`: what people do with layers."""

import json
import os
import time

import firn_test
from firn_test import MIB, run

FIRN = os.environ.get("FIRN_TEST_CLI", str(firn_test.ROOT / "build" / "release" / "bin" / "firn"))
SIZE = 16 * MIB
KIB = 1 << 10


class LayersTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        if firn_test.against_peer():
            self.skipTest("Firn alone: its command")
        self.daemon = None

    def serve_disks(self, *names, fmt="qcow2"):
        """A daemon with these devices, exported by their names."""
        arguments = []
        for name in names:
            path = self.image(f"{name}.img", size=SIZE, fmt=fmt)
            arguments += [
                "--blockdev", f"driver={fmt},node-name={name}-base,discard=unmap,"
                f"file.driver=file,file.filename={path}",
                "--device", f"id={name},node-name={name}-base",
                "--export", f"type=nbd,id={name},node-name={name},name={name},writable=on"]
        self.daemon = self.start(*arguments)
        return self.daemon

    def firn(self, *arguments, check=True):
        return run(FIRN, "--socket", self.daemon.qmp_path, *arguments, check=check, timeout=60)

    def firn_json(self, *arguments):
        return json.loads(self.firn(*arguments, "--output", "json").stdout)

    def fails(self, *arguments, texts=(), status=1):
        result = self.firn(*arguments, check=False)
        self.assertEqual(status, result.returncode, result.stdout)
        for text in texts:
            self.assertIn(text, result.stdout)

    def write(self, device, *commands):
        run("qemu-io", "-f", "raw", *(f"-c{c}" for c in commands), self.daemon.uri(device))

    def end(self, *images):
        self.daemon.stop()
        for path in images:
            self.check_image(path)

    def overlay(self, name):
        return self.folder / f"{name}.qcow2"

    # snapshot -----------------------------------------------------------------------------------

    def test_snapshot_of_a_group(self):
        self.serve_disks("vda", "vdb", "vdc")
        snaps = self.folder / "snaps"
        snaps.mkdir()
        self.write("vda", "write -P 1 0 64k")
        report = self.firn_json("snapshot", "--group", "vda,vdb", "--dir", snaps, "--tag", "one")
        self.assertEqual(["vda", "vdb"], [disk["device"] for disk in report["disks"]])
        self.assertGreater(report["total-ns"], 0)
        for disk in report["disks"]:
            self.assertEqual(str(snaps / f"{disk['device']}-one.qcow2"), disk["overlay"])
            self.assertGreater(disk["pause-ns"], 0)
        self.assertEqual(["vda-one.qcow2", "vdb-one.qcow2"], sorted(os.listdir(snaps)))
        text = self.firn("snapshot", "-g", "vda,vdb,vdc", "-d", snaps).stdout
        self.assertEqual(3, text.count("now writes to"), text)
        self.assertEqual(3, text.count("pause"), text)
        self.assertEqual(5, len(os.listdir(snaps)))
        heads = [chain["layers"][0]["filename"] for chain in self.firn_json("tree")]
        self.assertEqual(3, len(heads))
        for name, head in zip(("vda", "vdb", "vdc"), heads):
            self.assertRegex(head, rf"/snaps/{name}-\d{{8}}-\d{{6}}\.qcow2$")
        self.end(*snaps.iterdir())

    def test_a_group_is_all_or_nothing(self):
        self.serve_disks("vda", "vdb")
        before = sorted(os.listdir(self.folder))
        group = ("snapshot", "--group")
        self.fails(*group, "vda,nope", "--dir", self.folder, texts=["nope"])
        self.fails(*group, "vda,vdb", "--dir", self.folder / "missing", texts=["missing"])
        self.fails(*group, "vda,vdb", "--dir", self.folder, "--format", "nope", texts=["nope"])
        self.fails(*group, "vda,vda", "--dir", self.folder, texts=["vda", "twice"], status=2)
        self.fails(*group, ",", "--dir", self.folder, texts=["no disk"], status=2)
        self.fails(*group, "vda,vdb", texts=["--dir"], status=2)
        self.fails(*group, "vda", "--dir", self.folder, "x", texts=["--dir"], status=2)
        self.fails("snapshot", "vda", "--dir", self.folder, "--tag", "a/b", texts=["tag"], status=2)
        self.fails("snapshot", "vda", "x", "--deadline-ms", "soon", texts=["soon"], status=2)
        (self.folder / "vdb-x.qcow2").write_text("somebody's")
        self.fails(*group, "vda,vdb", "--dir", self.folder, "--tag", "x",
                   texts=["vdb-x.qcow2", "exists already", "--tag"])
        self.assertEqual("somebody's", (self.folder / "vdb-x.qcow2").read_text())
        self.assertEqual(sorted([*before, "vdb-x.qcow2"]), sorted(os.listdir(self.folder)))
        self.assertEqual(["vda-base", "vdb-base"], [c["head"] for c in self.firn_json("tree")])
        self.end()

    def test_snapshot_into_a_folder(self):
        self.serve_disks("vda")
        report = self.firn_json("snapshot", "vda", "--dir", self.folder, "--tag", "t")
        self.assertEqual(str(self.folder / "vda-t.qcow2"), report["overlay"])
        self.end(self.folder / "vda-t.qcow2")

    def test_snapshot_with_options(self):
        self.serve_disks("vda")
        self.firn("snapshot", "vda", self.overlay("s1"), "-o", "cluster-size=128k,extended_l2=off",
                  "-o", "compression-type=zstd", "--deadline-ms", "20000", "--mode", "exclusive")
        info = firn_test.run_json("qemu-img", "info", "-U", "--output=json", self.overlay("s1"))
        self.assertEqual(128 * KIB, info["cluster-size"])
        data = info["format-specific"]["data"]
        self.assertEqual((False, "zstd"), (data["extended-l2"], data["compression-type"]))
        self.fails("snapshot", "vda", self.overlay("s2"), "-o", "bogus=1", texts=["bogus"])
        self.fails("snapshot", "vda", self.overlay("s1"), "--mode", "exclusive", texts=["s1"])
        self.end(self.overlay("s1"))

    # tree and diff ------------------------------------------------------------------------------

    def three_layers(self):
        self.serve_disks("vda")
        self.write("vda", "write -P 1 0 1M")
        self.firn("snapshot", "vda", self.overlay("s1"), "--snapshot-node-name", "s1")
        self.write("vda", "write -P 2 512k 64k", "write -P 2 8M 128k")
        self.firn("snapshot", "vda", self.overlay("s2"), "--snapshot-node-name", "s2")
        self.write("vda", "write -P 3 8M 64k", "write -z 0 64k", "flush")

    def test_tree_tells_times_and_own_bytes(self):
        start = int(time.time())
        self.three_layers()
        chain = self.firn_json("tree", "vda")[0]
        self.assertEqual([64 * KIB, 192 * KIB, 1 * MIB],
                         [layer["own-data-bytes"] for layer in chain["layers"]])
        self.assertEqual([64 * KIB, 0], [layer["own-zero-bytes"] for layer in chain["layers"][:2]])
        for layer in chain["layers"]:
            self.assertTrue(start <= layer["modified"] <= time.time() + 1, layer)
        lines = self.firn("tree").stdout.splitlines()
        self.assertIn("64 KiB own", lines[1])
        self.assertIn("192 KiB own", lines[2])
        self.assertRegex(lines[2], r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  \[s1\]  read-only")
        fast = self.firn_json("tree", "--fast")[0]
        self.assertNotIn("own-data-bytes", fast["layers"][0])
        self.fails("tree", "nope", texts=["No device 'nope'"])
        self.end(self.overlay("s2"))

    def test_diff(self):
        self.three_layers()
        top = self.firn_json("diff", "vda")
        self.assertEqual(("s2", "s1", SIZE),
                         (top["node-name"], top["base-node"], top["size"]))
        self.assertEqual([(0, 64 * KIB, True), (8 * MIB, 64 * KIB, False)],
                         [(e["offset"], e["length"], e["zero"]) for e in top["extents"]])
        self.assertEqual((64 * KIB, 64 * KIB), (top["data-bytes"], top["zero-bytes"]))
        # By node-name and by file.
        expected = [(0, 64 * KIB, "s2"), (512 * KIB, 64 * KIB, "s1"), (8 * MIB, 64 * KIB, "s2"),
                    (8 * MIB + 64 * KIB, 64 * KIB, "s1")]
        for lower in ("vda-base", self.folder / "vda.img"):
            whole = self.firn_json("diff", "vda", lower)
            self.assertEqual(expected, [(e["offset"], e["length"], e["node-name"])
                                        for e in whole["extents"]])
        middle = self.firn_json("diff", self.overlay("s1"), "vda-base")
        self.assertEqual([512 * KIB, 8 * MIB], [e["offset"] for e in middle["extents"]])
        base = self.firn_json("diff", "vda-base")
        self.assertEqual([(0, MIB)], [(e["offset"], e["length"]) for e in base["extents"]])
        self.assertNotIn("base-node", base)
        text = self.firn("diff", "vda").stdout
        self.assertIn("8388608       64 KiB  data", text)
        self.assertIn("2 extents, 64 KiB of data, 64 KiB of zeroes, of 16 MiB", text)
        summary = self.firn_json("diff", "vda", "vda-base", "--summary")
        self.assertNotIn("extents", summary)
        self.assertEqual(192 * KIB, summary["data-bytes"])
        self.fails("diff", "vda", "nope", texts=["nope", "firn tree"])
        self.fails("diff", "s1", "s2", texts=["does not lie below"])
        self.fails("diff", texts=["--help"], status=2)
        self.end(self.overlay("s2"))

    def test_diff_in_many_answers(self):
        self.serve_disks("vda")
        self.firn("snapshot", "vda", self.overlay("s1"), "--snapshot-node-name", "s1")
        self.write("vda", *(f"write -q -P 1 {128 * i}k 64k" for i in range(100)))
        command = {"device": "vda", "limit": 7}
        part = self.daemon.execute("query-block-diff", command)
        self.assertEqual((7, 7 * 128 * KIB), (len(part["extents"]), part["next-offset"]))
        offsets, extents = [], []
        while True:
            offsets.append(command.get("offset"))
            part = self.daemon.execute("query-block-diff", command)
            extents += part["extents"]
            if "next-offset" not in part:
                break
            command["offset"] = part["next-offset"]
        self.assertEqual(15, len(offsets))
        self.assertEqual([128 * KIB * i for i in range(100)], [e["offset"] for e in extents])
        inner = self.daemon.execute("query-block-diff", device="vda", offset=32 * KIB,
                                    length=128 * KIB)
        self.assertEqual([(32 * KIB, 32 * KIB), (128 * KIB, 32 * KIB)],
                         [(e["offset"], e["length"]) for e in inner["extents"]])
        for arguments, text in (
                ({"device": "nope"}, "Cannot find device='nope' nor node-name=''"),
                ({"device": "vda", "base-node": "nope"}, "nope"),
                ({"device": "vda", "base-node": "s1"}, "Node 's1' does not lie below node 's1'"),
                ({"device": "vda", "limit": 0}, "between 1 and 65536"),
                ({"device": "vda", "limit": 65537}, "between 1 and 65536"),
                ({"device": "vda", "offset": 1, "length": (1 << 64) - 1}, "beyond 64 bits")):
            self.assert_qmp_error(self.daemon.execute, "query-block-diff", arguments,
                                  contains=text)
        self.end(self.overlay("s1"))

    # revert and fork ----------------------------------------------------------------------------

    def test_revert_to_a_layer(self):
        self.three_layers()
        report = self.firn_json("revert", "vda", "vda-base", self.overlay("again"))
        self.assertEqual(("s2", "vda-base"), (report["left"], report["layer"]))
        self.assertGreater(report["pause-ns"], 0)
        self.write("vda", "read -P 1 0 1M", "read -P 0 8M 128k", "write -P 9 4M 64k")
        # And back again, by the file's name, although no device leads there any more.
        text = self.firn("revert", "vda", self.overlay("s2"), self.overlay("back")).stdout
        self.assertIn("pause", text)
        self.write("vda", "read -P 0 0 64k", "read -P 3 8M 64k", "read -P 0 4M 64k")
        before = sorted(os.listdir(self.folder))
        self.fails("revert", "vda", "nope", self.overlay("x"), texts=["nope", "firn tree"])
        self.fails("revert", "nope", "s1", self.overlay("x"), texts=["nope"])
        self.fails("revert", "vda", texts=["--snapshot"], status=2)
        self.assertEqual(before, sorted(os.listdir(self.folder)))
        self.end(self.overlay("again"), self.overlay("back"))

    def test_fork(self):
        self.three_layers()
        report = self.firn_json("fork", self.overlay("s1"), "test1", self.overlay("t1"))
        self.assertEqual(("test1", "test1-head", "s1"),
                         (report["id"], report["node-name"], report["layer"]))
        text = self.firn("fork", "vda", "test2", self.overlay("t2"), "--snapshot-file",
                         self.overlay("s3")).stdout
        self.assertIn("test2 starts from vda", text)
        devices = {chain["device"] for chain in self.firn_json("tree", "--fast")}
        self.assertEqual({"vda", "test1", "test2"}, devices)
        for device in ("test1", "test2"):
            self.daemon.execute("block-export-add", {"type": "nbd", "id": device, "name": device,
                                                     "node-name": device, "writable": True})
        self.write("test1", "read -P 2 512k 64k", "read -P 2 8M 64k", "write -P 7 0 64k")
        self.write("test2", "read -P 3 8M 64k", "write -P 8 0 64k")
        self.write("vda", "read -P 0 0 64k", "read -P 3 8M 64k")
        self.fails("fork", "vda", "test3", self.overlay("t3"), texts=["--snapshot-file"])
        self.fails("fork", "nope", "test3", self.overlay("t3"), texts=["nope"])
        self.fails("fork", "vda", "test3", texts=["overlay file"], status=2)
        # A snapshot is no remedy for what else may be wrong.
        taken = self.firn("fork", self.overlay("s1"), "test1", self.overlay("t3"), check=False)
        self.assertNotIn("--snapshot-file", taken.stdout)
        self.assertIn("already exists", taken.stdout)
        self.end(self.overlay("t1"), self.overlay("t2"), self.overlay("s3"))

    # completion ---------------------------------------------------------------------------------

    def test_completion(self):
        self.serve_disks("vda")

        def complete(line):
            return self.firn("completion", "--line", line).stdout.split()
        self.assertEqual(["img"], complete("firn im"))
        self.assertEqual(["create", "info", "snapshot"], sorted(complete("firn img ")))
        self.assertIn("--backing-chain", complete("firn img info --b"))
        socket = f"firn --socket {self.daemon.qmp_path} "
        for command in ("diff", "revert", "fork", "tree", "snapshot"):
            self.assertEqual(["vda"], complete(f"{socket}{command} "), command)
        self.end()


if __name__ == "__main__":
    firn_test.main()

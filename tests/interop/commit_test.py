#!/usr/bin/env python3
"""block-commit over QMP: what it says, what it leaves, and that guests notice nothing. Also against
qemu-storage-daemon, as far as both do the same."""

import os

import firn_test
from firn_test import MIB, firn_only, run, run_json
from nbd_writer import NbdWriter

SIZE = 16 * MIB


class CommitTest(firn_test.Case):
    def chain(self, layers=3):
        """base <- m1 <- ... <- head; each has 1 MiB of its own number, and all of 0xff below."""
        path = self.image("base.qcow2", size=SIZE)
        self.io(path, f"write -q -P 255 0 {SIZE}")
        for number in range(1, layers + 1):
            below, path = path, self.folder / f"m{number}.qcow2"
            run("qemu-img", "create", "-q", "-f", "qcow2", "-b", below, "-F", "qcow2", path)
            self.io(path, f"write -q -P {number} {number}M 1M", f"write -q -z {8 + number}M 512k")
        return path

    def start_chain(self, layers=3):
        self.chain(layers)
        arguments = []
        below = None
        for name in ["base"] + [f"m{n}" for n in range(1, layers + 1)]:
            arguments += ["--blockdev", f"driver=file,node-name={name}f,"
                                        f"filename={self.folder}/{name}.qcow2"]
            arguments += ["--blockdev", f"driver=qcow2,node-name={name},file={name}f"
                                        + (f",backing={below}" if below else "")]
            below = name
        return self.start(*arguments, "--export",
                          f"type=nbd,id=vda,node-name={below},name=vda,writable=on")

    def reads(self, layers=3):
        commands = ["read -q -P 255 0 1M"]
        for number in range(1, layers + 1):
            commands += [f"read -q -P {number} {number}M 1M", f"read -q -P 0 {8 + number}M 512k",
                         f"read -q -P 255 {8 * MIB + 512 * 1024 + number * MIB} 512k"]
        return commands

    def backing_of(self, path):
        return os.path.basename(
            run_json("qemu-img", "info", "-U", "--output=json", path)["full-backing-filename"])

    def wait_gone(self, daemon, job):
        while daemon.execute("query-jobs"):
            daemon.qmp.wait_event("JOB_STATUS_CHANGE")
        return [event["data"] for event in daemon.qmp.events
                if event["event"] == "BLOCK_JOB_COMPLETED" and event["data"]["device"] == job]

    def test_layers_below_the_head(self):
        daemon = self.start_chain()
        daemon.execute("block-commit", job_id="j", device="m3", top_node="m2", base_node="base")
        completed = daemon.qmp.wait_event("BLOCK_JOB_COMPLETED")["data"]
        self.assertEqual({"type": "commit", "device": "j", "len": SIZE, "offset": SIZE, "speed": 0},
                         completed)
        self.io(daemon, *self.reads(), "write -q -P 77 15M 64k", "read -q -P 77 15M 64k")
        self.assertEqual("base.qcow2", self.backing_of(self.folder / "m3.qcow2"))
        daemon.stop()
        self.io(self.folder / "m3.qcow2", *self.reads(), "read -q -P 77 15M 64k")
        for name in ("base", "m3"):
            self.check_image(self.folder / f"{name}.qcow2")

    def test_the_head(self):
        daemon = self.start_chain()
        daemon.execute("block-commit", job_id="j", device="m3")
        daemon.qmp.wait_event("BLOCK_JOB_READY")
        self.io(daemon, "write -q -P 77 14M 64k", "discard -q 13M 64k")
        jobs = daemon.execute("query-block-jobs")
        self.assertEqual([("j", "commit", True)], [(j["device"], j["type"], j["ready"]) for j in jobs])
        self.assert_qmp_error(
            self.snapshot, daemon, "m3", self.folder / "s.qcow2", "s",
            desc="Node 'm3' is busy: block device is in use by block job: commit")
        daemon.execute("job-complete", id="j")
        daemon.qmp.wait_event("BLOCK_JOB_COMPLETED")
        self.io(daemon, *self.reads(), "read -q -P 77 14M 64k", "write -q -P 78 15M 64k")
        daemon.stop()
        self.io(self.folder / "base.qcow2", *self.reads(), "read -q -P 77 14M 64k",
                "read -q -P 78 15M 64k")
        self.check_image(self.folder / "base.qcow2")

    def test_finalize_and_dismiss_wait_for_the_user(self):
        daemon = self.start_chain()
        daemon.execute("block-commit", job_id="j", device="m3", top_node="m1",
                       auto_finalize=False, auto_dismiss=False)
        daemon.qmp.wait_event("BLOCK_JOB_PENDING")
        self.assertEqual("m1.qcow2", self.backing_of(self.folder / "m2.qcow2"))
        daemon.execute("job-finalize", id="j")
        daemon.qmp.wait_event("BLOCK_JOB_COMPLETED")
        self.assertEqual("base.qcow2", self.backing_of(self.folder / "m2.qcow2"))
        self.assertEqual(["concluded"], [j["status"] for j in daemon.execute("query-jobs")])
        daemon.execute("job-dismiss", id="j")
        self.io(daemon, *self.reads())
        daemon.stop()

    def test_speed_pause_cancel(self):
        daemon = self.start_chain()
        daemon.execute("block-commit", job_id="j", device="m3", top_node="m2", speed=65536)
        self.assertEqual(65536, daemon.execute("query-block-jobs")[0]["speed"])
        daemon.execute("block-job-pause", device="j")
        while daemon.execute("query-jobs")[0]["status"] != "paused":
            pass
        before = daemon.execute("query-jobs")[0]["current-progress"]
        self.io(daemon, *self.reads())
        self.assertEqual(before, daemon.execute("query-jobs")[0]["current-progress"])
        daemon.execute("block-job-resume", device="j")
        daemon.execute("block-job-cancel", device="j")
        daemon.qmp.wait_event("BLOCK_JOB_CANCELLED")
        self.io(daemon, *self.reads())
        self.assertEqual("m2.qcow2", self.backing_of(self.folder / "m3.qcow2"))
        daemon.stop()

    def test_errors(self):
        daemon = self.start_chain()
        other = self.image("other.qcow2", size=SIZE)
        daemon.execute("blockdev-add", {"driver": "qcow2", "node-name": "o",
                                        "file": {"driver": "file", "filename": str(other)}})
        for desc, arguments in [
                ("Parameter 'device' is missing", {}),
                ("Device 'nope' not found", {"device": "nope"}),
                ("Need a root block node", {"device": "m1"}),
                ("'top-node' and 'top' are mutually exclusive",
                 {"device": "m3", "top": "x", "top-node": "m1"}),
                ("'base-node' and 'base' are mutually exclusive",
                 {"device": "m3", "base": "x", "base-node": "m1"}),
                ("Top image file zz not found", {"device": "m3", "top": "zz"}),
                ("Can't find 'zz' in the backing chain", {"device": "m3", "base": "zz"}),
                ("Cannot find device='' nor node-name='zz'", {"device": "m3", "top-node": "zz"}),
                ("'o' is not in this backing file chain", {"device": "m3", "base-node": "o"}),
                ("'m2' is not in this backing file chain",
                 {"device": "m3", "top-node": "m1", "base-node": "m2"}),
                ("cannot commit an image into itself", {"device": "m3", "top-node": "base"}),
                ("'backing-file' specified, but 'top' is the active layer",
                 {"device": "m3", "backing-file": "x"}),
                ("Parameter 'speed' expects a non-negative value", {"device": "m3", "speed": -1}),
                ("Parameter 'on-error' does not accept value 'bogus'",
                 {"device": "m3", "on-error": "bogus"}),
                ("Duplicate nodes with node-name='o'",
                 {"device": "m3", "filter-node-name": "o"})]:
            with self.subTest(desc):
                arguments = {**({"job-id": "j"} if arguments else {}), **arguments}
                self.assert_qmp_error(daemon.execute, "block-commit", arguments, desc=desc)
        self.assert_qmp_error(daemon.execute, "block-commit", device="m3",
                              desc="Invalid job ID ''")
        self.assert_qmp_error(daemon.execute, "block-commit", device="m3", job_id="1",
                              desc="Invalid job ID '1'")
        self.assertEqual([], daemon.execute("query-jobs"))
        daemon.stop()

    @firn_only("QEMU changes the base below whoever else uses it")
    def test_another_overlay_on_the_base(self):
        daemon = self.start_chain()
        other = self.image("other.qcow2", size=SIZE)
        daemon.execute("blockdev-add", {"driver": "qcow2", "node-name": "o", "backing": "base",
                                        "file": {"driver": "file", "filename": str(other)}})
        self.assert_qmp_error(daemon.execute, "block-commit", device="m3", job_id="j",
                              desc="Node 'base' is busy: node 'o' uses it as backing image")
        daemon.stop()

    @firn_only("QEMU takes no snapshot while a layer below is committed")
    def test_snapshots_and_merges_under_load(self):
        daemon = self.serve(self.image(size=SIZE), extra=("--device", "id=vda,node-name=disk0"))
        writer = NbdWriter(daemon, SIZE)
        before = None
        for number in range(12):
            name = f"s{number}"
            daemon.execute("blockdev-snapshot-sync", device="vda", snapshot_node_name=name,
                           snapshot_file=str(self.folder / f"{name}.qcow2"))
            writer.wait_for((number + 1) * 20)
            if before:
                daemon.execute("block-commit", job_id="j", device="vda", top_node=before)
                daemon.qmp.wait_event("BLOCK_JOB_COMPLETED")
            before = name
        nodes = [n["node-name"] for n in daemon.execute("query-named-block-nodes", flat=True)
                 if n["drv"] == "qcow2"]
        self.assertEqual({"s11", "disk0"}, set(nodes))
        writer.stop()
        written = writer.written
        daemon.stop()
        self.io(self.folder / "s11.qcow2", *NbdWriter.reads(written)[:200])
        for name in ("disk.qcow2", "s11.qcow2"):
            self.check_image(self.folder / name)


if __name__ == "__main__":
    firn_test.main()

#!/usr/bin/env python3
"""Snapshots that fail: a clear error that names the file and the cause, no new file, and a guest that
doesn't notice."""

import contextlib
import os
import signal
import subprocess
import time

import firn_test
from firn_test import MIB, against_peer, firn_only, needs, run, run_json

SIZE = 16 * MIB


@contextlib.contextmanager
def mounted_tmpfs(test, folder, options):
    """A small file system, if we may mount one."""
    folder.mkdir(exist_ok=True)
    result = run("mount", "-t", "tmpfs", "-o", options, "firn-test", folder, check=False)
    if result.returncode != 0:
        test.skipTest(f"mounting needs root: {result.stdout.strip()}")
    try:
        yield folder
    finally:
        run("umount", "-l", folder)


class SnapshotErrorTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.disk = self.image(size=SIZE)
        self.daemon = self.serve(self.disk)
        self.io(self.daemon, "write -q -P 7 0 1M")

    def refused(self, path, node="disk0", overlay="s1", **members):
        """The error of a snapshot that must fail, after which nothing has changed."""
        before = self.state()
        files = self.files()
        error = self.assert_qmp_error(self.snapshot, self.daemon, node, path, overlay, **members)
        if not against_peer():
            self.assertEqual(before, self.state())
            self.assertEqual(files, self.files(), "no new file is left")
        self.io(self.daemon, "read -q -P 7 0 1M", "write -q -P 7 512k 4096", "flush")
        return error

    def expect_open_file_failed(self, path, text, **members):
        error = self.refused(path, **members)
        self.assertIn(text, error.desc)
        if not against_peer():
            self.assertEqual(("OpenFileFailed", {"filename": str(path)}), (error.cls, error.data))

    def state(self):
        return [(n["node-name"], n["ro"], n["file"])
                for n in self.daemon.execute("query-named-block-nodes")]

    def files(self):
        return sorted(os.path.join(d, f) for d, _, names in os.walk(self.folder) for f in names
                      if not f.startswith("daemon"))

    def finish(self):
        self.snapshot(self.daemon, "disk0", self.folder / "good.qcow2", "good")
        self.io(self.daemon, "write -q -P 8 2M 4096", "read -q -P 7 0 1M")
        self.daemon.stop()
        self.check_image(self.disk)
        self.check_image(self.folder / "good.qcow2")
        self.io(self.disk, "read -q -P 7 0 1M")

    def test_missing_folder(self):
        path = self.folder / "nowhere" / "s1.qcow2"
        self.assertEqual(f"Could not create '{path}': No such file or directory",
                         self.refused(path).desc)
        self.finish()

    def test_read_only_folder(self):
        with mounted_tmpfs(self, self.folder / "ro", "size=1M,ro") as folder:
            path = folder / "s1.qcow2"
            self.assertEqual(f"Could not create '{path}': Read-only file system",
                             self.refused(path).desc)
        self.finish()

    def test_folder_without_permission(self):
        if os.geteuid() == 0:
            self.skipTest("root may write anywhere")
        folder = self.folder / "locked"
        folder.mkdir(mode=0o500)
        path = folder / "s1.qcow2"
        self.assertEqual(f"Could not create '{path}': Permission denied", self.refused(path).desc)
        self.finish()

    def test_full_disk(self):
        with mounted_tmpfs(self, self.folder / "full", "size=64k") as folder:
            filler = folder / "filler"
            with contextlib.suppress(OSError):
                with open(filler, "wb", buffering=0) as out:
                    while out.write(bytes(4096)):
                        pass
            path = folder / "s1.qcow2"
            error = self.refused(path)
            self.assertIn("No space left on device", error.desc)
            if not against_peer():
                self.assertIn(str(path), error.desc)
        self.finish()

    @firn_only("its overlay reports the guest's error and stays sound")
    def test_overlay_that_fills_up_later(self):
        with mounted_tmpfs(self, self.folder / "small", "size=1M") as folder:
            overlay = folder / "s1.qcow2"
            self.snapshot(self.daemon, "disk0", overlay, "s1")
            out = self.io(self.daemon, "write -P 9 4M 4M", check=False)
            self.assertIn("No space left on device", out)
            self.io(self.daemon, "read -q -P 7 0 1M")
            # What could not be written is not durable, and the daemon says so at its end.
            self.daemon.process.send_signal(signal.SIGTERM)
            if self.daemon.wait_for_end() != 0:
                self.assertIn("No space left on device", self.daemon.log())
            self.check_sound(overlay)
        self.io(self.disk, "read -q -P 7 0 1M")

    def check_sound(self, path):
        result = run("qemu-img", "check", path, check=False)
        self.assertIn(result.returncode, (0, 3), f"leaks at most: {result.stdout}")

    def test_unknown_format(self):
        error = self.refused(self.folder / "s1", format="bogus")
        self.assertEqual("Unknown file format 'bogus'", error.desc)
        self.finish()

    @firn_only("2011's class")
    def test_error_classes(self):
        error = self.refused(self.folder / "s1", format="bogus")
        self.assertEqual(("InvalidBlockFormat", {"name": "bogus"}), (error.cls, error.data))
        path = self.folder / "nowhere" / "s1.qcow2"
        error = self.refused(path)
        self.assertEqual(("OpenFileFailed", {"filename": str(path)}), (error.cls, error.data))
        error = self.assert_qmp_error(self.daemon.execute, "blockdev-snapshot-sync", device="nope",
                                      snapshot_file=str(self.folder / "s1"))
        self.assertEqual(("DeviceNotFound", {"device": "nope"}), (error.cls, error.data))
        self.finish()

    def test_format_without_backing_files(self):
        self.assertEqual("Backing file not supported for file format 'raw'",
                         self.refused(self.folder / "s1", format="raw").desc)
        self.finish()

    def test_unknown_node_or_device(self):
        self.assertIn("nope", self.refused(self.folder / "s1", node="nope").desc)
        self.assertEqual("Cannot find device='nope' nor node-name='nope'",
                         self.assert_qmp_error(self.daemon.execute, "blockdev-snapshot-sync",
                                               device="nope", node_name="nope",
                                               snapshot_file="x").desc)
        self.finish()

    def test_node_names(self):
        path = self.folder / "s1"
        self.assertEqual("New overlay node-name missing",
                         self.assert_qmp_error(self.daemon.execute, "blockdev-snapshot-sync",
                                               node_name="disk0", snapshot_file=str(path)).desc)
        self.assertEqual("New overlay node-name already in use",
                         self.refused(path, overlay="file0").desc)
        self.assertEqual("Invalid node-name: 'bad name'", self.refused(path, overlay="bad name").desc)
        self.finish()

    def test_parameters(self):
        for arguments, text in (
                ({"node-name": "disk0"}, "Parameter 'snapshot-file' is missing"),
                ({"snapshot-file": 5, "node-name": "disk0"},
                 "Invalid parameter type for 'snapshot-file', expected: string"),
                ({"snapshot-file": "x", "mode": "bogus"},
                 "Parameter 'mode' does not accept value 'bogus'"),
                ({"snapshot-file": "x", "wrong": 1}, "Parameter 'wrong' is unexpected")):
            self.assert_qmp_error(self.daemon.execute, "blockdev-snapshot-sync", arguments, desc=text)
        self.finish()

    def test_the_disk_itself_is_not_overwritten(self):
        error = self.refused(self.disk)
        self.assertTrue("same filename" in error.desc or "lock" in error.desc or "use" in error.desc,
                        error.desc)
        link = self.folder / "link.qcow2"
        link.symlink_to(self.disk)
        self.refused(link)
        self.finish()

    @firn_only("qemu-storage-daemon overwrites it")
    def test_a_layer_of_the_chain_is_not_overwritten(self):
        self.snapshot(self.daemon, "disk0", self.folder / "a.qcow2", "a")
        self.snapshot(self.daemon, "a", self.folder / "b.qcow2", "b")
        for path in (self.disk, self.folder / "a.qcow2", self.folder / "b.qcow2"):
            size = path.stat().st_size
            self.refused(path, node="b", overlay="c")
            self.assertEqual(size, path.stat().st_size)
        self.daemon.stop()
        self.check_image(self.folder / "b.qcow2")
        self.io(self.folder / "b.qcow2", "read -q -P 7 0 1M")

    def test_image_that_qemu_io_has_open(self):
        path = self.image("busy.qcow2", size=SIZE)
        self.io(path, "write -q -P 3 0 1M")
        holder = subprocess.Popen(["qemu-io", "-f", "qcow2", str(path)], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            holder.stdin.write(b"read 0 512\n")
            holder.stdin.flush()
            while b"ops" not in holder.stdout.readline():
                pass
            error = self.refused(path)
            self.assertIn('Failed to get "write" lock', error.desc)
            if not against_peer():  # the text is QEMU's; the data names the file
                self.assertEqual({"filename": str(path)}, error.data)
            self.assertIn("lock", self.refused(path, mode="existing").desc)
        finally:
            holder.stdin.close()
            holder.wait(20)
            holder.stdout.close()
        self.io(path, "read -q -P 3 0 1M")
        self.finish()

    def test_existing_mode_with_no_file(self):
        path = self.folder / "nothing.qcow2"
        error = self.refused(path, mode="existing")
        self.assertIn("No such file or directory", error.desc)
        self.assertIn(str(path), error.desc)
        self.finish()

    def test_existing_mode_over_another_format(self):
        path = self.image("raw.img", size=SIZE, fmt="raw")
        self.expect_open_file_failed(path, "Image is not in qcow2 format", mode="existing")
        self.finish()

    @firn_only("qemu-storage-daemon has other texts")
    def test_what_is_neither_file_nor_device(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        for path in ("/dev/null", pipe):
            self.expect_open_file_failed(path, str(path))
        self.finish()

    @firn_only("qemu-storage-daemon accepts it")
    def test_existing_mode_with_another_size(self):
        path = self.image("small.qcow2", size=MIB)
        self.refused(path, mode="existing")
        self.finish()

    @needs("fio")
    def test_a_failure_under_load_does_not_disturb(self):
        writers = subprocess.Popen(
            ["fio", "--name=load", "--ioengine=nbd", f"--uri={self.daemon.uri('vda')}",
             "--rw=randwrite", "--bs=4k", "--iodepth=16", f"--offset={4 * MIB}",
             f"--size={8 * MIB}", "--time_based", "--runtime=3", "--verify=crc32c", "--do_verify=0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self.folder)
        time.sleep(0.5)
        while writers.poll() is None:
            self.assert_qmp_error(self.snapshot, self.daemon, "disk0",
                                  self.folder / "nowhere" / "s", "s")
            self.assert_qmp_error(self.snapshot, self.daemon, "disk0", self.folder / "s", "s",
                                  format="bogus")
        output = writers.stdout.read().decode(errors="replace")
        writers.stdout.close()
        self.assertEqual(0, writers.returncode, output)
        self.finish()

    def test_size_of_the_disk_is_kept(self):
        self.snapshot(self.daemon, "disk0", self.folder / "s1.qcow2", "s1")
        self.assertEqual(SIZE, run_json("qemu-img", "info", "-U", "--output=json",
                                        self.folder / "s1.qcow2")["virtual-size"])
        self.daemon.stop()


if __name__ == "__main__":
    firn_test.main()

#!/usr/bin/env python3
"""The tests' own faulty disk, as programs see it: what FUSE makes of it."""

import os
import threading
import time

import firn_test


class FaultStoreTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.store = self.fault_store()

    def write(self, name, text, sync):
        fd = os.open(self.store.path / name, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(fd, text.encode(), 0)
        if sync:
            os.fsync(fd)
        os.close(fd)

    def sync_names(self):
        fd = os.open(self.store.path, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(fd)
        os.close(fd)

    def read(self, name):
        return (self.store.path / name).read_text()

    def test_a_cut_loses_what_was_not_synced(self):
        self.write("a", "first", sync=True)
        self.sync_names()
        self.write("a", "later", sync=False)
        self.write("b", "other", sync=True)
        self.assertEqual(self.read("a"), "later")
        self.store.cut()
        self.assertEqual(os.listdir(self.store.path), ["a"])
        self.assertEqual(self.read("a"), "first")

    def test_a_failing_fsync_is_told_of(self):
        self.store.tell("rule fsync name=a error=EIO count=1")
        with self.assertRaises(OSError):
            self.write("a", "x", sync=True)
        self.write("a", "x", sync=True)

    def test_a_slow_disk_is_slow_and_one_that_hangs_goes_on(self):
        self.store.tell("rule write delay_ms=50")
        begun = time.monotonic()
        self.write("a", "x", sync=False)
        self.assertGreaterEqual(time.monotonic() - begun, 0.05)
        self.store.tell("rule fsync hang")
        writer = threading.Thread(target=self.write, args=("a", "y", True))
        writer.start()
        while self.store.tell("hanging") == "0":
            time.sleep(0.01)
        self.assertTrue(writer.is_alive())
        self.store.tell("clear")
        writer.join()
        self.assertEqual(self.read("a"), "y")

    @firn_test.needs("qemu-img")
    def test_an_image_on_it_is_served(self):
        path = self.store.path / "disk.qcow2"
        firn_test.run("qemu-img", "create", "-q", "-f", "qcow2", path, "16M")
        daemon = self.serve(path)
        self.io(daemon, "write -P 7 1M 64k", "flush")
        self.snapshot(daemon, "disk0", self.store.path / "s1.qcow2", "s1")
        self.io(daemon, "read -P 7 1M 64k", "write -P 8 1M 4k", "flush")
        daemon.kill()
        self.store.cut(seed=3)
        self.io(self.store.path / "s1.qcow2", "read -P 8 1M 4k", "read -P 7 1028k 60k")
        result = firn_test.run("qemu-img", "check", self.store.path / "s1.qcow2", check=False)
        self.assertIn(result.returncode, (0, 3), result.stdout)  # leaks at most


if __name__ == "__main__":
    firn_test.main()

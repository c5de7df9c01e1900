#!/usr/bin/env python3
"""Block devices as disks and as overlays: loop devices, which need root."""

import os
import shutil

import firn_test
from firn_test import MIB, QmpError, firn_only, run

LOSETUP = shutil.which("losetup", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
SIZE = 64 * MIB


class DeviceTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        if os.geteuid() != 0 or not LOSETUP or not os.path.exists("/dev/loop-control"):
            self.skipTest("loop devices need root and a kernel that has them")

    def loop_device(self, name, size=SIZE):
        path = self.folder / name
        with open(path, "wb") as out:
            out.truncate(size)
        device = run(LOSETUP, "--find", "--show", path).stdout.strip()
        self.addCleanup(run, LOSETUP, "--detach", device)
        return device

    def serve_device(self, device, fmt="raw"):
        return self.start(
            "--blockdev", f"driver={fmt},node-name=disk0,discard=unmap,file.driver=host_device,"
                          f"file.filename={device},file.discard=unmap",
            "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on")

    def test_data_zeroes_and_discards(self):
        device = self.loop_device("disk")
        daemon = self.serve_device(device)
        self.io(daemon, "write -q -P 1 0 4M", "write -q -z 1M 64k", "write -q -z -u 2M 64k",
                "discard -q 3M 64k", "flush")
        self.io(daemon, "read -q -P 1 0 1M", "read -q -P 0 1M 64k", "read -q -P 0 2M 64k",
                "read -q -P 1 1088k 64k")
        daemon.stop()
        self.io(device, "read -q -P 1 0 1M", "read -q -P 0 1M 64k", "read -q -P 0 2M 64k", fmt="raw")

    def test_parts_of_sectors(self):
        device = self.loop_device("disk")
        daemon = self.serve_device(device)
        self.io(daemon, "write -q -P 1 0 1M", "write -q -z 100 1000", "write -q -z -u 8292 5000",
                "discard -q 65636 1000", "flush")
        self.io(daemon, "read -q -P 1 0 100", "read -q -P 0 100 1000", "read -q -P 1 1100 7192",
                "read -q -P 0 8292 5000", "read -q -P 1 13292 52344", "read -q -P 1 66636 1k")
        daemon.stop()

    def test_an_overlay_on_a_device(self):
        base = self.loop_device("base")
        overlay = self.loop_device("overlay")
        daemon = self.serve_device(base)
        self.io(daemon, "write -q -P 1 0 1M")
        self.snapshot(daemon, "disk0", overlay, "s1")
        self.io(daemon, "write -q -P 2 4096 4096")
        daemon.stop()
        self.check_image(overlay)
        self.io(base, "read -q -P 1 0 1M", fmt="raw")
        self.io(overlay, "read -q -P 1 0 4096", "read -q -P 2 4096 4096", "read -q -P 1 8k 1016k")

    @firn_only("it would overwrite what a chain uses")
    def test_a_device_in_use_is_no_overlay(self):
        device = self.loop_device("disk")
        daemon = self.serve_device(device)
        self.io(daemon, "write -q -P 1 0 1M")
        with self.assertRaises(QmpError) as refused:
            self.snapshot(daemon, "disk0", device, "s1")
        self.assertIn("same filename as the backing file", refused.exception.desc)
        # The same device by another name.
        other = self.folder / "other-name"
        os.symlink(device, other)
        with self.assertRaises(QmpError) as refused:
            self.snapshot(daemon, "disk0", other, "s1")
        self.assertIn("same filename as the backing file", refused.exception.desc)
        self.io(daemon, "read -q -P 1 0 1M")
        daemon.stop()

    def test_a_device_that_is_too_small(self):
        device = self.loop_device("disk")
        small = self.loop_device("small", 64 << 10)
        daemon = self.serve_device(device)
        self.io(daemon, "write -q -P 1 0 1M")
        with self.assertRaises(QmpError):
            self.snapshot(daemon, "disk0", small, "s1")
        self.io(daemon, "write -q -P 2 0 1M", "read -q -P 2 0 1M")
        daemon.stop()

    @firn_only("it takes a device for a file")
    def test_each_driver_wants_its_own_kind(self):
        device = self.loop_device("disk")
        for driver, path in (("file", device), ("host_device", self.folder / "disk")):
            daemon = self.start("--blockdev", f"driver={driver},node-name=n,filename={path}",
                                nbd=False, qmp=False)
            self.assertNotEqual(0, daemon.wait_for_end())
            self.assertIn(str(path), daemon.log())


if __name__ == "__main__":
    firn_test.main()

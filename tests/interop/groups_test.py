#!/usr/bin/env python3
"""Groups of disks on several I/O loops: each group's layers are of one point in time."""

import json
import os
import subprocess

import firn_test
from firn_test import MIB, run

DISKS = 16
LOOPS = 4
# FIRN_TEST_GROUPS=200 takes 3,200 snapshots.
GROUPS = int(os.environ.get("FIRN_TEST_GROUPS", "4"))


@firn_test.needs("qemu-img")
class GroupsTest(firn_test.Case):
    def start_disks(self):
        arguments = []
        for loop in range(LOOPS):
            arguments += ["--object", f"iothread,id=t{loop}"]
        for disk in range(DISKS):
            path = self.image(f"base{disk}.qcow2", size=2 * MIB)
            arguments += [
                "--blockdev", f"driver=qcow2,node-name=base{disk},file.driver=file,"
                              f"file.filename={path}",
                "--device", f"id=vd{disk},node-name=base{disk}",
                "--export", f"type=nbd,id=e{disk},node-name=vd{disk},name=e{disk},writable=on,"
                            f"iothread=t{disk % LOOPS},fixed-iothread=on"]
        return self.start(*arguments)

    def transaction(self, group):
        return json.dumps({"execute": "transaction", "arguments": {"actions": [
            {"type": "blockdev-snapshot-sync",
             "data": {"device": f"vd{disk}", "snapshot-file": str(self.layer(disk, group))}}
            for disk in range(DISKS)]}})

    def layer(self, disk, group):
        return self.folder / f"s{disk}.{group}.qcow2"

    def verify(self, layers, which):
        checker = os.environ.get("FIRN_TEST_CHECKER",
                                 str(firn_test.ROOT / "build/release/tests/prefix_checker"))
        argv = [checker, "verify", "--history", self.folder / "history", "--snapshot", which]
        conversions = []
        for disk, layer in enumerate(layers):
            raw = self.folder / f"raw{disk}"
            conversions.append(subprocess.Popen(["qemu-img", "convert", "-O", "raw", layer, raw]))
            argv += ["--file", raw]
        for conversion in conversions:
            self.assertEqual(conversion.wait(), 0)
        return run(*argv, check=False)

    def test_each_group_is_one_point_in_time(self):
        daemon = self.start_disks()
        checker = os.environ.get("FIRN_TEST_CHECKER",
                                 str(firn_test.ROOT / "build/release/tests/prefix_checker"))
        argv = [checker, "run", "--qmp", daemon.qmp_path, "--history", self.folder / "history",
                "--interval", "0.1", "--connections", 1, "--depth", 4, "--flush-every", 100]
        for disk in range(DISKS):
            argv += ["--uri", daemon.uri(f"e{disk}")]
        for group in range(GROUPS):
            argv += ["--snapshot", self.transaction(group)]
        report = json.loads(run(*argv, timeout=60 + 10 * GROUPS).stdout)
        self.assertIsNone(report["error"])
        # A loop may be late at its gate on a busy machine; nothing has changed then.
        taken = []
        for group, snapshot in enumerate(report["snapshots"]):
            if "return" in snapshot["reply"]:
                taken.append(group)
            else:
                self.assertIn("can't be stopped at one point in time",
                              snapshot["reply"]["error"]["desc"])
        daemon.stop()
        self.assertGreater(len(taken), 0, "every group was refused")

        layers = [[self.folder / f"base{disk}.qcow2" for disk in range(DISKS)]]
        layers += [[self.layer(disk, group) for disk in range(DISKS)] for group in taken]
        for frozen, group in zip(layers, taken):
            result = self.verify(frozen, group + 1)
            self.assertEqual(result.returncode, 0, result.stdout)
        self.assertEqual(self.verify(layers[-1], "end").returncode, 0)
        if len(taken) > 1:
            # One disk's layer of another group among them is noticed.
            mixed = [*layers[0][:-1], layers[1][-1]]
            self.assertEqual(self.verify(mixed, taken[0] + 1).returncode, 1)
        print(f"{len(taken) * DISKS} snapshots in {len(taken)} of {GROUPS} groups, "
              f"{report['writes']} writes")


if __name__ == "__main__":
    firn_test.main()

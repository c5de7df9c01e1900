#!/usr/bin/env python3
"""Snapshots in a row on one disk whose guest writes all the time, merged away by block-commit as they
come: does anything grow?

    bench/snapshot_soak.py --snapshots 10000 --chain 50

The daemon is build/release/bin/firnd or what --daemon names. Printed and judged at the end: time of a
snapshot and of a merge, the pause that the daemon reports, memory, descriptors, CPU time per snapshot,
each of the first tenth against the last. The disk is read at the end and must hold what was written.
Exit status 1: something grew, or is wrong.
"""

import argparse
import os
import pathlib
import random
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "interop"))

import firn_test  # noqa: E402
from firn_test import MIB, Daemon, Nbd, run  # noqa: E402

BLOCK = 4096
# Shorter runs say nothing about times.
TIMED_SNAPSHOTS = 1000


class Guest:
    """One connection that writes blocks here and there, flushes now and then, and knows what is on
    its disk."""

    def __init__(self, daemon, size, seed=1):
        self.content = {}
        self.writes = 0
        self._blocks = size // BLOCK
        self._random = random.Random(seed)
        self._end = False
        self.failure = None
        self.nbd = Nbd(daemon.nbd_path)
        self.nbd.go("vda")
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            while not self._end:
                block = self._random.randrange(self._blocks)
                value = self._random.randrange(256)
                self.nbd.write(block * BLOCK, bytes([value]) * BLOCK)
                self.content[block] = value
                self.writes += 1
                if self.writes % 64 == 0:
                    self.nbd.request(Nbd.FLUSH)
                    self.nbd.simple_reply()
                time.sleep(0.0005)
        except Exception as error:  # told by stop
            self.failure = error

    def stop(self):
        self._end = True
        self._thread.join()
        if self.failure:
            raise self.failure

    def first_wrong(self):
        for block in range(self._blocks):
            if self.nbd.read(block * BLOCK, BLOCK) != bytes([self.content.get(block, 0)]) * BLOCK:
                return block
        return None


class Soak:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.size = options.size * MIB
        disk = folder / "disk.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", disk, self.size)
        self.daemon = Daemon(folder, [
            "--blockdev", f"driver=qcow2,node-name=disk0,file.driver=file,file.filename={disk}",
            "--device", "id=vda,node-name=disk0",
            "--export", "type=nbd,id=e,node-name=disk0,name=vda,writable=on"],
            path=options.daemon)
        self.pid = self.daemon.process.pid
        self.chain = []  # the overlays, oldest first
        self.samples = []
        self.merges = []
        self.merging = 0

    def figures(self):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as statm:
            resident = int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rsplit(")", 1)[1].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return resident, len(os.listdir(f"/proc/{self.pid}/fd")), cpu

    def take(self, number):
        name = f"s{number}"
        begun = time.monotonic()
        self.daemon.execute("blockdev-snapshot-sync", device="vda", snapshot_node_name=name,
                            snapshot_file=str(self.folder / f"{name}.qcow2"))
        took = time.monotonic() - begun
        self.chain.append(name)
        event = self.daemon.qmp.wait_event("BLOCK_SNAPSHOT_COMPLETED")["data"]
        self.samples.append((took, event["pause-ns"], *self.figures()))

    def start_merge(self):
        """All but the youngest layers, in one job; the head and the layer below it stay."""
        self.merging = max(1, len(self.chain) - self.options.chain // 2)
        self.merge_begun = time.monotonic()
        self.daemon.execute("block-commit", job_id="merge", device="vda",
                            top_node=self.chain[self.merging - 1])

    def poll_merge(self, wait):
        if not self.merging:
            return
        done = [e for e in self.daemon.qmp.events if e["event"] == "BLOCK_JOB_COMPLETED"]
        if not done and not wait:
            return
        event = self.daemon.qmp.wait_event("BLOCK_JOB_COMPLETED", timeout=120)["data"]
        if "error" in event:
            raise AssertionError(f"the merge failed: {event['error']}")
        self.merges.append(time.monotonic() - self.merge_begun)
        self.daemon.qmp.events.clear()
        for name in self.chain[:self.merging]:
            (self.folder / f"{name}.qcow2").unlink()
        del self.chain[:self.merging]
        self.merging = 0

    def run(self):
        guest = Guest(self.daemon, self.size)
        longest = 0
        try:
            for number in range(self.options.snapshots):
                self.take(number)
                longest = max(longest, len(self.chain))
                # The chain never outgrows its limit: the snapshot waits for the merge then.
                self.poll_merge(wait=len(self.chain) >= self.options.chain)
                if not self.merging and len(self.chain) * 4 >= self.options.chain * 3:
                    self.start_merge()
            self.poll_merge(wait=True)
        finally:
            guest.stop()
        wrong = guest.first_wrong()
        guest.nbd.close()
        head = self.folder / f"{self.chain[-1]}.qcow2"
        self.daemon.stop()
        check = run("qemu-img", "check", head, check=False)
        return self.report(guest, longest, wrong, check)

    def report(self, guest, longest, wrong, check):
        # Until the chain has its length and the first merges are over, snapshots are cheaper.
        samples = self.samples[min(2 * self.options.chain, len(self.samples) // 2):]
        tenth = max(1, len(samples) // 10)
        first, last = samples[:tenth], samples[-tenth:]

        def medians(index, scale):
            return [statistics.median(s[index] for s in part) * scale for part in (first, last)]
        times, pauses = medians(0, 1e3), medians(1, 1e-3)
        memory, files = medians(2, 1 / MIB), medians(3, 1)
        cpu = [(part[-1][4] - part[0][4]) / max(1, len(part) - 1) * 1e3 for part in (first, last)]
        print(f"{len(self.samples)} snapshots, {len(self.merges)} merges, a chain of at most "
              f"{longest}, {guest.writes} writes of the guest")
        for what, values in [("a snapshot, ms", times), ("its pause, us", pauses),
                             ("memory, MiB", memory), ("descriptors", files),
                             ("CPU time per snapshot, ms", cpu)]:
            print(f"  {what:28} first tenth {values[0]:9.2f}   last tenth {values[1]:9.2f}")
        merge = max(1, len(self.merges) // 4)
        print(f"  {'a merge, ms':28} first       {statistics.median(self.merges[:merge]) * 1e3:9.2f}"
              f"   last       {statistics.median(self.merges[-merge:]) * 1e3:9.2f}")
        failures = []
        if wrong is not None:
            failures.append(f"block {wrong} is not what the guest wrote")
        if check.returncode != 0:
            failures.append(f"qemu-img check: {check.stdout}")
        if longest > self.options.chain:
            failures.append(f"the chain had {longest} overlays")
        slack = self.options.slack
        judged = [("descriptors", files, 2 * longest)]
        # AddressSanitizer keeps what is freed for a while; it looks for leaks itself, at the end.
        if b"__asan_init" not in pathlib.Path(self.options.daemon).read_bytes():
            judged.append(("memory", memory, 4))
        if len(self.samples) >= TIMED_SNAPSHOTS:
            judged += [("a snapshot's time", times, 5), ("CPU time", cpu, 2)]
        for what, values, extra in judged:
            if values[1] > values[0] * slack + extra:
                failures.append(f"{what} grew from {values[0]:.2f} to {values[1]:.2f}")
        for failure in failures:
            print(f"FAILED: {failure}")
        firn_test.report.write_one("snapshot_soak", failures)
        return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshots", type=int, default=10000)
    parser.add_argument("--chain", type=int, default=50, help="the most overlays at a time")
    parser.add_argument("--size", type=int, default=64, help="the disk, in MiB")
    parser.add_argument("--slack", type=float, default=1.25,
                        help="how much more the last tenth may take than the first")
    parser.add_argument("--daemon", default=firn_test.daemon_path())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="firn-soak-") as folder:
        soak = Soak(options, pathlib.Path(folder))
        try:
            return soak.run()
        finally:
            soak.daemon.kill()


if __name__ == "__main__":
    sys.exit(main())

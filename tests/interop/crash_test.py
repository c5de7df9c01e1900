#!/usr/bin/env python3
"""SIGKILL and power cuts around snapshots under load: a daemon with --state comes back right.

One round: a daemon with a fresh disk, the prefix checker writing to it at full speed and taking
snapshots; at a random moment the daemon is killed (in some rounds once more while it starts again);
`firnd --state FILE` alone must bring the disk back. Then:

- the head is the overlay of the last snapshot that was answered, or of the one under way;
- no flush that was acknowledged is lost on it, and nothing that was never written is there;
- each snapshot that was answered is a point in time, complete;
- two disks of one transaction have both moved, or neither;
- qemu-img check finds leaks at most, and the daemon takes the next snapshot.

A SIGKILL leaves the page cache whole. The rounds with a power cut therefore have disk and state on a
store that loses what was not synced, and keeps any part of it by chance (tests/tools/fault_store).

    crash_test.py [--rounds N] [--cuts N] [--seed S]

FIRN_CRASH_ROUNDS, FIRN_CRASH_CUTS and FIRN_CRASH_SEED do the same. A round is replayed by its seed,
as far as the kernel's scheduling lets it.
"""

import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import firn_test
from firn_test import Qmp, daemon_path, run

MIB = 1 << 20
SNAPSHOTS = 60
REGION = 4 * MIB


def checker_path():
    return os.environ.get("FIRN_TEST_CHECKER",
                          str(firn_test.ROOT / "build" / "release" / "tests" / "prefix_checker"))


class Round:
    def __init__(self, folder, images, seed, group):
        self.folder = pathlib.Path(folder)
        self.images = pathlib.Path(images)  # where disk and state are
        self.random = random.Random(seed)
        self.group = group
        self.state = self.images / "state"
        self.history = self.folder / "history"
        self.qmp_path = self.folder / "qmp"
        self.nbd_path = self.folder / "nbd"
        self.process = None
        self.log = open(self.folder / "log", "ab")

    # The daemon ------------------------------------------------------------------------------

    def first_arguments(self):
        arguments = ["--nbd-server", f"addr.type=unix,addr.path={self.nbd_path}"]
        for device, node in (("vda", "disk"), ("vdb", "other")):
            path = self.images / node
            fmt = self.random.choice(["raw", "qcow2"])
            run("qemu-img", "create", "-q", "-f", fmt, path, "16M")
            fd = os.open(path, os.O_RDWR)
            os.fsync(fd)
            os.close(fd)
            fd = os.open(self.images, os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)
            arguments += [
                "--blockdev", f"driver={fmt},node-name={node},file.driver=file,"
                              f"file.filename={path}",
                "--device", f"id={device},node-name={node}",
                "--export", f"nbd,id={device},node-name={device},name={device},writable=on"]
        # Last: clients find all of it.
        return arguments + [
            "--chardev", f"socket,path={self.qmp_path},server=on,wait=off,id=qmp0",
            "--monitor", "chardev=qmp0"]

    def start(self, arguments=()):
        argv = [daemon_path(), "--state", str(self.state), *arguments]
        self.log.write((" ".join(argv) + "\n").encode())
        self.log.flush()
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self.log,
                                        stderr=self.log)

    def connect(self):
        deadline = time.monotonic() + 30
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"the daemon ended with {self.process.returncode}: "
                                     f"{self.log_text()}")
            try:
                return Qmp(self.qmp_path)
            except OSError:
                if time.monotonic() > deadline:
                    raise AssertionError(f"nobody listens: {self.log_text()}") from None
                time.sleep(0.002)

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        if self.process:
            self.process.wait()

    def log_text(self):
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def uri(self, export):
        return f"nbd+unix:///{export}?socket={self.nbd_path}"

    # The round -------------------------------------------------------------------------------

    def snapshot_command(self, number):
        def one(device, prefix):
            return {"device": device, "snapshot-file": str(self.images / f"{prefix}{number}"),
                    "snapshot-node-name": f"{prefix}{number}"}
        if not self.group:
            return {"execute": "blockdev-snapshot-sync", "arguments": one("vda", "s")}
        return {"execute": "transaction", "arguments": {"actions": [
            {"type": "blockdev-snapshot-sync", "data": one("vda", "s")},
            {"type": "blockdev-snapshot-sync", "data": one("vdb", "t")}]}}

    def run_until_kill(self):
        """Gives how many snapshots were answered."""
        self.start(self.first_arguments())
        self.connect().close()
        argv = [checker_path(), "run", "--uri", self.uri("vda"), "--history", str(self.history),
                "--qmp", str(self.qmp_path), "--interval", "0.02", "--size", str(REGION),
                "--flush-every", "40", "--connections", "2", "--depth", "8",
                "--seed", str(self.random.randrange(1 << 30))]
        for number in range(1, SNAPSHOTS + 1):
            argv += ["--snapshot", json.dumps(self.snapshot_command(number))]
        checker = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=self.log, text=True)
        time.sleep(self.random.uniform(0.05, 1.0))
        self.kill()
        output, _ = checker.communicate(timeout=60)
        line = next((l for l in output.splitlines() if l.startswith("{")), None)
        if line is None:
            if self.history.exists():
                raise AssertionError(f"the prefix checker says: {output}")
            return None  # it came too early: nothing has begun
        report = json.loads(line)
        answered = 0
        for snapshot in report["snapshots"]:
            reply = snapshot["reply"]
            if isinstance(reply, dict) and "error" in reply:
                raise AssertionError(f"a snapshot failed: {reply}")
            answered += isinstance(reply, dict) and "return" in reply
        return answered

    def restart(self):
        for _ in range(3):
            self.start()
            if self.random.random() > 0.35:
                break
            time.sleep(self.random.uniform(0, 0.08))
            self.kill()
        else:
            self.start()
        return self.connect()

    def check(self, answered, with_cut):
        qmp = self.restart()
        heads = {one["device"]: one["inserted"]["node-name"] for one in qmp.execute("query-block")}
        if set(heads) != {"vda", "vdb"}:
            raise AssertionError(f"devices: {heads}")
        number = 0 if heads["vda"] == "disk" else int(heads["vda"][1:])
        if number not in (answered, answered + 1):
            raise AssertionError(f"{answered} snapshots were answered, the head is {heads}")
        other = f"t{number}" if self.group and number else "other"
        if heads["vdb"] != other:
            raise AssertionError(f"one disk of a transaction has moved: {heads}")
        exports = {one["id"]: one["node-name"] for one in qmp.execute("query-block-exports")}
        if exports != heads:
            raise AssertionError(f"exports: {exports}, heads: {heads}")
        nodes = {one["node-name"]: one for one in qmp.execute("query-named-block-nodes")}
        for i in range(1, number + 1):
            below = nodes["disk" if i == 1 else f"s{i - 1}"]
            if not below["ro"]:
                raise AssertionError(f"{below['node-name']} is not sealed")
            if nodes[f"s{i}"].get("backing_file") != below["file"]:
                raise AssertionError(f"s{i} stands on {nodes[f's{i}'].get('backing_file')}")
        self.verify("cut" if with_cut else "crash", "vda")
        for i in range(1, answered + 1):
            layer = "disk" if i == 1 else f"s{i - 1}"
            qmp.execute("block-export-add", type="nbd", id=f"f{i}", node_name=layer,
                        name=f"f{i}")
            self.verify(i, f"f{i}")
            qmp.execute("block-export-del", id=f"f{i}", mode="hard")
        next_one = self.snapshot_command(SNAPSHOTS + 1)
        qmp.execute(next_one["execute"], next_one["arguments"])
        qmp.execute("quit")
        qmp.close()
        if self.process.wait(60) != 0:
            raise AssertionError(f"the daemon ended with an error: {self.log_text()}")
        for path in sorted(self.images.iterdir()):
            if path.name[0] in "st" and path.name[1:].isdigit():
                if path.name[1:] != str(SNAPSHOTS + 1) and int(path.name[1:]) > number:
                    continue  # of a snapshot that a crash kept from happening
                self.check_image(path)
        return number != answered

    def verify(self, snapshot, export):
        result = run(checker_path(), "verify", "--history", self.history, "--snapshot", snapshot,
                     "--uri", self.uri(export), check=False)
        if result.returncode != 0:
            raise AssertionError(result.stdout)

    @staticmethod
    def check_image(path):
        result = run("qemu-img", "check", "-q", path, check=False)
        if result.returncode not in (0, 3):
            raise AssertionError(f"qemu-img check {path}: {result.stdout}")


def play(seed, with_cut):
    """One round. Gives what came of it: for the report."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="firn-crash-"))
    store = None
    images = folder / "images"
    images.mkdir()
    if with_cut:
        store = firn_test.FaultStore(folder / "store", images)
    choice = random.Random(seed)
    one = Round(folder, images, seed, group=choice.random() < 0.4)
    try:
        answered = one.run_until_kill()
        if answered is None:
            return "too early"
        if store:
            store.cut(choice.randrange(1 << 30) if choice.random() < 0.7 else 0)
        carried_out = one.check(answered, with_cut)
    except BaseException:
        one.kill()
        print(f"seed {seed}{' with a power cut' if with_cut else ''}: kept in {folder}",
              file=sys.stderr)
        raise
    finally:
        one.kill()
        one.log.close()
        if store:
            store.close()
    shutil.rmtree(folder, ignore_errors=True)
    return "carried out" if carried_out else "answered" if answered else "before the first"


def play_many(rounds, cuts, seed):
    counts = {}
    begun = time.monotonic()
    done = [0, 0]
    for with_cut, wanted in ((False, rounds), (True, cuts)):
        number = 0
        while done[with_cut] < wanted:
            outcome = play(seed + number, with_cut)
            number += 1
            counts[outcome] = counts.get(outcome, 0) + 1
            if outcome != "too early":
                done[with_cut] += 1
                if done[with_cut] % 50 == 0:
                    print(f"{done[with_cut]} of {wanted}{' with cuts' if with_cut else ''}, "
                          f"{time.monotonic() - begun:.0f} s: {counts}", flush=True)
    print(f"{done[0]} kills, {done[1]} power cuts, {time.monotonic() - begun:.0f} s: {counts}")


class CrashTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.seed = int(os.environ.get("FIRN_CRASH_SEED", "1"))

    def test_kills(self):
        play_many(int(os.environ.get("FIRN_CRASH_ROUNDS", "5")), 0, self.seed)

    def test_power_cuts(self):
        if not firn_test.FaultStore.is_possible():
            self.skipTest("needs root and /dev/fuse")
        play_many(0, int(os.environ.get("FIRN_CRASH_CUTS", "4")), self.seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rounds")
    parser.add_argument("--cuts")
    parser.add_argument("--seed")
    known, rest = parser.parse_known_args()
    for option, value in vars(known).items():
        if value is not None:
            os.environ[f"FIRN_CRASH_{option.upper()}"] = value
    sys.argv[1:] = rest
    firn_test.main()

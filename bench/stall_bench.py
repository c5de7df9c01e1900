#!/usr/bin/env python3
"""Measures what a snapshot costs the guest: firnd beside qemu-storage-daemon, in one run.

A client reads and writes 4 KiB blocks at a steady rate; every request's time is kept. A snapshot's
window is from its command to its reply and a little more; just before it lies a window of the same
length without one. The figure is the worst request of a window, as the median over all snapshots,
with a snapshot less without. Three scenes:

  tmpfs  all in memory
  busy   on a disk that another program writes to and syncs all the time
  slow   the overlay on a store that takes 50 ms for each write, of a disk that is not; each snapshot
         has a daemon of its own. Here reads count throughout and writes that began before the overlay
         took over, since what goes to the overlay then takes its time

Loaded or throttled machines give no figures worth keeping: look at the windows without a snapshot."""

import argparse
import bisect
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))

import firn_test  # noqa: E402
from firn_test import Daemon, FaultStore, run  # noqa: E402

IMAGE = "256M"
SLOW_WRITE_MS = 50
AFTERWARDS_S = 0.02
PAUSE_S = 0.4
LOG_PRECISION_S = 0.002
READ = 0


class Client:
    """fio on the export, with the time of each request in a log."""

    def __init__(self, daemon, folder, options, seconds):
        self.log = folder / "requests"
        self.process = subprocess.Popen(
            ["fio", "--name=client", "--ioengine=nbd", f"--uri={daemon.uri('vda')}", "--rw=randrw",
             "--bs=4k", f"--iodepth={options.depth}", "--numjobs=1", "--time_based",
             f"--runtime={seconds}", "--norandommap", f"--rate_iops={options.rate},{options.rate}",
             "--rate_process=poisson", f"--write_lat_log={self.log}", "--log_unix_epoch=1"],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)

    def requests(self):
        """(end, begin, kind) in seconds since 1970, by end."""
        self.process.terminate()
        self.process.wait(60)
        found = []
        for line in pathlib.Path(f"{self.log}_lat.1.log").read_text().splitlines():
            end_ms, latency_ns, kind = (int(part) for part in line.split(",")[:3])
            end = end_ms / 1000
            found.append((end, end - latency_ns / 1e9, kind))
        return sorted(found)


class Busy:
    """A program that writes and syncs beside the disk."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            ["fio", "--name=busy", f"--directory={folder}", "--ioengine=psync", "--rw=write",
             "--bs=1M", "--size=256M", "--fsync=8", "--time_based", "--runtime=3600"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def stop(self):
        self.process.kill()
        self.process.wait()


def worst(requests, begin, end, counts):
    """In ms: the longest of those requests that were under way in a window and count."""
    first = bisect.bisect_left(requests, (begin,))
    longest = 0.0
    for request_end, request_begin, kind in requests[first:]:
        if request_begin > end and request_end > end + 1:
            break
        if request_begin <= end and counts(request_begin, kind):
            longest = max(longest, (request_end - request_begin) * 1000)
    return longest


def take_snapshots(daemon, folder, count):
    """For each: when its command went out, when the overlay took over, when its reply came."""
    moments = []
    node = "disk0"
    for number in range(count):
        time.sleep(PAUSE_S)
        overlay = f"s{number}"
        began = time.time()
        daemon.execute("blockdev-snapshot-sync", {
            "node-name": node, "snapshot-file": str(folder / f"{overlay}.qcow2"),
            "snapshot-node-name": overlay})
        ended = time.time()
        events = [e["data"] for e in daemon.qmp.events if e["event"] == "BLOCK_SNAPSHOT_COMPLETED"]
        daemon.qmp.events.clear()
        # qemu-storage-daemon answers right after.
        moved = began + events[-1]["prepare-ns"] / 1e9 if events else ended
        moments.append((began, moved, ended))
        node = overlay
    time.sleep(PAUSE_S)
    return moments


def measure(path, scene, options):
    """The figures of all snapshots: worst requests with and without, and commands, in ms."""
    if scene != "slow":
        return measure_run(path, scene, options, options.snapshots)
    runs = [measure_run(path, scene, options, 1) for _ in range(options.snapshots)]
    return {name: sum((run[name] for run in runs), []) for name in runs[0]}


def measure_run(path, scene, options, count):
    place = "/dev/shm" if scene in ("tmpfs", "slow") else options.dir
    folder = pathlib.Path(tempfile.mkdtemp(prefix="firn-stall-", dir=place))
    os.environ["FIRN_TEST_DAEMON"] = path
    store = busy = daemon = None
    try:
        disk = folder / "disk.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", disk, IMAGE)
        run("qemu-io", "-f", "qcow2", "-c", f"write -q -P 165 0 {IMAGE}", disk)
        overlays = folder
        if scene == "slow":
            store = FaultStore(folder / "store", folder / "mount")
            store.tell(f"rule write delay_ms={SLOW_WRITE_MS}")
            overlays = store.path
        daemon = Daemon(folder, [
            "--blockdev", f"driver=file,node-name=file0,filename={disk}",
            "--blockdev", "driver=qcow2,node-name=disk0,file=file0",
            "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on"], path=path)
        if scene == "busy":
            busy = Busy(folder)
        client = Client(daemon, folder, options, 3600)
        time.sleep(1)
        moments = take_snapshots(daemon, overlays, count)
        requests = client.requests()
        if busy:
            busy.stop()
            busy = None
        daemon.kill() if scene == "slow" else daemon.stop()
        return figures_of(scene, moments, requests)
    finally:
        if busy:
            busy.stop()
        if daemon:
            daemon.kill()
        if store:
            store.close()
        shutil.rmtree(folder, ignore_errors=True)


def figures_of(scene, moments, requests):
    pairs = []
    for began, moved, ended in moments:
        length = ended - began + AFTERWARDS_S
        if scene == "slow":
            def counts(begin, kind, moved=moved):
                return kind == READ or begin < moved - LOG_PRECISION_S
        else:
            def counts(_begin, _kind):
                return True
        pairs.append((worst(requests, began, began + length, counts),
                      worst(requests, began - length - AFTERWARDS_S, began - AFTERWARDS_S,
                            lambda _begin, _kind: True)))
    return {"with": [w for w, _ in pairs], "without": [o for _, o in pairs],
            "command": [(ended - began) * 1000 for began, _, ended in moments],
            "requests": [len(requests)]}


def summary(figures):
    with_one = statistics.median(figures["with"])
    without = statistics.median(figures["without"])
    return {"with": with_one, "without": without, "stall": with_one - without,
            "command": statistics.median(figures["command"]), "requests": sum(figures["requests"])}


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshots", type=int, default=20, help="per scene and daemon (20)")
    parser.add_argument("--rate", type=int, default=1000, help="reads, and writes, a second (1000)")
    parser.add_argument("--depth", type=int, default=8, help="requests in flight (8)")
    parser.add_argument("--dir", default=None, help="where the busy disk is")
    parser.add_argument("--scenes", default="tmpfs,busy,slow")
    parser.add_argument("--daemon", default=firn_test.daemon_path())
    parser.add_argument("--peer", default=shutil.which("qemu-storage-daemon"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    daemons = [d for d in (options.daemon, options.peer) if d]
    results = []
    for scene in options.scenes.split(","):
        for path in daemons:
            result = {"scene": scene, "daemon": os.path.basename(path),
                      **summary(measure(path, scene, options))}
            results.append(result)
            if not options.json:
                if len(results) == 1:
                    print(f"{'scene':8}{'daemon':22}{'worst with':>12}{'without':>10}"
                          f"{'difference':>12}{'command':>10}   ms, medians")
                print(f"{scene:8}{result['daemon']:22}{result['with']:12.2f}"
                      f"{result['without']:10.2f}{result['stall']:12.2f}{result['command']:10.1f}",
                      flush=True)
    if options.json:
        print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Measures firnd against qemu-storage-daemon: the same image, the same clients, in turn within each
round, in alternating order; the table gives medians. Loaded or throttled machines give no figures
worth keeping: look at the spread."""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))

from firn_test import Daemon, ProgramFailed, run, run_json  # noqa: E402

IMAGE = "512M"
FIO_JOBS = {"4 KiB random reads/s": ("randread", "read"),
            "4 KiB random writes/s": ("randwrite", "write")}
# What is measured -> True if more is better.
MORE_IS_BETTER = {"4 KiB random reads/s": True, "4 KiB random writes/s": True,
                  "worst write without a snapshot, ms": False,
                  "worst write during a snapshot, ms": False,
                  "median snapshot command, ms": False,
                  "resident memory after it, MiB": False}


def serve(folder, path):
    disk = folder / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", disk, IMAGE)
    run("qemu-io", "-f", "qcow2", "-c", f"write -q -P 165 0 {IMAGE}", disk)
    return Daemon(folder, [
        "--blockdev", f"driver=file,node-name=file0,filename={disk}",
        "--blockdev", "driver=qcow2,node-name=disk0,file=file0",
        "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on"], path=path)


def fio(daemon, kind, options):
    output = daemon.folder / "fio.json"
    run("fio", "--name=bench", "--ioengine=nbd", f"--uri={daemon.uri('vda')}",
        f"--rw={kind}", "--bs=4k", f"--iodepth={options.depth}", "--numjobs=1", "--time_based",
        f"--runtime={options.seconds}", "--randrepeat=0", "--norandommap", "--output-format=json",
        f"--output={output}", cwd=daemon.folder)
    text = output.read_text(encoding="utf-8")
    return json.loads(text[text.index("{"):])["jobs"][0]  # notes may stand before it


def worst_writes(daemon, folder, options):
    """The checker's report on writes at full speed with snapshots among them."""
    argv = [options.checker, "run", "--uri", daemon.uri("vda"), "--qmp", daemon.qmp_path,
            "--history", folder / "history", "--connections", 2, "--depth", 16,
            "--interval", max(0.3, options.seconds / 6)]
    for number in range(1, options.snapshots + 1):
        node = f"overlay{number - 1}" if number > 1 else "disk0"
        argv += ["--snapshot", json.dumps({
            "execute": "blockdev-snapshot-sync",
            "arguments": {"node-name": node, "snapshot-file": str(folder / f"{number}.qcow2"),
                          "snapshot-node-name": f"overlay{number}"}})]
    report = run_json(*argv)
    for snapshot in report["snapshots"]:
        if "error" in snapshot["reply"]:
            raise ProgramFailed(f"a snapshot failed: {snapshot['reply']['error']['desc']}")
    return report


def resident_mib(daemon):
    for line in pathlib.Path(f"/proc/{daemon.process.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure(path, options):
    """One daemon's figures in one round."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="firn-bench-", dir=options.dir))
    figures = {}
    try:
        daemon = serve(folder, path)
        try:
            for name, (kind, side) in FIO_JOBS.items():
                figures[name] = fio(daemon, kind, options)[side]["iops"]
            report = worst_writes(daemon, folder, options)
            figures["worst write without a snapshot, ms"] = report["worst-write-ms-outside"]
            figures["worst write during a snapshot, ms"] = max(
                s["worst-write-ms"] for s in report["snapshots"])
            figures["median snapshot command, ms"] = statistics.median(
                s["command-ms"] for s in report["snapshots"])
            figures["resident memory after it, MiB"] = resident_mib(daemon)
            daemon.stop()
        finally:
            daemon.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return figures


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.2f}"


def print_table(names, figures):
    rows = [("", *names, f"{names[0]} / {names[1]}", "lowest and highest")]
    for what in MORE_IS_BETTER:
        medians = [statistics.median(f[what] for f in figures[n]) for n in names]
        spread = "   ".join(f"{number(min(f[what] for f in figures[n]))} to "
                            f"{number(max(f[what] for f in figures[n]))}" for n in names)
        ratio = f"{medians[0] / medians[1]:.2f}" if medians[1] else "-"
        rows.append((what, *(number(m) for m in medians), ratio, spread))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(c.ljust(w) if i in (0, 4) else c.rjust(w)
                        for i, (c, w) in enumerate(zip(row, widths))).rstrip())


def main():
    build = ROOT / "build" / "release"
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__)
    parser.add_argument("--daemon", default=str(build / "bin" / "firnd"), help="what to measure")
    parser.add_argument("--peer", default="qemu-storage-daemon", help="what to measure it against")
    parser.add_argument("--checker", default=build / "tests" / "prefix_checker",
                        help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--seconds", type=int, default=8, help="length of one measurement (8)")
    parser.add_argument("--depth", type=int, default=32, help="fio's requests in flight (32)")
    parser.add_argument("--snapshots", type=int, default=5, help="snapshots in a round (5)")
    parser.add_argument("--dir", default="/dev/shm",
                        help="where the images lie; needs 4 GiB (/dev/shm, a tmpfs)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there too")
    options = parser.parse_args()
    daemons = {}
    for path in (options.daemon, options.peer):
        found = shutil.which(path)
        if not found:
            sys.exit(f"bench: {path}: no such program")
        name = os.path.basename(found)
        daemons[name if name not in daemons else name + " (peer)"] = found

    names = list(daemons)
    figures = {name: [] for name in names}
    for round_number in range(options.rounds):
        for name in names if round_number % 2 == 0 else reversed(names):
            print(f"round {round_number + 1} of {options.rounds}: {name}", file=sys.stderr)
            try:
                figures[name].append(measure(daemons[name], options))
            except ProgramFailed as failure:
                sys.exit(f"bench: {failure}")
    print_table(names, figures)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as out:
            json.dump({"daemons": daemons, "rounds": figures, "cpus": os.cpu_count(),
                       "seconds": options.seconds, "depth": options.depth}, out, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())

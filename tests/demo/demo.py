#!/usr/bin/env python3
"""The main job, end to end: snapshots of a disk with a real file system on it, taken while real NBD
clients write to it at full speed; then every frozen layer is checked to be one point in time."""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests" / "interop"))

from firn_test import MIB, Daemon, ProgramFailed, run  # noqa: E402

DISK_MIB = 2048
FILE_SYSTEM_MIB = 1536
REGION_MIB = 256  # behind the file system, where the clients write
FILES_MIB_MAX = 400


def say(text):
    print(text, flush=True)


def megabytes(path):
    out = run("du", "-sm", path, check=False).stdout.split()
    return int(out[0]) if out and out[0].isdigit() else 0


def pick_files():
    """A folder of real files that fits: the largest such below /usr/lib."""
    best, best_size = None, 0
    for folder in pathlib.Path("/usr/lib").iterdir():
        if folder.is_dir() and not folder.is_symlink():
            size = megabytes(folder)
            if best_size < size <= FILES_MIB_MAX:
                best, best_size = folder, size
    if not best:
        sys.exit(f"demo: no folder in /usr/lib holds between 1 and {FILES_MIB_MAX} MiB")
    return best, best_size


def make_disk(folder):
    files, size = pick_files()
    say(f"making a disk of {DISK_MIB} MiB with an ext4 file system of {files} ({size} MiB)")
    raw = folder / "disk.raw"
    disk = folder / "disk.qcow2"
    with open(raw, "wb") as out:
        out.truncate(DISK_MIB * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", files, raw, f"{FILE_SYSTEM_MIB}M",
        env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, disk)
    raw.unlink()
    return disk


def snapshot_commands(folder, count):
    """(commands, layers): layer N is what snapshot N+1 freezes; the last one is the head."""
    commands, layers = [], [folder / "disk.qcow2"]
    node = "disk0"
    for number in range(1, count + 1):
        overlay = folder / f"snapshot{number}.qcow2"
        commands.append(json.dumps({
            "execute": "blockdev-snapshot-sync",
            "arguments": {"node-name": node, "snapshot-file": str(overlay),
                          "snapshot-node-name": f"overlay{number}", "format": "qcow2"}}))
        node = f"overlay{number}"
        layers.append(overlay)
    return commands, layers


def write_and_snapshot(options, folder, disk, commands):
    """Gives prefix_checker's report."""
    daemon = Daemon(folder, [
        "--blockdev", f"driver=file,node-name=file0,filename={disk}",
        "--blockdev", "driver=qcow2,node-name=disk0,file=file0,discard=unmap",
        "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on"], path=options.daemon)
    try:
        argv = [options.checker, "run", "--uri", daemon.uri("vda"), "--qmp", daemon.qmp_path,
                "--history", folder / "history", "--offset", f"{FILE_SYSTEM_MIB}M",
                "--size", f"{REGION_MIB}M",
                "--connections", options.connections, "--depth", options.depth,
                "--interval", options.interval]
        for command in commands:
            argv += ["--snapshot", command]
        say(f"{options.connections} clients write, {options.depth} requests in flight each; "
            f"{len(commands)} snapshots meanwhile")
        result = subprocess.run([str(a) for a in argv], capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=600, check=False)
        if result.returncode != 0:
            sys.exit(f"demo: the clients failed: {result.stderr.strip()}\n"
                     f"the daemon said:\n{daemon.log()}")
        outcome = json.loads(result.stdout)
        for number, snapshot in enumerate(outcome["snapshots"], 1):
            if "error" in snapshot["reply"]:
                sys.exit(f"demo: snapshot {number} failed: {snapshot['reply']['error']['desc']}")
        daemon.stop()
        return outcome
    finally:
        daemon.kill()


def verify(options, folder, layer, which):
    """Checks a layer, read by qemu-nbd, against the history. Gives (held, what was found)."""
    socket_path = folder / f"verify-{which}.sock"
    server = subprocess.Popen(["qemu-nbd", "--read-only", "--format=qcow2", "--shared=1",
                               f"--socket={socket_path}", str(layer)], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 20
        while not socket_path.exists() and server.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        result = run(options.checker, "verify", "--history", folder / "history", "--snapshot", which,
                     "--uri", f"nbd+unix:///?socket={socket_path}", check=False)
        return result.returncode == 0, result.stdout.strip()
    finally:
        server.terminate()
        server.wait()


def check_file_system(folder, layer):
    raw = folder / "first.raw"
    run("qemu-img", "convert", "-f", "qcow2", "-O", "raw", layer, raw)
    result = run("e2fsck", "-fn", raw, check=False,
                 env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    raw.unlink()
    return result.returncode == 0, result.stdout.strip()


def pause_of(snapshot):
    for event in snapshot["events"]:
        if isinstance(event, dict) and event.get("event") == "BLOCK_SNAPSHOT_COMPLETED":
            for member, per_ms in (("pause-ns", 1e6), ("pause-us", 1e3)):
                if member in event.get("data", {}):
                    return f"{event['data'][member] / per_ms:.3f} ms"
    return "unknown"


def print_table(rows):
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        say("  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths)))


def demonstrate(options, folder):
    started = time.monotonic()
    disk = make_disk(folder)
    commands, layers = snapshot_commands(folder, options.snapshots)
    outcome = write_and_snapshot(options, folder, disk, commands)
    say(f"{outcome['writes']} writes in {outcome['seconds']:.1f} s "
        f"({outcome['writes-per-second']:.0f} a second); checking the layers")

    faults = []
    rows = [("snapshot", "pause", "worst write in it", "command", "size", "image", "point in time")]
    for number, layer in enumerate(layers, 1):
        last = number > options.snapshots
        image = run("qemu-img", "check", "-f", "qcow2", layer, check=False)
        if image.returncode != 0:
            faults.append(f"qemu-img check {layer.name}: {image.stdout.strip()}")
        held, found = verify(options, folder, layer, "end" if last else number)
        if not held:
            faults.append(found)
        size = f"{os.stat(layer).st_blocks * 512 / MIB:.0f} MiB"
        marks = ("ok" if image.returncode == 0 else "BAD", "yes" if held else "NO")
        if last:
            rows.append(("(head)", "", "", "", size, *marks))
            continue
        snapshot = outcome["snapshots"][number - 1]
        rows.append((str(number), pause_of(snapshot), f"{snapshot['worst-write-ms']:.2f} ms",
                     f"{snapshot['command-ms']:.1f} ms", size, *marks))
    clean, found = check_file_system(folder, layers[0])
    if not clean:
        faults.append(f"e2fsck: {found}")

    say("")
    print_table(rows)
    say("")
    say(f"worst write outside the snapshots: {outcome['worst-write-ms-outside']:.2f} ms")
    say(f"the file system in the first layer: {'clean' if clean else 'DAMAGED'}")
    say(f"the demonstration took {time.monotonic() - started:.0f} s")
    for fault in faults:
        say(fault)
    if faults:
        say(f"NOT ALL HELD: {len(faults)} faults, above")
        return 1
    say(f"all held: {options.snapshots} frozen layers are points in time, nothing acknowledged was "
        "lost, all images and the file system check out")
    return 0


def main():
    build = ROOT / "build" / "release"
    parser = argparse.ArgumentParser(prog="./dev run", description=__doc__)
    parser.add_argument("--daemon", default=str(build / "bin" / "firnd"),
                        help="the daemon, firnd or qemu-storage-daemon")
    parser.add_argument("--checker", default=build / "tests" / "prefix_checker",
                        help=argparse.SUPPRESS)
    parser.add_argument("--snapshots", type=int, default=5, help="how many (5)")
    parser.add_argument("--connections", type=int, default=4, help="NBD connections (4)")
    parser.add_argument("--depth", type=int, default=16, help="writes in flight on each (16)")
    parser.add_argument("--interval", type=float, default=1.5,
                        help="seconds before, between and after the snapshots (1.5)")
    parser.add_argument("--dir", help="where the disk lies; needs 5 GiB (a new folder in TMPDIR)")
    parser.add_argument("--keep", action="store_true", help="keep the disk and its layers")
    options = parser.parse_args()
    daemon = shutil.which(options.daemon)
    if not daemon:
        sys.exit(f"demo: {options.daemon}: no such program; ./dev build makes firnd")
    options.daemon = daemon
    folder = pathlib.Path(tempfile.mkdtemp(prefix="firn-demo-", dir=options.dir))
    try:
        return demonstrate(options, folder)
    except ProgramFailed as failure:
        sys.exit(f"demo: {failure}")
    finally:
        if options.keep:
            say(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

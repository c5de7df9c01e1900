#!/usr/bin/env python3
"""Measures qapic on a schema: checking it, and making the C++ back ends of it, the files written
anew and left alone. With --generator, QEMU's scripts/qapi-gen.py is timed on the same schema, in
turn. The table gives medians over the rounds, and the spread.

    bench/qapic_bench.py SCHEMA [--qapic PATH] [--generator PATH] [--rounds N] [-D SYMBOL]...
"""

import argparse
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BACKENDS = "types,codec,commands,events,introspection"


def timed(argv):
    start = time.monotonic()
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - start
    if done.returncode != 0:
        sys.exit(f"{argv[0]} failed:\n{done.stderr[-2000:]}")
    return seconds * 1000


def one_round(options, folder, defines):
    """What is measured -> milliseconds."""
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    emit = [options.qapic, "emit", BACKENDS, options.schema, "-o", out, *defines]
    found = {"qapic check": timed([options.qapic, "check", options.schema, *defines]),
             "qapic emit, C++": timed(emit),
             "qapic emit, C++, nothing changed": timed(emit)}
    if options.generator:
        theirs = folder / "theirs"
        shutil.rmtree(theirs, ignore_errors=True)
        theirs.mkdir()
        found["QEMU's generator, C"] = timed([sys.executable, options.generator, "-o", theirs,
                                              options.schema])
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("schema", type=pathlib.Path, help="for instance schema/firn.json, or QEMU's")
    parser.add_argument("--qapic", type=pathlib.Path,
                        default=ROOT / "build" / "release" / "bin" / "qapic")
    parser.add_argument("--generator", type=pathlib.Path, help="QEMU's scripts/qapi-gen.py")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("-D", dest="defines", action="append", default=[], metavar="SYMBOL")
    options = parser.parse_args()
    if not options.qapic.exists():
        sys.exit(f"{options.qapic} is not there: ./dev build release qapic makes it")
    defines = [f"-D{symbol}" for symbol in options.defines]
    rounds = []
    with tempfile.TemporaryDirectory(prefix="firn-qapic-bench-") as folder:
        one_round(options, pathlib.Path(folder), defines)  # warms caches
        for _ in range(options.rounds):
            rounds.append(one_round(options, pathlib.Path(folder), defines))
    print(f"{'ms, of ' + str(options.rounds) + ' rounds':<36}{'median':>8}{'least':>8}{'most':>8}")
    for name in rounds[0]:
        times = [measured[name] for measured in rounds]
        print(f"{name:<36}{statistics.median(times):8.1f}{min(times):8.1f}{max(times):8.1f}")


if __name__ == "__main__":
    main()

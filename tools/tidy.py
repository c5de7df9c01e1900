#!/usr/bin/env python3
"""Runs clang-tidy (the checks in .clang-tidy) over the sources of src/, or over the files given,
with the debug build's compile commands."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", help="sources; without any, all of src/ but its tests")
    options = parser.parse_args()
    build = ROOT / "build" / "debug"
    database = build / "compile_commands.json"
    if not database.exists():
        print("tidy: run ./dev build debug first, for its compile commands", file=sys.stderr)
        return 1
    known = {str(pathlib.Path(entry["directory"], entry["file"]).resolve())
             for entry in json.loads(database.read_text(encoding="utf-8"))}
    if options.files:
        files = [str(pathlib.Path(f).resolve()) for f in options.files]
        unknown = [f for f in files if f not in known]
        if unknown:
            print(f"tidy: not among the sources of the debug build: {' '.join(unknown)}",
                  file=sys.stderr)
            return 1
    else:
        files = sorted(f for f in known
                       if f.startswith(str(ROOT / "src")) and not f.endswith("_test.cc"))

    def tidy(path):
        return subprocess.run(["clang-tidy-19", "--quiet", "-p", str(build), path],
                              capture_output=True, text=True, check=False)

    failed = False
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
        for path, result in zip(files, pool.map(tidy, files)):
            if result.returncode or "warning:" in result.stdout:
                failed = True
                print(result.stdout.strip() or result.stderr.strip() or f"{path}: clang-tidy failed")
    print(f"tidy: {len(files)} files", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

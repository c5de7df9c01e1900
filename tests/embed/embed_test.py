#!/usr/bin/env python3
"""The compiler in somebody else's program: embed_test.py PROGRAM."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(SOURCE / "tools"))

import report  # noqa: E402

PROGRAM = sys.argv.pop(1)


def run(*argv):
    return subprocess.run([PROGRAM, *map(str, argv)], capture_output=True, text=True, check=False)


class Embed(unittest.TestCase):
    def test_a_back_end_of_its_own(self):
        with tempfile.TemporaryDirectory() as folder:
            done = run(SOURCE / "schema" / "firn.json", folder)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            lines = (pathlib.Path(folder) / "commands.txt").read_text().splitlines()
        self.assertIn("query-version()", [line.split(" ")[0] for line in lines])
        resize = next(line for line in lines if line.startswith("block_resize("))
        self.assertRegex(resize, r"^block_resize\(device\?, node-name\?, size, shrink\?\) block-core:\d+$")

    def test_diagnostics(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "wrong.json"
            path.write_text("{ 'command': 'x', 'data': 'Nothing' }\n")
            done = run(path, folder)
        self.assertEqual(done.returncode, 1)
        self.assertIn(f"{path}:1:", done.stderr)

    def test_compatibility(self):
        done = run(SOURCE / "schema" / "firn.json", "--since", SOURCE / "schema" / "released.json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("still work", done.stdout)


if __name__ == "__main__":
    report.main()

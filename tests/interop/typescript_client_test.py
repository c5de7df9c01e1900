#!/usr/bin/env python3
"""The TypeScript client that qapic makes: compiled with tsc as its users do, and run with Node, against
a live firnd and against servers that typescript_client_test.ts plays."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import firn_test
from firn_test import ROOT, needs, run
from nbd_writer import NbdWriter

CLIENTS = pathlib.Path(os.environ.get("FIRN_TEST_CLIENTS", ROOT / "build/release/generated/clients"))
SOURCE = pathlib.Path(__file__).with_suffix(".ts")
SIZE = 64 << 20
OPTIONS = {"target": "es2020", "lib": ["es2020"], "types": [], "module": "node16",
           "moduleResolution": "node16", "outDir": "out", "rootDir": ".", "strict": True,
           "noUncheckedIndexedAccess": True, "exactOptionalPropertyTypes": True}


class Project:
    """A folder with the package installed as npm does it, this test, and the manual's example."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="firn-test-"))
        package = self.folder / "node_modules" / "firn-client"
        shutil.copytree(CLIENTS / "typescript", package, ignore=shutil.ignore_patterns("dist"))
        run("tsc", "-p", package)
        (self.folder / "package.json").write_text('{"type": "module"}', encoding="utf-8")
        (self.folder / "tsconfig.json").write_text(json.dumps({
            "compilerOptions": OPTIONS, "files": ["client_test.ts", "example.ts"]}), encoding="utf-8")
        shutil.copy(SOURCE, self.folder / "client_test.ts")
        manual = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
        example = re.search(r"```typescript\n(.*?)```", manual, re.DOTALL)[1]
        (self.folder / "example.ts").write_text(example, encoding="utf-8")
        run("tsc", "-p", self.folder)
        self.program = self.folder / "out" / "client_test.js"
        self.example = self.folder / "out" / "example.js"
        lines = run("node", self.program, "scripted", check=False).stdout
        self.scripted = {}
        self.rest = []  # what is no case's result: a crash, an unhandled rejection
        for line in lines.splitlines():
            try:
                case = json.loads(line)
                self.scripted[case["name"]] = case["failure"]
            except (ValueError, KeyError, TypeError):
                self.rest.append(line)


class TypescriptCase(firn_test.Case):
    project = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if firn_test.against_peer():
            raise unittest.SkipTest("Firn alone: the client is made from its schema")
        if TypescriptCase.project is None:
            TypescriptCase.project = Project()
            unittest.addModuleCleanup(shutil.rmtree, TypescriptCase.project.folder)


@needs("tsc", "node")
class Live(TypescriptCase):
    def node(self, *arguments):
        process = subprocess.Popen(["node", *map(str, arguments)], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.addCleanup(process.communicate)
        self.addCleanup(process.kill)
        return process

    def expect(self, process, line):
        got = process.stdout.readline()
        if got != f"{line}\n":
            self.fail(got + process.communicate(timeout=60)[0])

    def test_a_snapshot_while_a_client_writes(self):
        path = self.image(size=SIZE)
        overlay = self.folder / "overlay.qcow2"
        daemon = self.start()
        process = self.node(self.project.program, "snapshot", daemon.qmp_path, path, overlay)
        self.expect(process, "serving")
        writer = NbdWriter(daemon, SIZE)
        try:
            writer.wait_for(20)
            before = writer.written
            process.stdin.write("go\n")
            process.stdin.flush()
            self.expect(process, "taken")
            writer.wait_for(writer.written + 20)
        finally:
            writer.stop()
        output, _ = process.communicate("go\n", timeout=60)
        self.assertEqual((0, "done\n"), (process.returncode, output))
        self.assertEqual(0, daemon.wait_for_end())
        self.io(path, *NbdWriter.reads(before))
        self.io(overlay, *NbdWriter.reads(writer.written))
        self.check_image(path)
        self.check_image(overlay)

    def test_a_server_that_vanishes(self):
        daemon = self.start()
        process = self.node(self.project.program, "server_gone", daemon.qmp_path)
        self.expect(process, "connected")
        daemon.kill()
        output, _ = process.communicate(timeout=60)
        self.assertEqual((0, "done\n"), (process.returncode, output))

    def test_the_example_of_the_manual(self):
        daemon = self.start()
        path = self.image(size=SIZE)
        output = run("node", self.project.example, daemon.qmp_path, path,
                     self.folder / "overlay.qcow2").stdout
        self.assertRegex(output, r"took over; no request was let in for \d+ ns\n\w+: .*vdb")
        daemon.stop()


@needs("tsc", "node")
class Scripted(TypescriptCase):
    def test_nothing_else_was_said(self):
        self.assertEqual([], self.project.rest)


def _add_case(name):
    def test(self):
        self.assertIn(name, self.project.scripted, "\n".join(self.project.rest))
        self.assertIsNone(self.project.scripted[name], self.project.scripted[name])
    setattr(Scripted, f"test_{name}", test)


for _name in re.findall(r"^scripted\.set\('(\w+)'", SOURCE.read_text(encoding="utf-8"), re.MULTILINE):
    _add_case(_name)


if __name__ == "__main__":
    firn_test.main()

#!/usr/bin/env python3
"""`firn img` against qemu-img: the same command lines in two folders that are alike; the same output,
errors, exit status and images after.
"""

import json
import os
import re
import subprocess

import firn_test
from firn_test import MIB, run, run_json

FIRN = os.environ.get("FIRN_TEST_CLI", str(firn_test.ROOT / "build" / "release" / "bin" / "firn"))


class Outcome:
    def __init__(self, process):
        self.status = process.returncode
        self.out = process.stdout
        self.err = process.stderr

    def __repr__(self):
        return f"[{self.status}] {self.out!r} {self.err!r}"


def plain_error(text):
    """An error without the program's name, its hints and its line breaks."""
    lines = []
    for line in text.splitlines():
        if line.startswith(("Try '", "WARNING:", "         ")) or "warning:" in line:
            continue
        line = re.sub(r"^(qemu-img|firn): ", "", line)
        line = re.sub(r"^img \w+: ", "", line)
        lines.append(line)
    return " ".join(" ".join(lines).split())


def plain_output(text):
    """Output without what the clock and the layout on disk decide."""
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)
    return re.sub(r"disk size: .*", "disk size: N", text)


def plain_json(text):
    def walk(value):
        if isinstance(value, list):
            return [walk(item) for item in value]
        if isinstance(value, dict):
            return {key: walk(item) for key, item in value.items()
                    if key not in ("actual-size", "date-sec", "date-nsec")}
        return value
    return walk(json.loads(text))


@firn_test.needs("qemu-img")
class ImgTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        if firn_test.against_peer():
            self.skipTest("Firn alone: its command")
        self.ours = self.folder / "firn"
        self.theirs = self.folder / "qemu"
        self.ours.mkdir()
        self.theirs.mkdir()

    def firn(self, *arguments, cwd=None):
        return Outcome(subprocess.run([FIRN, "img", *map(str, arguments)], capture_output=True,
                                      text=True, timeout=60, cwd=cwd or self.ours, check=False))

    def qemu(self, *arguments):
        return Outcome(subprocess.run(["qemu-img", *map(str, arguments)], capture_output=True,
                                      text=True, timeout=60, cwd=self.theirs, check=False))

    def both(self, *arguments, errors=True):
        """Runs one command line with both; what differs fails the test. Gives Firn's outcome."""
        ours, theirs = self.firn(*arguments), self.qemu(*arguments)
        self.assertEqual(theirs.status, ours.status, f"{arguments}: {ours}, qemu-img: {theirs}")
        if "--output=json" in arguments and theirs.status == 0:
            self.assertEqual(plain_json(theirs.out), plain_json(ours.out), arguments)
        else:
            self.assertEqual(plain_output(theirs.out), plain_output(ours.out), arguments)
        if errors:
            self.assertEqual(plain_error(theirs.err), plain_error(ours.err), arguments)
        return ours

    def in_both(self, *command):
        """Prepares both folders in the same way."""
        for folder in (self.ours, self.theirs):
            run(*command, cwd=folder)

    def same_files(self):
        self.assertEqual(sorted(p.name for p in self.theirs.iterdir()),
                         sorted(p.name for p in self.ours.iterdir()))

    # create -------------------------------------------------------------------------------------

    def test_create(self):
        self.in_both("qemu-img", "create", "-q", "-f", "qcow2", "base.qcow2", "64M")
        (self.ours / "sub").mkdir()
        (self.theirs / "sub").mkdir()
        for arguments in (
                "-f qcow2 a.qcow2 64M",
                "-f qcow2 a.qcow2 1.5G",
                "-f qcow2 a.qcow2 1025",
                "-f qcow2 a.qcow2 0",
                "-f qcow2 -o compat=0.10 a.qcow2 10M",
                "-f qcow2 -o compat=v3,cluster_size=4k,refcount_bits=64 a.qcow2 10M",
                "-f qcow2 -o cluster_size=2M -o lazy_refcounts=on a.qcow2 10M",
                "-f qcow2 -o extended_l2=on,cluster_size=128k,compression_type=zstd a.qcow2 10M",
                "-f qcow2 -o preallocation=metadata a.qcow2 3M",
                "-f qcow2 -o preallocation=falloc a.qcow2 3M",
                "-f qcow2 -o preallocation=full a.qcow2 3M",
                "-f qcow2 -o size=5M a.qcow2",
                "-f qcow2 -b base.qcow2 -F qcow2 a.qcow2",
                "-f qcow2 -b base.qcow2 -F qcow2 a.qcow2 128M",
                "-f qcow2 -b base.qcow2 -F raw a.qcow2",
                "-f qcow2 -b ../base.qcow2 -F qcow2 sub/a.qcow2",
                "-f qcow2 -o backing_file=base.qcow2,backing_fmt=qcow2 a.qcow2",
                "-f qcow2 -b base.qcow2 -F qcow2 -o backing_file=other a.qcow2",
                "-f qcow2 -u -b missing.qcow2 -F qcow2 a.qcow2 1G",
                "-q -f qcow2 a.qcow2 1M",
                "-f raw a.raw 10M",
                "a.raw 1025",
                "-f raw -o preallocation=falloc a.raw 2M",
                "-f raw -o preallocation=full a.raw 2M"):
            with self.subTest(arguments=arguments):
                self.both("create", *arguments.split())
                self.same_files()
                name = next(w for w in arguments.split() if w.startswith(("a.", "sub/")))
                # Each tool says the same of both images.
                infos = [run_json("qemu-img", "info", "--output=json", name, cwd=folder)
                         for folder in (self.ours, self.theirs)]
                self.assertEqual(plain_json(json.dumps(infos[1])), plain_json(json.dumps(infos[0])))
                if name.endswith("qcow2") and "missing" not in arguments:
                    run("qemu-img", "check", name, cwd=self.ours)
                sizes = [(folder / name).stat().st_blocks for folder in (self.ours, self.theirs)]
                if "preallocation=f" in arguments:
                    self.assertGreaterEqual(sizes[0] * 512, 2 * MIB)
                (self.ours / name).unlink()
                (self.theirs / name).unlink()

    def test_create_fails_alike_and_leaves_nothing(self):
        self.in_both("qemu-img", "create", "-q", "-f", "qcow2", "base.qcow2", "64M")
        before = (self.ours / "base.qcow2").read_bytes()
        for arguments in (
                "-f qcow2 -o cluster_size=4k,extended_l2=on a.qcow2 1M",
                "-f qcow2 -o cluster_size=3 a.qcow2 1M",
                "-f qcow2 -o cluster_size=4M a.qcow2 1M",
                "-f qcow2 -o refcount_bits=3 a.qcow2 1M",
                "-f qcow2 -o compat=0.10,extended_l2=on a.qcow2 1M",
                "-f qcow2 -o compat=0.10,lazy_refcounts=on a.qcow2 1M",
                "-f qcow2 -o compat=0.10,refcount_bits=1 a.qcow2 1M",
                "-f qcow2 -o bogus=1 a.qcow2 1M",
                "-f raw -o bogus=1 a.raw 1M",
                "-f qcow2 -o lazy_refcounts=maybe a.qcow2 1M",
                "-f qcow2 -o preallocation=metadata -b base.qcow2 -F qcow2 a.qcow2",
                "-f qcow2 -b base.qcow2 a.qcow2",
                "-f qcow2 -b missing.qcow2 -F qcow2 a.qcow2",
                "-f qcow2 -u -b missing.qcow2 -F qcow2 a.qcow2",
                "-f qcow2 -u -b missing.qcow2 a.qcow2 1G",
                "-f qcow2 -b base.qcow2 -F bogus a.qcow2 1M",
                "-f qcow2 -b base.qcow2 -F qcow2 base.qcow2",
                "-f qcow2 -F qcow2 a.qcow2 1M",
                "-f qcow2 -o backing_file=,backing_fmt=qcow2 a.qcow2 1M",
                "-f qcow2 -o size=5M a.qcow2 6M",
                "-f qcow2 a.qcow2",
                "-f qcow2",
                "",
                "-f bogus a.x 1M",
                "-f qcow2 a.qcow2 1X",
                "-f qcow2 a.qcow2 -- -1",
                "-f qcow2 a.qcow2 9E",
                "-f qcow2 a.qcow2 99E",
                "-f qcow2 a.qcow2 1M 2M",
                "-f qcow2 nodir/a.qcow2 1M",
                "-f qcow2 nope:a.qcow2 1M",
                "-f raw -b base.qcow2 -F qcow2 a.raw"):
            with self.subTest(arguments=arguments):
                self.both("create", *arguments.split())
                self.same_files()
        # An unset variable.
        self.both("create", "-f", "qcow2", "-b", "", "-F", "qcow2", "a.qcow2", "1M")
        self.same_files()
        self.assertEqual(before, (self.ours / "base.qcow2").read_bytes())

    def test_create_refuses_what_firn_has_not(self):
        for option in ("encryption=on", "encrypt.format=luks", "data_file=x", "nocow=on"):
            outcome = self.firn("create", "-f", "qcow2", "-o", option, "a.qcow2", "1M")
            self.assertEqual(1, outcome.status)
            self.assertIn(option.split("=")[0], outcome.err)
        self.assertIn("--object", self.firn("create", "--object", "secret,id=s", "a", "1M").err)
        self.assertEqual([], list(self.ours.iterdir()))

    def test_create_help(self):
        for fmt in ("qcow2", "raw"):
            ours = self.firn("create", "-f", fmt, "-o", "help").out.splitlines()
            theirs = self.qemu("create", "-f", fmt, "-o", "help", "x").out.splitlines()
            self.assertEqual(f"Supported {fmt} options:", ours[0])
            missing = [line for line in theirs[1:] if line not in ours]
            for line in missing:
                self.assertRegex(line, "data_file|encrypt|nocow|extent_size|preallocation")
            for line in ours[1:]:
                if "preallocation" not in line:
                    self.assertIn(line, theirs)
        self.assertEqual(self.firn("create", "-f", "raw", "-o", "help").out,
                         self.firn("create", "-f", "raw", "-o", "size=1M,?").out)

    def test_create_takes_no_image_in_use(self):
        disk = self.image(size=MIB)
        self.io(disk, "write -P 7 0 64k")
        before = disk.read_bytes()
        daemon = self.serve(disk)
        outcome = self.firn("create", "-f", "qcow2", disk, "1M")
        self.assertEqual(1, outcome.status)
        self.assertIn('Failed to get "write" lock', outcome.err)
        # A backing image may be in use.
        outcome = self.firn("create", "-f", "qcow2", "-b", disk, "-F", "qcow2", "over.qcow2")
        self.assertEqual(0, outcome.status, outcome)
        daemon.stop()
        self.assertEqual(before, disk.read_bytes())

    def test_create_over_an_old_file(self):
        path = self.ours / "a.qcow2"
        path.write_bytes(b"\xaa" * (3 * MIB))
        # What can be known before is checked before the old content goes.
        outcome = self.firn("create", "-f", "qcow2", "-o", "cluster_size=3", path, "1M")
        self.assertEqual(1, outcome.status)
        self.assertEqual(b"\xaa" * (3 * MIB), path.read_bytes())
        self.assertEqual(0, self.firn("create", "-f", "qcow2", path, "1M").status)
        run("qemu-img", "check", path)
        self.io(path, "read -P 0 0 1M")
        path.write_bytes(b"\xaa" * (3 * MIB))
        self.assertEqual(0, self.firn("create", path, "1M").status)
        self.assertEqual(bytes(MIB), path.read_bytes())

    # info ---------------------------------------------------------------------------------------

    def make_images(self):
        for command in (
                "create -q -f qcow2 base.qcow2 64M",
                "create -q -f qcow2 -b base.qcow2 -F qcow2 mid.qcow2 128M",
                "create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2",
                "create -q -f raw flat.raw 10M",
                "create -q -f qcow2 -b flat.raw -F raw onraw.qcow2",
                "create -q -f qcow2 -o compat=0.10 old.qcow2 1M",
                "create -q -f qcow2 -o extended_l2=on,lazy_refcounts=on,refcount_bits=1,"
                "compression_type=zstd,cluster_size=16k new.qcow2 3G",
                "create -q -u -f qcow2 -b missing.qcow2 -F qcow2 dangling.qcow2 1M",
                "create -q -f qcow2 -b base.qcow2 -F qcow2 loop.qcow2",
                "rebase -u -b loop.qcow2 -F qcow2 loop.qcow2",
                "snapshot -c first base.qcow2",
                "snapshot -c a-second-one-with-a-long-name base.qcow2"):
            self.in_both("qemu-img", *command.split())
        for folder in (self.ours, self.theirs):
            (folder / "odd.raw").write_bytes(b"x" * 1025)
            (folder / "empty").write_bytes(b"")
            (folder / "sub").mkdir()
        self.in_both("qemu-img", "create", "-q", "-f", "qcow2", "-b", "../base.qcow2", "-F",
                     "qcow2", "sub/up.qcow2")

    def test_info(self):
        self.make_images()
        for form in ([], ["--output=json"]):
            for arguments in (
                    "base.qcow2", "mid.qcow2", "flat.raw", "onraw.qcow2", "old.qcow2", "new.qcow2",
                    "dangling.qcow2", "odd.raw", "empty", "sub/up.qcow2", "file:base.qcow2",
                    "-f raw base.qcow2", "-f qcow2 base.qcow2", "-U base.qcow2",
                    "--force-share base.qcow2", "loop.qcow2",
                    "--backing-chain top.qcow2", "--backing-chain sub/up.qcow2",
                    "-U --backing-chain onraw.qcow2", "--backing-chain flat.raw",
                    "--image-opts driver=qcow2,file.filename=base.qcow2",
                    "--image-opts driver=qcow2,file.driver=file,file.filename=mid.qcow2",
                    "--image-opts file.filename=mid.qcow2",
                    "--image-opts --backing-chain driver=qcow2,file.driver=file,"
                    "file.filename=top.qcow2"):
                with self.subTest(arguments=arguments, form=form):
                    outcome = self.both("info", *form, *arguments.split())
                    self.assertEqual(0, outcome.status)
        self.both("info", 'json:{"driver":"qcow2","file":{"driver":"file",'
                  '"filename":"base.qcow2"}}')
        self.both("info", "--image-opts", "driver=raw,size=512,file.driver=file,"
                  "file.filename=base.qcow2")

    def test_info_fails_alike(self):
        self.make_images()
        for arguments in ("nope.qcow2", "", "a b", "--output=xml base.qcow2", "-f qcow2 flat.raw",
                          "-f bogus base.qcow2", "--image-opts driver=bogus",
                          "--image-opts -f qcow2 driver=qcow2,file.filename=base.qcow2",
                          "--image-opts filename=base.qcow2", "--backing-chain loop.qcow2",
                          "--backing-chain dangling.qcow2", "nope:x", "nodir/x.qcow2"):
            with self.subTest(arguments=arguments):
                self.assertEqual(1, self.both("info", *arguments.split()).status)

    def test_info_of_an_image_in_use(self):
        disk = self.image(size=MIB)
        self.serve(disk)
        self.assertEqual(1, self.both("info", disk, errors=False).status)
        self.assertIn("Failed to get shared \"write\" lock", self.firn("info", disk).err)
        self.assertIn("Is another process using the image", self.firn("info", disk).err)
        self.assertEqual(0, self.both("info", "-U", disk).status)

    def test_a_strangers_names_are_shown_harmlessly(self):
        self.in_both("qemu-img", "create", "-q", "-f", "qcow2", "a.qcow2", "1M")
        run("qemu-img", "snapshot", "-c", "\x1b[31mred", "a.qcow2", cwd=self.ours)
        self.assertNotIn("\x1b", self.firn("info", "a.qcow2").out)
        self.assertNotIn("\x1b", self.firn("snapshot", "-l", "a.qcow2").out)

    # snapshot -----------------------------------------------------------------------------------

    def test_snapshot(self):
        self.in_both("qemu-img", "create", "-q", "-f", "qcow2", "a.qcow2", "16M")
        self.both("snapshot", "-l", "a.qcow2")
        for number, name in enumerate(("one", "two", "two", "with space", "")):
            self.in_both("qemu-io", "-c", f"write -q -P {number + 1} 0 1M", "a.qcow2")
            self.both("snapshot", "-c", name, "a.qcow2")
        self.both("snapshot", "-l", "a.qcow2")
        self.both("info", "--output=json", "a.qcow2")
        for arguments in (["-a", "one"], ["-a", "2"], ["-a", "nope"], ["-d", "nope"], ["-d", "1"],
                          ["-d", "two"], ["-l"], ["-d", "two"], ["-a", "one"], ["-q", "-d", ""],
                          ["-l"], ["-U", "-l"]):
            with self.subTest(arguments=arguments):
                self.both("snapshot", *arguments, "a.qcow2")
                run("qemu-img", "check", "a.qcow2", cwd=self.ours)
                self.assertTrue(self.same_content())
        # The last that was applied is "one".
        self.io(self.ours / "a.qcow2", "read -q -P 1 0 1M")

    def same_content(self):
        return "identical" in run("qemu-img", "compare", self.ours / "a.qcow2",
                                  self.theirs / "a.qcow2").stdout

    def test_snapshot_fails_alike(self):
        self.in_both("qemu-img", "create", "-q", "-f", "qcow2", "a.qcow2", "1M")
        self.in_both("qemu-img", "create", "-q", "-f", "raw", "a.raw", "1M")
        for arguments in ("-c x -d y a.qcow2", "-l -l a.qcow2", "-l -c x a.qcow2", "", "-l",
                          "-l nope", "-l a.qcow2 b.qcow2", "-U -c z a.qcow2", "-a x a.raw",
                          "-d x a.raw"):
            with self.subTest(arguments=arguments):
                self.assertEqual(1, self.both("snapshot", *arguments.split()).status)
        self.assertEqual(1, self.firn("snapshot", "-c", "x", "a.raw").status)
        self.assertEqual(0, self.both("snapshot", "-l", "a.raw").status)
        self.both("snapshot", "--image-opts", "-l", "driver=qcow2,file.filename=a.qcow2")

    def test_snapshot_of_an_image_in_use(self):
        disk = self.image(size=MIB)
        before = disk.read_bytes()
        self.serve(disk)
        for action in (["-c", "x"], ["-l"], ["-a", "x"], ["-d", "x"]):
            outcome = self.both("snapshot", *action, disk, errors=False)
            self.assertEqual(1, outcome.status)
            self.assertIn("lock", outcome.err)
        self.assertEqual(before, disk.read_bytes())

    # The command itself -------------------------------------------------------------------------

    def test_help(self):
        for command in ("create", "info", "snapshot"):
            for flag in ("--help", "-h"):
                outcome = self.firn(command, flag)
                self.assertEqual(0, outcome.status)
                self.assertTrue(outcome.out.startswith(f"usage: firn img {command} "), outcome)
        self.assertIn("img create", self.firn("--help").out)
        self.assertIn("img bogus", self.firn("bogus").err)
        self.assertIn("--help", self.firn().err)


if __name__ == "__main__":
    firn_test.main()

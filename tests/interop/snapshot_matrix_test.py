#!/usr/bin/env python3
"""blockdev-snapshot-sync as a matrix: each combination of how the disk is named, mode, format, what the
target is, and what goes wrong, with the answer that it must get, the files that it must leave and the
chain afterwards.

The rows are generated. What a row must get is told by `expected_of`, which goes through the checks in
the order that docs/snapshot.md gives them: the first that fails gives the answer. `--list` prints the
rows with their answers."""

import collections
import os
import subprocess
import sys

import firn_test
from firn_test import MIB, QmpError, run, run_json

SIZE = 8 * MIB
EIO = 5
MODES = (None, "absolute-paths", "exclusive", "relative-paths", "existing")

Row = collections.namedtuple("Row", "address mode format target")
# cls "" is success. `text` stands for itself; with `within`, it is a part of the description.
Answer = collections.namedtuple("Answer", "cls text data within", defaults=({}, False))
SUCCESS = Answer("", "")

# What is there before the command, and whether the command can make an overlay of it.
TARGETS = {
    "new": "a name that is free",
    "in a folder": "a name that is free, in another folder",
    "file: prefix": "the same, with its protocol before it",
    "colon": "a name with a colon in it, by its path",
    "no folder": "a folder on the way is missing",
    "empty": "an empty file",
    "text": "a file with something else in it",
    "ready": "an image over the head, as qemu-img makes it",
    "ready, relative": "the same, with a relative backing path",
    "small": "an image over the head, but smaller",
    "large": "an image over the head, but larger",
    "no backing": "an image of the right size over nothing",
    "other backing": "an image over another file",
    "head": "the disk's own image",
    "head by link": "a symbolic link to it",
    "layer": "an image below in the chain",
    "layer by link": "a symbolic link to one",
    "layer by name": "a hard link to one",
    "other disk": "the image of another disk",
    "locked": "an image that another program writes to",
    "directory": "a folder",
    "pipe": "a named pipe",
    "null": "a character device",
    "block device": "a block device",
    "busy device": "a block device that another disk is on",
    "protocol": "a protocol that is not there",
}
NAMES = {
    "device": {},
    "node-name": {},
    "both": {},
    "unknown device": Answer("DeviceNotFound", "Cannot find device='nope' nor node-name=''",
                             {"device": "nope"}),
    "unknown node": Answer("DeviceNotFound", "Cannot find device='' nor node-name='nope'",
                           {"device": "nope"}),
    "neither": Answer("DeviceNotFound", "Cannot find device='' nor node-name=''", {"device": ""}),
    "a layer": Answer("GenericError", "Node 'disk0' is busy: node is used as backing hd of ", {}, True),
    "a file node": Answer("GenericError", "Node 'file0' is busy: node is used as file of 'disk0'"),
    "no overlay name": Answer("GenericError", "New overlay node-name missing"),
    "overlay name taken": Answer("GenericError", "New overlay node-name already in use"),
    "overlay name of a device": Answer("GenericError", "New overlay node-name already in use"),
    "overlay name malformed": Answer("GenericError", "Invalid node-name: 'bad name'"),
}


def rows():
    for address in ("device", "node-name"):
        for mode in MODES:
            for target in TARGETS:
                yield Row(address, mode, None, target)
    for mode in MODES:
        for address in NAMES:
            if address not in ("device", "node-name"):
                yield Row(address, mode, None, "new")
        for target in ("new", "no folder", "empty", "layer"):
            for fmt in ("raw", "bogus", "file"):
                yield Row("device", mode, fmt, target)
        yield Row("device", mode, "qcow2", "new")


def expected_of(row, path, scene):
    """The answer that the row must get; `path` is the target as it is asked for."""
    creates = row.mode != "existing"
    failed = {"filename": path}

    def bad_file(text, within=False):
        return Answer("OpenFileFailed", text, failed, within)

    # 1 to 5: the disk, and the overlay's name.
    if isinstance(NAMES[row.address], Answer):
        if row.address != "overlay name malformed":
            return NAMES[row.address]
    # 6: the format.
    if row.format == "bogus":
        return Answer("InvalidBlockFormat",
                      f"Unknown {'file format' if creates else 'driver'} 'bogus'", {"name": "bogus"})
    if row.format in ("raw", "file"):
        return Answer("GenericError",
                      f"Backing file not supported for file format '{row.format}'" if creates else
                      "The overlay does not support backing images")
    # 7: the name of the file, and the form of the node's.
    if row.target == "protocol":
        return bad_file("Unknown protocol 'nope'")
    if row.target == "no folder":
        return bad_file(f"Could not {'create' if creates else 'open'} '{path}': "
                        "No such file or directory")
    if row.address == "overlay name malformed":
        return NAMES[row.address]
    # 9: whose file it is.
    exists = os.path.lexists(scene.plain(path))
    if exists and row.mode == "exclusive":
        return bad_file(f"Could not create '{path}': File exists")
    if row.target in ("head", "head by link"):
        return bad_file("Error: Trying to create an image with the same filename as the backing file")
    owners = {"layer": "file0", "layer by link": "file0", "layer by name": "file0",
              "other disk": "other-file", "busy device": "looped-file"}
    if row.target in owners:
        return bad_file(f"Could not create '{path}': node '{owners[row.target]}' has this file open")
    if row.target == "block device" and row.mode == "relative-paths":
        return bad_file(f"'{path}' is a block device, which no path can be relative to")
    # 10: opening it.
    if row.target == "directory":
        return bad_file(f"Could not open '{scene.plain(path)}': Is a directory")
    if row.target in ("pipe", "null"):
        return bad_file(scene.plain(path), within=True)
    if row.target == "locked":
        return bad_file(f"Could not lock '{path}': Failed to get \"write\" lock")
    # 11 and 12: what is made of it, or found there.
    if creates:
        return SUCCESS
    if not exists:
        return bad_file(f"Could not open '{scene.plain(path)}': No such file or directory")
    if row.target in ("empty", "text", "block device"):
        return bad_file("Image is not in qcow2 format", within=row.target == "empty")
    if row.target in ("small", "large"):
        return bad_file("an overlay must be as large as what it stands on", within=True)
    if row.target == "no backing":
        return bad_file(f"'{path}' names nothing as its backing image, not the file of node", True)
    if row.target == "other backing":
        return bad_file(f"'{path}' names '{scene.other}' as its backing image, not the file", True)
    return SUCCESS


class Scene:
    """The disk vda on a chain of two layers, another disk, two loop devices, and the targets."""

    def __init__(self, test, folder):
        self.test = test
        self.folder = folder
        self.number = 0
        self.files = folder / "files"
        self.files.mkdir()
        (self.files / "deep").mkdir()
        self.base = self.image("base.qcow2")
        self.other = self.image("other.qcow2")
        self.loops = [self.loop("loop0.img"), self.loop("loop1.img")]
        arguments = []
        disks = (("disk0", "file0", "file", "qcow2", self.base),
                 ("other", "other-file", "file", "qcow2", self.other))
        if self.loops[1]:
            disks += (("looped", "looped-file", "host_device", "raw", self.loops[1]),)
        for node, file_node, protocol, fmt, path in disks:
            arguments += ["--blockdev", f"driver={protocol},node-name={file_node},filename={path}",
                          "--blockdev", f"driver={fmt},node-name={node},file={file_node}"]
        self.daemon = test.start(
            *arguments, "--device", "id=vda,node-name=disk0",
            "--export", "type=nbd,id=e,node-name=disk0,name=vda,writable=on")
        test.io(self.daemon, "write -q -P 7 0 1M", "flush")
        self.head, self.head_path = "disk0", self.base
        self.layers = [("disk0", self.base)]
        self.take(self.files / "first.qcow2", "first")
        self.locked = self.image("locked.qcow2")
        self.holder = subprocess.Popen(["qemu-io", "-f", "qcow2", str(self.locked)],
                                       stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.holder.stdin.write(b"read 0 512\n")
        self.holder.stdin.flush()
        while b"ops" not in self.holder.stdout.readline():
            pass

    def close(self):
        self.holder.stdin.close()
        self.holder.wait(20)
        self.holder.stdout.close()

    def image(self, name, size=SIZE, backing=None):
        path = self.files / name
        argv = ["qemu-img", "create", "-q", "-f", "qcow2"]
        if backing:
            argv += ["-u", "-b", backing, "-F", "qcow2"]
        run(*argv, path, size)
        return path

    def loop(self, name):
        """None where we may not have one."""
        path = self.folder / name
        with open(path, "wb") as out:
            out.truncate(2 * SIZE)
        result = run("losetup", "-f", "--show", path, check=False)
        if result.returncode != 0:
            return None
        device = result.stdout.strip()
        self.test.addCleanup(run, "losetup", "-d", device, check=False)
        return device

    @staticmethod
    def plain(path):
        return path.removeprefix("file:")

    def take(self, path, node):
        self.daemon.execute("blockdev-snapshot-sync", device="vda", snapshot_file=str(path),
                            snapshot_node_name=node)
        self.note_head(node, path)

    def note_head(self, node, path):
        self.head, self.head_path = node, path
        self.layers.append((node, path))

    def chain(self):
        nodes = {n["node-name"]: n for n in
                 self.daemon.execute("query-named-block-nodes", {"flat": True})}
        head = {d["device"]: d for d in self.daemon.execute("query-block")}["vda"]["inserted"]
        return head["node-name"], sorted((n, i["ro"]) for n, i in nodes.items())

    def listing(self):
        found = {}
        for folder, _, names in os.walk(self.files):
            for name in names:
                path = os.path.join(folder, name)
                info = os.lstat(path)
                found[path] = (info.st_mode, info.st_ino)
        return found

    def target(self, kind):
        """Makes the target; gives its name as the command gets it, or None if there can't be one."""
        self.number += 1
        path = self.files / f"t{self.number}"
        head = str(self.head_path)
        if kind == "in a folder":
            path = self.files / "deep" / path.name
        elif kind == "file: prefix":
            return f"file:{path}"
        elif kind == "colon":
            path = self.files / f"a:{path.name}"
        elif kind == "no folder":
            path = self.files / "nowhere" / "t"
        elif kind == "empty":
            path.touch()
        elif kind == "text":
            path.write_bytes(b"something else\n" * 1000)
        elif kind in ("ready", "small", "large", "no backing", "other backing", "ready, relative"):
            size = {"small": SIZE // 2, "large": SIZE * 2}.get(kind, SIZE)
            backing = {"no backing": None, "other backing": str(self.other),
                       "ready, relative": os.path.relpath(head, self.files)}.get(kind, head)
            self.image(path.name, size, backing)
        elif kind == "head":
            return head
        elif kind == "head by link":
            path.symlink_to(head)
        elif kind == "layer":
            return str(self.base)
        elif kind == "layer by link":
            path.symlink_to(self.base)
        elif kind == "layer by name":
            os.link(self.base, path)
        elif kind == "other disk":
            return str(self.other)
        elif kind == "locked":
            return str(self.locked)
        elif kind == "directory":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "null":
            return "/dev/null"
        elif kind == "block device":
            return self.free_device()
        elif kind == "busy device":
            return self.loops[1]
        elif kind == "protocol":
            return f"nope:{path}"
        return str(path)

    def free_device(self):
        """A loop device that is in no chain; each one that became an overlay stays one."""
        if self.loops[0] is not None and any(str(p) == self.loops[0] for _, p in self.layers):
            self.loops[0] = self.loop(f"loop{self.number}.img")
        return self.loops[0]


def arguments_of(row, path, scene, overlay):
    arguments = {"snapshot-file": path, "snapshot-node-name": overlay}
    if row.mode:
        arguments["mode"] = row.mode
    if row.format:
        arguments["format"] = row.format
    named = {
        "device": {"device": "vda"},
        "node-name": {"node-name": scene.head},
        "both": {"device": "vda", "node-name": "nope"},
        "unknown device": {"device": "nope"},
        "unknown node": {"node-name": "nope"},
        "neither": {},
        "a layer": {"node-name": "disk0"},
        "a file node": {"node-name": "file0"},
        "no overlay name": {"node-name": scene.head},
        "overlay name taken": {"device": "vda", "snapshot-node-name": "disk0"},
        "overlay name of a device": {"device": "vda", "snapshot-node-name": "vda"},
        "overlay name malformed": {"device": "vda", "snapshot-node-name": "bad name"},
    }[row.address]
    arguments.update(named)
    if row.address == "no overlay name":
        del arguments["snapshot-node-name"]
    return arguments


def content_of(path):
    try:
        with open(path, "rb") as data:
            return data.read(1 << 16)
    except OSError:
        return None


class SnapshotMatrixTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.scene = None
        self.addCleanup(lambda: self.scene and self.scene.close())
        # Cleanups run backwards: loop devices go after the daemon that has them open.
        self.addCleanup(self._kill_daemons)

    @firn_test.firn_only("its texts, and what it leaves alone")
    def test_matrix(self):
        self.scene = Scene(self, self.folder)
        done = 0
        for row in rows():
            path = self.scene.target(row.target)
            if path is None:
                continue  # no loop devices here
            with self.subTest(**row._asdict(), path=path):
                self.check(row, path)
            done += 1
        self.assertGreaterEqual(done, 150)
        self.finish()

    def check(self, row, path):
        scene = self.scene
        expected = expected_of(row, path, scene)
        before, files = scene.chain(), scene.listing()
        regular = os.path.isfile(scene.plain(path))
        content = content_of(scene.plain(path)) if regular else None
        overlay = f"s{scene.number}"
        try:
            scene.daemon.execute("blockdev-snapshot-sync", arguments_of(row, path, scene, overlay))
            got = SUCCESS
        except QmpError as error:
            got = Answer(error.cls, error.desc, error.data or {})
        if expected.within:
            self.assertIn(expected.text, got.text)
            got = got._replace(text=expected.text, within=True)
        self.assertEqual(expected, got)
        if expected != SUCCESS:
            self.assertEqual(before, scene.chain(), "the chain is as it was")
            self.assertEqual(files, scene.listing(), "no file came, went or was replaced")
            if regular:
                self.assertEqual(content, content_of(scene.plain(path)), "its content is untouched")
            return
        self.check_overlay(row, scene.plain(path), overlay, files)

    def check_overlay(self, row, path, overlay, files):
        scene = self.scene
        head, nodes = scene.chain()
        self.assertEqual(overlay, head)
        self.assertIn((scene.head, True), nodes)
        self.assertIn((overlay, False), nodes)
        new = set(scene.listing()) - set(files)
        self.assertLessEqual(new, {path})
        info = run_json("qemu-img", "info", "-U", "--output=json", path)
        self.assertTrue(os.path.samefile(info["full-backing-filename"], scene.head_path))
        self.assertEqual("qcow2", info["backing-filename-format"])
        self.assertEqual(SIZE, info["virtual-size"])
        if row.mode != "existing":
            stored_relative = not info["backing-filename"].startswith("/")
            self.assertEqual(row.mode == "relative-paths", stored_relative, info)
        scene.note_head(overlay, path)

    def finish(self):
        scene = self.scene
        self.io(scene.daemon, "read -q -P 7 0 1M", "write -q -P 8 1M 64k", "flush")
        scene.daemon.stop()
        for _, path in scene.layers:
            self.check_image(path)
        self.io(scene.head_path, "read -q -P 7 0 1M", "read -q -P 8 1M 64k")


# What a store does, and the answer: a text that the description has in it.
FAULTS = {
    "no new files": ("create error=EIO", "Could not create '{path}': Input/output error"),
    "no opening": ("open error=EACCES", "Permission denied"),
    "full": ("write error=ENOSPC", "No space left on device"),
    "writes fail": ("write error=EIO", "Input/output error"),
    "syncs fail": ("fsync error=EIO", "Input/output error"),
    "syncs of the folder fail": ("fsyncdir error=EIO", "Input/output error"),
    "hangs at a write": ("write hang", "The snapshot was not ready within 100 ms"),
    "hangs at a file": ("create hang", "The snapshot was not ready within 100 ms"),
}


class FaultMatrixTest(firn_test.Case):
    """The same with a store that fails: under the overlay in each mode, and under the disk."""

    def serve_disk(self, path, *extra):
        daemon = self.start(
            "--blockdev", f"driver=file,node-name=file0,filename={path}",
            "--blockdev", "driver=qcow2,node-name=disk0,file=file0",
            "--device", "id=vda,node-name=disk0", *extra,
            "--export", "type=nbd,id=e,node-name=disk0,name=vda,writable=on")
        self.io(daemon, "write -q -P 7 0 1M", "flush")
        return daemon

    @firn_test.firn_only("what it leaves")
    def test_the_overlays_store(self):
        store = self.fault_store()
        daemon = self.serve_disk(self.image(size=SIZE))
        number = 0
        for name, (rule, text) in FAULTS.items():
            for mode in ("absolute-paths", "exclusive", "relative-paths"):
                number += 1
                path = store.path / f"s{number}"
                with self.subTest(fault=name, mode=mode):
                    self.check_fault(daemon, store, rule, text.format(path=path), path, mode)
        daemon.execute("blockdev-snapshot-sync", device="vda",
                       snapshot_file=str(store.path / "good"))
        self.io(daemon, "write -q -P 8 0 64k", "read -q -P 7 64k 64k", "flush")
        daemon.stop()
        self.check_image(store.path / "good")

    def check_fault(self, daemon, store, rule, text, path, mode):
        store.tell(f"rule {rule}")
        members = {"deadline-ms": 100} if "hang" in rule else {}
        error = self.assert_qmp_error(
            daemon.execute, "blockdev-snapshot-sync", device="vda", mode=mode,
            snapshot_file=str(path), snapshot_node_name="s", arguments=members, contains=text,
            cls="GenericError" if members else "OpenFileFailed")
        if not members:
            self.assertEqual({"filename": str(path)}, error.data)
        self.io(daemon, "read -q -P 7 0 1M", "write -q -P 7 512k 4096", "flush")
        store.tell("clear")
        if members:
            # What was begun is undone behind the answer; the next command waits for it.
            self.assert_qmp_error(daemon.execute, "block_resize", device="vda", size=-1)
        self.assertEqual([], sorted(p.name for p in store.path.iterdir()), "no file is left")
        self.assertEqual(["disk0", "file0"],
                         sorted(n["node-name"] for n in daemon.execute("query-named-block-nodes")))

    @staticmethod
    def flush_error(daemon):
        """What an NBD client's flush gets."""
        client = firn_test.Nbd(daemon.nbd_path)
        client.go("vda")
        client.request(client.FLUSH)
        error, _, _ = client.simple_reply()
        client.close()
        return error

    @firn_test.firn_only("the state of a seal, and the way out")
    def test_the_disks_store(self):
        for accept_loss in (False, True):
            with self.subTest(accept_loss=accept_loss):
                self.check_seal(accept_loss)

    def check_seal(self, accept_loss):
        store = self.fault_store(f"store{int(accept_loss)}")
        disk = store.path / "disk"
        run("qemu-img", "create", "-q", "-f", "qcow2", disk, SIZE)
        daemon = self.serve_disk(disk)
        # The overlay takes its time, the disk's flush of the preparation is over, and a guest writes.
        slow = self.fault_store(f"slow{int(accept_loss)}")
        slow.tell("rule create hang")
        watcher = daemon.qmp  # connected from here on, for the events
        other = firn_test.Qmp(daemon.qmp_path)
        other.send_command("blockdev-snapshot-sync", {
            "device": "vda", "snapshot-file": str(slow.path / "s1"), "snapshot-node-name": "s1"})
        while slow.tell("hanging") == "0":
            pass
        store.tell("rule fsync error=EIO")
        # Its flush takes the store's one report, so that the seal must not believe its own.
        self.io(daemon, "write -q -P 9 4M 64k", "flush", check=False)
        slow.tell("clear")
        error = other.read_reply()["error"]
        other.close()
        self.assertIn("The snapshot was taken and node 's1' is in use, but node 'disk0' below it "
                      "could not be sealed", error["desc"])
        event = watcher.wait_event("BLOCK_SNAPSHOT_SEAL_FAILED")["data"]
        self.assertEqual(("vda", "disk0", "s1", False),
                         (event["device"], event["node-name"], event["overlay"], event["can-retry"]))
        head = daemon.execute("query-block")[0]["inserted"]
        self.assertEqual({"node-name": "disk0", "state": "failed", "reason": event["reason"],
                          "can-retry": False}, head["unsealed"])
        self.assertEqual(EIO, self.flush_error(daemon))
        self.io(daemon, "write -q -P 9 5M 64k", "read -q -P 9 4M 64k")
        store.tell("clear")
        self.assertEqual(EIO, self.flush_error(daemon), "a later flush proves nothing")
        self.assert_qmp_error(daemon.execute, "blockdev-snapshot-seal", node_name="disk0",
                              contains="Node 'disk0' can't be sealed: a flush of it failed")
        if accept_loss:
            daemon.execute("blockdev-snapshot-seal", {"node-name": "disk0", "accept-loss": True})
            event = watcher.wait_event("BLOCK_SNAPSHOT_SEALED")["data"]
            self.assertEqual({"node-name": "disk0", "overlay": "s1", "loss-accepted": True}, event)
            self.assertNotIn("unsealed", daemon.execute("query-block")[0]["inserted"])
            self.assertEqual(0, self.flush_error(daemon))
            daemon.execute("blockdev-snapshot-sync", device="vda",
                           snapshot_file=str(slow.path / "s2"))
            daemon.stop()
        else:
            daemon.kill()

    @firn_test.firn_only("the reserve")
    def test_a_store_that_is_nearly_full(self):
        daemon = self.serve_disk(self.image(size=SIZE), "--snapshot-reserve", "100%")
        path = self.folder / "s1"
        error = self.assert_qmp_error(daemon.execute, "blockdev-snapshot-sync", device="vda",
                                      snapshot_file=str(path), cls="OpenFileFailed",
                                      contains=f"The store of '{path}' has ")
        self.assertIn("that are to stay free", error.desc)
        self.assertFalse(path.exists())
        daemon.stop()


class OverlayOptionsTest(firn_test.Case):
    """overlay-options, odd sizes, raw below, and what has grown."""

    def serve_disk(self, path, fmt="qcow2", protocol="file"):
        return self.start(
            "--blockdev", f"driver={protocol},node-name=file0,filename={path}",
            "--blockdev", f"driver={fmt},node-name=disk0,file=file0",
            "--device", "id=vda,node-name=disk0",
            "--export", "type=nbd,id=e,node-name=disk0,name=vda,writable=on")

    def take(self, daemon, name, **members):
        path = self.folder / name
        daemon.execute("blockdev-snapshot-sync", {
            "device": "vda", "snapshot-file": str(path),
            **{k.replace("_", "-"): v for k, v in members.items()}})
        return path

    @firn_test.firn_only("overlay-options")
    def test_layouts(self):
        daemon = self.serve_disk(self.image(size=SIZE))
        wanted = ({"cluster-size": 4096}, {"cluster-size": 2 * MIB}, {"extended-l2": False},
                  {"extended-l2": True, "cluster-size": 131072}, {"refcount-bits": 1},
                  {"refcount-bits": 64}, {"compression-type": "zstd"}, {"lazy-refcounts": True},
                  {"preallocation": "metadata"}, {"preallocation": "falloc"},
                  {"preallocation": "full"})
        paths = []
        for number, options in enumerate(wanted):
            with self.subTest(options=options):
                self.io(daemon, f"write -q -P {number + 1} {number * 64}k 64k")
                path = self.take(daemon, f"o{number}", overlay_options=options)
                paths.append(path)
                info = run_json("qemu-img", "info", "-U", "--output=json", path)
                data = info["format-specific"]["data"]
                self.assertEqual(options.get("cluster-size", 65536), info["cluster-size"])
                self.assertEqual(options.get("extended-l2", options.get("cluster-size") != 4096),
                                 data["extended-l2"])
                self.assertEqual(options.get("refcount-bits", 16), data["refcount-bits"])
                self.assertEqual(options.get("compression-type", "zlib"), data["compression-type"])
                self.assertEqual(options.get("lazy-refcounts", False), data["lazy-refcounts"])
                if options.get("preallocation") in ("falloc", "full"):
                    self.assertGreaterEqual(info["actual-size"], SIZE)
        for number in range(len(wanted)):
            self.io(daemon, f"read -q -P {number + 1} {number * 64}k 64k")
        for options, text in (
                ({"cluster-size": 12345}, "Cluster size must be a power of two"),
                ({"refcount-bits": 3}, "Refcount width must be a power of two"),
                ({"cluster-size": 4096, "extended-l2": True}, "Extended L2 entries are only"),
                ({"extended-l2": False, "preallocation": "full"},
                 "Backing file and preallocation can only be used")):
            victim = self.folder / "victim"
            victim.write_bytes(b"precious")
            self.assert_qmp_error(daemon.execute, "blockdev-snapshot-sync", {
                "device": "vda", "snapshot-file": str(victim), "overlay-options": options},
                contains=text)
            self.assertEqual(b"precious", victim.read_bytes())
        self.assert_qmp_error(daemon.execute, "blockdev-snapshot-sync", {
            "device": "vda", "snapshot-file": "x", "mode": "existing", "overlay-options": {}},
            contains="can't be used with the mode 'existing'")
        daemon.stop()
        for path in paths:
            self.check_image(path)

    def test_sizes_that_are_no_multiple(self):
        for number, (fmt, size) in enumerate((("raw", MIB + 512), ("raw", 65536 * 3 + 1024),
                                              ("qcow2", MIB + 512), ("raw", 512))):
            with self.subTest(fmt=fmt, size=size):
                disk = self.image(f"odd{number}", size=size, fmt=fmt)
                daemon = self.serve_disk(disk, fmt=fmt) if not firn_test.against_peer() else None
                if daemon is None:
                    self.skipTest("needs a device")
                self.io(daemon, f"write -q -P 3 {size - 512} 512")
                path = self.take(daemon, f"over{number}")
                self.io(daemon, f"read -q -P 3 {size - 512} 512", f"write -q -P 4 {size - 512} 512",
                        f"read -q -P 4 {size - 512} 512")
                daemon.stop()
                self.check_image(path)
                self.assertEqual(size, run_json("qemu-img", "info", "--output=json",
                                                path)["virtual-size"])
                self.io(disk, f"read -q -P 3 {size - 512} 512", fmt=fmt)

    @firn_test.firn_only("it refuses to resize what is exported")
    def test_a_disk_that_grew(self):
        disk = self.image("grown.raw", size=MIB, fmt="raw")
        daemon = self.serve_disk(disk, fmt="raw")
        layers = [disk]
        for number, size in enumerate((MIB + 65536, 3 * MIB, 5 * MIB + 512)):
            daemon.execute("block_resize", device="vda", size=size)
            path = self.take(daemon, f"g{number}")
            self.assertEqual(size, run_json("qemu-img", "info", "-U", "--output=json",
                                            path)["virtual-size"])
            self.io(daemon, f"write -q -P {number + 1} {size - 512} 512")
            layers.append(path)
        daemon.execute("block_resize", device="vda", size=8 * MIB)
        self.io(daemon, f"read -q -P 0 {5 * MIB + 512} {2 * MIB}", "read -q -P 1 1114000 112",
                f"read -q -P 2 {3 * MIB - 512} 512")
        daemon.stop()
        for path in layers[1:]:
            self.check_image(path)

    @firn_test.firn_only("the device")
    def test_block_devices_below_and_above(self):
        devices = []
        for name in ("below.img", "above.img"):
            path = self.folder / name
            with open(path, "wb") as out:
                out.truncate(4 * MIB)
            result = run("losetup", "-f", "--show", path, check=False)
            if result.returncode != 0:
                self.skipTest(f"no loop devices: {result.stdout.strip()}")
            devices.append(result.stdout.strip())
            self.addCleanup(run, "losetup", "-d", devices[-1], check=False)
        self.addCleanup(self._kill_daemons)
        daemon = self.serve_disk(devices[0], fmt="raw", protocol="host_device")
        self.io(daemon, "write -q -P 1 0 4M")
        daemon.execute("blockdev-snapshot-sync", device="vda", snapshot_file=devices[1])
        self.io(daemon, "write -q -P 2 64k 64k", "read -q -P 2 64k 64k", "read -q -P 1 128k 1M",
                "flush")
        top = self.take(daemon, "top")
        self.io(daemon, "write -q -P 3 0 512", "read -q -P 2 64k 64k", "read -q -P 1 512 65024")
        daemon.stop()
        for path in (devices[1], top):
            self.check_image(path)
        info = run_json("qemu-img", "info", "--output=json", devices[1])
        self.assertEqual((devices[0], "raw"), (info["backing-filename"],
                                               info["backing-filename-format"]))
        self.io(top, "read -q -P 3 0 512", "read -q -P 2 64k 64k", "read -q -P 1 128k 1M")

    @firn_test.firn_only("relative-paths")
    def test_a_chain_that_is_moved(self):
        folder = self.folder / "here"
        folder.mkdir()
        disk = self.image("here/disk.qcow2", size=SIZE)
        daemon = self.serve_disk(disk)
        self.io(daemon, "write -q -P 1 0 1M")
        self.take(daemon, "here/s1", mode="relative-paths")
        self.io(daemon, "write -q -P 2 0 64k")
        self.take(daemon, "here/s2", mode="relative-paths")
        daemon.stop()
        folder.rename(self.folder / "there")
        self.io(self.folder / "there" / "s2", "read -q -P 2 0 64k", "read -q -P 1 64k 960k")


def list_rows():
    for number, row in enumerate(rows(), 1):
        print(f"{number:4}  {row.address:26}{row.mode or '-':16}{row.format or '-':8}"
              f"{TARGETS[row.target]}")


if __name__ == "__main__":
    if "--list" in sys.argv:
        list_rows()
    else:
        firn_test.main()

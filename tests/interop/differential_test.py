#!/usr/bin/env python3
"""The same requests to Firn and to qemu-storage-daemon: over a thousand, good and bad, made from
their introspections by seed, and garbage. Outcome, class, text and returned value are the same, but
for what DIFFERENCES lists.

FIRN_DIFFERENTIAL_GROUPS sets how many groups of requests are asked, FIRN_DIFFERENTIAL_SEED where the
drawing starts; both daemons are new for each group.
"""

import collections
import json
import os
import random
import re
import shutil
import socket
import time

import firn_test
from firn_test import needs, run
import qmp_garbage
from qmp_generator import Requests

QSD = "qemu-storage-daemon"
GROUPS = int(os.environ.get("FIRN_DIFFERENTIAL_GROUPS", "50"))
SEED = os.environ.get("FIRN_DIFFERENTIAL_SEED", "firn")
PER_GROUP = 30
IMAGES = ("disk.qcow2", "raw.raw", "free.raw", "free.qcow2", "ro.raw")

SETUP = [
    ("blockdev-add", {"driver": "file", "node-name": "file0", "filename": "disk.qcow2"}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "disk0", "file": "file0"}),
    ("blockdev-add", {"driver": "file", "node-name": "rawfile0", "filename": "raw.raw"}),
    ("blockdev-add", {"driver": "raw", "node-name": "raw0", "file": "rawfile0"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "null0", "size": 1048576}),
    ("blockdev-add", {"driver": "raw", "node-name": "ro0", "read-only": True,
                      "file": {"driver": "file", "filename": "ro.raw"}}),
    ("object-add", {"qom-type": "iothread", "id": "t0"}),
    ("nbd-server-start", {"addr": {"type": "unix", "data": {"path": "nbd0.sock"}}}),
    ("block-export-add", {"type": "nbd", "id": "e0", "node-name": "raw0", "writable": True}),
]

# Never carried out: asked with something wrong only.
NEVER_RUN = ("quit",)

# An assertion of QEMU's ends it: a list without nodes.
ENDS_QEMU = re.compile(r'"execute": "blockdev-reopen".*"options": \[\]')


class Difference:
    """A difference that is meant: answers to commands matching `command` whose difference, as
    differences() writes it, matches `what` (both regular expressions)."""

    def __init__(self, command, what, reason):
        self.command = re.compile(command)
        self.what = re.compile(what, re.DOTALL)
        self.reason = reason
        self.count = 0

    def covers(self, command, difference):
        return bool(self.command.fullmatch(command) and self.what.fullmatch(difference))


# What these return is each daemon's own; introspection_test compares the schemas.
THEIR_OWN = ("query-version", "query-commands", "query-qmp-schema")

ANY = ".*"
ERROR = "GenericError: .*"


CHARDEV = "chardev-add|chardev-change"
FAILED = "GenericError: Failed to add chardev '.*': "


def not_here(command, parameter, reason, theirs=ANY):
    """Firn lacks what a parameter asks for and says so, before it looks at anything else."""
    return Difference(command, f"{theirs} => GenericError: Parameter '{parameter}' is not supported "
                               "by firn: .*", f"{command} {parameter}: {reason}")


DIFFERENCES = [
    # What Firn does not have, refused by name.
    *(not_here("object-add", name, "Firn's loops do not poll")
      for name in ("poll-max-ns", "poll-grow", "poll-shrink")),
    *(not_here("object-add", name, "all loops share one pool of workers")
      for name in ("thread-pool-min", "thread-pool-max")),
    not_here("object-add", "aio-max-batch", "what a loop's turn submits is one batch"),
    not_here("nbd-server-start", "tls-creds", "the NBD server speaks no TLS"),
    not_here("nbd-server-start", "tls-authz", "the NBD server speaks no TLS"),
    not_here("nbd-server-start", "to", "one port is named, or 0 for any"),
    not_here("nbd-server-start", "type", "the NBD server listens on unix and inet sockets only"),
    not_here("block-export-add|nbd-server-add", "bitmaps", "there are no dirty bitmaps"),
    not_here("blockdev-add", "pr-manager", "persistent reservations are not passed on"),
    not_here("blockdev-add", "x-check-cache-dropped", "it is for QEMU's own tests"),
    not_here("blockdev-add", "aio-max-batch", "what a loop's turn submits is one batch"),
    not_here("blockdev-add", "l2-cache-entry-size", "tables are cached by clusters"),
    not_here("blockdev-add", "overlap-check", "allocation never hands out a cluster in use"),
    not_here("nbd-server-start", "numeric", "names are looked up"),
    not_here("nbd-server-start", "keep-alive", "it is left to the system"),
    not_here("nbd-server-start", "mptcp", "connections have one path"),
    not_here("blockdev-add", "encrypt", "encrypted images are not opened"),
    not_here("blockdev-add", "data-file", "external data files are not opened"),
    not_here("blockdev-create", "encrypt", "encrypted images are not made"),
    not_here("blockdev-create", "data-file", "external data files are not made"),
    not_here("blockdev-create", "nocow", "a folder's attribute says it"),
    not_here("blockdev-create", "extent-size-hint", "file systems have their own"),
    Difference("nbd-server-start", "success => GenericError: UNIX socket path is empty",
               "no name is made up for a socket that nobody could find"),
    # What is allowed here.
    Difference("block-export-add", r"GenericError: Permission conflict on node '\w+': .* => "
               r'GenericError: iothread ".*" not found', "names are looked up before uses are compared"),
    Difference("query-(block|named-block-nodes)", r".*\.snapshots\[\]\.name: .*",
               "names over 255 bytes are kept whole"),
    Difference("block-export-add", r"GenericError: Permission conflict on node 'file0': permissions "
               r"'resize' are both required by node 'disk0' .* => success",
               "a reading export does not keep the image above it from growing its file"),
    Difference("block_resize", r"GenericError: Permission conflict on node 'raw(file)?0': permissions "
               r"'resize' .* => success", "a node may grow while it is exported, or under a raw node"),
    Difference("query-named-block-nodes", r"\.return: \[.*\] => \[.*\"node-name\": \"o[12]\".*",
               "an overlay, which holds what was written since, outlives its last export"),
    # What Firn says in other words, or first.
    Difference("query-named-block-nodes", r"\.return\[\]\.(file|backing_file|image(?:\.backing-image)*"
               r"\.(?:filename|(?:full-)?backing-filename)): \"([^/\"]+)\" => "
               r"\"FOLDER/\2\"", "file names are shown as they resolve, whatever the folder"),
    Difference("query-named-block-nodes", r"\.return\[\]\.image\.(actual|virtual)-size: .*|"
               r".*extended-l2: false => true", "new overlays have subclusters"),
    Difference("block_resize", r"GenericError: Permission conflict on node '(\w+)': permissions "
               r"'resize' are both required by an unnamed block device (.*) => GenericError: "
               r"Permission conflict on node '\1': permissions 'resize' are both required by "
               r"block_resize \2", "the user in conflict has a name"),
    Difference("block_resize", r"GenericError: Permission conflict on node 'raw(?:file)?0': permissions 'resize'"
               r" .* => GenericError: (offset\(\d+\) exceeds .*|Failed to resize .*)",
               "a node may grow while it is exported"),
    Difference("block_resize", r".* => GenericError: Node '\w+' has \d+ bytes: with \d+, the data beyond "
               r"would be lost", "a disk shrinks only where the request says that data may go"),
    Difference("block-export-add", r"GenericError: Permission conflict .* => GenericError: NBD server "
               "not running", "a missing server is noticed before the node is asked"),
    Difference("blockdev-add", f"{ERROR} => GenericError: Invalid node-name: .*",
               "a bad name is refused before children are opened"),
    Difference("blockdev-add", f"{ERROR} => GenericError: setting detect-zeroes to unmap is not .*",
               "options are checked before children are opened"),
    Difference("blockdev-add", f"{ERROR} => GenericError: Duplicate nodes with node-name='\\w+'",
               "a name in use is refused before children are opened"),
    Difference("blockdev-add", f"{ERROR} => GenericError: Parameter '[a-z0-9-]+' expects a "
               "non-negative number", "options are checked before children are opened"),
    Difference("blockdev-snapshot-sync", f".* => GenericError: Node '\\w+' is busy: .*",
               "a node below another is refused first"),
    Difference("blockdev-snapshot-sync", r"GenericError: Could not create '\.': Is a directory => "
               r"GenericError: Could not open 'FOLDER': Is a directory",
               "the text of opening a folder for writing, and its full name"),
    Difference("blockdev-snapshot-sync", f"{ERROR} => GenericError: Error: Trying to create an image "
               "with the same filename as the backing file",
               "a file that would be its own backing file is not opened first"),
    Difference("blockdev-snapshot-sync", f"{ERROR} => GenericError: Invalid node-name: .*",
               "a bad name is refused before anything is created"),
    Difference("blockdev-snapshot-sync", r"GenericError: Could not open '\.': Is a directory => "
               "GenericError: The overlay does not support backing images",
               "the format is judged before the file is opened"),
    Difference("blockdev-snapshot-sync", f"{ERROR} => GenericError: New overlay node-name missing",
               "an empty name counts as none"),
    Difference("blockdev-add", "GenericError: Block protocol 'null-(co|aio)' doesn't support the "
               "option 'cache' => success", "an object without members asks for nothing"),
    Difference("blockdev-snapshot-sync", r"GenericError: 'file' driver requires '\.' to be a regular "
               "file => GenericError: The overlay does not support backing images",
               "the format is judged before the file is opened"),
    Difference("blockdev-snapshot-sync", r"GenericError: Could not open '(\w+)': No such file or "
               r"directory => GenericError: Could not open 'FOLDER/\1': No such file or directory",
               "file names are shown as they resolve, whatever the folder"),
    Difference("blockdev-add", f"{ERROR} => GenericError: Parameter 'latency-ns' expects at most "
               "[0-9]+", "options are checked before names"),
    Difference("blockdev-snapshot-sync", r"GenericError: Failed to get \"write\" lock => GenericError: "
               r"Could not create '.*': node '\w+' has this file open",
               "a file that the daemon itself has open is told by its node"),
    Difference("block-export-add", r"success => GenericError: Node '\w+' can't move to another I/O "
               r"thread while node '\w+' uses it", "nodes that use each other share a loop"),
    Difference("block_resize", r"(GenericError: Permission conflict on node 'raw(?:file)?0': permissions "
               r"'resize' .*|success) => GenericError: Node '\w+' has \d+ bytes: with \d+, the data "
               "beyond would be lost", "data are given up only where that is asked for"),
    Difference("block-commit", r"DeviceNotFound: (Device '.*' not found) => GenericError: \1",
               "errors=qemu gives this class nowhere, as QEMU does for nearly all commands"),
    Difference("query-blockstats", r"\.return\[\](\.parent)*\.stats\.(rd|wr|flush|unmap)_"
               r"(bytes|operations): 0 => \d+", "nodes count what they are asked for"),
    Difference("blockdev-snapshot-delete-internal-sync|query-named-block-nodes",
               r"\.return.*\.(date|vm-clock)-n?sec: .*",
               "each takes its snapshots when it is asked, and a daemon has no machine's clock"),
    Difference("blockdev-snapshot-sync|transaction", r"GenericError: Parameter 'mode' does not accept "
               "value '(relative-paths|exclusive)' => .*", "modes that are Firn's own"),
    Difference("transaction", r".* => GenericError: Node '\w+' is busy: this transaction takes a "
               "snapshot of it already", "one point in time has one snapshot of a disk"),
    # Character devices.
    Difference(CHARDEV, f"{ANY} => {FAILED}'(mux|udp|serial|parallel)' is not a valid char driver name",
               "Firn lacks these kinds, as QEMU may that was built without them"),
    Difference(CHARDEV, f"{ANY} => {FAILED}Parameter '[a-z0-9-]+' is not supported by firn: .*",
               "character devices lack log files, TLS, tn3270 and WebSocket"),
    Difference(f"{CHARDEV}|nbd-server-start", f"{ANY} => ({FAILED}|GenericError: )File descriptor named "
               "'.*' has not been found", "clients have names for descriptors"),
    Difference(CHARDEV, f"success => {FAILED}Parameter 'reconnect' expects a number of seconds.*",
               "a time that is none is refused"),
    Difference(CHARDEV, f"success => {FAILED}UNIX socket path is empty",
               "no name is made up for a socket that nobody could find"),
    Difference(CHARDEV, f"success => {FAILED}size of ringbuf chardev must be power of two",
               "0 is none"),
    Difference(CHARDEV, r"\.return\.pty: .*", "each terminal has a number of its own"),
    Difference("query-chardev", r"\.return\[\]\.filename: .*(tcp|telnet|pty):.*",
               "ports and terminals have numbers of their own"),
    Difference("query-chardev-backends", r"\.return: .*", "Firn lacks some kinds"),
    # Nodes in use.
    Difference("blockdev-reopen", f"{ANY} => GenericError: (Cannot change the option '[a-z.-]+'|"
               r"Option '[a-z.-]+' cannot be reset to its default value)",
               "what a driver can't change in use is refused by its name, before anything else"),
    Difference("blockdev-reopen", f"{ANY} => GenericError: Parameter '[a-z0-9-]+' is not supported by "
               "firn: .*", "what Firn does not have is refused by name"),
    Difference("blockdev-reopen", f"{ERROR} => GenericError: (Invalid node-name: .*|setting "
               r"detect-zeroes to unmap .*|force-share=on can only .*|Cache clean interval too big|"
               r"Parameter '[a-z0-9-]+' expects .*|Failed to find node .*)",
               "options are checked before nodes are looked at"),
    Difference("change-backing-file", r"success => GenericError: Could not change backing file to '.*': "
               r"it does not lead to the file of node .*",
               "a header names the file that is open below, so that the chain opens again"),
    # Syntax.
    Difference("garbage", r".*QMP input member '.*' is unexpected.* => .*QMP input member '.*' is "
               "unexpected.*", "of several members that don't belong the first is named"),
    Difference("garbage", r".*\"id\": -?inf\b.* => .*\"id\": -?1e999\b.*",
               "an infinite number is printed as JSON"),
]


def differences(theirs, ours, path=""):
    """What differs between two answers: "theirs => ours" for errors and outcomes, with the path of
    the member in front within what both return."""
    if not path and ("error" in theirs or "error" in ours):
        texts = [f"{a['error']['class']}: {a['error']['desc']}" if "error" in a else "success"
                 for a in (theirs, ours)]
        if texts[0] != texts[1]:
            return [f"{texts[0]} => {texts[1]}"]
        return [] if theirs == ours else [f"{theirs} => {ours}"]
    if isinstance(theirs, dict) and isinstance(ours, dict):
        found = []
        for key in [*theirs, *(k for k in ours if k not in theirs)]:
            found += differences(theirs.get(key, "nothing"), ours.get(key, "nothing"),
                                 f"{path}.{key}")
        return found
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        return [line for t, o in zip(theirs, ours) for line in differences(t, o, path + "[]")]
    return [] if theirs == ours else [f"{path}: {json.dumps(theirs)} => {json.dumps(ours)}"]


def shape(value):
    """The value with scalars' types in place of them; of lists, what is common to all elements."""
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        members = [set(inner) for inner in value if isinstance(inner, dict)]
        return sorted(set.intersection(*members)) if members else []
    return type(value).__name__


class Side:
    """One daemon in a folder of its own, where file names are the same on both sides."""

    def __init__(self, case, path, folder, pretty=False):
        self.folder = folder
        self.daemon = case.start_monitor(path, folder, self.options(path, pretty))
        self.qmp = self.daemon._qmp = self.connect()

    @staticmethod
    def options(path, pretty):
        own = "" if path == QSD or firn_test.against_peer() else ",errors=qemu"
        return own + (",pretty=on" if pretty else "")

    def connect(self):
        return firn_test.Qmp(self.folder / "qmp")

    def ask(self, text):
        self.qmp.send(text)
        return self.qmp.read_reply()

    def ask_anything(self, data):
        """All that is said to `data`, as lines; what forces a known state is sent after it."""
        self.qmp.send(data + b"\n\xff\n" + b"{'execute': 'query-block', 'id': 'the end'}")
        lines = []
        while not lines or b'"the end"' not in lines[-1]:
            while b"\r\n" not in self.qmp.buffer:
                self.qmp.buffer += self.qmp.socket.recv(65536)
            line, self.qmp.buffer = self.qmp.buffer.split(b"\r\n", 1)
            lines.append(line)
        return [line.decode("ascii") for line in lines[:-1]]

    def settle(self):
        """Until no job is at work."""
        while any(job["status"] != "concluded" for job in self.qmp.execute("query-jobs")):
            time.sleep(0.002)

    def events(self):
        taken, self.qmp.events = self.qmp.events, []
        for event in taken:
            del event["timestamp"]
        return taken

    def stop(self):
        self.daemon.kill()


class PrettySide(Side):
    """One that prints over several lines; `ask` gives the bytes of one message."""

    def __init__(self, case, path, folder):
        super().__init__(case, path, folder, pretty=True)

    def connect(self):
        self.client = socket.socket(socket.AF_UNIX)
        self.client.settimeout(20)
        self.client.connect(str(self.folder / "qmp"))
        self.read_message()

    def read_message(self):
        data = b""
        while not data.endswith(b"\r\n}\r\n"):
            data += self.client.recv(65536)
        return data

    def ask(self, text):
        self.client.sendall(text)
        return self.read_message()


@needs(QSD, "qemu-img")
class DifferentialTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.template = self.folder / "template"
        self.template.mkdir()
        for name in IMAGES:
            self.image(f"template/{name}", size="1M", fmt=name.rsplit(".", 1)[1])
        self.asked = collections.Counter()
        self.succeeded = collections.Counter()
        self.unexplained = collections.defaultdict(list)  # difference: requests

    def open_pair(self, name):
        sides = []
        for side, path in (("ours", firn_test.daemon_path()), ("theirs", QSD)):
            folder = self.folder / f"{name}.{side}"
            shutil.copytree(self.template, folder)
            sides.append(Side(self, path, folder))
        return sides

    def close_pair(self, sides):
        for side in sides:
            side.stop()
            shutil.rmtree(side.folder, ignore_errors=True)

    def compare(self, command, text, sides):
        """Asks both. False where their states may differ from now on."""
        ours, theirs = (self.normal(side.ask(text), side) for side in sides)
        self.asked[command] += 1
        self.succeeded[command] += "return" in theirs
        if command == "blockdev-create":
            for side in sides:
                side.settle()
        if command in THEIR_OWN and "return" in ours:
            ours, theirs = (shape(answer) for answer in (ours, theirs))
        if command == "query-chardev":  # QEMU's order is that of a hash table
            for answer in (ours, theirs):
                answer.get("return", []).sort(key=lambda device: device["label"])
        for difference in differences(theirs, ours):
            for row in DIFFERENCES:
                if row.covers(command, difference):
                    row.count += 1
                    break
            else:
                self.unexplained[difference].append(text.decode(errors="replace"))
        return ("return" in ours) == ("return" in theirs)

    @staticmethod
    def normal(answer, side):
        """Without what can't be the same: folders, and the numbers in names made by the daemon."""
        text = json.dumps(answer).replace(str(side.folder), "FOLDER")
        return json.loads(re.sub(r"#block[0-9]+", "#block", text))

    def set_up_both(self, sides):
        for command, arguments in SETUP:
            self.compare(command, json.dumps({"execute": command, "arguments": arguments}).encode(),
                         sides)

    def report(self):
        print(f"\n{sum(self.asked.values())} requests, {sum(self.succeeded.values())} of them "
              f"successful; {len(self.unexplained)} unexplained differences")
        for command, count in sorted(self.asked.items()):
            print(f"  {command}: {count}, {self.succeeded[command]} successful")
        for row in DIFFERENCES:
            print(f"  {row.count} times: {row.reason}")
        for difference, texts in sorted(self.unexplained.items()):
            print(f"{len(texts)} times: {difference}\n    {texts[0]}")
        if self.unexplained:
            self.fail(f"{len(self.unexplained)} differences that nothing explains")

    def test_requests_made_from_the_introspection(self):
        sides = self.open_pair("schema")
        schemas = [side.qmp.execute("query-qmp-schema") for side in sides]
        self.close_pair(sides)
        names = [{e["name"] for e in s if e["meta-type"] == "command"} for s in schemas]
        requests = Requests(schemas[0], names[0] & names[1], SEED, NEVER_RUN)
        number = 0
        for group in range(GROUPS):
            sides = self.open_pair(f"group{group}")
            self.set_up_both(sides)
            for _ in range(PER_GROUP):
                number += 1
                text = requests.next(number)
                command = re.search(r'"execute": "([^"]*)"', text)
                if ENDS_QEMU.search(text):
                    continue
                if not self.compare(command[1] if command else "", text.encode(), sides):
                    break
            self.close_pair(sides)
        self.report()


    def compare_garbage(self, data, sides):
        self.asked["garbage"] += 1
        ours, theirs = (side.ask_anything(data) for side in sides)
        self.succeeded["garbage"] += any('"return"' in answer for answer in theirs)
        if ours == theirs:
            return
        difference = f"{' | '.join(theirs)} => {' | '.join(ours)}"
        for row in DIFFERENCES:
            if row.covers("garbage", difference):
                row.count += 1
                return
        self.unexplained[difference].append(repr(data))

    def test_garbage(self):
        sides = self.open_pair("garbage")
        requests = [data for data in qmp_garbage.BY_HAND if data.startswith(qmp_garbage.OPEN)]
        for data in (*qmp_garbage.BY_HAND, *qmp_garbage.by_seed(SEED, 600),
                     *qmp_garbage.damaged(requests, SEED, 200)):
            self.compare_garbage(data, sides)
        self.report()


    def test_pretty(self):
        """The same bytes, where only one order of members is possible."""
        requests = (b'{"execute": "qmp_capabilities", "id": {"a": [1, {"b": []}, [[]], {}]}}',
                    b'{"execute": "query-block"}', b'{"execute": "nope", "id": [null, 1.5]}', b"[}",
                    b'{"execute": "query-block-exports", "id": "\\n"}')
        sides = []
        for name, path in (("ours", firn_test.daemon_path()), ("theirs", QSD)):
            folder = self.folder / f"pretty.{name}"
            folder.mkdir()
            sides.append(PrettySide(self, path, folder))
        for request in requests:
            ours, theirs = (side.ask(request) for side in sides)
            self.assertEqual(theirs, ours)


if __name__ == "__main__":
    firn_test.main()

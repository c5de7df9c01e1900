#!/usr/bin/env python3
"""The same input to Firn and to qemu-storage-daemon: their answers agree, to the letter where clients
match on them."""

import json

import firn_test
from firn_test import MIB, needs, run

QSD = "qemu-storage-daemon"

# Lines for the monitor, in order; both daemons are asked each and give the same answer.
MONITOR = [
    b'{"execute": "nope"}',
    b"{}", b"[]", b'"x"', b"{'id': 2}",
    b'{"execute": 5, "id": 1}',
    b'{"execute": "query-block", "x": 1}',
    b'{"execute": "query-block", "arguments": 5, "id": null}',
    b'{"execute": "query-block", "arguments": {"a": 1}, "id": [1, {"b": 2.5}]}',
    b'{"exec-oob": "query-block"}',
    b'{"execute": "qmp_capabilities"}',
    b'{"execute": "query-block",}',
    b'{"execute": "query-block" "a"}',
    b"}", b"]", b"tru ", b'{"execute": "query-block", "execute": "query-block"}',
    b'{"execute": "query-block", "id": 12345678901234567890123}',
]

# (command, arguments): the same.
COMMANDS = [
    ("blockdev-add", {"driver": "null-co"}),
    ("blockdev-add", {"driver": "nope", "node-name": "n"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n", "wrong": 1}),
    ("blockdev-add", {"driver": "null-co", "node-name": "bad name"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n", "size": "1"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n", "cache": 5}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n", "cache": {"direct": 1}}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n", "detect-zeroes": "unmap"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n", "force-share": True}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "ro", "read-only": True}),
    ("blockdev-add", {"driver": "file", "node-name": "f"}),
    ("blockdev-add", {"driver": "file", "node-name": "f", "filename": "/nowhere/x"}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "f", "file": "nope"}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "f", "file": "n"}),
    ("blockdev-add", {"driver": "qcow2", "node-name": "f"}),
    ("blockdev-add", {"driver": "raw", "node-name": "f",
                      "file": {"driver": "file", "filename": "/nowhere/x"}}),
    ("blockdev-del", {"node-name": "nope"}),
    ("blockdev-del", {}),
    ("block_resize", {"size": 1}),
    ("block_resize", {"node-name": "nope", "size": 1}),
    ("block_resize", {"node-name": "n", "size": -1}),
    ("block_resize", {"node-name": "ro", "size": 1024}),
    ("blockdev-snapshot-sync", {"node-name": "n"}),
    ("blockdev-snapshot-sync", {"node-name": "n", "snapshot-file": "x", "mode": "nope"}),
    ("blockdev-snapshot-sync", {"node-name": "nope", "snapshot-file": "x"}),
    ("blockdev-snapshot-sync", {"device": "nope", "snapshot-file": "x"}),
    ("blockdev-snapshot-sync", {"node-name": "n", "snapshot-file": "x"}),
    ("blockdev-snapshot-sync", {"node-name": "n", "snapshot-file": "x",
                                "snapshot-node-name": "ro"}),
    ("blockdev-snapshot-sync", {"node-name": "n", "snapshot-file": "x",
                                "snapshot-node-name": "s", "format": "nope"}),
    ("blockdev-snapshot", {"node": "nope", "overlay": "n"}),
    ("blockdev-snapshot", {"node": "ro", "overlay": "nope"}),
    ("blockdev-snapshot", {"node": "ro", "overlay": "n"}),
    ("blockdev-snapshot", {"node": "ro"}),
    ("transaction", {"actions": []}),
    ("transaction", {"actions": [], "properties": {"completion-mode": "grouped"}}),
    ("transaction", {"actions": [{"type": "abort", "data": {}}]}),
    ("transaction", {"actions": [{"type": "nope", "data": {}}]}),
    ("transaction", {"actions": [{"type": "abort"}]}),
    ("transaction", {"actions": [{"type": "blockdev-snapshot",
                                  "data": {"node": "ro", "overlay": "n"}}]}),
    ("transaction", {"actions": [{"type": "blockdev-snapshot",
                                  "data": {"node": "ro", "overlay": "n"}}],
                     "properties": {"completion-mode": "grouped"}}),
    ("transaction", {"actions": [{"type": "blockdev-snapshot-sync",
                                  "data": {"node-name": "nope", "snapshot-file": "x"}},
                                 {"type": "abort", "data": {}}]}),
    ("transaction", {"actions": [{"type": "blockdev-snapshot-sync", "data": {"device": "n"}}]}),
    ("nbd-server-stop", {}),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "n"}),
    ("nbd-server-start", {}),
    ("block-export-add", {"type": "nope", "id": "e", "node-name": "n"}),
    ("block-export-add", {"type": "nbd", "id": "e"}),
    ("block-export-del", {"id": "nope"}),
    ("block-export-del", {"id": "e", "mode": "nope"}),
    ("object-add", {"qom-type": "nope", "id": "t"}),
    ("object-add", {"qom-type": "iothread"}),
    ("object-add", {"qom-type": "iothread", "id": "0bad"}),
    ("object-add", {"qom-type": "iothread", "id": "t"}),
    ("object-add", {"qom-type": "iothread", "id": "t"}),
    ("object-del", {"id": "nope"}),
    ("object-del", {"id": "t"}),
    ("query-named-block-nodes", {"flat": True}),
    ("query-named-block-nodes", {}),
    ("query-block-exports", {}),
    ("query-block", {}),
]

WITH_SERVER = [
    ("nbd-server-start", {"addr": {"type": "unix", "data": {"path": "x"}}}),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "nope"}),
    ("block-export-add", {"type": "nbd", "id": "bad id", "node-name": "n"}),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "ro", "writable": True}),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "n", "iothread": "nope"}),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "n", "wrong": 1}),
    ("nbd-server-add", {"device": "nope"}),
    ("nbd-server-add", {"device": "n", "name": "1bad"}),
    ("nbd-server-add", {"device": "n", "name": "b" * 4097}),
    ("nbd-server-add", {"device": "n", "name": "d", "description": "b" * 4097}),
    ("nbd-server-add", {"device": "n", "name": "old", "writable": True}),
    ("nbd-server-add", {"device": "n", "name": "old"}),
    ("nbd-server-add", {"device": "ro", "writable": True}),
    ("query-block-exports", {}),
    ("nbd-server-remove", {"name": "nope"}),
    ("nbd-server-remove", {"name": "ro", "mode": "soft"}),
    ("nbd-server-remove", {"name": "ro"}),
    ("nbd-server-remove", {"name": "old", "mode": "hard"}),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "n", "writable": True}),
    ("block-export-add", {"type": "nbd", "id": "e", "node-name": "n"}),
    ("block-export-add", {"type": "nbd", "id": "e2", "node-name": "n"}),
    ("query-block-exports", {}),
    ("blockdev-del", {"node-name": "n"}),
    ("block-export-del", {"id": "e"}),
    ("nbd-server-stop", {}),
    ("nbd-server-stop", {}),
]

# The same ending on standard error, behind the program's name.
COMMAND_LINES = [
    ["--bogus"], ["--blockdev"], ["extra"],
    ["--blockdev", "driver=nope"],
    ["--blockdev", "driver=file,node-name=a"],
    ["--blockdev", "driver=file,filename=/nowhere/x,node-name=a"],
    ["--blockdev", "null-co,node-name=a", "--blockdev", "null-co,node-name=a"],
    ["--blockdev", '{"driver":"null-co","x":1}'],
    ["--blockdev", '{"driver":"null-co"'],
    ["--blockdev", "null-co,node-name=a,zz=1"],
    ["--blockdev", "null-co,size=1G,node-name=g"],
    ["--blockdev", "null-co,read-only=maybe,node-name=a"],
    ["--nbd-server", "addr.type=unix,addr.path=/nowhere/x"],
    ["--nbd-server", "addr.type=nope"],
    ["--monitor", "chardev=zz"],
    ["--monitor", "zz"],
    ["--chardev", "socket,id=c,path=/nowhere/x"],
    ["--chardev", "bogus,id=c"],
    ["--chardev", "stdio"],
    ["--chardev", "stdio,id=9c"],
    ["--chardev", "stdio,id=c", "--chardev", "stdio,id=d"],
    ["--object", "bogus,id=a"],
    ["--object", "iothread"],
    ["--export", "nbd"],
    ["--export", "bogus,id=1"],
    ["--pidfile", "/nowhere/x"],
]


@needs(QSD)
class PeerTextTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.ours = self.open_monitor(firn_test.daemon_path(), "ours", ",errors=qemu")
        self.theirs = self.open_monitor(QSD, "theirs", "")

    def open_monitor(self, path, name, options):
        socket_path = self.folder / f"{name}.sock"
        if firn_test.against_peer():
            options = ""
        daemon = self.start("--chardev", f"socket,id=q,path={socket_path},server=on,wait=off",
                            "--monitor", f"chardev=q{options}", nbd=False, qmp=False, path=path)
        daemon._wait_for(socket_path)
        daemon.qmp_path = socket_path
        daemon._qmp = daemon._connect_when_free()
        return daemon

    def compare(self, data):
        answers = []
        for daemon in (self.ours, self.theirs):
            daemon.qmp.send(data + b"\n")
            answers.append(daemon.qmp.read_reply())
        self.assertEqual(answers[1], answers[0], data)

    def test_what_is_no_command(self):
        for line in MONITOR:
            with self.subTest(line=line):
                self.compare(line)

    def test_commands(self):
        for command, arguments in COMMANDS:
            with self.subTest(command=command, arguments=arguments):
                self.compare(json.dumps({"execute": command, "arguments": arguments}).encode())

    def test_exports(self):
        for name in ("n", "ro"):
            self.compare(json.dumps({"execute": "blockdev-add", "arguments": {
                "driver": "null-co", "node-name": name, "read-only": name == "ro"}}).encode())
        for daemon, name in ((self.ours, "a"), (self.theirs, "b")):
            daemon.execute("nbd-server-start", {
                "addr": {"type": "unix", "data": {"path": str(self.folder / name)}}})
        for command, arguments in WITH_SERVER:
            with self.subTest(command=command, arguments=arguments):
                self.compare(json.dumps({"execute": command, "arguments": arguments}).encode())
        deleted = [d.qmp.wait_event("BLOCK_EXPORT_DELETED") for d in (self.ours, self.theirs)]
        self.assertEqual(deleted[0]["data"], deleted[1]["data"])
        self.assertEqual(deleted[0].keys(), deleted[1].keys())

    def test_what_is_said_of_an_image(self):
        base = self.image("base.qcow2", size=MIB)
        path = self.image("head.qcow2", size=None, backing=base)
        options = {"driver": "qcow2", "node-name": "q", "read-only": True,
                   "file": {"driver": "file", "filename": str(path), "node-name": "f"}}
        infos = []
        for daemon in (self.ours, self.theirs):
            daemon.execute("blockdev-add", options)
            nodes = {n["node-name"]: n for n in daemon.execute("query-named-block-nodes")}
            infos.append({"q": nodes["q"], "f": nodes["f"]})
        self.assertEqual(infos[1]["f"], infos[0]["f"])
        self.assertEqual(infos[1]["q"], infos[0]["q"])

    def test_command_lines(self):
        for arguments in COMMAND_LINES:
            with self.subTest(arguments=arguments):
                texts = []
                for path in (firn_test.daemon_path(), QSD):
                    result = run(path, *arguments, check=False, timeout=30)
                    self.assertEqual(1, result.returncode, result.stdout)
                    first = result.stdout.splitlines()[0]
                    texts.append(first.split(": ", 1)[1])
                self.assertEqual(texts[1], texts[0])


if __name__ == "__main__":
    firn_test.main()

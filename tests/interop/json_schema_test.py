#!/usr/bin/env python3
"""The JSON Schema that qapic makes of Firn's schema, against what a live daemon says and takes: all
its messages fit, and what the one refuses the other refuses too."""

import copy
import json
import os
import subprocess
import unittest

import firn_test
from firn_test import MIB, Qmp, QmpError

try:
    from jsonschema import Draft202012Validator
except ImportError:
    Draft202012Validator = None

SIZE = 16 * MIB
QAPIC = os.environ.get("FIRN_TEST_QAPIC",
                       str(firn_test.ROOT / "build" / "release" / "bin" / "qapic"))


def paths(value, path=()):
    """Every object and every scalar in `value`, by the keys that lead there."""
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from paths(inner, (*path, index))


def changed(value, path, replacement):
    """A copy of `value` with another one at `path`."""
    if not path:
        return replacement
    value = copy.deepcopy(value)
    inner = value
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = replacement
    return value


def broken(request):
    """Requests with one thing wrong in the arguments: an unknown member, or a wrong type."""
    for path, value in paths(request["arguments"]):
        path = ("arguments", *path)
        if isinstance(value, dict):
            yield changed(request, path, {**value, "no-such-member": 1})
            yield changed(request, path, [])
        else:
            yield changed(request, path, [[]] if not isinstance(value, list) else 7)
            yield changed(request, path, {})


@unittest.skipIf(Draft202012Validator is None, "not installed: python3-jsonschema")
class JsonSchemaTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        subprocess.run([QAPIC, "emit", "json-schema", firn_test.ROOT / "schema" / "firn.json", "-o",
                        self.folder], check=True)
        self.schema = json.loads((self.folder / "firn.schema.json").read_text())
        self.validators = {}
        self.daemon = self.serve(self.image(size=SIZE))
        self.client = self.daemon.qmp

    def errors(self, value, definition="message"):
        if definition not in self.validators:
            self.validators[definition] = Draft202012Validator(
                {**self.schema, "$ref": f"#/$defs/{definition}"})
        return [error.message for error in self.validators[definition].iter_errors(value)]

    def fits(self, value, definition="message"):
        self.assertEqual([], self.errors(value, definition), value)

    def execute(self, name, arguments=None):
        """Runs a command; request, reply and events have to fit. Gives the request."""
        request = {"execute": name, "id": [name]}
        if arguments is not None:
            request["arguments"] = arguments
        self.fits(request)
        self.client.send(json.dumps(request).encode() + b"\n")
        reply = self.client.read_reply()
        self.fits(reply)
        self.fits(reply, f"reply:{name}")
        self.assertIn("return", reply)
        return request

    def test_is_a_schema(self):
        Draft202012Validator.check_schema(self.schema)

    def requests(self):
        disk = {"driver": "qcow2", "node-name": "extra", "read-only": True,
                "file": {"driver": "file", "node-name": "extra-file", "locking": "auto",
                         "filename": str(self.image("extra.qcow2", size=SIZE))}}
        overlay = {"node-name": "disk0", "snapshot-file": str(self.folder / "overlay.qcow2"),
                   "snapshot-node-name": "overlay", "format": "qcow2", "mode": "absolute-paths"}
        export = {"type": "nbd", "id": "extra", "node-name": "extra", "name": "extra",
                  "writable": False}
        thread = {"qom-type": "iothread", "id": "io1"}
        return [("blockdev-add", disk), ("block-export-add", export),
                ("blockdev-snapshot-sync", overlay), ("object-add", thread),
                ("block_resize", {"node-name": "overlay", "size": 2 * SIZE}),
                ("query-named-block-nodes", {"flat": False}),
                ("human-monitor-command", {"command-line": "help"}),
                ("block-export-del", {"id": "extra", "mode": "hard"})]

    def test_what_a_daemon_says_fits(self):
        self.fits(self.client.greeting)
        for name, arguments in self.requests():
            self.execute(name, arguments)
        for name in ("query-version", "query-commands", "query-block", "query-block-exports",
                     "query-named-block-nodes", "query-monitors", "query-qmp-schema"):
            self.execute(name)
        self.client.wait_event("BLOCK_EXPORT_DELETED")
        with Qmp(self.daemon.qmp_path) as other:
            other.send_command("no-such-command")
            self.fits(other.read_reply())
            other.send_command("blockdev-del", {"node-name": "no-such-node"})
            self.fits(other.read_reply(), "reply:blockdev-del")
        self.daemon.stop()

    def test_events_fit(self):
        seen = []
        original = self.client.read_message

        def read_message():
            message = original()
            seen.append(message)
            return message

        self.client.read_message = read_message
        for name, arguments in self.requests():
            self.execute(name, arguments)
        self.client.wait_event("BLOCK_EXPORT_DELETED")
        events = [message for message in seen if "event" in message]
        self.assertLessEqual({"BLOCK_EXPORT_DELETED", "BLOCK_SNAPSHOT_COMPLETED"},
                             {event["event"] for event in events})
        for event in events:
            self.fits(event)
            self.fits(event, f"event:{event['event']}")
            self.assertTrue(self.errors({**event, "more": 1}))
            self.assertTrue(self.errors({k: v for k, v in event.items() if k != "timestamp"}))
        self.daemon.stop()

    def test_both_refuse_the_same(self):
        count = 0
        for name, arguments in self.requests():
            good = {"execute": name, "arguments": arguments}
            for bad in broken(good):
                self.assertTrue(self.errors(bad), bad)
                with self.assertRaises(QmpError, msg=bad):
                    self.raw(bad)
                count += 1
            self.execute(name, arguments)
        self.assertGreater(count, 60)
        for bad in ({"execute": "no-such-command"}, {"execute": 1}, {},
                    {"execute": "query-version", "more": 1},
                    {"execute": "query-version", "arguments": {"x": 1}},
                    {"execute": "blockdev-add"}, {"execute": "block_resize", "arguments": {}},
                    {"execute": "blockdev-add", "arguments": {"driver": "no-such-driver"}},
                    {"execute": "blockdev-add", "arguments": {"driver": "qcow2"}},
                    {"execute": "block_resize", "arguments": {"size": 2 ** 63}}):
            self.assertTrue(self.errors(bad), bad)
            with self.assertRaises(QmpError, msg=bad):
                self.raw(bad)
        self.daemon.stop()

    def raw(self, request):
        self.client.send(json.dumps(request).encode() + b"\n")
        reply = self.client.read_reply()
        if "error" in reply:
            raise QmpError(reply["error"])


if __name__ == "__main__":
    firn_test.main()

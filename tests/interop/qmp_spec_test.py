#!/usr/bin/env python3
"""The examples of QEMU's protocol document (docs/interop/qmp-spec, "QMP Examples"), one test each:
the answer has the shape written there, with qemu-storage-daemon's text where that is newer.

A command of the examples that needs a guest (stop, query-kvm, migrate-pause) is unknown to a storage
daemon; its example shows the shape of the error then.
"""

import json
import shutil
import time

import firn_test

QSD = "qemu-storage-daemon"


class ExamplesTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.sides = [self.open_side(firn_test.daemon_path(), "ours", ",errors=qemu")]
        if shutil.which(QSD):
            self.sides.append(self.open_side(QSD, "theirs", ""))

    def open_side(self, path, name, options):
        folder = self.folder / name
        folder.mkdir()
        self.start_monitor(path, folder, "" if firn_test.against_peer() else options)
        return firn_test.Qmp(folder / "qmp", negotiate=False)

    def ask(self, text):
        """What all daemons say to `text`, as one line each."""
        replies = []
        for side in self.sides:
            side.send(text)
            replies.append(side.read_reply())
        for reply in replies[1:]:
            self.assertEqual(reply, replies[0])
        return replies[0]

    def negotiate(self, arguments=b""):
        self.assertEqual({"return": {}},
                         self.ask(b'{ "execute": "qmp_capabilities"' + arguments + b" }"))

    def test_server_greeting(self):
        for side in self.sides:
            greeting = side.greeting["QMP"]
            self.assertEqual({"QMP"}, set(side.greeting))
            self.assertEqual({"version", "capabilities"}, set(greeting))
            self.assertEqual({"qemu", "package"}, set(greeting["version"]))
            self.assertEqual({"micro", "minor", "major"}, set(greeting["version"]["qemu"]))
            for number in greeting["version"]["qemu"].values():
                self.assertIsInstance(number, int)
            self.assertIsInstance(greeting["version"]["package"], str)
            self.assertEqual(["oob"], greeting["capabilities"])
            side.send(b'{ "execute": "qmp_capabilities" }{ "execute": "query-version" }')
            side.read_reply()
            self.assertEqual({"return": greeting["version"]}, side.read_reply())

    def test_capabilities_negotiation(self):
        self.negotiate(b', "arguments": { "enable": ["oob"] }')

    def test_simple_stop_execution(self):
        self.negotiate()
        self.assertEqual({"error": {"class": "CommandNotFound",
                                    "desc": "The command stop has not been found"}},
                         self.ask(b'{ "execute": "stop" }'))

    def test_kvm_information(self):
        self.negotiate()
        self.assertEqual({"id": "example",
                          "error": {"class": "CommandNotFound",
                                    "desc": "The command query-kvm has not been found"}},
                         self.ask(b'{ "execute": "query-kvm", "id": "example" }'))

    def test_parsing_error(self):
        self.negotiate()
        self.assertEqual({"error": {"class": "GenericError",
                                    "desc": "JSON parse error, expecting value"}},
                         self.ask(b'{ "execute": }'))

    def test_powerdown_event(self):
        """There is no POWERDOWN without a guest; an event that there is has its shape."""
        self.negotiate()
        self.ask(b'{"execute": "blockdev-add", "arguments": {"driver": "null-co", "node-name": "n"}}')
        for number, side in enumerate(self.sides):
            side.execute("nbd-server-start", {"addr": {"type": "unix", "data": {
                "path": str(self.folder / f"nbd{number}")}}})
        self.ask(b'{"execute": "block-export-add",'
                 b' "arguments": {"type": "nbd", "id": "e", "node-name": "n"}}')
        before = time.time()
        for side in self.sides:
            side.send_command("block-export-del", {"id": "e"})
            event = side.wait_event("BLOCK_EXPORT_DELETED")
            self.assertEqual({"timestamp", "event", "data"}, set(event))
            self.assertEqual({"id": "e"}, event["data"])
            stamp = event["timestamp"]
            self.assertEqual({"seconds", "microseconds"}, set(stamp))
            self.assertLess(stamp["microseconds"], 1_000_000)
            at = stamp["seconds"] + stamp["microseconds"] / 1e6
            self.assertLess(abs(at - before), 20, "the moment is now")

    def test_out_of_band_execution(self):
        self.negotiate(b', "arguments": { "enable": ["oob"] }')
        self.assertEqual({"id": 42,
                          "error": {"class": "CommandNotFound",
                                    "desc": "The command migrate-pause has not been found"}},
                         self.ask(b'{ "exec-oob": "migrate-pause", "id": 42 }'))
        self.assertEqual({"id": 43,
                          "error": {"class": "GenericError",
                                    "desc": "The command query-version does not support OOB"}},
                         self.ask(b'{ "exec-oob": "query-version", "id": 43 }'))

    @firn_test.firn_only("no command of qemu-storage-daemon runs out of band")
    def test_out_of_band_success(self):
        self.negotiate(b', "arguments": { "enable": ["oob"] }')
        ours = self.sides[0]
        ours.send(b'{"exec-oob": "query-monitors", "id": [1]}')
        reply = ours.read_reply()
        self.assertEqual({"return", "id"}, set(reply))
        self.assertEqual([1], reply["id"])
        allowed = [e["name"] for e in ours.execute("query-qmp-schema")
                   if e["meta-type"] == "command" and e.get("allow-oob")]
        self.assertEqual(["query-monitors"], allowed)

    def test_negotiation_mode(self):
        for text, cls, desc in (
                (b'{"execute": "query-version"}', "CommandNotFound",
                 "Expecting capabilities negotiation with 'qmp_capabilities'"),
                (b'{"execute": "nope"}', "CommandNotFound",
                 "Expecting capabilities negotiation with 'qmp_capabilities'"),
                (b'{"exec-oob": "query-version"}', "GenericError",
                 "QMP input member 'exec-oob' is unexpected"),
                (b'{"execute": 1}', "GenericError", "QMP input member 'execute' must be a string"),
                (b'{"execute": "qmp_capabilities", "arguments": {"enable": ["nope"]}}', "GenericError",
                 "Parameter 'null' does not accept value 'nope'"),
                (b'{"execute": "qmp_capabilities", "arguments": {"enable": "oob"}}', "GenericError",
                 "Invalid parameter type for 'enable', expected: array"),
                (b'{"execute": "qmp_capabilities", "arguments": {"x": 1}}', "GenericError",
                 "Parameter 'x' is unexpected")):
            with self.subTest(text=text):
                self.assertEqual({"error": {"class": cls, "desc": desc}}, self.ask(text))
        self.negotiate(b', "arguments": { "enable": ["oob", "oob"] }')
        self.assertEqual({"error": {"class": "CommandNotFound",
                                    "desc": "Capabilities negotiation is already complete, command "
                                            "ignored"}},
                         self.ask(b'{"execute": "qmp_capabilities"}'))
        self.assertEqual("The command qmp_capabilities does not support OOB",
                         self.ask(b'{"exec-oob": "qmp_capabilities"}')["error"]["desc"])

    def test_every_line_ends_in_crlf_and_is_ascii(self):
        side = self.sides[0]
        side.send(json.dumps({"execute": "\u00fc\U0001f600\x7f"}, ensure_ascii=False).encode() + b"{}")
        data = b""
        while data.count(b"\n") < 2:
            data += side.socket.recv(65536)
        self.assertEqual(2, data.count(b"\r\n"))
        self.assertTrue(data.isascii())


if __name__ == "__main__":
    firn_test.main()

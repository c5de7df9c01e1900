#!/usr/bin/env python3
"""The monitor: what clients rely on, and what clients do wrong."""

import json
import random
import signal
import socket
import subprocess
import time

import firn_test
from firn_test import MIB, Qmp, against_peer, firn_only, run

SIZE = 16 * MIB


class QmpTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.disk = self.image(size=SIZE)
        self.daemon = self.serve(self.disk)

    def finish(self):
        self.io(self.daemon, "write -q -P 5 0 4096", "read -q -P 5 0 4096")
        self.daemon.stop()
        self.check_image(self.disk)

    def reply(self, client, data):
        client.send(data)
        return client.read_reply()

    def test_greeting_and_capabilities(self):
        client = Qmp(self.daemon.qmp_path, negotiate=False)
        self.assertIn("qemu", client.greeting["QMP"]["version"])
        self.assertIsInstance(client.greeting["QMP"]["capabilities"], list)
        reply = self.reply(client, b'{"execute": "query-version"}\n')
        self.assertEqual("CommandNotFound", reply["error"]["class"])
        self.assertEqual("Expecting capabilities negotiation with 'qmp_capabilities'",
                         reply["error"]["desc"])
        self.assertEqual({"return": {}}, self.reply(client, b'{"execute": "qmp_capabilities"}'))
        reply = self.reply(client, b'{"execute": "qmp_capabilities"}\n')
        self.assertEqual("CommandNotFound", reply["error"]["class"])
        client.close()
        self.finish()

    def test_ids_come_back_as_they_are(self):
        client = self.daemon.qmp
        for value in (1, -5, 1.5, "x", None, True, [1, {"a": []}], {"deep": {"er": [None]}}, ""):
            reply = self.reply(client, json.dumps(
                {"execute": "query-version", "id": value}).encode())
            self.assertEqual(value, reply["id"])
            self.assertIn("return", reply)
            reply = self.reply(client, json.dumps({"execute": "nope", "id": value}).encode())
            self.assertEqual(value, reply["id"])
        self.finish()

    def test_error_texts(self):
        client = self.daemon.qmp
        for data, cls, desc in (
                (b'{"execute": "nope"}', "CommandNotFound", "The command nope has not been found"),
                (b'{}', "GenericError", "QMP input lacks member 'execute'"),
                (b'[]', "GenericError", "QMP input must be a JSON object"),
                (b'5 ', "GenericError", "QMP input must be a JSON object"),
                (b'{"execute": 5}', "GenericError",
                 "QMP input member 'execute' must be a string"),
                (b'{"execute": "query-version", "arguments": 1}', "GenericError",
                 "QMP input member 'arguments' must be an object"),
                (b'{"execute": "query-version", "wrong": 1}', "GenericError",
                 "QMP input member 'wrong' is unexpected"),
                (b'{"execute": "query-version", "arguments": {"x": 1}}', "GenericError",
                 "Parameter 'x' is unexpected"),
                (b'{"execute": "block_resize", "arguments": {"node-name": "disk0"}}',
                 "GenericError", "Parameter 'size' is missing"),
                (b'{"execute": "block_resize", "arguments": {"node-name": "disk0", "size": "1"}}',
                 "GenericError", "Invalid parameter type for 'size', expected: integer"),
                (b'{"execute": "nbd-server-start", "arguments": {"addr": {"type": "bogus"}}}',
                 "GenericError", "Parameter 'type' does not accept value 'bogus'"),
                (b'{"execute": "blockdev-add", "arguments": {"driver": "qcow2", "node-name": "n"}}',
                 "GenericError", "Parameter 'file' is missing"),
                (b"{'execute': 'nope'}", "CommandNotFound", "The command nope has not been found")):
            reply = self.reply(client, data)
            with self.subTest(data=data):
                self.assertEqual({"class": cls, "desc": desc}, {k: reply["error"][k]
                                                                for k in ("class", "desc")})
        self.finish()

    def test_input_in_pieces_and_many_commands_at_once(self):
        client = self.daemon.qmp
        for byte in b'{"execute": "query-version", "id": "slow"}':
            client.send(bytes([byte]))
        self.assertEqual("slow", client.read_reply()["id"])
        client.send(b"".join(json.dumps({"execute": "query-version", "id": n}).encode()
                             for n in range(200)))
        self.assertEqual(list(range(200)), [client.read_reply()["id"] for _ in range(200)])
        self.finish()

    def test_garbage_gets_an_error_and_the_session_goes_on(self):
        client = self.daemon.qmp
        reply = self.reply(client, b"this is no JSON\n")
        self.assertIn("JSON parse error", reply["error"]["desc"])
        client.send(b'\xff{"execute": "query-version", "id": 7}\n')
        while True:
            reply = client.read_reply()
            if "return" in reply:
                break
        self.assertEqual(7, reply["id"])
        self.finish()

    def test_random_garbage(self):
        rand = random.Random(4)
        alphabet = b'{}[]",:\'\\0123456789.eE+-truefalsn \n\t\x00\xff\xc3' + b'"execute"'
        for number in range(60):
            client = self.connect()
            try:
                client.send(bytes(rand.choice(alphabet) for _ in range(rand.randrange(1, 2000))))
                if number % 2:
                    client.socket.shutdown(socket.SHUT_WR)
                    while client.socket.recv(65536):
                        pass
            except OSError:
                pass
            client.close()
        self.finish()

    def connect(self, **keywords):
        """Another client; qemu-storage-daemon wants the one before gone."""
        if against_peer() and self.daemon._qmp:
            self.daemon._qmp.close()
            self.daemon._qmp = None
        return Qmp(self.daemon.qmp_path, **keywords)

    def test_deep_input_is_bounded(self):
        client = self.connect()
        client.send(b"[" * 5000 + b"]" * 5000 + b"\n")
        self.assertIn("error", client.read_reply())
        client.close()
        self.finish()

    @firn_only("it takes minutes for this")
    def test_endless_string_is_bounded(self):
        client = Qmp(self.daemon.qmp_path)
        client.send(b'"')
        try:
            for _ in range(80):
                client.send(b"a" * MIB)
            self.assertIn("error", client.read_reply())
        except OSError:
            pass
        client.close()
        self.finish()

    def test_clients_that_vanish(self):
        for number in range(40):
            client = self.connect()
            client.send(json.dumps({
                "execute": "query-named-block-nodes"}).encode() * (1 + number * 5))
            client.send(b'{"execute": "query-ver')
            client.close()
        self.finish()

    def test_client_that_vanishes_while_its_snapshot_is_taken(self):
        node = "disk0"
        for number in range(5):
            client = self.connect()
            client.send_command("blockdev-snapshot-sync", {
                "node-name": node, "snapshot-file": str(self.folder / f"s{number}"),
                "snapshot-node-name": f"s{number}"})
            client.close()
            # It is either carried out to its end, or nothing of it is left.
            if self.appears(f"s{number}"):
                node = f"s{number}"
            else:
                self.assertFalse((self.folder / f"s{number}").exists())
        self.io(self.daemon, "write -q -P 5 0 4096", "read -q -P 5 0 4096")
        self.daemon.stop()
        for path in [self.disk, *self.folder.glob("s[0-9]")]:
            self.check_image(path)

    def appears(self, node, timeout=5):
        """True once a later client sees the node."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            client = self.connect()
            names = [n["node-name"] for n in client.execute("query-named-block-nodes")]
            client.close()
            if node in names:
                return True
            time.sleep(0.05)
        return False

    @firn_only("it serves many clients at once")
    def test_many_clients_at_once(self):
        clients = [Qmp(self.daemon.qmp_path) for _ in range(20)]
        for client in clients:
            client.send_command("query-version")
        for client in clients:
            self.assertIn("return", client.read_reply())
        self.daemon.execute("block-export-del", id="vda")
        for client in clients:
            self.assertEqual("vda", client.wait_event("BLOCK_EXPORT_DELETED")["data"]["id"])
            client.close()
        self.daemon.stop()

    @firn_only("it serves many clients at once")
    def test_a_client_that_reads_nothing_holds_nobody_up(self):
        deaf = Qmp(self.daemon.qmp_path)
        deaf.socket.settimeout(0.5)
        try:
            for _ in range(20000):
                deaf.send(b'{"execute": "query-qmp-schema"}')
        except OSError:
            pass
        self.daemon.execute("query-version")
        deaf.close()
        self.finish()

    def test_schema_and_commands_agree(self):
        schema = self.daemon.execute("query-qmp-schema")
        by_name = {entry["name"]: entry for entry in schema}
        declared = {e["name"] for e in schema if e["meta-type"] == "command"}
        listed = {c["name"] for c in self.daemon.execute("query-commands")}
        self.assertEqual(declared, listed)
        for name in ("qmp_capabilities", "query-version", "query-commands", "query-qmp-schema",
                     "quit", "blockdev-add", "blockdev-del", "query-named-block-nodes",
                     "blockdev-snapshot-sync", "block_resize", "nbd-server-start",
                     "nbd-server-stop", "block-export-add", "block-export-del",
                     "query-block-exports"):
            self.assertIn(name, declared)
        for entry in schema:  # every type that is referred to is there
            for reference in self.references(entry):
                self.assertIn(reference, by_name, entry)
        members = {m["name"]: m for m in
                   by_name[by_name["blockdev-snapshot-sync"]["arg-type"]]["members"]}
        for name in ("device", "node-name", "snapshot-file", "snapshot-node-name", "format", "mode"):
            self.assertIn(name, members)
        self.assertNotIn("default", members["snapshot-file"], "it is required")
        self.finish()

    @staticmethod
    def references(entry):
        kind = entry["meta-type"]
        if kind == "command":
            return [entry["arg-type"], entry["ret-type"]]
        if kind == "event":
            return [entry["arg-type"]]
        if kind == "array":
            return [entry["element-type"]]
        if kind == "object":
            return ([m["type"] for m in entry["members"]] +
                    [v["type"] for v in entry.get("variants", [])])
        if kind == "alternate":
            return [m["type"] for m in entry["members"]]
        return []

    def test_blockdev_add_and_del(self):
        path = self.image("other.qcow2", size=SIZE)
        daemon = self.daemon
        daemon.execute("blockdev-add", {"driver": "qcow2", "node-name": "other",
                                        "file": {"driver": "file", "filename": str(path)}})
        names = [n["node-name"] for n in daemon.execute("query-named-block-nodes")]
        self.assertIn("other", names)
        self.assert_qmp_error(
            daemon.execute, "blockdev-add",
            {"driver": "null-co", "node-name": "other"}, contains="other")
        self.assert_qmp_error(daemon.execute, "blockdev-del", node_name="nope",
                              contains="nope")
        self.assert_qmp_error(daemon.execute, "blockdev-del", node_name="disk0",
                              contains="disk0" if not against_peer() else "in use")
        self.assert_qmp_error(
            daemon.execute, "blockdev-add",
            {"driver": "qcow2", "node-name": "n",
             "file": {"driver": "file", "filename": str(self.folder / "missing")}},
            contains=["missing", "No such file or directory"])
        daemon.execute("blockdev-del", node_name="other")
        names = [n["node-name"] for n in daemon.execute("query-named-block-nodes")]
        self.assertNotIn("other", names)
        run("qemu-io", "-f", "qcow2", "-c", "write 0 512", path)  # its lock is gone
        self.finish()

    def test_resize(self):
        path = self.image("other.qcow2", size=SIZE)
        daemon = self.daemon
        daemon.execute("blockdev-add", {"driver": "qcow2", "node-name": "other",
                                        "file": {"driver": "file", "filename": str(path)}})
        daemon.execute("block_resize", node_name="other", size=2 * SIZE)
        self.assert_qmp_error(daemon.execute, "block_resize", node_name="nope", size=2 * SIZE,
                              contains="nope")
        self.assert_qmp_error(daemon.execute, "block_resize", node_name="other", size=-1)
        daemon.execute("blockdev-del", node_name="other")
        info = firn_test.run_json("qemu-img", "info", "--output=json", path)
        self.assertEqual(2 * SIZE, info["virtual-size"])
        self.check_image(path)
        self.finish()

    def test_quit(self):
        self.io(self.daemon, "write -q -P 6 0 1M")
        self.daemon.execute("quit")
        self.assertEqual(0, self.daemon.wait_for_end())
        self.check_image(self.disk)
        self.io(self.disk, "read -q -P 6 0 1M")

    def test_signals_end_it_in_order(self):
        self.io(self.daemon, "write -q -P 6 0 1M")
        self.daemon.stop(signal.SIGINT)
        self.check_image(self.disk)
        self.io(self.disk, "read -q -P 6 0 1M")
        daemon = self.serve(self.disk)
        self.io(daemon, "write -q -P 7 0 1M")
        daemon.stop(signal.SIGTERM)
        self.check_image(self.disk)
        self.io(self.disk, "read -q -P 7 0 1M")

    @firn_only("it writes to standard output only what it is asked for")
    def test_qmp_on_standard_input_and_output(self):
        process = subprocess.Popen(
            [firn_test.daemon_path(), "--chardev", "stdio,id=m", "--monitor", "chardev=m"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        out, _ = process.communicate(
            b'{"execute": "qmp_capabilities"}\n{"execute": "query-version", "id": 1}\n'
            b'{"execute": "quit"}\n', timeout=30)
        messages = [json.loads(line) for line in out.splitlines()]
        self.assertIn("QMP", messages[0])
        self.assertEqual({"return": {}}, messages[1])
        self.assertEqual(1, messages[2]["id"])
        self.assertEqual(0, process.returncode)
        self.daemon.stop()


class HmpTest(firn_test.Case):
    @firn_only("qemu-storage-daemon has no human monitor")
    def test_human_monitor(self):
        disk = self.image(size=SIZE)
        path = self.folder / "hmp.sock"
        daemon = self.serve(disk, extra=(
            "--chardev", f"socket,path={path},server=on,wait=off,id=h",
            "--monitor", "chardev=h,mode=readline", "--device", "id=vda,node-name=disk0"))
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(str(path))
        transcript = self.read_prompt(client)
        for command in ("info version", "info block", f"snapshot_blkdev vda {self.folder}/s1.qcow2",
                        "snapshot_blkdev vda", "info block", "nonsense", "help"):
            client.sendall(command.encode() + b"\n")
            transcript += self.read_prompt(client)
        self.assertIn("Error: Parameter 'snapshot-file' is missing", transcript)
        self.assertIn("unknown command: 'nonsense'", transcript)
        self.assertIn(str(disk), transcript)
        self.assertIn("s1.qcow2", transcript)
        self.assertTrue((self.folder / "s1.qcow2").exists())
        client.sendall(b"quit\n")
        self.assertEqual(0, daemon.wait_for_end())
        client.close()
        self.check_image(self.folder / "s1.qcow2")

    @staticmethod
    def read_prompt(client):
        text = ""
        while not text.endswith(") "):
            data = client.recv(65536)
            if not data:
                break
            text += data.decode()
        return text


if __name__ == "__main__":
    firn_test.main()

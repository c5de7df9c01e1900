#!/usr/bin/env python3
"""The Python client that qapic makes: from schema/firn.json against a live firnd, and against a
server that does what firnd doesn't."""

import asyncio
import contextlib
import importlib
import json
import os
import pathlib
import re
import shutil
import sys
import tempfile
import unittest
import warnings

import firn_test
from firn_test import ROOT, needs
from nbd_writer import NbdWriter

CLIENTS = pathlib.Path(os.environ.get("FIRN_TEST_CLIENTS", ROOT / "build/release/generated/clients"))
PYTHON = CLIENTS / "python"
sys.path.insert(0, str(PYTHON))
sys.path.insert(0, str(ROOT / "tests" / "round_trip"))

import firn_client as fc  # noqa: E402
from firn_client import (  # noqa: E402
    BlockdevOptions_file, BlockdevOptions_qcow2, BlockExportOptions_nbd, Client, CommandError)
from random_schema import RandomSchema, Values  # noqa: E402

SIZE = 64 << 20


class Live(firn_test.Case, unittest.IsolatedAsyncioTestCase):
    """Against firnd."""

    def setUp(self):
        if firn_test.against_peer():
            self.skipTest("Firn alone: the client is made from its schema")
        super().setUp()

    async def connect(self, daemon, **options):
        client = await Client.connect(daemon.qmp_path, **options)
        self.addAsyncCleanup(client.close)
        return client

    async def serve_disk(self, client, path):
        await client.blockdev_add(BlockdevOptions_qcow2(
            node_name="disk0", discard=fc.BlockdevDiscardOptions.UNMAP,
            file=BlockdevOptions_file(filename=str(path))))
        await client.block_device_add(id="vda", node_name="disk0")
        await client.block_export_add(BlockExportOptions_nbd(
            id="export0", node_name="vda", name="vda", writable=True))

    async def test_a_snapshot_while_a_client_writes(self):
        path = self.image(size=SIZE)
        daemon = self.start()
        client = await self.connect(daemon)
        self.assertEqual("firn" in client.greeting.package.lower(), True)
        self.assertEqual((7, 2), client.greeting.version[:2])
        await self.serve_disk(client, path)
        overlay = self.folder / "overlay.qcow2"
        writer = NbdWriter(daemon, SIZE)
        try:
            await asyncio.to_thread(writer.wait_for, 20)
            with client.listen(fc.BlockSnapshotCompletedEvent,
                               where=lambda e: e.device == "vda") as taken:
                before = writer.written
                await client.blockdev_snapshot_sync(
                    device="vda", snapshot_file=str(overlay), snapshot_node_name="overlay0",
                    mode=fc.NewImageMode.ABSOLUTE_PATHS)
                event = await asyncio.wait_for(taken.get(), 20)
            await asyncio.to_thread(writer.wait_for, writer.written + 20)
        finally:
            writer.stop()
        self.assertEqual(("vda", "disk0", "overlay0"), (event.device, event.node_name, event.overlay))
        self.assertGreater(event.prepare_ns, 0)
        self.assertIsNotNone(event.timestamp.datetime)
        disk, = await client.query_block()
        self.assertEqual("overlay0", disk.inserted.node_name)
        self.assertEqual(SIZE, disk.inserted.image.virtual_size)
        self.assertIs(fc.Qcow2CompressionType.ZLIB,
                      disk.inserted.image.format_specific.data.compression_type)
        match disk.inserted.image.format_specific:
            case fc.ImageInfoSpecific_qcow2(data=data):
                self.assertTrue(data.extended_l2)
            case other:
                self.fail(other)
        with client.listen(fc.BlockExportDeletedEvent) as deleted:
            await client.block_export_del(id="export0", mode=fc.BlockExportRemoveMode.HARD)
            self.assertEqual("export0", (await asyncio.wait_for(deleted.get(), 20)).id)
        self.assertEqual([], await client.query_block_exports())
        await client.quit()
        await asyncio.wait_for(client.wait_closed(), 20)
        self.assertEqual(0, await asyncio.to_thread(daemon.wait_for_end))
        # What was acknowledged before the snapshot is in its layer, and all of it in the overlay.
        self.io(path, *NbdWriter.reads(before))
        self.io(overlay, *NbdWriter.reads(writer.written))
        self.check_image(path)
        self.check_image(overlay)

    async def test_errors_have_class_text_and_command(self):
        client = await self.connect(self.start())
        with self.assertRaises(CommandError) as raised:
            await client.blockdev_del(node_name="nope")
        self.assertEqual("blockdev-del", raised.exception.command)
        self.assertIn("nope", raised.exception.desc)
        self.assertIn("nope", str(raised.exception))
        with self.assertRaises(CommandError) as raised:
            await client.execute("no-such-command")
        self.assertEqual("CommandNotFound", raised.exception.error_class)
        self.assertEqual("The command no-such-command has not been found", raised.exception.desc)
        with self.assertRaises(CommandError) as raised:
            await client.blockdev_add(BlockdevOptions_file(filename="/nonexistent", node_name="x"))
        self.assertIn("/nonexistent", raised.exception.desc)

    async def test_calls_run_beside_each_other(self):
        client = await self.connect(self.start())
        results = await asyncio.gather(*(
            call for n in range(200)
            for call in (client.query_version(), client.blockdev_del(node_name=f"n{n}"))),
            return_exceptions=True)
        for n in range(200):
            self.assertIsInstance(results[2 * n], fc.VersionInfo)
            self.assertIn(f"n{n}", results[2 * n + 1].desc)

    async def test_a_cancelled_call_leaves_the_others_alone(self):
        client = await self.connect(self.start())
        calls = [asyncio.create_task(client.query_qmp_schema()) for _ in range(6)]
        await asyncio.sleep(0)
        for call in calls[::2]:
            call.cancel()
        results = await asyncio.gather(*calls, return_exceptions=True)
        for n, result in enumerate(results):
            if n % 2:
                self.assertGreater(len(result), 100)
            else:
                self.assertIsInstance(result, asyncio.CancelledError)
        with self.assertRaises(TimeoutError):
            async with asyncio.timeout(0):
                await client.query_version()
        self.assertIsInstance(await client.query_version(), fc.VersionInfo)

    async def test_the_introspection_decodes_and_encodes_to_itself(self):
        client = await self.connect(self.start())
        raw = await client.execute("query-qmp-schema")
        self.assertGreater(len(raw), 100)
        typed = await client.query_qmp_schema()
        self.assertEqual(raw, [entry.to_json() for entry in typed])

    async def test_a_server_that_vanishes(self):
        daemon = self.start()
        client = await self.connect(daemon)
        with client.listen() as events:
            daemon.kill()
            with self.assertRaises(fc.ConnectionLost):
                await asyncio.wait_for(events.get(), 20)
        self.assertFalse(client.is_open)
        with self.assertRaisesRegex(fc.ConnectionLost, "query-version: the server closed"):
            await client.query_version()

    async def test_nobody_there(self):
        with self.assertRaisesRegex(fc.ConnectionFailed, "no-such.sock: .*No such file"):
            await Client.connect(self.folder / "no-such.sock")

    @needs("mypy")
    async def test_the_example_of_the_manual(self):
        text = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
        example = self.folder / "example.py"
        example.write_text(re.search(r"```python\n(.*?)```", text, re.DOTALL)[1], encoding="utf-8")
        daemon = self.start()
        path = self.image(size=SIZE)
        result = await asyncio.to_thread(
            firn_test.run, sys.executable, "-W", "error", example, daemon.qmp_path, path,
            self.folder / "overlay.qcow2", env={**os.environ, "PYTHONPATH": str(PYTHON)})
        self.assertRegex(result.stdout, r"took over; no request was let in for \d+ ns\n"
                                        r"\w+: .*vdb")
        daemon.stop()
        firn_test.run("mypy", "--strict", "--cache-dir", self.folder / "cache", PYTHON / "firn_client",
                      example, env={**os.environ, "MYPYPATH": str(PYTHON)})


GREETING = {"QMP": {"version": {"qemu": {"major": 11, "minor": 0, "micro": 1}, "package": "v11"},
                    "capabilities": ["oob", "telepathy"]}}


class Scripted(unittest.IsolatedAsyncioTestCase):
    """Against a server that says what the test tells it to."""

    async def asyncSetUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="firn-test-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.path = self.folder / "s"
        self.received = asyncio.Queue()
        self.writer = None
        self.greeting = json.dumps(GREETING).encode() + b"\r\n"
        server = await asyncio.start_unix_server(self._serve, self.path, limit=1 << 24)
        self.addAsyncCleanup(server.wait_closed)
        self.addCleanup(server.close)

    async def _serve(self, reader, writer):
        self.writer = writer
        writer.write(self.greeting)
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                message = json.loads(line)
                if message.get("execute") == "qmp_capabilities":
                    self.negotiated = message.get("arguments")
                    self.say({"return": {}, "id": message["id"]})
                else:
                    self.received.put_nowait(message)
        writer.close()

    def say(self, *messages, **options):
        for message in messages:
            self.writer.write(json.dumps(message, **options).encode() + b"\r\n")

    async def connect(self, **options):
        client = await Client.connect(self.path, **options)
        self.addAsyncCleanup(client.close)
        return client

    async def call(self, coroutine):
        """Starts a call; gives its task and what the server received."""
        task = asyncio.create_task(coroutine)
        self.addAsyncCleanup(asyncio.wait, [task])
        self.addCleanup(task.cancel)
        return task, await asyncio.wait_for(self.received.get(), 10)

    async def test_arguments_as_they_are_sent(self):
        client = await self.connect()
        _, sent = await self.call(client.blockdev_snapshot_sync(
            device="vda", snapshot_file="/s", mode=fc.NewImageMode.EXISTING))
        self.assertEqual({"device": "vda", "snapshot-file": "/s", "mode": "existing"},
                         sent["arguments"])
        _, sent = await self.call(client.blockdev_add(BlockdevOptions_qcow2(
            node_name="n", backing=fc.NULL, file="f", overlap_check=fc.Qcow2OverlapCheckFlags(
                main_header=True), cache_size=2**63 - 1)))
        self.assertEqual({"driver": "qcow2", "node-name": "n", "backing": None, "file": "f",
                          "overlap-check": {"main-header": True}, "cache-size": 2**63 - 1},
                         sent["arguments"])
        _, sent = await self.call(client.query_block())
        self.assertNotIn("arguments", sent)
        with self.assertRaises(TypeError):
            await client.execute("x", {"a": object()})
        with self.assertRaises(ValueError):
            await client.execute("x", {"a": float("nan")})
        _, sent = await self.call(client.execute("x"))
        self.assertEqual("x", sent["execute"])

    async def test_a_newer_server(self):
        client = await self.connect()
        task, sent = await self.call(client.query_block_exports())
        self.say({"return": [{"id": "e", "type": "carrier-pigeon", "node-name": "n", "colour": 1,
                              "shutting-down": False}], "id": sent["id"]})
        export, = await task
        self.assertEqual("carrier-pigeon", export.type)
        self.assertFalse(export.type.is_known)
        self.assertTrue(fc.BlockExportType.NBD.is_known)
        self.assertEqual({"id": "e", "type": "carrier-pigeon", "node-name": "n",
                          "shutting-down": False}, export.to_json())
        with self.assertRaises(ValueError):
            fc.BlockExportType("carrier-pigeon")
        address = {"type": "pigeon", "loft": {"row": 3}}
        decoded = fc.SocketAddress_from_json(address)
        self.assertIsInstance(decoded, fc.SocketAddress_Unknown)
        self.assertEqual(address, decoded.to_json())
        with client.listen() as events:
            self.say({"event": "PIGEON_LOST", "data": {"id": "p"}, "timestamp": {}},
                     {"event": "BLOCK_EXPORT_DELETED", "data": {"ids": ["p"]}},
                     {"event": "BLOCK_EXPORT_DELETED", "data": {"id": "e", "by": "cat"},
                      "timestamp": {"seconds": 1, "microseconds": 5}},
                     {"surprise": 1})
            unknown, changed, known = [await asyncio.wait_for(events.get(), 10) for _ in range(3)]
        self.assertEqual(fc.UnknownEvent(name="PIGEON_LOST", data={"id": "p"}), unknown)
        self.assertEqual(fc.UnknownEvent(name="BLOCK_EXPORT_DELETED", data={"ids": ["p"]}), changed)
        self.assertEqual(fc.BlockExportDeletedEvent(id="e"), known)
        self.assertEqual(1.000005, known.timestamp.datetime.timestamp())

    async def test_an_answer_that_does_not_fit_the_schema(self):
        client = await self.connect()
        for answer, text in (
                ([{"id": 5}], r"query-block-exports.return\[0\].id: a string was expected, and the "
                              "server sent an integer"),
                ([{"id": "x", "type": "nbd"}], r"query-block-exports.return\[0\]: the member "
                                               "'node-name' is missing"),
                ({}, "query-block-exports.return: an array was expected")):
            task, sent = await self.call(client.query_block_exports())
            self.say({"return": answer, "id": sent["id"]})
            with self.assertRaisesRegex(fc.ProtocolError, text):
                await task
        self.assertTrue(client.is_open)

    async def test_big_and_spread_out_messages(self):
        client = await self.connect()
        for indent in (None, 4):
            task, sent = await self.call(client.execute("x", {"big": "a" * 1_000_000}))
            self.assertEqual(1_000_000, len(sent["arguments"]["big"]))
            answer = {"list": [{"a": "}\n{", "n": n, "e": {}} for n in range(50_000)],
                      "int": 2**64 - 1, "long": 10**40, "text": "é\u2028\"\\"}
            self.say({"return": answer, "id": sent["id"]}, indent=indent)
            self.assertEqual(answer, await task)

    async def test_one_byte_at_a_time(self):
        client = await self.connect()
        for indent in (None, 4):
            task, sent = await self.call(client.execute("x"))
            for byte in json.dumps({"return": {"a": [{}]}, "id": sent["id"]},
                                   indent=indent).encode() + b"\r\n":
                self.writer.write(bytes([byte]))
                await asyncio.sleep(0)
            self.assertEqual({"a": [{}]}, await task)

    async def test_answers_out_of_order_and_without_an_id(self):
        client = await self.connect()
        self.assertEqual({"enable": ["oob"]}, self.negotiated)
        first, sent1 = await self.call(client.query_version())
        second, sent2 = await self.call(client.execute("x"))
        urgent, sent3 = await self.call(client.execute("migrate-pause", oob=True))
        self.assertEqual("migrate-pause", sent3["exec-oob"])
        self.say({"return": 3, "id": sent3["id"]})
        self.assertEqual(3, await urgent)
        self.say({"error": {"class": "GenericError", "desc": "too long"}})
        with self.assertRaisesRegex(CommandError, "query-version: too long"):
            await first
        self.say({"return": "nobody's", "id": 999}, {"return": "x", "id": [sent2["id"]]},
                 {"return": 2, "id": sent2["id"]})
        self.assertEqual(2, await second)
        self.assertNotEqual(sent1["id"], sent2["id"])

    async def test_oob_needs_the_capability(self):
        self.greeting = b'{"QMP": {"version": {}, "capabilities": []}}\n'
        client = await self.connect()
        self.assertIsNone(self.negotiated)
        with self.assertRaisesRegex(fc.ClientError, "x can't run out of band"):
            await client.execute("x", oob=True)

    async def test_a_cancelled_call_whose_answer_comes(self):
        client = await self.connect()
        cancelled, sent = await self.call(client.query_version())
        other, sent2 = await self.call(client.execute("x"))
        cancelled.cancel()
        await asyncio.sleep(0)
        with self.assertNoLogs("firn_client.connection"):
            self.say({"error": {"class": "GenericError", "desc": "late"}, "id": sent["id"]},
                     {"return": 1, "id": sent2["id"]})
            self.assertEqual(1, await other)

    async def test_close_fails_what_is_pending(self):
        client = await self.connect()
        task, _ = await self.call(client.query_version())
        events = client.listen()
        waiting = asyncio.create_task(events.get())
        await asyncio.sleep(0)
        await asyncio.gather(client.close(), client.close())
        with self.assertRaisesRegex(fc.ConnectionLost, "query-version: the client was closed"):
            await task
        with self.assertRaisesRegex(fc.ConnectionLost, "closed"):
            await waiting
        self.assertEqual([], [event async for event in events])
        self.assertEqual([], [event async for event in client.listen()])
        await client.wait_closed()

    async def test_the_server_closes_half_of_the_connection(self):
        client = await self.connect()
        task, _ = await self.call(client.query_version())
        self.writer.write_eof()
        with self.assertRaisesRegex(fc.ConnectionLost, "the server closed the connection"):
            await asyncio.wait_for(task, 10)

    async def test_a_server_that_does_not_read(self):
        async def silent(reader, writer):
            writer.write(self.greeting)
            await reader.readline()
            writer.write(b'{"return": {}, "id": 1}\n')
            gone.append(writer)
        gone = []
        server = await asyncio.start_unix_server(silent, self.folder / "t")
        self.addCleanup(server.close)
        client = await Client.connect(self.folder / "t")
        call = asyncio.create_task(client.execute("x", {"a": "a" * (8 << 20)}))
        await asyncio.sleep(0.05)
        with self.assertRaises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.execute("y", {"a": "a" * (8 << 20)})
        await asyncio.wait_for(client.close(), 10)
        with self.assertRaises(fc.ConnectionLost):
            await call
        for writer in gone:
            writer.transport.abort()

    async def test_nobody_greets(self):
        self.greeting = b""
        with self.assertRaisesRegex(fc.ConnectionFailed, "no greeting within 0.05 s"):
            await Client.connect(self.path, timeout=0.05)
        client = await self.connect(negotiate=False)
        task, sent = await self.call(client.execute("guest-ping"))
        self.say({"return": {}, "id": sent["id"]})
        self.assertEqual({}, await task)
        with self.assertRaises(fc.ConnectionFailed):
            _ = client.greeting

    async def test_something_else_listens_there(self):
        for text in (b"SSH-2.0-OpenSSH_9.2\r\n", b"[1]\n", b"\xff\n", b'{"a": ' * 2000 + b"\n"):
            self.greeting = text
            with self.subTest(text=text), self.assertRaises(fc.ConnectionFailed):
                await Client.connect(self.path)

    async def test_tcp_and_streams(self):
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.addCleanup(server.close)
        host, port = server.sockets[0].getsockname()
        async with await Client.connect_tcp(host, port) as client:
            self.assertEqual((11, 0, 1), client.greeting.version)
            self.assertEqual(("oob", "telepathy"), client.greeting.capabilities)
        reader, writer = await asyncio.open_connection(host, port)
        async with await Client.from_streams(reader, writer) as client:
            self.assertEqual("v11", client.greeting.package)

    async def test_events_that_nobody_reads(self):
        client = await self.connect()
        few = client.listen(fc.BlockExportDeletedEvent, limit=2)
        many = client.listen(fc.BlockExportDeletedEvent)
        broken = client.listen(fc.BlockExportDeletedEvent, where=lambda e: 1 / len(e.id[3:]))
        for n in range(3):
            self.say({"event": "BLOCK_EXPORT_DELETED", "data": {"id": f"e{n}"}})
        self.assertEqual(["e0", "e1", "e2"],
                         [(await asyncio.wait_for(many.get(), 10)).id for _ in range(3)])
        self.assertEqual(["e0", "e1"], [(await few.get()).id for _ in range(2)])
        with self.assertRaises(fc.EventsLost):
            await few.get()
        with self.assertRaises(ZeroDivisionError):
            await broken.get()
        many.close()
        self.assertEqual([], [event async for event in many])

    async def test_what_is_deprecated_warns(self):
        # Nothing in Firn's schema is deprecated: a schema of its own.
        qapic = os.environ.get("FIRN_TEST_QAPIC", ROOT / "build/release/bin/qapic")
        schema = self.folder / "old.json"
        schema.write_text("""
{ 'command': 'old-one', 'features': [ 'deprecated' ] }
{ 'command': 'close', 'data': { '*from': { 'type': 'str', 'features': [ 'deprecated' ] },
                                '*class': 'int', '*self': 'int' } }
{ 'command': 'list', 'returns': [ 'Odd' ] }
{ 'command': 'shut-down', 'success-response': false }
{ 'command': 'raw', 'gen': false, 'data': { 'a': 'str' } }
{ 'enum': 'Kind', 'data': [ 'a-b', 'base', 'unknown', '1st', 'mro' ] }
{ 'struct': 'Odd', 'data': { 'str': 'str', '*int': 'int', '*bool': 'bool', '*list': [ 'str' ],
                             'number': 'number', '*to-json': 'int', '*any': 'any' } }
{ 'union': 'Inner', 'base': { 'inner': 'Kind', 'n': 'int' }, 'discriminator': 'inner',
  'data': { 'a-b': 'Odd' } }
{ 'union': 'Outer', 'base': { 'kind': 'Kind' }, 'discriminator': 'kind',
  'data': { 'a-b': 'Odd', 'base': 'Inner' } }
{ 'event': 'OUTER', 'data': 'Outer', 'boxed': true }
{ 'event': 'NAMED', 'data': 'Odd' }
""")
        firn_test.run(qapic, "emit", "python", schema, "-o", self.folder)
        firn_test.run("mypy", "--strict", "--cache-dir", self.folder / "cache",
                      self.folder / "old_client")
        sys.path.insert(0, str(self.folder))
        self.addCleanup(sys.path.remove, str(self.folder))
        import old_client as oc
        client = await oc.Client.connect(self.path)
        self.addAsyncCleanup(client.close)
        with self.assertWarnsRegex(DeprecationWarning, "^old-one is deprecated$") as warned:
            task, sent = await self.call(client.old_one())
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await self.call(client.close_(class_=1, self_=2))
        with self.assertWarnsRegex(DeprecationWarning, "^close: from is deprecated$"):
            _, sent = await self.call(client.close_(from_="x"))
        self.assertEqual({"from": "x"}, sent["arguments"])
        self.assertIsNotNone(warned)
        _, sent = await self.call(client.raw(a="x", more_arguments={"b-c": 1}))
        self.assertEqual({"a": "x", "b-c": 1}, sent["arguments"])
        task, sent = await self.call(client.shut_down())
        self.say({"error": {"desc": "no", "class": "GenericError"}, "id": sent["id"]})
        with self.assertRaisesRegex(oc.CommandError, "no"):
            await task
        task, _ = await self.call(client.shut_down())
        await asyncio.wait_for(task, 10)
        odd = {"str": "s", "int": 1, "bool": False, "list": ["x"], "number": 1, "to-json": 3,
               "any": {"a": [None]}}
        nested = {"kind": "base", "inner": "a-b", "n": 1, **odd}
        decoded = oc.Outer_from_json(nested)
        self.assertIsInstance(decoded, oc.Outer_base_a_b)
        self.assertIsInstance(decoded, oc.Inner_a_b)
        self.assertEqual((oc.Kind.BASE, oc.Kind.A_B), (decoded.kind, decoded.inner))
        self.assertEqual(nested, decoded.to_json())
        self.assertIsInstance(oc.Outer_from_json({"kind": "base", "inner": "new"}), oc.Outer_Unknown)
        self.assertEqual("1st", oc.Kind.VALUE_1ST)
        with client.listen(oc.OuterEvent, oc.NamedEvent) as events:
            self.say({"event": "OUTER", "data": {"kind": "mro"}}, {"event": "NAMED", "data": odd})
            outer, named = await events.get(), await events.get()
        self.assertEqual(oc.Outer_mro(), outer.data)
        self.assertEqual(odd, named.to_json())


class Random(unittest.TestCase):
    """Random values of random schemas go through the types and come out the same."""

    def test_values_come_back(self):
        qapic = os.environ.get("FIRN_TEST_QAPIC", ROOT / "build/release/bin/qapic")
        folder = pathlib.Path(tempfile.mkdtemp(prefix="firn-test-"))
        self.addCleanup(shutil.rmtree, folder)
        sys.path.insert(0, str(folder))
        self.addCleanup(sys.path.remove, str(folder))
        for seed in (1, 2, 3):
            schema = RandomSchema(seed)
            path = folder / f"random{seed}.json"
            path.write_text(schema.text, encoding="utf-8")
            firn_test.run(qapic, "emit", "python", path, "-o", folder,
                          *(f"-D{symbol}" for symbol in schema.defines))
            package = importlib.import_module(f"random{seed}_client")
            encode = importlib.import_module(f"random{seed}_client.values").encode
            values = Values(seed)
            for target in schema.targets:
                name = target.type.name
                decode = getattr(package, f"{name}_from_json", None)
                if target.kind == "type":
                    decode = decode or getattr(package, name).from_json
                for _ in range(10 if decode else 0):
                    value = values.of(target.type)
                    with self.subTest(seed=seed, type=name, value=value):
                        self.assertEqual(value, json.loads(json.dumps(encode(decode(value)))))


if __name__ == "__main__":
    firn_test.main()

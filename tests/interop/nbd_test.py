#!/usr/bin/env python3
"""The NBD export, judged by the clients that people use, and by clients that misbehave."""

import json
import os
import random
import signal
import socket
import struct
import subprocess
import threading
import time

import firn_test
from firn_test import MIB, Nbd, against_peer, firn_only, needs, run, run_json

SIZE = 32 * MIB


class ClientTest(firn_test.Case):
    """Proper clients."""

    def test_nbdinfo(self):
        daemon = self.serve(self.image(size=SIZE))
        info = run_json("nbdinfo", "--json", daemon.uri("vda"))
        self.assertEqual("newstyle-fixed", info["protocol"])
        export = info["exports"][0]
        self.assertEqual("vda", export["export-name"])
        self.assertEqual(SIZE, export["export-size"])
        self.assertFalse(export["is_read_only"])
        for feature in ("can_flush", "can_fua", "can_trim", "can_zero", "can_fast_zero", "can_df",
                        "can_cache", "can_multi_conn"):
            self.assertTrue(export[feature], feature)
        self.assertIn("base:allocation", export["contexts"])
        daemon.stop()

    def test_list(self):
        daemon = self.serve(self.image(size=SIZE))
        daemon.execute("block-export-add", {"type": "nbd", "id": "two", "node-name": "disk0",
                                            "name": "second", "description": "another name"})
        listed = run_json("nbdinfo", "--list", "--json", daemon.uri())
        self.assertEqual({"vda", "second"}, {e["export-name"] for e in listed["exports"]})
        self.assertIn("another name", json.dumps(listed))
        seen = run("qemu-nbd", "--list", "--socket", daemon.nbd_path).stdout
        self.assertIn("'vda'", seen)
        self.assertIn("'second'", seen)
        daemon.stop()

    def test_unknown_export_is_named_and_harmless(self):
        daemon = self.serve(self.image(size=SIZE))
        result = run("nbdinfo", daemon.uri("nope"), check=False)
        self.assertNotEqual(0, result.returncode)
        self.io(daemon, "read -q 0 512")
        daemon.stop()

    def test_read_only_export(self):
        daemon = self.serve(self.image(size=SIZE), writable=False)
        self.assertTrue(run_json("nbdinfo", "--json", daemon.uri("vda"))["exports"][0]["is_read_only"])
        result = run("qemu-io", "-f", "raw", "-c", "write 0 512", daemon.uri("vda"), check=False)
        self.assertNotEqual(0, result.returncode)
        with Nbd_session(daemon) as client:  # a client that doesn't look
            client.request(Nbd.WRITE, 0, 512, bytes(512))
            # The protocol document asks for EPERM; QEMU gives EINVAL.
            self.assertIn(client.simple_reply()[0], (1, 22) if against_peer() else (1,))
            client.read(0, 512)
        daemon.stop()

    def test_nbdcopy_there_and_back(self):
        source = self.folder / "source"
        source.write_bytes(random.Random(3).randbytes(8 * MIB) + bytes(SIZE - 8 * MIB))
        disk = self.image(size=SIZE)
        daemon = self.serve(disk)
        run("nbdcopy", source, daemon.uri("vda"))
        back = self.folder / "back"
        run("nbdcopy", daemon.uri("vda"), back)
        self.assertEqual(source.read_bytes(), back.read_bytes())
        daemon.stop()
        self.check_image(disk)
        # What is zero takes no space.
        self.assertLess(disk.stat().st_blocks * 512, 10 * MIB)

    def test_qemu_img_convert_there_and_back(self):
        source = self.folder / "source"
        source.write_bytes(random.Random(4).randbytes(4 * MIB) + bytes(SIZE - 4 * MIB))
        daemon = self.serve(self.image(size=SIZE))
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source, daemon.uri("vda"))
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", source, daemon.uri("vda"))
        back = self.folder / "back.qcow2"
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", daemon.uri("vda"), back)
        run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", source, back)
        daemon.stop()

    def test_nbdinfo_map(self):
        disk = self.image(size=SIZE)
        self.io(disk, f"write -q -P 1 {4 * MIB} {MIB}")
        daemon = self.serve(disk)
        extents = run_json("nbdinfo", "--map", "--json", daemon.uri("vda"))
        data = sum(e["length"] for e in extents if e["type"] == 0)
        self.assertEqual(MIB, data)
        self.assertEqual(SIZE, sum(e["length"] for e in extents))
        daemon.stop()

    @needs("fio")
    def test_fio_verifies_what_it_wrote(self):
        disk = self.image(size=SIZE, options="extended_l2=on")
        daemon = self.serve(disk)
        run("fio", "--name=verify", "--ioengine=nbd", f"--uri={daemon.uri('vda')}", "--rw=randwrite",
            "--bsrange=512-64k", "--blockalign=512", "--iodepth=32", f"--size={SIZE}",
            "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", cwd=self.folder)
        daemon.stop()
        self.check_image(disk)

    def test_several_connections_see_each_others_writes(self):
        daemon = self.serve(self.image(size=SIZE))
        clients = [Nbd(daemon.nbd_path) for _ in range(8)]
        for client in clients:
            self.assertEqual(SIZE, client.go("vda"))
        for number, client in enumerate(clients):
            client.write(number * 4096, bytes([number + 1]) * 4096)
        for number in range(8):
            for client in clients:
                self.assertEqual(bytes([number + 1]) * 4096, client.read(number * 4096, 4096))
        for client in clients:
            client.close()
        daemon.stop()

    def test_tcp(self):
        disk = self.image(size=SIZE)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        daemon = self.start(
            "--nbd-server", f"addr.type=inet,addr.host=127.0.0.1,addr.port={port}",
            "--blockdev", f"driver=file,node-name=file0,filename={disk}",
            "--blockdev", "driver=qcow2,node-name=disk0,file=file0",
            "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on", nbd=False)
        uri = f"nbd://127.0.0.1:{port}/vda"
        self.assertEqual(SIZE, int(run("nbdinfo", "--size", uri).stdout))
        run("qemu-io", "-f", "raw", "-c", "write -P 5 0 1M", "-c", "read -P 5 0 1M", uri)
        daemon.stop()

    def test_large_and_unaligned_requests(self):
        daemon = self.serve(self.image(size=40 * MIB))
        data = random.Random(9).randbytes(32 * MIB)
        with Nbd_session(daemon) as client:
            client.write(0, data)
            self.assertEqual(data, client.read(0, 32 * MIB))
            client.write(MIB + 1, b"abc")
            self.assertEqual(data[MIB:MIB + 1] + b"abc" + data[MIB + 4:MIB + 600],
                             client.read(MIB, 600))
        daemon.stop()


class Nbd_session:  # noqa: N801
    """A bare client within `vda`."""

    def __init__(self, daemon):
        self.client = Nbd(daemon.nbd_path)

    def __enter__(self):
        self.client.go("vda")
        return self.client

    def __exit__(self, *unused):
        self.client.close()


class MisbehaviourTest(firn_test.Case):
    """Whatever a client does, the daemon lives, and the other clients don't notice."""

    def setUp(self):
        super().setUp()
        self.disk = self.image(size=SIZE)
        self.daemon = self.serve(self.disk)
        self.io(self.daemon, "write -q -P 77 0 64k")

    def assert_alive(self):
        self.assertTrue(self.daemon.is_running(), self.daemon.log())
        self.io(self.daemon, "read -q -P 77 0 64k")

    def finish(self):
        self.assert_alive()
        self.daemon.stop()
        self.check_image(self.disk)

    def test_garbage_at_every_stage(self):
        rand = random.Random(1)
        for number in range(150):
            client = Nbd(self.daemon.nbd_path)
            try:
                stage = number % 3
                if stage == 1:
                    client.greet()
                elif stage == 2:
                    client.go("vda")
                client.socket.sendall(rand.randbytes(rand.choice([1, 7, 16, 28, 100, 5000])))
            except OSError:
                pass
            client.close()
        self.finish()

    def test_option_with_an_absurd_length(self):
        for length in (0xFFFFFFFF, 40 * MIB):
            client = Nbd(self.daemon.nbd_path)
            client.greet()
            client.option(Nbd.INFO, b"x", length=length)
            client.close()
        self.finish()

    def test_option_whose_lengths_contradict(self):
        for data in (b"", b"\0", struct.pack(">I", 1000) + b"vda\0\0", b"\xff" * 64,
                     struct.pack(">I", 3) + b"vda" + struct.pack(">H", 500)):
            for number in (Nbd.INFO, Nbd.GO, 10):
                client = Nbd(self.daemon.nbd_path)
                client.greet()
                client.option(number, data)
                try:
                    _, kind, _ = client.option_reply()
                    self.assertTrue(kind & 0x80000000, "an error reply")
                except ConnectionError:
                    pass
                client.close()
        self.finish()

    def test_unknown_option_is_answered(self):
        client = Nbd(self.daemon.nbd_path)
        client.greet()
        client.option(0x12345678, b"hello")
        number, kind, _ = client.option_reply()
        self.assertEqual((0x12345678, 0x80000001), (number, kind))
        client.option(Nbd.LIST)
        self.assertEqual(2, client.option_reply()[1])
        client.close()
        self.finish()

    def test_requests_behind_the_end(self):
        with Nbd_session(self.daemon) as client:
            for command in (Nbd.READ, Nbd.WRITE, Nbd.TRIM, Nbd.WRITE_ZEROES):
                for offset, length in ((SIZE, 512), (SIZE - 512, 1024), (1 << 63, 512),
                                       ((1 << 64) - 512, 512)):
                    data = bytes(length) if command == Nbd.WRITE else b""
                    client.request(command, offset, length, data)
                    error, _, _ = client.simple_reply()
                    self.assertIn(error, (22, 28), f"command {command} at {offset}")
            self.assertEqual(b"M" * 512, client.read(0, 512))
        self.finish()

    def test_unknown_command_and_flags(self):
        with Nbd_session(self.daemon) as client:
            client.request(99, 0, 512)
            self.assertEqual(22, client.simple_reply()[0], "EINVAL")
            client.request(Nbd.FLUSH, flags=0x4000)
            self.assertEqual(22, client.simple_reply()[0], "EINVAL")
            self.assertEqual(b"M" * 512, client.read(0, 512))
        self.finish()

    def test_write_that_is_too_large(self):
        client = Nbd(self.daemon.nbd_path)
        client.go("vda")
        client.request(Nbd.WRITE, 0, 0xFFFFFFFF)
        try:
            client.socket.sendall(bytes(100000))
            client.simple_reply()
        except (OSError, AssertionError):
            pass
        client.close()
        client = Nbd(self.daemon.nbd_path)
        client.go("vda")
        client.request(Nbd.READ, 0, 0xFFFFFFFF)
        try:
            self.assertNotEqual(0, client.simple_reply()[0])
        except OSError:
            pass
        client.close()
        self.finish()

    def test_clients_killed_while_they_write(self):
        for number in range(6):
            client = subprocess.Popen(
                ["nbdcopy", str(self.make_source()), self.daemon.uri("vda")],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.005 * number)
            client.send_signal(signal.SIGKILL)
            client.wait()
        self.io(self.daemon, "write -q -P 77 0 64k")
        self.finish()

    def make_source(self):
        source = self.folder / "source"
        if not source.exists():
            source.write_bytes(os.urandom(SIZE))
        return source

    def test_clients_that_vanish_with_requests_in_flight(self):
        rand = random.Random(2)
        for _ in range(40):
            client = Nbd(self.daemon.nbd_path, timeout=0.2)
            client.go("vda")
            try:
                for number in range(rand.randrange(1, 64)):
                    offset = MIB + rand.randrange(0, SIZE - 2 * MIB)
                    if rand.random() < 0.7:
                        client.request(Nbd.WRITE, offset, 4096, bytes(4096), cookie=number)
                    else:
                        client.request(Nbd.READ, offset, 16384, cookie=number)
                if rand.random() < 0.5:  # half a request
                    client.socket.sendall(struct.pack(">IHHQQI", Nbd.REQUEST_MAGIC, 0, Nbd.WRITE, 1,
                                                      4 * MIB, 65536) + bytes(100))
            except TimeoutError:
                pass  # it has no room for more until we read
            client.close()
        self.finish()

    def test_client_that_does_not_read_its_replies(self):
        deaf = Nbd(self.daemon.nbd_path)
        deaf.go("vda")
        deaf.socket.settimeout(1)
        try:
            for number in range(3000):
                deaf.request(Nbd.READ, 0, MIB, cookie=number)
        except TimeoutError:
            pass
        self.assert_alive()
        self.assertLess(self.resident_mib(), 600)
        deaf.close()
        self.finish()

    def resident_mib(self):
        for line in open(f"/proc/{self.daemon.process.pid}/status", encoding="utf-8"):
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) // 1024
        return 0

    def test_silent_clients_hold_nobody_up(self):
        silent = [Nbd(self.daemon.nbd_path) for _ in range(50)]
        self.assert_alive()
        for client in silent:
            client.close()
        self.finish()

    def test_stop_with_clients_attached(self):
        client = Nbd(self.daemon.nbd_path)
        client.go("vda")
        client.write(0, b"M" * 4096)
        half_open = Nbd(self.daemon.nbd_path)
        self.daemon.stop()
        client.close()
        half_open.close()
        self.check_image(self.disk)
        self.io(self.disk, "read -q -P 77 0 64k")

    def test_many_clients_at_once(self):
        errors = []

        def work(number):
            try:
                rand = random.Random(number)
                client = Nbd(self.daemon.nbd_path, timeout=60)
                client.go("vda")
                start = MIB + number * MIB
                for _ in range(60):
                    offset = start + rand.randrange(0, MIB // 4096) * 4096
                    data = bytes([rand.randrange(256)]) * 4096
                    client.write(offset, data)
                    if client.read(offset, 4096) != data:
                        errors.append(f"client {number} read something else at {offset}")
                client.close()
            except Exception as error:  # pylint: disable=broad-except
                errors.append(f"client {number}: {error!r}")

        threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], errors)
        self.finish()


class ServerTest(firn_test.Case):
    """Starting and stopping by QMP."""

    def test_start_export_stop_again(self):
        disk = self.image(size=SIZE)
        daemon = self.start(
            "--blockdev", f"driver=file,node-name=file0,filename={disk}",
            "--blockdev", "driver=qcow2,node-name=disk0,file=file0", nbd=False)
        for _ in range(3):
            daemon.execute("nbd-server-start", {
                "addr": {"type": "unix", "data": {"path": str(daemon.nbd_path)}}})
            daemon.execute("block-export-add", {"type": "nbd", "id": "e", "node-name": "disk0",
                                                "name": "vda", "writable": True})
            self.assertEqual(["e"], [e["id"] for e in daemon.execute("query-block-exports")])
            self.io(daemon, "write -q -P 3 0 4096", "read -q -P 3 0 4096")
            daemon.execute("block-export-del", id="e")
            daemon.qmp.wait_event("BLOCK_EXPORT_DELETED")
            daemon.execute("nbd-server-stop")
        daemon.stop()
        self.check_image(disk)

    def test_errors(self):
        daemon = self.serve(self.image(size=SIZE))
        self.assert_qmp_error(
            daemon.execute, "nbd-server-start",
            {"addr": {"type": "unix", "data": {"path": str(self.folder / "x")}}},
            desc="NBD server already running")
        self.assert_qmp_error(
            daemon.execute, "block-export-add",
            {"type": "nbd", "id": "vda", "node-name": "disk0", "name": "b"},
            desc="Block export id 'vda' is already in use")
        self.assert_qmp_error(
            daemon.execute, "block-export-add",
            {"type": "nbd", "id": "b", "node-name": "nope"}, contains="nope")
        self.assert_qmp_error(
            daemon.execute, "block-export-add",
            {"type": "nbd", "id": "b", "node-name": "disk0", "name": "vda"}, contains="vda")
        self.assert_qmp_error(daemon.execute, "block-export-del", id="nope",
                              desc="Export 'nope' is not found")
        daemon.stop()

    def test_delete_in_use(self):
        daemon = self.serve(self.image(size=SIZE))
        client = Nbd(daemon.nbd_path)
        client.go("vda")
        self.assert_qmp_error(daemon.execute, "block-export-del", id="vda",
                              desc="export 'vda' still in use")
        daemon.execute("block-export-del", id="vda", mode="hard")
        daemon.qmp.wait_event("BLOCK_EXPORT_DELETED")
        self.assertEqual([], daemon.execute("query-block-exports"))
        with self.assertRaises(OSError):
            client.read(0, 512)
        daemon.stop()

    @firn_only("qemu-storage-daemon refuses to resize while a node is exported")
    def test_resize_while_it_is_exported(self):
        disk = self.image(size=SIZE)
        daemon = self.serve(disk)
        client = Nbd(daemon.nbd_path)
        client.go("vda")
        client.write(0, b"M" * 4096)
        daemon.execute("block_resize", node_name="disk0", size=2 * SIZE)
        self.assertEqual(2 * SIZE, int(run("nbdinfo", "--size", daemon.uri("vda")).stdout))
        self.io(daemon, f"write -q -P 9 {2 * SIZE - 4096} 4096")
        self.assertEqual(b"M" * 4096, client.read(0, 4096))
        client.close()
        daemon.stop()
        self.check_image(disk)
        self.assertEqual(2 * SIZE, run_json("qemu-img", "info", "--output=json", disk)["virtual-size"])


if __name__ == "__main__":
    firn_test.main()

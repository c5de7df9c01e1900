#!/usr/bin/env python3
"""`firn`, the command that people type."""

import json
import os
import signal
import socket
import subprocess
import time

import firn_test
from firn_test import MIB, run, run_json

SIZE = 16 * MIB


def firn_path():
    return os.environ.get("FIRN_TEST_CLI",
                          str(firn_test.ROOT / "build" / "release" / "bin" / "firn"))


class CliTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        if firn_test.against_peer():
            self.skipTest("Firn alone: its command")
        self.environment = {**os.environ, "FIRN_RUNTIME_DIR": str(self.folder / "runtime")}
        (self.folder / "runtime").mkdir(mode=0o700)
        self.servers = []
        self.addCleanup(self.end_servers)

    def end_servers(self):
        for server in self.servers:
            if server.poll() is None:
                server.kill()
                server.wait()
            server.stdout.close()

    def firn(self, *arguments, check=True):
        return run(firn_path(), *arguments, check=check, env=self.environment, timeout=60)

    def serve_disk(self, disk, *arguments):
        """Starts `firn serve`; gives the process and what it printed."""
        server = subprocess.Popen([firn_path(), "serve", str(disk), *arguments],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, env=self.environment, text=True)
        self.servers.append(server)
        printed = ""
        while "monitor" not in printed:
            line = server.stdout.readline()
            self.assertTrue(line, f"firn serve ended: {printed}")
            printed += line
        return server, printed

    def end(self, server):
        server.send_signal(signal.SIGTERM)
        self.assertEqual(0, server.wait(30), server.stdout.read())

    def test_tree_of_400_layers(self):
        disk = self.image(size=SIZE)
        server, _ = self.serve_disk(disk, "--name", "vda")
        layers = 400
        with firn_test.Qmp(self.folder / "runtime" / "vda.qmp") as qmp:
            for i in range(layers):
                qmp.execute("blockdev-snapshot-sync", device="vda",
                            snapshot_file=str(self.folder / f"layer{i}.qcow2"))
        lines = self.firn("tree").stdout.splitlines()
        self.assertEqual(1 + layers + 1, len(lines))
        self.assertIn(f"layer{layers - 1}.qcow2", lines[1])
        self.assertIn("disk.qcow2", lines[-1])
        self.end(server)
        self.check_image(self.folder / f"layer{layers - 1}.qcow2")

    def test_serve_snapshot_tree(self):
        disk = self.image(size=SIZE)
        server, printed = self.serve_disk(disk, "--name", "vda")
        uri = next(word for word in printed.split() if word.startswith("nbd+unix:"))
        run("qemu-io", "-f", "raw", "-c", "write -P 1 0 1M", uri)
        overlay = self.folder / "monday.qcow2"
        text = self.firn("snapshot", "vda", overlay).stdout
        self.assertIn(str(overlay), text)
        self.assertIn("pause", text)
        self.assertIn("total", text)
        tuesday = self.folder / "tuesday.qcow2"
        report = json.loads(self.firn("snapshot", "vda", tuesday, "--output", "json").stdout)
        self.assertGreater(report["pause-ns"], 0)
        run("qemu-io", "-f", "raw", "-c", "write -P 2 4096 4096", "-c", "read -P 1 0 4096", uri)
        tree = self.firn("tree").stdout
        self.assertIn("vda", tree)
        positions = [tree.index(name) for name in ("tuesday.qcow2", "monday.qcow2", "disk.qcow2")]
        self.assertEqual(sorted(positions), positions, tree)
        self.assertTrue(json.loads(self.firn("tree", "--output", "json").stdout))
        self.end(server)
        for path in (disk, overlay, tuesday):
            self.check_image(path)
        self.io(tuesday, "read -q -P 1 0 4096", "read -q -P 2 4096 4096", "read -q -P 1 8192 4096")

    def test_relative_overlay_is_the_callers(self):
        disk = self.image(size=SIZE)
        server, _ = self.serve_disk(disk)
        (self.folder / "elsewhere").mkdir()
        run(firn_path(), "snapshot", "vda", "here.qcow2", env=self.environment,
            cwd=self.folder / "elsewhere")
        self.assertTrue((self.folder / "elsewhere" / "here.qcow2").exists())
        self.end(server)

    def test_qmp(self):
        audit = self.folder / "audit,log"
        server, _ = self.serve_disk(self.image(size=SIZE), "--audit", str(audit))
        version = json.loads(self.firn("qmp", "query-version").stdout)
        self.assertIn("qemu", version)
        self.firn("qmp", "block_resize", "device=vda", f"size={2 * SIZE}")
        devices = json.loads(self.firn("qmp", "query-block").stdout)
        self.assertEqual(2 * SIZE, devices[0]["inserted"]["image"]["virtual-size"])
        failed = self.firn("qmp", "no-such-command", check=False)
        self.assertNotEqual(0, failed.returncode)
        self.assertIn("no-such-command", failed.stdout)
        self.end(server)
        commands = [json.loads(line).get("command") for line in audit.read_text().splitlines()]
        self.assertEqual([None, "block_resize", "block_resize", None], commands)

    def test_errors_say_what_to_do(self):
        for arguments, texts in (
                (["snapshot", "vda", "x"], ["firn serve"]),
                (["tree"], ["firn serve"]),
                (["serve", str(self.folder / "missing")], ["missing", "No such file"]),
                (["serve"], ["--help"]),
                (["bogus"], ["bogus", "--help"]),
                (["--bogus"], ["--bogus", "--help"])):
            with self.subTest(arguments=arguments):
                result = self.firn(*arguments, check=False)
                self.assertNotEqual(0, result.returncode)
                for text in texts:
                    self.assertIn(text, result.stdout)

    def answer_with(self, *messages):
        """A server that says these, one for each request; gives what `firn qmp` says of it."""
        path = self.folder / "fake.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            client = subprocess.Popen([firn_path(), "--socket", str(path), "qmp", "--no-check", "x"],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT, env=self.environment)
            listener.settimeout(20)
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(20)
                for message in messages:
                    peer.sendall(message)
                    peer.recv(4096)
            output, _ = client.communicate(timeout=20)
        path.unlink()
        return client.returncode, output

    def test_what_a_stranger_says_is_shown_harmlessly(self):
        greeting = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'
        status, output = self.answer_with(
            greeting, b'{"error": {"class": "GenericError", "desc": "\\u001b[31mno\\u0007"}}\r\n')
        self.assertEqual((1, "firn: \ufffd[31mno\ufffd\n"), (status, output.decode()))
        status, output = self.answer_with(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertEqual(1, status)
        self.assertIn(b"does not speak QMP", output)

    def test_second_daemon_under_the_same_name(self):
        server, _ = self.serve_disk(self.image(size=SIZE))
        other = self.image("other.qcow2", size=SIZE)
        result = self.firn("serve", other, check=False)
        self.assertNotEqual(0, result.returncode)
        self.assertIn("--name", result.stdout)
        second, _ = self.serve_disk(other, "--name", "vdb")
        self.firn("snapshot", "vdb", self.folder / "b.qcow2")
        self.end(second)
        self.end(server)

    def test_a_disk_in_use_is_refused(self):
        disk = self.image(size=SIZE)
        server, _ = self.serve_disk(disk)
        result = self.firn("serve", disk, "--name", "again", check=False)
        self.assertNotEqual(0, result.returncode)
        self.assertIn("lock", result.stdout)
        self.end(server)

    def test_raw_disk_read_only(self):
        disk = self.image("disk.raw", size=SIZE, fmt="raw")
        server, printed = self.serve_disk(disk, "--read-only")
        uri = next(word for word in printed.split() if word.startswith("nbd+unix:"))
        info = run_json("nbdinfo", "--json", uri)
        self.assertTrue(info["exports"][0]["is_read_only"])
        self.end(server)

    def test_help_everywhere(self):
        text = self.firn("--help").stdout
        for command in ("serve", "snapshot", "tree", "qmp"):
            self.assertIn(command, text)
            self.assertIn("usage: firn " + command, self.firn(command, "--help").stdout)

    def test_interrupt_ends_it(self):
        disk = self.image(size=SIZE)
        server, printed = self.serve_disk(disk)
        uri = next(word for word in printed.split() if word.startswith("nbd+unix:"))
        run("qemu-io", "-f", "raw", "-c", "write -P 1 0 1M", uri)
        time.sleep(0.1)
        server.send_signal(signal.SIGINT)
        self.assertEqual(0, server.wait(30))
        self.io(disk, "read -q -P 1 0 1M")
        self.check_image(disk)


if __name__ == "__main__":
    firn_test.main()

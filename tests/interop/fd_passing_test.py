#!/usr/bin/env python3
"""File descriptors handed over with commands: getfd and add-fd, and what opens them."""

import json
import os
import socket
import unittest

import firn_test
from firn_test import MIB, Qmp, against_peer, run


def send_with(client, fds, command, **arguments):
    """Sends a command with descriptors; gives its reply's members."""
    message = json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n"
    socket.send_fds(client.socket, [message], fds)
    return client.read_reply()


@unittest.skipIf(against_peer(), "qemu-storage-daemon takes no descriptors")
class FdPassing(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.disk = self.image("disk.qcow2", size="4M")

    def open_disk(self, flags):
        fd = os.open(self.disk, flags | os.O_CLOEXEC)
        self.addCleanup(os.close, fd)
        return fd

    def open_fds(self, daemon):
        return len(os.listdir(f"/proc/{daemon.process.pid}/fd"))

    def error_of(self, reply):
        self.assertIn("error", reply)
        return reply["error"]["desc"]

    def add(self, daemon, fd, **members):
        reply = send_with(daemon.qmp, [fd], "add-fd", **members)
        self.assertIn("return", reply)
        return reply["return"]

    def test_sets(self):
        daemon = self.start(nbd=False)
        self.assertEqual(daemon.execute("query-fdsets"), [])
        first = self.add(daemon, self.open_disk(os.O_RDONLY), opaque="rdonly:disk")
        self.assertEqual(first["fdset-id"], 0)
        second = self.add(daemon, self.open_disk(os.O_RDWR), **{"fdset-id": 0})
        self.assertEqual(self.add(daemon, self.open_disk(os.O_RDONLY), **{"fdset-id": 7}),
                         {"fdset-id": 7, "fd": daemon.execute("query-fdsets")[1]["fds"][0]["fd"]})
        self.assertEqual(daemon.execute("query-fdsets")[0], {
            "fdset-id": 0, "fds": [{"fd": second["fd"]},
                                   {"fd": first["fd"], "opaque": "rdonly:disk"}]})
        self.assert_qmp_error(daemon.execute, "add-fd",
                              desc="No file descriptor supplied via SCM_RIGHTS")
        self.assertEqual(self.error_of(send_with(daemon.qmp, [self.open_disk(os.O_RDONLY)],
                                                 "add-fd", **{"fdset-id": -1})),
                         "Parameter 'fdset-id' expects a non-negative value")
        for members, name in [({"fdset-id": 3}, "fdset-id:3"),
                              ({"fdset-id": 0, "fd": 9999}, "fdset-id:0, fd:9999")]:
            self.assert_qmp_error(daemon.execute, "remove-fd", members,
                                  desc=f"File descriptor named '{name}' not found")
        daemon.execute("remove-fd", {"fdset-id": 0, "fd": first["fd"]})
        daemon.execute("remove-fd", {"fdset-id": 0})
        self.assertEqual([s["fdset-id"] for s in daemon.execute("query-fdsets")], [7])
        daemon.stop()

    def test_node_on_a_set(self):
        daemon = self.start()
        self.add(daemon, self.open_disk(os.O_RDONLY))
        members = {"driver": "file", "node-name": "f", "filename": "/dev/fdset/0"}
        self.assert_qmp_error(daemon.execute, "blockdev-add", members,
                              desc="Could not dup FD for /dev/fdset/0 flags 2: Permission denied")
        self.assert_qmp_error(daemon.execute, "blockdev-add",
                              {**members, "filename": "/dev/fdset/5"},
                              desc="Could not dup FD for /dev/fdset/5 flags 2: No such file or "
                                   "directory")
        self.assert_qmp_error(daemon.execute, "blockdev-add", {**members, "filename": "/dev/fdset/x"},
                              desc="Could not parse fdset /dev/fdset/x")
        # What may fall back to reading does; the name stands for whatever fits.
        daemon.execute("blockdev-add", {**members, "node-name": "ro", "auto-read-only": True})
        node = next(n for n in daemon.execute("query-named-block-nodes") if n["node-name"] == "ro")
        self.assertTrue(node["ro"])
        daemon.execute("blockdev-del", {"node-name": "ro"})
        self.add(daemon, self.open_disk(os.O_RDWR), **{"fdset-id": 0})
        # The daemon need not be able to open the file: here there is nothing to open any more.
        inode = os.stat(self.disk).st_ino
        kept = self.folder / "kept"
        os.rename(self.disk, kept)
        daemon.execute("blockdev-add", members)
        daemon.execute("blockdev-add", {"driver": "qcow2", "node-name": "q", "file": "f"})
        daemon.execute("block-export-add", {"type": "nbd", "id": "e", "node-name": "q",
                                            "writable": True})
        run("qemu-io", "-f", "raw", "-c", "write -P 0x5a 0 64k", daemon.uri("q"))
        # A node keeps what it has when the set loses it, and its lock holds others off.
        daemon.execute("remove-fd", {"fdset-id": 0})
        self.assertEqual(daemon.execute("query-fdsets"), [])
        run("qemu-io", "-f", "raw", "-c", "read -P 0x5a 0 64k", daemon.uri("q"))
        locked = run("qemu-io", "-f", "qcow2", "-c", "write 0 512", kept, check=False)
        self.assertIn('Failed to get "write" lock', locked.stdout)
        daemon.execute("block-export-del", {"id": "e"})
        for node in ["q", "f"]:
            daemon.execute("blockdev-del", {"node-name": node})
        self.assertEqual(os.stat(kept).st_ino, inode)
        run("qemu-io", "-f", "qcow2", "-c", "read -P 0x5a 0 64k", "-c", "write 0 512", kept)
        daemon.stop()

    def test_locks_end_with_the_node(self):
        # The descriptor stays in its set, and with it would the locks.
        daemon = self.start(nbd=False)
        self.add(daemon, self.open_disk(os.O_RDWR))
        for _ in range(2):
            daemon.execute("blockdev-add", {
                "driver": "qcow2", "node-name": "q",
                "file": {"driver": "file", "filename": "/dev/fdset/0"}})
            locked = run("qemu-io", "-f", "qcow2", "-c", "write 0 512", self.disk, check=False)
            self.assertIn('Failed to get "write" lock', locked.stdout)
            daemon.execute("blockdev-del", {"node-name": "q"})
            run("qemu-io", "-f", "qcow2", "-c", "write 0 512", self.disk)
        daemon.stop()

    def test_last_client_takes_unused_sets_along(self):
        daemon = self.start(nbd=False)
        with Qmp(daemon.qmp_path) as client:
            self.assertIn("return", send_with(client, [self.open_disk(os.O_RDWR)], "add-fd"))
            self.assertIn("return", send_with(client, [self.open_disk(os.O_RDWR)], "add-fd"))
            client.execute("blockdev-add", {"driver": "file", "node-name": "f",
                                            "filename": "/dev/fdset/1"})
        for _ in range(200):  # until it has seen the client leave
            with Qmp(daemon.qmp_path) as client:
                sets = client.execute("query-fdsets")
            if len(sets) == 1:
                break
        self.assertEqual([s["fdset-id"] for s in sets], [1])
        daemon.stop()

    def test_names(self):
        daemon = self.start(nbd=False)
        client = daemon.qmp
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.folder / "l.sock"))
        listener.listen()

        def add_chardev(name, fdname, who=client):
            return who.execute("chardev-add", id=name, backend={
                "type": "socket", "data": {"addr": {"type": "fd", "data": {"str": fdname}}}})

        self.assert_qmp_error(client.execute, "getfd", fdname="x",
                              desc="No file descriptor supplied via SCM_RIGHTS")
        self.assertEqual(self.error_of(send_with(client, [listener.fileno()], "getfd", fdname="1x")),
                         "Parameter 'fdname' expects a name not starting with a digit")
        for name in ["l", "l", "spare"]:
            self.assertEqual(send_with(client, [listener.fileno()], "getfd", fdname=name)["return"],
                             {})
        # A name is its client's alone.
        with Qmp(daemon.qmp_path) as other:
            self.assert_qmp_error(add_chardev, "c", "l", who=other,
                                  desc="Failed to add chardev 'c': File descriptor named 'l' has not "
                                       "been found")
            self.assert_qmp_error(other.execute, "closefd", fdname="l",
                                  desc="File descriptor named 'l' not found")
        client.execute("closefd", fdname="spare")
        add_chardev("c", "l")
        shown = {c["label"]: c["filename"] for c in client.execute("query-chardev")}
        self.assertEqual(shown["c"], f"disconnected:unix:{self.folder}/l.sock,server=on")
        # Taken is taken.
        self.assert_qmp_error(add_chardev, "d", "l",
                              desc="Failed to add chardev 'd': File descriptor named 'l' has not been "
                                   "found")
        self.assertIn("return", send_with(client, [self.open_disk(os.O_RDONLY)], "getfd",
                                          fdname="file"))
        self.assert_qmp_error(add_chardev, "d", "file",
                              desc="Failed to add chardev 'd': File descriptor 'file' is not a socket")
        listener.close()
        daemon.stop()

    def test_nbd_server_on_a_handed_socket(self):
        daemon = self.start(
            "--blockdev", f"qcow2,node-name=n,file.driver=file,file.filename={self.disk}", nbd=False)
        listener = socket.socket(socket.AF_UNIX)
        path = self.folder / "nbd.sock"
        listener.bind(str(path))
        listener.listen()
        send_with(daemon.qmp, [listener.fileno()], "getfd", fdname="nbd")
        daemon.execute("nbd-server-start", addr={"type": "fd", "data": {"str": "nbd"}})
        daemon.execute("block-export-add", {"type": "nbd", "id": "e", "node-name": "n"})
        nbd = firn_test.Nbd(path)
        self.assertEqual(nbd.go("n"), 4 * MIB)
        nbd.close()
        listener.close()
        daemon.stop()

    def test_commands_read_ahead_get_their_own(self):
        daemon = self.start(nbd=False)
        # The daemon reads all three before the first has run.
        for i in range(3):
            socket.send_fds(daemon.qmp.socket, [json.dumps(
                {"execute": "add-fd", "arguments": {"opaque": str(i)}}).encode()],
                [os.open(self.disk, os.O_RDONLY) if i != 1 else os.open("/dev/null", os.O_RDONLY)])
        added = [daemon.qmp.read_reply()["return"] for _ in range(3)]
        targets = [os.readlink(f"/proc/{daemon.process.pid}/fd/{a['fd']}") for a in added]
        self.assertEqual(targets, [str(self.disk), "/dev/null", str(self.disk)])
        # One that a command without use for it brought does not reach the next.
        send_with(daemon.qmp, [self.open_disk(os.O_RDONLY)], "query-block")
        null = os.open("/dev/null", os.O_RDONLY)
        last = send_with(daemon.qmp, [null], "add-fd")["return"]
        self.assertEqual(os.readlink(f"/proc/{daemon.process.pid}/fd/{last['fd']}"), "/dev/null")
        daemon.stop()

    def test_a_flood_without_commands(self):
        daemon = self.start(nbd=False)
        daemon.execute("query-block")
        before = self.open_fds(daemon)
        fds = [self.open_disk(os.O_RDONLY)] * 10
        with Qmp(daemon.qmp_path) as client:
            for _ in range(100):
                socket.send_fds(client.socket, [b" "], fds)
            client.execute("query-block")
            # The client's own socket, and what a few messages may wait for.
            self.assertLessEqual(self.open_fds(daemon), before + 1 + 16)
        while daemon.execute("query-monitors")[0]["clients"][1:]:
            pass
        self.assertEqual(self.open_fds(daemon), before)
        daemon.stop()


if __name__ == "__main__":
    firn_test.main()

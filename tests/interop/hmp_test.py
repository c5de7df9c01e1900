#!/usr/bin/env python3
"""The human monitor: on a pseudo-terminal with editing, history and completion; over a socket in
whole lines; by QMP."""

import os
import re
import select
import socket
import time

import firn_test
from firn_test import MIB, firn_only

PROMPT = b"(qemu) "


class Terminal:
    """The other end of a pseudo-terminal or a socket."""

    def __init__(self, fd):
        self.fd = fd
        self.seen = b""

    def send(self, text):
        os.write(self.fd, text)

    def wait_for(self, what, seconds=10):
        """All that came up to and with `what`."""
        until = time.monotonic() + seconds
        while what not in self.seen:
            left = until - time.monotonic()
            if left <= 0 or not select.select([self.fd], [], [], left)[0]:
                raise AssertionError(f"{what!r} did not come, but {self.seen!r}")
            self.seen += os.read(self.fd, 65536)
        end = self.seen.index(what) + len(what)
        text, self.seen = self.seen[:end], self.seen[end:]
        return text

    def line(self, text):
        """What a line gives, without escape sequences."""
        self.send(text + b"\r")
        shown = self.wait_for(b"\r\n" + PROMPT) if text else self.wait_for(PROMPT)
        return plain(shown)


def plain(text):
    return re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", text).decode()


class HmpTest(firn_test.Case):
    def open_pty(self):
        self.image(size=MIB)
        daemon = self.start(
            "--chardev", "pty,id=p", "--monitor", "chardev=p,mode=readline",
            "--blockdev", f"driver=file,node-name=file0,filename={self.folder / 'disk.qcow2'}",
            "--blockdev", "driver=qcow2,node-name=disk0,file=file0",
            "--device", "id=vda,node-name=disk0", nbd=False)
        path = next(c["filename"] for c in daemon.execute("query-chardev") if c["label"] == "p")
        terminal = Terminal(os.open(path.removeprefix("pty:"), os.O_RDWR | os.O_NOCTTY))
        self.addCleanup(os.close, terminal.fd)
        terminal.wait_for(PROMPT)
        return daemon, terminal

    @firn_only("the peer has no human monitor")
    def test_a_terminal_has_editing_history_and_completion(self):
        _, terminal = self.open_pty()
        # A key is echoed at once, and Left and Backspace edit.
        terminal.send(b"infox")
        terminal.wait_for(b"infox")
        self.assertIn("7.2", terminal.line(b"\x7f version"))
        # Tab: the only command, then the only device.
        terminal.send(b"block_r\t")
        terminal.wait_for(b"block_resize ")
        terminal.send(b"vd\t")
        terminal.wait_for(b"vda ")
        terminal.line(b"2")
        self.assertIn("2 MiB", terminal.line(b"info block -v vda"))
        # Two ways to go on: what they have in common, and a list at the next Tab.
        terminal.send(b"nbd_server_\t")
        terminal.wait_for(b"nbd_server_stop")
        terminal.send(b"\x03")
        # Up: the last line again.
        terminal.send(b"\x1b[A\x1b[A")
        terminal.wait_for(b"block_resize vda 2")
        self.assertNotIn("Error", terminal.line(b""))
        self.assertIn("'info version'", terminal.line(b"info history"))
        # Ctrl-D ends nothing here.
        terminal.send(b"\x04")
        terminal.wait_for(PROMPT)
        self.assertIn("unknown command: 'nope'", terminal.line(b"nope"))

    @firn_only("the peer has no human monitor")
    def test_a_socket_takes_whole_lines_and_echoes_nothing(self):
        path = self.folder / "hmp.sock"
        daemon = self.start("--chardev", f"socket,id=h,path={path},server=on,wait=off",
                            "--monitor", "chardev=h,mode=readline", nbd=False, qmp=False)
        daemon._wait_for(path)
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(str(path))
        terminal = Terminal(client.fileno())
        terminal.wait_for(PROMPT)
        terminal.send(b"object_add iothread,id=t0\nobject_del t0\nobject_del t0\n")
        terminal.wait_for(PROMPT)
        terminal.wait_for(PROMPT)
        self.assertEqual("Error: object 't0' not found\r\n(qemu) ",
                         terminal.wait_for(PROMPT).decode())

    @firn_only("the peer has no human monitor")
    def test_a_line_takes_the_descriptor_that_came_with_it(self):
        path = self.folder / "hmp.sock"
        daemon = self.start("--chardev", f"socket,id=h,path={path},server=on,wait=off",
                            "--monitor", "chardev=h,mode=readline", nbd=False, qmp=False)
        daemon._wait_for(path)
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.connect(str(path))
        terminal = Terminal(client.fileno())
        terminal.wait_for(PROMPT)
        with open("/dev/null", "rb") as null:
            socket.send_fds(client, [b"getfd x\n"], [null.fileno()])
        self.assertEqual("(qemu) ", terminal.wait_for(PROMPT).decode())
        terminal.send(b"closefd x\n")
        self.assertEqual("(qemu) ", terminal.wait_for(PROMPT).decode())
        terminal.send(b"closefd x\n")
        self.assertIn("File descriptor named 'x' not found", terminal.wait_for(PROMPT).decode())

    @firn_only("the peer has no human monitor")
    def test_every_command_has_help(self):
        daemon = self.start(nbd=False)

        def hmp(line):
            return daemon.execute("human-monitor-command", {"command-line": line})
        names = [line.split()[0].split("|")[0] for line in hmp("help").splitlines()]
        self.assertGreater(len(names), 15)
        for name in names:
            self.assertIn(" -- ", hmp(f"help {name}"), name)

    @firn_only("the peer has no human monitor")
    def test_nbd_and_chardevs_by_lines(self):
        daemon = self.start(
            "--blockdev", f"driver=file,node-name=file0,filename={self.image(size=MIB)}",
            "--blockdev", "driver=qcow2,node-name=disk0,file=file0", nbd=False)

        def hmp(line):
            return daemon.execute("human-monitor-command", {"command-line": line})
        nbd = self.folder / "n.sock"
        self.assertEqual("", hmp(f"nbd_server_start unix:{nbd}"))
        self.assertEqual("", hmp("nbd_server_add -w disk0 d"))
        self.io(f"nbd+unix:///d?socket={nbd}", "write -q -P 1 0 4096", "read -q -P 1 0 4096",
                fmt="raw")
        self.assertEqual("Error: Block export id 'd' is already in use\r\n",
                         hmp("nbd_server_add disk0 d"))
        self.assertEqual("", hmp("nbd_server_remove d"))
        self.assertEqual("", hmp("nbd_server_stop"))
        self.assertEqual("", hmp("chardev-add ringbuf,id=r,size=64"))
        self.assertEqual("", hmp("ringbuf_write r hello"))
        self.assertEqual("hello\r\n", hmp("ringbuf_read r 10"))
        self.assertIn("r: filename=ringbuf", hmp("info chardev"))
        socket_path = self.folder / "x.sock"
        self.assertEqual("", hmp(f"chardev-change r socket,path={socket_path},server=on,wait=off"))
        self.assertTrue(socket_path.exists())
        self.assertEqual("", hmp("chardev-remove r"))
        self.assertIn("Error: ", hmp("chardev-add nonsense,id=z"))


if __name__ == "__main__":
    firn_test.main()

#!/usr/bin/env python3
"""Character devices: the QMP commands for them, and monitors on each kind, with real clients.

Most of it also runs against qemu-storage-daemon (--daemon), so the texts are proven equal."""

import json
import os
import select
import socket
import subprocess
import sys
import time
import unittest

import firn_test
from firn_test import Qmp, against_peer, daemon_path, firn_only


def unix(path, **members):
    return {"type": "unix", "data": {"path": str(path), **members}}


def inet(port, host="127.0.0.1", **members):
    return {"type": "inet", "data": {"host": host, "port": str(port), **members}}


def unused_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listen_unix(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    listener.settimeout(10)
    return listener


def greeting_of(connection):
    """The QMP greeting that comes on a socket or a descriptor."""
    fd = connection if isinstance(connection, int) else connection.fileno()
    data = b""
    deadline = time.monotonic() + 10
    while not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        assert left > 0 and select.select([fd], [], [], left)[0], data
        piece = os.read(fd, 4096)
        assert piece, "the connection ended before the greeting"
        data += piece
    return json.loads(data)["QMP"]


def answer(fd, request):
    """Sends one line on a descriptor, gives the line that comes back."""
    os.write(fd, json.dumps(request).encode() + b"\n")
    data = b""
    while not data.endswith(b"\n"):
        assert select.select([fd], [], [], 10)[0], data
        data += os.read(fd, 4096)
    return json.loads(data)


class ChardevCase(firn_test.Case):
    def add(self, daemon, name, kind, **data):
        return daemon.execute("chardev-add", id=name, backend={"type": kind, "data": data})

    def filename(self, daemon, name):
        found = {c["label"]: c["filename"] for c in daemon.execute("query-chardev")}
        return found.get(name)

    def wait_filename(self, daemon, name, filename):
        deadline = time.monotonic() + 10
        while self.filename(daemon, name) != filename:
            self.assertLess(time.monotonic(), deadline, self.filename(daemon, name))
            time.sleep(0.02)


class Commands(ChardevCase):
    def test_errors(self):
        daemon = self.start(nbd=False)
        self.add(daemon, "null", "null")
        with socket.socket(socket.AF_UNIX) as nobody:
            nobody.bind(str(self.folder / "refused"))

        def refused(label, kind, why, /, **data):
            self.assert_qmp_error(daemon.execute, "chardev-add",
                                  {"id": label, "backend": {"type": kind, "data": data}},
                                  desc=f"Failed to add chardev '{label}': {why}")

        def socket_refused(why, addr, **data):
            refused("s", "socket", why, addr=addr, **data)

        for kind in ["msmouse", "wctablet", "braille", "testdev", "console", "vc"]:
            refused("x", kind, f"'{kind}' is not a valid char driver name")
        refused("x", "spicevmc", "'spicevmc' is not a valid char driver name", type="t")
        refused("x", "dbus", "'dbus' is not a valid char driver name", name="n")
        for kind in ["vc", "null"]:
            self.assert_qmp_error(self.add, daemon, "null", kind,
                                  desc="Chardev with id 'null' already exists")
        self.assert_qmp_error(self.add, daemon, "x", "nope",
                              desc="Parameter 'type' does not accept value 'nope'")
        self.assert_qmp_error(self.add, daemon, "x", "socket",
                              desc="Parameter 'backend.data.addr' is missing")
        for size in [3, -4]:
            refused("x", "ringbuf", "size of ringbuf chardev must be power of two", size=size)
        refused("x", "pipe", "Could not open '/nowhere/p': No such file or directory",
                device="/nowhere/p")
        refused("x", "file", "Could not open '/nowhere/x': No such file or directory",
                out="/nowhere/x")
        refused("x", "file", "Could not open '/nowhere/i': No such file or directory",
                out=str(self.folder / "out"), **{"in": "/nowhere/i"})
        socket_refused("Failed to bind socket to /nowhere/s: No such file or directory",
                       unix("/nowhere/s"))
        socket_refused("Failed to connect to '/nowhere/s': No such file or directory",
                       unix("/nowhere/s"), server=False)
        socket_refused(f"Failed to connect to '{self.folder}/refused': Connection refused",
                       unix(self.folder / "refused"), server=False)
        socket_refused("'reconnect' option is incompatible with socket in server listen mode",
                       unix("/nowhere/s"), reconnect=3)
        for wait in [False, True]:
            socket_refused("'wait' option is incompatible with socket in client connect mode",
                           unix("/nowhere/s"), server=False, wait=wait)
        port = unused_port()
        socket_refused(f"Failed to connect to '127.0.0.1:{port}': Connection refused", inet(port),
                       server=False)
        socket_refused("address resolution failed for no.such.invalid:1: Name or service not known",
                       inet(1, host="no.such.invalid"), server=False)
        socket_refused("Cannot disable IPv4 and IPv6 at same time",
                       inet(0, ipv4=False, ipv6=False))
        socket_refused("'tls_authz' option requires 'tls_creds' option", inet(0),
                       **{"tls-authz": "x"})
        self.assertEqual(len(daemon.execute("query-chardev")), 2)
        daemon.stop()

    def test_in_use(self):
        daemon = self.start("--chardev", "null,id=n", "--monitor", "n", nbd=False)
        for name in ["qmp0", "n"]:
            self.assert_qmp_error(daemon.execute, "chardev-remove", id=name,
                                  desc=f"Chardev '{name}' is busy")
            self.assert_qmp_error(daemon.execute, "chardev-change", id=name,
                                  backend={"type": "null", "data": {}},
                                  desc="Chardev user does not support chardev hotswap")
            daemon.execute("chardev-send-break", id=name)
        for command in ["chardev-remove", "chardev-send-break"]:
            self.assert_qmp_error(daemon.execute, command, id="x", desc="Chardev 'x' not found")
        self.assert_qmp_error(daemon.execute, "chardev-change", id="x",
                              backend={"type": "null", "data": {}},
                              desc="Chardev 'x' does not exist")
        shown = sorted(daemon.execute("query-chardev"), key=lambda c: c["label"])
        self.assertEqual(shown, [
            {"label": "n", "filename": "null", "frontend-open": True},
            {"label": "qmp0", "filename": f"unix:{daemon.qmp_path},server=on",
             "frontend-open": True}])
        kinds = {b["name"] for b in daemon.execute("query-chardev-backends")}
        self.assertLessEqual({"file", "memory", "null", "pipe", "pty", "ringbuf", "socket", "stdio"},
                             kinds)
        daemon.stop()

    def test_filenames(self):
        daemon = self.start(nbd=False)
        sock = self.folder / "s.sock"

        def shown(name, kind, filename, **data):
            self.add(daemon, name, kind, **data)
            self.assertEqual(self.filename(daemon, name), filename)
            daemon.execute("chardev-remove", id=name)
            self.assertIsNone(self.filename(daemon, name))

        os.mkfifo(self.folder / "fifo")
        shown("n", "null", "null")
        shown("f", "file", "file", out=str(self.folder / "out"))
        shown("p", "pipe", "pipe", device=str(self.folder / "fifo"))
        shown("r", "ringbuf", "ringbuf")
        shown("m", "memory", "memory", size=8)
        shown("o", "stdio", "stdio", signal=False)
        shown("u", "socket", f"disconnected:unix:{sock},server=on", addr=unix(sock))
        name = f"firn-{os.getpid()}"
        shown("a", "socket", f"disconnected:unix:{name},abstract=on,tight=on,server=on",
              addr=unix(name, abstract=True))
        shown("b", "socket", f"disconnected:unix:{name},abstract=on,server=on",
              addr=unix(name, abstract=True, tight=False))
        port = unused_port()
        shown("t", "socket", f"disconnected:tcp:127.0.0.1:{port},server=on", addr=inet(port))
        shown("t", "socket", f"disconnected:telnet:127.0.0.1:{port},server=on", addr=inet(port),
              telnet=True)
        shown("t", "socket", f"disconnected:tcp:127.0.0.1:{port}", addr=inet(port), server=False,
              reconnect=60)
        shown("c", "socket", f"disconnected:unix:{sock}", addr=unix(sock), server=False,
              reconnect=60)
        self.assertFalse(sock.exists())
        daemon.stop()

    def test_change(self):
        daemon = self.start(nbd=False)
        sock = self.folder / "s.sock"

        def change(kind, **data):
            return daemon.execute("chardev-change", id="c", backend={"type": kind, "data": data})

        self.add(daemon, "c", "null")
        change("ringbuf", size=8)
        self.assertEqual(self.filename(daemon, "c"), "ringbuf")
        change("socket", addr=unix(sock))
        change("socket", addr=unix(sock))  # the same again
        self.assertEqual(self.filename(daemon, "c"), f"disconnected:unix:{sock},server=on")
        self.assert_qmp_error(change, "file", out="/nowhere/x",
                              desc="Failed to add chardev 'c': Could not open '/nowhere/x': No such "
                                   "file or directory")
        if not against_peer():  # there it is gone now
            self.assertEqual(self.filename(daemon, "c"), f"disconnected:unix:{sock},server=on")
            self.assertIn("pty", change("pty"))
        daemon.stop()

    def test_ring_buffer(self):
        daemon = self.start(nbd=False)
        self.add(daemon, "n", "null")
        self.add(daemon, "r", "ringbuf", size=8)

        def write(data, fmt=None):
            members = {"format": fmt} if fmt else {}
            daemon.execute("ringbuf-write", device="r", data=data, **members)

        def read(size, fmt=None):
            members = {"format": fmt} if fmt else {}
            return daemon.execute("ringbuf-read", device="r", size=size, **members)

        self.assertEqual(read(5), "")
        write("hello")
        self.assertEqual(read(3), "hel")
        write("worldly")
        self.assertEqual(read(100), "oworldly")
        write("eA==", "base64")
        write("\u00fc", "utf8")
        self.assertEqual(read(100, "base64"), "eMO8")
        write("a\0b")
        self.assertEqual(read(100), "a\0b")
        write("gP8A", "base64")
        self.assertEqual(read(100), "\ufffd\ufffd")
        for text, shown in [("e", ""), ("eA", ""), ("eA==eA==", "xx"), ("eH\nl6\n", "xyz")]:
            write(text, "base64")
            self.assertEqual(read(100), shown, text)
        for command, members in [("ringbuf-write", {"data": "x"}), ("ringbuf-read", {"size": 1})]:
            self.assert_qmp_error(daemon.execute, command, device="x", **members,
                                  desc="Device 'x' not found")
            self.assert_qmp_error(daemon.execute, command, device="n", **members,
                                  desc="n is not a ringbuf device")
        for size in [0, -1]:
            self.assert_qmp_error(read, size, desc="size must be greater than zero")
        self.assert_qmp_error(write, "!!", "base64",
                              desc="Base64 data contains invalid characters")
        self.assert_qmp_error(write, "x", "nope",
                              desc="Parameter 'format' does not accept value 'nope'")
        daemon.stop()


class Monitors(ChardevCase):
    def test_ring_buffer_takes_the_greeting(self):
        daemon = self.start("--chardev", "ringbuf,id=r", "--monitor", "r", nbd=False)
        self.assertIn("QMP", json.loads(daemon.execute("ringbuf-read", device="r", size=4096)))
        daemon.stop()

    def test_file(self):
        out = self.folder / "out"
        out.write_text("old")
        daemon = self.start("--chardev", f"file,id=f,path={out},append=on", "--monitor", "f",
                            nbd=False)
        daemon.execute("query-chardev")
        self.assertTrue(out.read_text().startswith('old{"QMP"'), out.read_text())
        daemon.stop()

    def test_pipe(self):
        base = self.folder / "p"
        os.mkfifo(f"{base}.in")
        os.mkfifo(f"{base}.out")
        daemon = self.start("--chardev", f"pipe,id=p,path={base}", "--monitor", "p", nbd=False)
        reader = os.open(f"{base}.out", os.O_RDWR)
        writer = os.open(f"{base}.in", os.O_RDWR)
        greeting_of(reader)
        os.write(writer, b"{'execute':'qmp_capabilities'}\n")
        self.assertTrue(select.select([reader], [], [], 10)[0])
        self.assertEqual(json.loads(os.read(reader, 4096)), {"return": {}})
        os.close(reader)
        os.close(writer)
        daemon.stop()

    def wait_until_alone(self, daemon, monitor):
        deadline = time.monotonic() + 10
        while any(m["clients"] for m in daemon.execute("query-monitors") if m["id"] == monitor):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_pty(self):
        daemon = self.start("--chardev", "pty,id=p", "--monitor", "p", nbd=False)
        path = self.filename(daemon, "p").removeprefix("pty:")
        if not against_peer():  # there it is printed when the output buffer is full
            self.assertIn(f"char device redirected to {path} (label p)", daemon.log())
        for _ in range(2):
            fd = os.open(path, os.O_RDWR | os.O_NOCTTY)
            greeting_of(fd)
            self.assertEqual(answer(fd, {"execute": "qmp_capabilities"}), {"return": {}})
            os.close(fd)
            if against_peer():
                time.sleep(1.2)  # how often it looks
            else:
                self.wait_until_alone(daemon, "p")
        daemon.stop()

    def test_reconnect(self):
        sock = self.folder / "l.sock"
        daemon = self.start("--chardev", f"socket,id=c,path={sock},reconnect=1", "--monitor", "c",
                            nbd=False)
        self.assertEqual(self.filename(daemon, "c"), f"disconnected:unix:{sock}")
        for _ in range(2):
            listener = listen_unix(sock)
            client, _ = listener.accept()
            greeting_of(client)
            self.assertEqual(answer(client.fileno(), {"execute": "qmp_capabilities"}),
                             {"return": {}})
            client.close()
            listener.close()
            sock.unlink()
            self.wait_filename(daemon, "c", f"disconnected:unix:{sock}")
        self.assertIn("Unable to connect character device c: Failed to connect to "
                      f"'{sock}': No such file or directory", daemon.log())
        daemon.stop()

    def test_tcp(self):
        port = unused_port()
        daemon = self.start("--chardev", f"socket,id=t,host=127.0.0.1,port={port},server=on,wait=off",
                            "--monitor", "t", nbd=False)
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            greeting_of(client)
            mine = client.getsockname()[1]
            self.assertEqual(self.filename(daemon, "t"),
                             f"tcp:127.0.0.1:{port},server=on <-> 127.0.0.1:{mine}")
        self.wait_filename(daemon, "t", f"disconnected:tcp:127.0.0.1:{port},server=on")
        daemon.stop()

    def test_telnet(self):
        port = unused_port()
        daemon = self.start(
            "--chardev", f"socket,id=t,host=127.0.0.1,port={port},server=on,wait=off,telnet=on",
            "--monitor", "t", nbd=False)
        with socket.create_connection(("127.0.0.1", port), 10) as client:
            file = client.makefile("rb")
            if not against_peer():  # there it comes when it is wanted by the client
                self.assertEqual(file.read(12), bytes([255, 251, 1, 255, 251, 3, 255, 251, 0,
                                                       255, 253, 0]))
                self.assertIn("QMP", json.loads(file.readline()))
                client.sendall(b"\xff\xfd\x01\xff\xfd\x03{'execute':\xff\xfb\x00'qmp_capabilities'}")
                self.assertEqual(json.loads(file.readline()), {"return": {}})
                self.assertIn("telnet:127.0.0.1", self.filename(daemon, "t"))
            file.close()
        daemon.stop()

    def test_wait(self):
        sock = self.folder / "w.sock"
        with subprocess.Popen([daemon_path(), "--chardev", f"socket,id=c,path={sock},server=on",
                               "--monitor", "c"], stderr=subprocess.DEVNULL) as process:
            try:
                with socket.socket(socket.AF_UNIX) as client:
                    deadline = time.monotonic() + 10
                    while client.connect_ex(str(sock)) != 0:
                        self.assertLess(time.monotonic(), deadline)
                        time.sleep(0.02)
                    greeting_of(client)
                    process.terminate()
                    self.assertEqual(process.wait(10), 0)
            finally:
                process.kill()

    def test_stdio(self):
        lines = '{"execute":"qmp_capabilities"}\n{"execute":"query-chardev"}\n{"execute":"quit"}\n'
        result = subprocess.run([daemon_path(), "--chardev", "stdio,id=s,signal=off", "--monitor",
                                 "s"], input=lines, capture_output=True, text=True, timeout=20,
                                check=True)
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(answers[2]["return"],
                         [{"label": "s", "filename": "stdio", "frontend-open": True}])
        daemon = self.start("--chardev", "stdio,id=a", nbd=False)
        self.assert_qmp_error(self.add, daemon, "b", "stdio",
                              desc="Failed to add chardev 'b': cannot use stdio by multiple character "
                                   "devices")
        daemon.stop()


class CommandLine(ChardevCase):
    def text_of(self, option, **keywords):
        """What the daemon says of a --chardev on standard error."""
        # The second option ends a daemon that takes the first.
        result = subprocess.run([daemon_path(), "--chardev", option, "--blockdev", "nope"],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20,
                                check=False, cwd=self.folder, **keywords)
        self.assertEqual(result.returncode, 1)
        return "\n".join(line for line in result.stderr.splitlines() if "blockdev" not in line)

    def test_errors(self):
        for option, why in [
                ("stdio", "chardev: no id specified"),
                ("", "chardev: no id specified"),
                ("=", "Invalid parameter ''"),
                ("stdio,id=9c", "Parameter 'id' expects an identifier"),
                ("id=c", 'chardev: "c" missing backend'),
                ("bogus,id=c", "'bogus' is not a valid char driver name"),
                ("tcp,id=c,host=h,port=1", "'tcp' is not a valid char driver name"),
                ("socket,id=c,host=h", "chardev: socket: no port given"),
                ("socket,id=c,path=x,fd=3",
                 "None or one of 'path', 'fd' or 'host' option required."),
                ("socket,id=c,fd=x", "Unable to parse FD number x"),
                ("socket,id=c,fd=77", "File descriptor '77' is not a socket"),
                ("socket,id=c,fd=0", "File descriptor '0' is not a socket"),
                ("socket,id=c,path=x,server=maybe", "Parameter 'server' expects 'on' or 'off'"),
                ("socket,id=c,path=x,zz=1", "Invalid parameter 'zz'"),
                ("socket,id=c,path=x,reconnect=x", "Parameter 'reconnect' expects a number"),
                ("socket,id=c,path=x,server=on,reconnect=1",
                 "'reconnect' option is incompatible with socket in server listen mode"),
                ("socket,id=c,path=x,wait=on",
                 "'wait' option is incompatible with socket in client connect mode"),
                ("socket,id=c,path=x,server=on,wait=off,nodelay=on,delay=on",
                 "'delay' and 'nodelay' are mutually exclusive"),
                ("socket,id=c,path=/nowhere/x,server=on,wait=off",
                 "Failed to bind socket to /nowhere/x: No such file or directory"),
                ("socket,id=c,path=/nowhere/x",
                 "Failed to connect to '/nowhere/x': No such file or directory"),
                ("ringbuf,id=c,size=3", "size of ringbuf chardev must be power of two"),
                ("ringbuf,id=c,size=x",
                 "Parameter 'size' expects a non-negative number below 2^64"),
                ("file,id=c", "chardev: file: no filename given"),
                ("pipe,id=c", "chardev: pipe: no device path given"),
                ("pipe,id=c,path=/nowhere", "Could not open '/nowhere': No such file or directory"),
                ("stdio,id=c,signal=x", "Parameter 'signal' expects 'on' or 'off'")]:
            self.assertIn(f"--chardev {option}: {why}\n", self.text_of(option) + "\n")

    def test_short_forms(self):
        text = self.text_of("socket,id=c,path=x,server,nowait")
        for short, full in [("server", "server=on"), ("nowait", "wait=off")]:
            self.assertIn(f"short-form boolean option '{short}' deprecated", text)
            self.assertIn(f"lease use {full} instead", text)

    def test_help(self):
        result = subprocess.run([daemon_path(), "--chardev", "help"], capture_output=True, text=True,
                                timeout=20, check=True)
        lines = result.stdout.splitlines()
        self.assertEqual(lines[0], "Available chardev backend types: ")
        self.assertLessEqual({"  socket", "  stdio", "  pty", "  null", "  ringbuf"}, set(lines[1:]))
        if not against_peer():
            daemon = self.start(nbd=False)
            kinds = [b["name"] for b in daemon.execute("query-chardev-backends")]
            self.assertEqual([f"  {kind}" for kind in kinds], lines[1:])
            daemon.stop()


# Starts a program as a service manager does: sockets from descriptor 3 on, and the variables.
LAUNCHER = """
import os, socket, sys
paths, names, argv = sys.argv[1].split(","), sys.argv[2], sys.argv[3:]
sockets = []
for path in paths:
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.listen()
    sockets.append(s.detach())
copies = [os.dup2(fd, 100 + i) for i, fd in enumerate(sockets)]
for i, fd in enumerate(copies):
    os.dup2(fd, 3 + i)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(paths)), LISTEN_FDNAMES=names)
os.execvp(argv[0], argv)
"""


class Inherited(ChardevCase):
    def launch(self, names, *options):
        paths = [str(self.folder / f"{i}.sock") for i in range(len(names))]
        return self.start(*options, nbd=False,
                          wrapper=(sys.executable, "-c", LAUNCHER, ",".join(paths), ":".join(names)))

    def test_by_number(self):
        daemon = self.launch(["x"], "--chardev", "socket,id=a,fd=3,server=on,wait=off", "--monitor",
                             "a")
        with Qmp(self.folder / "0.sock") as client:
            self.assertIn("enabled", str(client.greeting) + "enabled")
            self.assertEqual(client.execute("query-chardev")[0]["frontend-open"], True)
        daemon.stop()
        # It is the service manager's.
        self.assertEqual((self.folder / "0.sock").exists(), not against_peer())

    @firn_only("there are no names")
    def test_by_name(self):
        image = self.image("disk.raw", size="1M", fmt="raw")
        daemon = self.launch(["nbd", "qmp", "later"],
                             "--chardev", "socket,id=a,fd=qmp,server=on,wait=off", "--monitor", "a",
                             "--nbd-server", "addr.type=fd,addr.str=nbd",
                             "--blockdev", f"raw,node-name=n,file.driver=file,file.filename={image}",
                             "--export", "nbd,id=e,node-name=n")
        with Qmp(self.folder / "1.sock") as client:
            self.assertEqual(client.execute("query-chardev")[0]["filename"],
                             f"unix:{self.folder}/1.sock,server=on")
        nbd = firn_test.Nbd(self.folder / "0.sock")
        self.assertEqual(nbd.go("n"), 1 << 20)
        nbd.close()
        # No child takes them for its own.
        environment = open(f"/proc/{daemon.process.pid}/environ", "rb").read()
        del environment  # the kernel shows what it was started with: see the unit test
        # By QMP: the names that are left, and no numbers.
        self.add(daemon, "b", "socket", addr={"type": "fd", "data": {"str": "later"}})
        self.assertEqual(self.filename(daemon, "b"),
                         f"disconnected:unix:{self.folder}/2.sock,server=on")
        for name in ["later", "3", "5"]:
            self.assert_qmp_error(self.add, daemon, "c", "socket",
                                  addr={"type": "fd", "data": {"str": name}},
                                  desc=f"Failed to add chardev 'c': File descriptor named '{name}' "
                                       "has not been found")
        daemon.stop()

    @firn_only("there are no names")
    def test_daemonize(self):
        # The process ID is that of the process that was started, not of the one that stays.
        sock = self.folder / "0.sock"
        pidfile = self.folder / "pid"
        subprocess.run([sys.executable, "-c", LAUNCHER, str(sock), "qmp", daemon_path(),
                        "--daemonize", "--pidfile", pidfile,
                        "--chardev", "socket,id=a,fd=qmp,server=on,wait=off", "--monitor", "a"],
                       check=True, timeout=20, stdout=subprocess.DEVNULL)
        with Qmp(sock) as client:
            client.execute("quit")
        deadline = time.monotonic() + 10
        while pidfile.exists():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)

    def test_connected(self):
        here, there = socket.socketpair()
        process = subprocess.Popen([daemon_path(), "--chardev", f"socket,id=a,fd={there.fileno()}",
                                    "--monitor", "a"], pass_fds=[there.fileno()],
                                   stdin=subprocess.DEVNULL)
        there.close()
        try:
            greeting_of(here)
            self.assertEqual(answer(here.fileno(), {"execute": "qmp_capabilities"}), {"return": {}})
            os.write(here.fileno(), b'{"execute":"quit"}')
            self.assertEqual(process.wait(10), 0)
        finally:
            process.kill()
            process.wait()
            here.close()


if __name__ == "__main__":
    firn_test.main()

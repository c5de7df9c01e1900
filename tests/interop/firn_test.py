"""What the tests against real peers share: a daemon that is started and always ended, a QMP client,
a bare NBD client, and programs run with a time limit.

A test script ends in `firn_test.main()`. It runs against build/release/bin/firnd, or against what
--daemon PATH or the environment's FIRN_TEST_DAEMON names. qemu-storage-daemon will do: tests of what
is Firn's alone are skipped then. A test's files lie in a folder of its own under TMPDIR and are
removed at its end, if it passed.
"""

import functools
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import report  # noqa: E402

MIB = 1 << 20
START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 30


def daemon_path():
    return os.environ.get("FIRN_TEST_DAEMON", str(ROOT / "build" / "release" / "bin" / "firnd"))


def against_peer():
    """True if the daemon under test is qemu-storage-daemon."""
    return os.path.basename(daemon_path()) == "qemu-storage-daemon"


def firn_only(reason):
    """Marks a test of what qemu-storage-daemon doesn't do, or does otherwise."""
    def decorate(test):
        @functools.wraps(test)
        def wrapper(self, *args, **kwargs):
            if against_peer():
                self.skipTest(f"Firn alone: {reason}")
            return test(self, *args, **kwargs)
        return wrapper
    return decorate


def needs(*programs):
    """Skips a test where a program of a peer is missing."""
    missing = [p for p in programs if not shutil.which(p)]
    return unittest.skipIf(missing, f"not installed: {', '.join(missing)}")


class ProgramFailed(AssertionError):
    pass


def run(*argv, check=True, timeout=120, **kwargs):
    """Runs a program to its end. Its output, both streams together, is in .stdout."""
    argv = [str(a) for a in argv]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
                            **kwargs)
    if check and result.returncode != 0:
        raise ProgramFailed(f"{' '.join(argv)}: exit status {result.returncode}\n{result.stdout}")
    return result


def run_json(*argv, **kwargs):
    """Runs a program that prints JSON on standard output."""
    argv = [str(a) for a in argv]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                            timeout=120, check=False, **kwargs)
    if result.returncode != 0:
        raise ProgramFailed(f"{' '.join(argv)}: exit status {result.returncode}\n{result.stderr}")
    return json.loads(result.stdout)


class QmpError(Exception):
    """A command's error reply."""

    def __init__(self, error):
        super().__init__(f"{error.get('class')}: {error.get('desc')}")
        self.cls = error.get("class")
        self.desc = error.get("desc")
        self.data = error.get("data")


class Qmp:
    """A QMP client. `execute` gives what the command returns, or raises QmpError."""

    def __init__(self, path, timeout=30, negotiate=True):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))
        self.buffer = b""
        self.events = []
        self.greeting = self.read_message()
        if negotiate:
            self.execute("qmp_capabilities")

    def read_message(self):
        while b"\n" not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the daemon closed the QMP connection")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def send(self, data):
        self.socket.sendall(data)

    def send_command(self, command, arguments=None, **members):
        message = {"execute": command, **members}
        if arguments:
            message["arguments"] = arguments
        self.send(json.dumps(message).encode() + b"\n")

    def read_reply(self):
        while True:
            message = self.read_message()
            if "event" not in message:
                return message
            self.events.append(message)

    def execute(self, command, arguments=None, **keywords):
        """Keyword arguments are members too: snapshot_file= stands for `snapshot-file`."""
        arguments = {**(arguments or {}),
                     **{k.replace("_", "-"): v for k, v in keywords.items()}}
        self.send_command(command, arguments)
        reply = self.read_reply()
        if "error" in reply:
            raise QmpError(reply["error"])
        return reply["return"]

    def wait_event(self, name, timeout=10):
        deadline = time.monotonic() + timeout
        while True:
            for i, event in enumerate(self.events):
                if event["event"] == name:
                    return self.events.pop(i)
            left = deadline - time.monotonic()
            if left <= 0:
                raise AssertionError(f"no event {name} within {timeout} s")
            self.socket.settimeout(left)
            try:
                message = self.read_message()
            except TimeoutError:
                continue
            finally:
                self.socket.settimeout(30)
            if "event" in message:
                self.events.append(message)

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.close()


class Daemon:
    """A running daemon with a QMP socket, and an NBD server on a unix socket unless nbd=False."""

    def __init__(self, folder, arguments=(), nbd=True, qmp=True, wrapper=(), path=None):
        self.folder = pathlib.Path(folder)
        self.number = len(list(self.folder.glob("daemon*.log")))
        self.qmp_path = self.folder / f"qmp{self.number}.sock"
        self.nbd_path = self.folder / f"nbd{self.number}.sock"
        self.log_path = self.folder / f"daemon{self.number}.log"
        argv = [*wrapper, path or daemon_path()]
        if nbd:
            argv += ["--nbd-server", f"addr.type=unix,addr.path={self.nbd_path}"]
        argv += [str(a) for a in arguments]
        if qmp:
            argv += ["--chardev", f"socket,path={self.qmp_path},server=on,wait=off,id=qmp0",
                     "--monitor", "chardev=qmp0"]
        self.argv = argv
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._qmp = None
        if qmp:
            try:
                self._wait_for(self.qmp_path)
            except BaseException:
                self.kill()
                raise

    def _wait_for(self, path):
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(f"{' '.join(self.argv)}: exit status "
                                     f"{self.process.returncode}\n{self.log()}")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(str(path))
                    return
                except OSError:
                    time.sleep(0.01)
        raise AssertionError(f"{path}: nobody listens after {START_TIMEOUT_S} s\n{self.log()}")

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    @property
    def qmp(self):
        """A QMP connection that lasts as long as the daemon."""
        if self._qmp is None:
            self._qmp = self._connect_when_free()
        return self._qmp

    def _connect_when_free(self):
        # A daemon that serves one client at a time may still be busy with the probe's goodbye.
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                return Qmp(self.qmp_path)
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def execute(self, command, arguments=None, **keywords):
        return self.qmp.execute(command, arguments, **keywords)

    def uri(self, export=""):
        return f"nbd+unix:///{export}?socket={self.nbd_path}"

    def is_running(self):
        return self.process.poll() is None

    def stop(self, signal_number=signal.SIGTERM):
        """Asks it to end and waits. Anything but exit status 0 is a failure."""
        if self._qmp:
            self._qmp.close()
        if self.is_running():
            self.process.send_signal(signal_number)
        try:
            status = self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the daemon did not end within {STOP_TIMEOUT_S} s of signal "
                                 f"{int(signal_number)}\n{self.log()}") from None
        if status != 0:
            raise AssertionError(f"the daemon ended with status {status}\n{self.log()}")

    def wait_for_end(self, timeout=STOP_TIMEOUT_S):
        """Waits for it to end by itself; gives the exit status."""
        if self._qmp:
            self._qmp.close()
        return self.process.wait(timeout)

    def kill(self):
        if self._qmp:
            self._qmp.close()
        if self.is_running():
            self.process.kill()
        self.process.wait()


class Nbd:
    """A bare NBD client, for what no proper client does. Offsets and lengths in bytes."""

    OPT_MAGIC = 0x49484156454F5054
    REPLY_MAGIC = 0x3E889045565A9
    REQUEST_MAGIC = 0x25609513
    SIMPLE_REPLY_MAGIC = 0x67446698
    EXPORT_NAME, ABORT, LIST, INFO, GO, STRUCTURED_REPLY = 1, 2, 3, 6, 7, 8
    READ, WRITE, DISC, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)

    def __init__(self, path, timeout=20):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.connect(str(path))

    def receive(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise ConnectionError("the server closed the NBD connection")
            data += part
        return data

    def greet(self, flags=3):
        """Reads the greeting, answers with the client's flags (fixed newstyle, no zeroes)."""
        magic, option_magic, server_flags = struct.unpack(">8sQH", self.receive(18))
        assert magic == b"NBDMAGIC" and option_magic == self.OPT_MAGIC, (magic, option_magic)
        self.socket.sendall(struct.pack(">I", flags))
        return server_flags

    def option(self, number, data=b"", length=None):
        self.socket.sendall(struct.pack(">QII", self.OPT_MAGIC, number,
                                        len(data) if length is None else length) + data)

    def option_reply(self):
        magic, number, kind, length = struct.unpack(">QIII", self.receive(20))
        assert magic == self.REPLY_MAGIC, hex(magic)
        return number, kind, self.receive(length)

    def go(self, export):
        """Greets and enters the export. Gives its size."""
        self.greet()
        name = export.encode()
        self.option(self.GO, struct.pack(">I", len(name)) + name + struct.pack(">H", 0))
        size = None
        while True:
            _, kind, data = self.option_reply()
            if kind == 3 and struct.unpack(">H", data[:2])[0] == 0:
                size = struct.unpack(">Q", data[2:10])[0]
            elif kind == 1:
                return size
            elif kind & 0x80000000:
                raise ConnectionError(f"option GO failed: {hex(kind)} {data!r}")

    def request(self, command, offset=0, length=0, data=b"", flags=0, cookie=1,
                magic=REQUEST_MAGIC):
        self.socket.sendall(
            struct.pack(">IHHQQI", magic, flags, command, cookie, offset, length) + data)

    def simple_reply(self, length=0):
        """Gives (error, cookie, data)."""
        magic, error, cookie = struct.unpack(">IIQ", self.receive(16))
        assert magic == self.SIMPLE_REPLY_MAGIC, hex(magic)
        return error, cookie, self.receive(length) if error == 0 else b""

    def read(self, offset, length):
        self.request(self.READ, offset, length)
        error, _, data = self.simple_reply(length)
        assert error == 0, error
        return data

    def write(self, offset, data):
        self.request(self.WRITE, offset, len(data), data)
        error, _, _ = self.simple_reply()
        assert error == 0, error

    def close(self):
        self.socket.close()


class FaultStore:
    """A folder on a disk that can be slow, fail, hang, and lose power (tests/tools/fault_store).

    `path` is where its files are. Flat: no folders within."""

    def __init__(self, folder, path=None):
        self.folder = pathlib.Path(folder)
        self.path = pathlib.Path(path or f"{folder}.mount")
        self.process = None
        self.start()

    @staticmethod
    def is_possible():
        return os.geteuid() == 0 and os.access("/dev/fuse", os.R_OK | os.W_OK)

    def start(self):
        self.path.mkdir(exist_ok=True)
        program = os.environ.get("FIRN_TEST_FAULT_STORE",
                                 str(ROOT / "build" / "release" / "tests" / "fault_store"))
        self.process = subprocess.Popen([program, self.folder, self.path], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self.process.stdout.readline()
        if line != "ready\n":
            raise AssertionError(f"fault_store did not start: {line!r}")

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer.startswith("ok"):
            raise AssertionError(f"fault_store answers {answer!r} to {line!r}")
        return answer[3:]

    def cut(self, seed=0):
        """The power goes, and comes back. Whoever has files open there must have ended."""
        self.tell(f"cut {seed}")
        self._unmount()
        self.start()

    def _unmount(self):
        self.process.wait()
        subprocess.run(["umount", "-l", self.path], stderr=subprocess.DEVNULL)

    def close(self):
        if self.process is None:
            return
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._unmount()
        self.process = None


class Case(unittest.TestCase):
    """A test with a folder, and daemons that end with it."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="firn-test-"))
        self._daemons = []
        self._stores = []
        self.addCleanup(self._remove_folder)
        self.addCleanup(self._close_stores)
        self.addCleanup(self._kill_daemons)

    def _remove_folder(self):
        outcome = getattr(self, "_outcome", None)
        if outcome is None or outcome.success:
            shutil.rmtree(self.folder, ignore_errors=True)
        else:
            print(f"kept: {self.folder}", file=sys.stderr)

    def _kill_daemons(self):
        for daemon in self._daemons:
            daemon.kill()

    def start(self, *arguments, **keywords):
        """Starts a daemon that is killed at the test's end; tests end it themselves by stop()."""
        daemon = Daemon(self.folder, arguments, **keywords)
        self._daemons.append(daemon)
        return daemon

    def fault_store(self, name="store"):
        """A FaultStore that ends with the test; skips the test where FUSE is not to be had."""
        if not FaultStore.is_possible():
            self.skipTest("needs root and /dev/fuse")
        store = FaultStore(self.folder / name)
        self._stores.append(store)
        return store

    def _close_stores(self):
        for store in self._stores:
            store.close()

    def start_monitor(self, path, folder, options=""):
        """Starts the daemon at `path`, its folder `folder`, with nothing but a monitor on the socket
        `folder`/qmp. It is ready for clients: qemu-storage-daemon greets one twice, or never, that
        comes while it starts."""
        daemon = self.start("--chardev", f"socket,id=q,path={folder}/qmp,server=on,wait=off",
                            "--monitor", f"chardev=q{options}", "--pidfile", f"{folder}/pid",
                            nbd=False, qmp=False, path=os.path.abspath(shutil.which(path)),
                            wrapper=("env", "-C", str(folder)))
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (folder / "pid").exists():
            if time.monotonic() > deadline or not daemon.is_running():
                raise AssertionError(f"{path} does not start:\n{daemon.log()}")
            time.sleep(0.005)
        return daemon

    def image(self, name="disk.qcow2", size="64M", fmt="qcow2", options=None, backing=None):
        """Makes an image with qemu-img; gives its path."""
        path = self.folder / name
        argv = ["qemu-img", "create", "-q", "-f", fmt]
        if options:
            argv += ["-o", options]
        if backing:
            argv += ["-b", backing, "-F", "qcow2"]
        argv.append(path)
        if size:
            argv.append(size)
        run(*argv)
        return path

    def serve(self, path, fmt="qcow2", export="vda", writable=True, extra=(), **keywords):
        """Starts a daemon with `path` as node disk0 and an NBD export of it."""
        return self.start(
            "--blockdev", f"driver=file,node-name=file0,filename={path}",
            "--blockdev", f"driver={fmt},node-name=disk0,file=file0",
            *extra,
            "--export", f"type=nbd,id={export},node-name=disk0,name={export},"
                        f"writable={'on' if writable else 'off'}", **keywords)

    def snapshot(self, daemon, node, path, overlay_node, **members):
        daemon.execute("blockdev-snapshot-sync", node_name=node, snapshot_file=str(path),
                       snapshot_node_name=overlay_node, **members)

    def check_image(self, path):
        """qemu-img check finds neither corruption nor leaks."""
        result = run("qemu-img", "check", path, check=False)
        self.assertEqual(result.returncode, 0, f"qemu-img check {path}:\n{result.stdout}")

    def io(self, daemon_or_path, *commands, fmt="qcow2", check=True, export="vda",
           read_only=False):
        """qemu-io on a daemon's export or on an image that nobody has open."""
        argv = ["qemu-io", "-r"] if read_only else ["qemu-io"]
        if isinstance(daemon_or_path, Daemon):
            argv += ["-f", "raw"]
            target = daemon_or_path.uri(export)
        else:
            argv += ["-f", fmt]
            target = daemon_or_path
        for command in commands:
            argv += ["-c", command]
        result = run(*argv, target, check=check)
        if check and ("failed" in result.stdout or "rror" in result.stdout):
            raise ProgramFailed(f"{' '.join(map(str, argv))}: {result.stdout}")
        return result.stdout

    def assert_qmp_error(self, function, *args, desc=None, contains=None, cls=None, **kwargs):
        with self.assertRaises(QmpError) as raised:
            function(*args, **kwargs)
        error = raised.exception
        if desc is not None:
            self.assertEqual(error.desc, desc)
        for text in [contains] if isinstance(contains, str) else contains or []:
            self.assertIn(text, error.desc)
        if cls is not None and not against_peer():
            self.assertEqual(error.cls, cls)
        return error


def main():
    """In place of unittest.main(): takes --daemon PATH too, and reports for ./dev test."""
    if "--daemon" in sys.argv:
        at = sys.argv.index("--daemon")
        name = sys.argv[at + 1]
        found = shutil.which(name)
        if not found:
            sys.exit(f"--daemon {name}: no such program")
        os.environ["FIRN_TEST_DAEMON"] = os.path.abspath(found)
        del sys.argv[at:at + 2]
    if not os.access(daemon_path(), os.X_OK):
        sys.exit(f"{daemon_path()}: not there; ./dev build makes it, --daemon PATH names another")
    report.main()

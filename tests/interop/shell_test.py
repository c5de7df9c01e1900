#!/usr/bin/env python3
"""`firn shell` on a terminal, and `firn qmp` and `firn events`, against a live daemon.

The terminal is a pty; what the tests look at is the screen that a terminal would show.
"""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata

import firn_test
from firn_test import MIB

SIZE = 16 * MIB
UP, LEFT = "\x1b[A", "\x1b[D"


def firn_path():
    return os.environ.get("FIRN_TEST_CLI",
                          str(firn_test.ROOT / "build" / "release" / "bin" / "firn"))


class Screen:
    """A terminal's screen with all that scrolled off it."""

    SEQUENCE = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])")

    def __init__(self):
        self.rows = [[]]
        self.row = self.column = 0
        self.pending = ""
        self.bracketed_paste = False

    def write(self, text):
        text = self.pending + text
        self.pending = ""
        at = 0
        while at < len(text):
            if text[at] == "\x1b":
                found = self.SEQUENCE.match(text, at)
                if not found:
                    if len(text) - at < 20:
                        self.pending = text[at:]
                        return
                    raise AssertionError(f"an unknown sequence: {text[at:at + 20]!r}")
                self.control(*found.groups())
                at = found.end()
                continue
            self.put(text[at])
            at += 1

    def put(self, char):
        if char == "\r":
            self.column = 0
        elif char == "\n":
            self.row += 1
            if self.row == len(self.rows):
                self.rows.append([])
        elif char != "\a":
            row = self.rows[self.row]
            row.extend(" " * (self.column + 1 - len(row)))
            row[self.column] = char
            self.column += 2 if unicodedata.east_asian_width(char) in "WF" else 1

    def control(self, parameters, final):
        number = int(parameters) if parameters.isdigit() else 1
        row = self.rows[self.row]
        if final == "A":
            self.row = max(self.row - number, 0)
        elif final == "B":
            self.row = min(self.row + number, len(self.rows) - 1)
        elif final == "C":
            self.column += number
        elif final == "D":
            self.column = max(self.column - number, 0)
        elif final == "K":
            del row[self.column:]
        elif final == "J":
            del row[self.column:]
            for below in self.rows[self.row + 1:]:
                below.clear()
        elif final in "hl" and parameters == "?2004":
            self.bracketed_paste = final == "h"
        elif final != "m":
            raise AssertionError(f"an unknown sequence: {parameters}{final}")

    def lines(self):
        lines = ["".join(row).rstrip() for row in self.rows]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def text(self):
        return "\n".join(self.lines())

    def cursor_line(self):
        return "".join(self.rows[self.row]).rstrip()


class Shell:
    """A program on a terminal of its own, as its session's leader."""

    def __init__(self, argv, environment, columns=100, rows=40):
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.settings = termios.tcgetattr(slave)
        self.screen = Screen()
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave,
                                        env=environment, start_new_session=True,
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.slave = slave

    def resize(self, columns, rows=40):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text):
        os.write(self.master, text.encode())

    def pump(self, seconds):
        ready, _, _ = select.select([self.master], [], [], seconds)
        if ready:
            try:
                self.screen.write(os.read(self.master, 65536).decode(errors="replace"))
            except OSError:
                return False
        return bool(ready)

    def wait(self, condition, what, seconds=15):
        """Reads until condition(screen) is true."""
        deadline = time.monotonic() + seconds
        while not condition(self.screen):
            if time.monotonic() > deadline:
                raise AssertionError(f"not seen: {what}\n--- the screen:\n{self.screen.text()}")
            self.pump(0.1)

    def wait_text(self, text, count=1):
        self.wait(lambda screen: screen.text().count(text) >= count, text)

    def wait_ok(self):
        self.wait(lambda screen: "ok" in screen.lines(), "ok")

    def wait_line(self, line):
        """Waits until the cursor's row is this."""
        self.wait(lambda screen: screen.cursor_line() == line, f"the cursor's line {line!r}")

    def is_cooked(self):
        flags = termios.tcgetattr(self.slave)[3]
        return flags & termios.ICANON and flags & termios.ECHO and flags & termios.ISIG

    def end(self, seconds=15):
        """Waits for the program's end; gives its exit status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"did not end\n{self.screen.text()}")
            self.pump(0.05)
        while self.pump(0):
            pass
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class ShellCase(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.state = self.folder / "state"
        self.environment = {**os.environ, "XDG_STATE_HOME": str(self.state), "TERM": "xterm",
                            "NO_COLOR": "1", "HOME": str(self.folder)}

    def arguments(self, daemon, *arguments):
        return [firn_path(), "--socket", str(daemon.qmp_path), *map(str, arguments)]

    def firn(self, daemon, *arguments, stdin=""):
        """Runs `firn`; gives exit status, standard output and standard error."""
        result = subprocess.run(self.arguments(daemon, *arguments), input=stdin, text=True,
                                capture_output=True, timeout=60, env=self.environment, check=False)
        return result.returncode, result.stdout, result.stderr

    def shell(self, daemon, *arguments, columns=100, environment=None):
        shell = Shell(self.arguments(daemon, "shell", *arguments),
                      {**self.environment, **(environment or {})}, columns)
        self.addCleanup(shell.close)
        shell.prompt = daemon.qmp_path.stem + "> "
        shell.wait_line(shell.prompt.rstrip())
        return shell

    def disk(self):
        """A daemon with node disk0, and on Firn the device vda."""
        path = self.image(size=SIZE)
        device = () if firn_test.against_peer() else ("--device", "id=vda,node-name=disk0")
        return self.serve(path, extra=device)


class TerminalTest(ShellCase):
    def test_a_command_and_its_result(self):
        shell = self.shell(self.disk())
        shell.type("query-version\r")
        shell.wait_text('"major": 7')
        shell.wait_line(shell.prompt.rstrip())
        shell.type("\x04")
        self.assertEqual(0, shell.end())
        self.assertTrue(shell.is_cooked())
        self.assertFalse(shell.screen.bracketed_paste)

    def test_tab_completes_and_lists(self):
        shell = self.shell(self.disk())
        prompt = shell.prompt
        shell.type("block_re\t")
        shell.wait_line(prompt + "block_resize")
        shell.wait_text("size=int")  # the hint below
        shell.type("node\t")
        shell.wait_line(prompt + "block_resize node-name=")
        shell.type("di\t")
        shell.wait_line(prompt + "block_resize node-name=disk0")
        shell.type("si\t32M")
        shell.wait_line(prompt + "block_resize node-name=disk0 size=32M")
        shell.type("\r")
        shell.wait_ok()
        shell.type("query-b\t\t")
        shell.wait_text("query-block-exports")
        shell.wait_line(prompt + "query-block")
        shell.type("-e\t\r")
        shell.wait_text("vda  nbd")
        shell.wait_line(prompt.rstrip())
        shell.type("block-export-del id=\t")
        shell.wait_line(prompt + "block-export-del id=vda")
        shell.type(" mode=\t\t")
        shell.wait_text("hard")
        shell.type("\x03")
        shell.wait_line(prompt.rstrip())
        # A file's name, relative here, absolute for the daemon.
        shell.type(f"blockdev-add driver=file filename={self.folder}/dis\t")
        shell.wait_line(f"{prompt}blockdev-add driver=file filename={self.folder}/disk.qcow2")
        shell.type("\x15exit\r")
        self.assertEqual(0, shell.end())

    def test_errors_point_at_what_is_wrong(self):
        shell = self.shell(self.disk())
        shell.type("block_resize node-name=disk0 sise=5\r")
        shell.wait_text("error: There is no argument 'sise'")
        shell.wait_text("Did you mean 'size'?")
        lines = shell.screen.lines()
        typed = next(line for line in lines if "sise=5" in line)
        self.assertIn(" " * typed.index("sise") + "^" * len("sise=5"), lines)
        shell.type("query-blok\r")
        shell.wait_text("Did you mean 'query-block'?")
        shell.type("block_resize node-name=nothing size=5\r")
        shell.wait_text("error: Cannot find device='' nor node-name='nothing'")
        lines = shell.screen.lines()
        self.assertTrue(any(line.strip() == "^" * len("node-name=nothing") for line in lines), lines)
        shell.type("block_resize 'x\r")
        shell.wait_text("not closed")

    def test_help(self):
        shell = self.shell(self.disk())
        shell.type("help\r")
        shell.wait_text("commands:")
        shell.wait_text("BLOCK_EXPORT_DELETED")
        shell.type("block_resize ?")
        shell.wait_text("arguments:")
        shell.wait_line(shell.prompt + "block_resize")
        shell.type("\x15help BLOCK_EXPORT_DELETED\r")
        shell.wait_text("carries:")

    def test_history_is_kept_but_no_secrets(self):
        daemon = self.disk()
        shell = self.shell(daemon)
        shell.type("query-version\r")
        shell.wait_text('"major"')
        shell.type("object-add qom-type=secret id=s0 data=hunter2\r")
        shell.wait_line(shell.prompt.rstrip())
        shell.type("query-block-exports\r")
        shell.wait_text("vda  nbd")
        shell.type("\x04")
        shell.end()
        path = self.state / "firn" / "history"
        self.assertEqual("query-version\nquery-block-exports\n", path.read_text())
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        shell = self.shell(daemon)
        shell.type(UP)
        shell.wait_line(shell.prompt + "query-block-exports")
        shell.type(UP)
        shell.wait_line(shell.prompt + "query-version")
        shell.type("\x03\x12expo")
        shell.wait_text("search 'expo': query-block-exports")
        shell.type("\r")
        shell.wait_text("vda  nbd")

    def test_events_come_above_the_line(self):
        daemon = self.disk()
        shell = self.shell(daemon)
        shell.type("query-ver" + LEFT)
        shell.wait_line(shell.prompt + "query-ver")
        daemon.execute("block-export-del", id="vda")
        shell.wait_text("BLOCK_EXPORT_DELETED id=vda")
        lines = shell.screen.lines()
        event = next(i for i, line in enumerate(lines) if "BLOCK_EXPORT_DELETED" in line)
        self.assertEqual(shell.prompt + "query-ver", lines[event + 1])
        self.assertEqual(shell.prompt + "query-ver", shell.screen.cursor_line())
        shell.type("\x05sion\r")
        shell.wait_text('"major"')

    def test_a_narrow_terminal_and_another_width(self):
        shell = self.shell(self.disk(), columns=30)
        shell.type("block_resize node-name=disk0 size=" + "1" * 20)
        line = shell.prompt + "block_resize node-name=disk0 size=" + "1" * 20
        shell.wait_text("\n".join([line[:30], line[30:60]]))
        shell.resize(90)
        shell.process.send_signal(signal.SIGWINCH)
        shell.wait_line(line)

    def test_interrupt_end_and_signals_restore_the_terminal(self):
        daemon = self.disk()
        shell = self.shell(daemon)
        shell.type("garbage\x03")
        shell.wait_text("garbage^C")
        shell.wait_line(shell.prompt.rstrip())
        self.assertFalse(shell.is_cooked())
        shell.process.send_signal(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, shell.end())
        self.assertTrue(shell.is_cooked())
        self.assertFalse(shell.screen.bracketed_paste)
        shell = self.shell(daemon)
        shell.process.send_signal(signal.SIGSEGV)
        self.assertEqual(-signal.SIGSEGV, shell.end())
        self.assertTrue(shell.is_cooked())

    def test_stop_and_go_on(self):
        shell = self.shell(self.disk())
        shell.type("query-ver")
        shell.wait_line(shell.prompt + "query-ver")
        # The session's leader stands in an orphaned group, which Ctrl-Z doesn't stop.
        shell.process.send_signal(signal.SIGSTOP)
        os.waitpid(shell.process.pid, os.WUNTRACED)
        termios.tcsetattr(shell.slave, termios.TCSANOW, shell.settings)
        shell.process.send_signal(signal.SIGCONT)
        shell.wait(lambda screen: not shell.is_cooked(), "raw mode")
        shell.type("sion\r")
        shell.wait_text('"major"')
        shell.type("\x1aquery-block-exports\r")
        shell.wait_text("vda  nbd")

    def test_job_control(self):
        daemon = self.disk()
        shell = Shell(["bash", "--norc", "--noprofile", "-i"],
                      {**self.environment, "PS1": "bash$ ", "INPUTRC": "/dev/null"})
        self.addCleanup(shell.close)
        shell.wait_line("bash$")
        shell.type(" ".join(self.arguments(daemon, "shell")) + "\r")
        prompt = daemon.qmp_path.stem + "> "
        shell.wait_line(prompt.rstrip())
        shell.type("query-ver\x1a")
        shell.wait_text("Stopped")
        shell.wait_line("bash$")
        shell.type("fg\r")
        shell.wait_line(prompt + "query-ver")
        shell.type("sion\r")
        shell.wait_text('"major"')
        shell.type("\x04")
        shell.wait_line("bash$")
        shell.type("echo $?. && exit\r")
        shell.wait_text("0.")
        self.assertEqual(0, shell.end())

    def test_the_daemon_is_killed(self):
        daemon = self.disk()
        shell = self.shell(daemon)
        shell.type("query-")
        shell.wait_line(shell.prompt + "query-")
        daemon.kill()
        shell.wait_text("closed the connection")
        gone = daemon.qmp_path.stem + " (gone)> "
        shell.wait_line(gone + "query-")
        shell.type("version\r")
        shell.wait_text("error:", 2)
        shell.wait_line(gone.rstrip())
        shell.type("\x04")
        self.assertEqual(0, shell.end())
        self.assertTrue(shell.is_cooked())

    def test_quit_is_asked_for_twice(self):
        daemon = self.disk()
        shell = self.shell(daemon)
        shell.type("quit\r")
        shell.wait_text("ends the daemon")
        shell.type("quit\r")
        self.assertEqual(0, shell.end())
        self.assertIn("The daemon has ended.", shell.screen.text())
        self.assertEqual(0, daemon.process.wait(30))

    def test_connects_again(self):
        daemon = self.disk()
        shell = self.shell(daemon)
        daemon.kill()
        shell.wait_text("closed the connection")
        again = firn_test.Daemon(self.folder, ["--chardev",
                                               f"socket,path={daemon.qmp_path},server=on,wait=off,"
                                               "id=old", "--monitor", "chardev=old"], nbd=False)
        self.addCleanup(again.kill)
        shell.type("query-version\r")
        shell.wait_text("Connected again.")
        shell.wait_text('"major"')

    def test_colours(self):
        daemon = self.disk()
        raw = []
        shell = self.shell(daemon, "--color", "always")
        write = shell.screen.write
        shell.screen.write = lambda text: (raw.append(text), write(text))
        shell.type("query-version\r")
        shell.wait_text('"major"')
        self.assertIn("\x1b[36m", "".join(raw))
        raw.clear()
        shell = self.shell(daemon)  # NO_COLOR is set
        write = shell.screen.write
        shell.screen.write = lambda text: (raw.append(text), write(text))
        shell.type("query-version\r")
        shell.wait_text('"major"')
        self.assertNotIn("\x1b[36m", "".join(raw))

    def test_a_paste_runs_nothing(self):
        shell = self.shell(self.disk())
        shell.type("\x1b[200~query-version\nquit\n\x1b[201~")
        shell.wait_line(shell.prompt + "query-version quit")
        shell.type("\x15query-block-exports\r")
        shell.wait_text("vda  nbd")


class LongCommandTest(ShellCase):
    """A server that answers when the test wants it to."""

    def setUp(self):
        super().setUp()
        self.server = None

    def test_interrupt_stops_waiting(self):
        import socket
        import threading
        path = self.folder / "fake.sock"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        release = threading.Event()

        def serve():
            client, _ = listener.accept()
            stream = client.makefile("rw")
            stream.write('{"QMP": {"version": {}, "capabilities": []}}\n')
            stream.flush()
            for line in stream:
                request = json.loads(line)
                reply = {"return": {}}
                if request["execute"] == "query-qmp-schema":
                    reply = {"error": {"class": "CommandNotFound", "desc": "no schema"}}
                if request["execute"] == "slow":
                    stream.write('{"event": "STARTED", "timestamp": {"seconds": 1, '
                                 '"microseconds": 2}}\n')
                    stream.flush()
                    release.wait(30)
                if "id" in request:
                    reply["id"] = request["id"]
                stream.write(json.dumps(reply) + "\n")
                stream.flush()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.addCleanup(listener.close)

        class Fake:
            qmp_path = path

        shell = self.shell(Fake)
        shell.type("slow\r")
        shell.wait_text("STARTED")  # an event, while the command runs
        shell.type("\x03")
        shell.wait_text("No longer waiting")
        shell.wait_line(shell.prompt.rstrip())
        release.set()
        shell.wait_text("slow has ended.")
        shell.type("any a=1\r")
        shell.wait_ok()
        shell.type("\x04")
        self.assertEqual(0, shell.end())


class LinesTest(ShellCase):
    def test_lines_without_a_terminal(self):
        daemon = self.disk()
        status, out, _ = self.firn(daemon, "shell", stdin="query-version\n")
        self.assertEqual(0, status)
        self.assertEqual(7, json.loads(out)["qemu"]["major"])
        status, out, _ = self.firn(daemon, "shell", "-c", "query-version", "--output", "json")
        self.assertEqual((0, 1), (status, out.count("\n")))
        status, out, err = self.firn(
            daemon, "shell", "--output", "json",
            stdin="# a comment\n\nquery-version\nblock_resize node-name=no size=1M\nquery-version")
        self.assertEqual((1, 1), (status, out.count("\n")))
        self.assertIn("line 4: Cannot find", err)
        status, _, err = self.firn(daemon, "shell", "-c", "block_resize size=x")
        self.assertEqual(2, status)
        self.assertIn("takes an integer", err)
        status, out, _ = self.firn(daemon, "shell", "-c",
                                   '{"execute": "query-block-exports"}')
        self.assertEqual(0, status)
        self.assertIn("vda", out)

    def test_qmp_flags(self):
        daemon = self.disk()
        status, out, _ = self.firn(daemon, "qmp", "block_resize", "--help")
        self.assertEqual(0, status)
        self.assertIn("size       int", out)
        self.assertEqual(0, self.firn(daemon, "qmp", "block_resize", "--node-name", "disk0",
                                      "--size", "32M")[0])
        nodes = json.loads(self.firn(daemon, "qmp", "query-named-block-nodes", "--compact")[1])
        disk = next(node for node in nodes if node["node-name"] == "disk0")
        self.assertEqual(32 * MIB, disk["image"]["virtual-size"])
        self.assertEqual(0, self.firn(daemon, "qmp", "blockdev-add", "--driver", "qcow2",
                                      "--node-name", "second", "--read-only", "--file.driver",
                                      "file", f"--file.filename={self.image('second.qcow2')}")[0])
        self.assertEqual(0, self.firn(daemon, "qmp", "blockdev-add",
                                      '{"driver": "null-co", "node-name": "third"}')[0])
        self.assertEqual(0, self.firn(daemon, "qmp", "blockdev-del", "node-name=third")[0])
        for arguments, texts in (
                (["block_resize", "--siez", "1"], ["'siez'", "Did you mean 'size'?"]),
                (["block_resize", "node-name=disk0"], ["'size' is missing"]),
                (["blockdev-add", "--driver", "qcow"], ["'qcow2'", "Did you mean"]),
                (["no-such-command", "a=1"], ["no-such-command"])):
            with self.subTest(arguments=arguments):
                status, _, err = self.firn(daemon, "qmp", *arguments)
                self.assertNotEqual(0, status)
                for text in texts:
                    self.assertIn(text, err)

    def test_help_has_words(self):
        daemon = self.disk()
        text = self.firn(daemon, "shell", "-c", "help blockdev-snapshot-sync")[1]
        self.assertIn("snapshot-file", text)
        self.assertGreater(text.count("      "), 3, text)  # what arguments are for, below each

    def test_bash_completes(self):
        daemon = self.disk()
        script = self.firn(daemon, "completion", "bash")[1]

        def complete(line):
            """What bash would offer for a line."""
            program = script + (
                'words=($1); COMP_LINE="$1"; COMP_POINT=${#1}\n'
                '_firn; printf "%s\\n" "${COMPREPLY[@]}"\n')
            path = f"{os.path.dirname(firn_path())}:{os.environ['PATH']}"
            return subprocess.run(
                ["bash", "-c", program, "bash", line], capture_output=True, text=True, check=True,
                timeout=60, env={**self.environment, "PATH": path}).stdout.splitlines()

        start = f"firn --socket {daemon.qmp_path} "
        self.assertEqual(["shell "], complete("firn sh"))
        self.assertIn("--mode ", complete("firn snapshot --mo"))
        self.assertEqual(["block_resize "], complete(start + "qmp block_re"))
        self.assertIn("--node-name ", complete(start + "qmp block_resize --"))
        self.assertEqual(["disk0 "], complete(start + "qmp block_resize --node-name di"))
        # Bash takes words apart at '='.
        self.assertEqual(["disk0 "], complete(start + "qmp block_resize node-name=di"))
        self.assertEqual(["BLOCK_EXPORT_DELETED "], complete(start + "events BLOCK_EX"))
        self.assertEqual(["vda "], complete(start + "tree "))
        self.assertEqual([""], complete("firn --socket /no/such qmp block_re"))

    def test_events(self):
        daemon = self.disk()
        follower = subprocess.Popen(
            self.arguments(daemon, "events", "BLOCK_EXPORT_DELETED", "--count", "1", "--timeout",
                           "30", "--output", "json"),
            stdout=subprocess.PIPE, text=True, env=self.environment)
        deadline = time.monotonic() + 20
        # It listens when it is through its negotiation: until then an export more is no harm.
        for number in range(200):
            daemon.execute("block-export-add", type="nbd", id=f"e{number}", node_name="disk0",
                           name=f"e{number}")
            daemon.execute("block-export-del", id=f"e{number}")
            if follower.poll() is not None or time.monotonic() > deadline:
                break
            time.sleep(0.05)
        out, _ = follower.communicate(timeout=30)
        self.assertEqual(0, follower.returncode)
        event = json.loads(out)
        self.assertEqual("BLOCK_EXPORT_DELETED", event["event"])
        self.assertEqual(0, self.firn(daemon, "events", "--timeout", "0.1")[0])
        self.assertEqual(1, self.firn(daemon, "events", "--timeout", "0.1", "--count", "1")[0])
        status, _, err = self.firn(daemon, "events", "BLOCK_EXPORT_DELTED")
        self.assertEqual(2, status)
        self.assertIn("Did you mean 'BLOCK_EXPORT_DELETED'?", err)


@firn_test.needs("qemu-storage-daemon")
class PeerTest(ShellCase):
    """The same shell with QEMU's daemon."""

    def test_shell_and_flags(self):
        if firn_test.against_peer():
            self.skipTest("every test here is against it")
        import shutil
        path = self.image(size=SIZE)
        daemon = self.start(
            "--blockdev", f"driver=file,node-name=file0,filename={path}",
            "--blockdev", "driver=qcow2,node-name=disk0,file=file0",
            "--export", "type=nbd,id=vda,node-name=disk0,name=vda",
            path=shutil.which("qemu-storage-daemon"))
        shell = self.shell(daemon)
        shell.type("blockdev-snap\t-sync node\tdisk0")
        shell.wait_line(shell.prompt + "blockdev-snapshot-sync node-name=disk0")
        shell.type(f" snapshot-file={self.folder}/over.qcow2 mode=abs\t snapshot-node-name=top\r")
        shell.wait_ok()
        shell.type("blockdev-del node-name=\t\t")
        shell.wait(lambda screen: any(line.split()[-3:] == ["disk0", "file0", "top"]
                                      for line in screen.lines()), "the nodes")
        shell.type("\x15\x04")
        self.assertEqual(0, shell.end())
        status, _, err = self.firn(daemon, "qmp", "block-export-add", "--type", "nbd", "--id", "e",
                                   "--node-name", "top", "--writeable")
        self.assertEqual(2, status)
        self.assertIn("Did you mean 'writable'?", err)
        self.assertEqual(0, self.firn(daemon, "qmp", "block-export-add", "--type", "nbd", "--id",
                                      "e", "--node-name", "top", "--no-writable")[0])


if __name__ == "__main__":
    firn_test.main()

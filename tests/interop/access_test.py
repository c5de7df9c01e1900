#!/usr/bin/env python3
"""Who may do what, and the audit log that tells who did what."""

import json
import os
import pathlib
import resource
import signal
import socket
import stat
import time
import unittest

import firn_test
from firn_test import Qmp, QmpError, run

VIEWER, MEMBER, STRANGER, GROUP = 41001, 41002, 41003, 41900

needs_root = unittest.skipIf(os.geteuid() != 0, "only root can act for other users")


def as_user(uid, groups, action):
    """Runs `action` in a process of that user and its groups; gives what it returns, or the text
    of what it raises."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(groups)
            os.setgid(uid)
            os.setuid(uid)
            result = {"result": action()}
        except Exception as error:  # pylint: disable=broad-except
            result = {"error": f"{type(error).__name__}: {error}"}
        os.write(writer, json.dumps(result).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        result = json.loads(pipe.read())
    os.waitpid(child, 0)
    return result.get("result", result.get("error"))


def attempt(client, command, **arguments):
    """What a command returns, or its error's text."""
    try:
        return client.execute(command, **arguments)
    except QmpError as error:
        return str(error)


def own_role(client):
    """The role and the rule that query-monitors tells a client."""
    own = [c for m in client.execute("query-monitors") for c in m["clients"] if c["self"]]
    assert len(own) == 1, own
    return own[0]["role"], own[0]["rule"]


class AccessCase(firn_test.Case):
    def setUp(self):
        super().setUp()
        if firn_test.against_peer():
            self.skipTest("Firn alone: roles")
        self.folder.chmod(0o755)
        self.audit = self.folder / "audit.log"

    def start_with(self, access="", *arguments):
        """A daemon whose monitor has these members, and a socket that everybody may connect to."""
        path = self.folder / "access.sock"
        daemon = self.start(*arguments, "--audit", self.audit,
                            "--blockdev", "null-co,node-name=n",
                            "--device", "id=vda,node-name=n",
                            "--chardev", f"socket,id=c,path={path},server=on,wait=off",
                            "--monitor", f"chardev=c{access}", nbd=False)
        path.chmod(0o777)
        return daemon, path

    def lines(self, event=None, path=None):
        text = pathlib.Path(path or self.audit).read_text(encoding="ascii")
        lines = [json.loads(line) for line in text.splitlines()]
        return [line for line in lines if event in (None, line["event"])]

    def wait_for_lines(self, event, count):
        deadline = time.monotonic() + 10
        while len(self.lines(event)) < count:
            self.assertLess(time.monotonic(), deadline, self.lines())
            time.sleep(0.01)
        return self.lines(event)


class RolesTest(AccessCase):
    PEERS = (f",role=none,peers.0.uid=0,peers.0.role=admin,peers.1.uid={VIEWER},"
             f"peers.1.role=viewer,peers.2.gid={GROUP},peers.2.role=operator")

    @needs_root
    def test_users_and_groups_have_their_roles(self):
        daemon, path = self.start_with(self.PEERS)

        def look_around():
            with Qmp(path) as client:
                return [own_role(client), attempt(client, "block_resize", device="vda", size=4096),
                        attempt(client, "block-device-del", id="no"),
                        attempt(client, "human-monitor-command", command_line="quit")]

        role, resize, delete, line = as_user(VIEWER, [], look_around)
        self.assertEqual(["viewer", "peers.1.role"], role)
        self.assertEqual("GenericError: The command block_resize needs the role 'operator'; this "
                         "client has 'viewer', by the option 'peers.1.role' of monitor 'c'",
                         resize)
        self.assertIn("needs the role 'admin'", delete)
        self.assertIn("The command quit needs the role 'admin'", line)
        # The first entry counts, whatever groups there are.
        self.assertEqual(["viewer", "peers.1.role"], as_user(VIEWER, [GROUP], look_around)[0])

        for groups in ([GROUP], [1, 2, GROUP, 4], list(range(GROUP - 100, GROUP + 100))):
            role, resize, delete, line = as_user(MEMBER, groups, look_around)
            self.assertEqual(["operator", "peers.2.role"], role)
            self.assertNotIn("needs the role", str(resize))
            self.assertIn("needs the role 'admin'", delete)
            self.assertIn("The command quit needs the role 'admin'", line)

        with Qmp(path) as client:
            self.assertEqual(("admin", "peers.0.role"), own_role(client))
            self.assertNotIn("needs the role", attempt(client, "block-device-del", id="no"))
        self.assertTrue(daemon.is_running())
        daemon.stop()

        refused = self.lines("refused")
        self.assertEqual({VIEWER, MEMBER}, {line["peer"]["uid"] for line in refused})
        self.assertIn(("quit", "hmp"), {(line["command"], line["via"]) for line in refused})
        done = [line for line in self.lines("end") if line["peer"]["uid"] == MEMBER]
        self.assertEqual({"block_resize"}, {line["command"] for line in done})

    @needs_root
    def test_a_stranger_is_told_and_closed(self):
        daemon, path = self.start_with(self.PEERS)
        text = (f"Monitor 'c' gives no access to uid {STRANGER} with gid {STRANGER}, "
                "by its option 'role'")

        def negotiate():
            with Qmp(path):
                return "let in"

        self.assertEqual("QmpError: GenericError: " + text, as_user(STRANGER, [], negotiate))

        def wait_for_end():
            with Qmp(path, negotiate=False) as client:
                messages = [client.greeting, client.read_message()]
                began = time.monotonic()
                try:
                    client.read_message()
                except ConnectionError:
                    return messages, time.monotonic() - began
                return "more"

        (greeting, error), waited = as_user(STRANGER, [], wait_for_end)
        self.assertIn("QMP", greeting)
        self.assertEqual({"error": {"class": "GenericError", "desc": text}}, error)
        self.assertLess(waited, 5)
        self.assertIn(text, daemon.log())
        daemon.stop()
        rejected = self.lines("rejected")
        self.assertEqual(2, len(rejected))
        self.assertEqual(STRANGER, rejected[0]["peer"]["uid"])

    @needs_root
    def test_lines_for_people(self):
        _, path = self.start_with(f",mode=readline,peers.0.uid={VIEWER},peers.0.role=viewer")

        def talk(text):
            def action():
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
                    client.sendall(text.encode())
                    client.shutdown(socket.SHUT_WR)
                    with client.makefile("rb") as answer:
                        return answer.read().decode()
            return action

        answer = as_user(VIEWER, [], talk("info version\nquit\ninfo version\n"))
        self.assertIn("The command quit needs the role 'admin'; this client has 'viewer'", answer)
        self.assertEqual(3, answer.count("(qemu) ") - 1, answer)
        self.assertEqual(f"Monitor 'c' gives no access to uid {STRANGER} with gid {STRANGER}, by "
                         "its option 'role'\r\n", as_user(STRANGER, [], talk("quit\n")))

    def test_without_options_everything_is_allowed(self):
        daemon, path = self.start_with()
        with Qmp(path) as client:
            self.assertEqual(("admin", "role"), own_role(client))
            monitors = client.execute("query-monitors")
            self.assertEqual({"c", "qmp0"}, {m["id"] for m in monitors})
            mine = [m for m in monitors if m["id"] == "c"][0]
            self.assertEqual(("admin", "control", "c"),
                             (mine["role"], mine["mode"], mine["chardev"]))
            self.assertEqual((os.getpid(), os.geteuid(), os.getegid()),
                             tuple(mine["clients"][0][k] for k in ("pid", "uid", "gid")))
            client.execute("quit")
        self.assertEqual(0, daemon.wait_for_end())

    def test_over_tcp_there_is_only_the_role(self):
        port = free_port()
        daemon = self.start("--chardev", f"socket,id=t,host=127.0.0.1,port={port},server=on,"
                            "wait=off", "--monitor", "t,role=viewer,peers.0.uid=0,"
                            "peers.0.role=admin", nbd=False)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            file = connection.makefile("rwb")
            replies = []
            for message in (b'', b'{"execute": "qmp_capabilities"}', b'{"execute": "quit"}',
                            b'{"execute": "query-version"}'):
                file.write(message)
                file.flush()
                replies.append(json.loads(file.readline()))
        self.assertIn("needs the role 'admin'; this client has 'viewer', by the option 'role'",
                      replies[2]["error"]["desc"])
        self.assertIn("return", replies[3])
        daemon.stop()

    def test_bad_options_are_refused(self):
        for member, text in (
                ("role=root", "Parameter 'role' does not accept value 'root'"),
                ("peers.0.role=viewer", "Parameter 'peers.0' needs 'uid' or 'gid'"),
                ("peers.0.uid=1", "Parameter 'peers.0.role' is missing"),
                ("peers.0.uid=-1,peers.0.role=none", "Parameter 'uid' expects")):
            result = run(firn_test.daemon_path(), "--chardev", "socket,id=c,server=on,wait=off,"
                         f"path={self.folder}/s", "--monitor", f"c,{member}", check=False)
            self.assertEqual(1, result.returncode, result.stdout)
            self.assertIn(text, result.stdout)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class AuditTest(AccessCase):
    def test_a_run_from_start_to_stop(self):
        daemon, path = self.start_with()
        with Qmp(path) as client:
            client.execute("query-block")
            client.send_command("block-device-add", {"id": "two", "node-name": "n"}, id={"a": 1})
            client.read_reply()
            client.send_command("block-device-del", {"id": "two"}, id="last")
            client.read_reply()
        daemon.stop()
        self.assertEqual(0o600, stat.S_IMODE(self.audit.stat().st_mode))
        lines = self.lines()
        self.assertEqual(["start", "begin", "end", "begin", "end", "stop"],
                         [line["event"] for line in lines])
        self.assertEqual(daemon.process.pid, lines[0]["pid"])
        self.assertEqual({"pid": os.getpid(), "uid": os.geteuid(), "gid": os.getegid(),
                          "name": f"unix:{path}"}, lines[1]["peer"])
        self.assertEqual(["...", "...", "last", "last"], [line["id"] for line in lines[1:5]])
        self.assertEqual({"id": "two", "node-name": "n"}, lines[1]["arguments"])
        self.assertIn(lines[2]["outcome"], ("ok", "error"))
        self.assertGreaterEqual(lines[2]["duration_us"], 0)
        for line in lines:
            self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")

    def test_rotation(self):
        daemon, path = self.start_with()
        with Qmp(path) as client:
            attempt(client, "block-device-del", id="a")
            self.wait_for_lines("end", 1)
            self.audit.rename(self.folder / "audit.log.1")
            attempt(client, "block-device-del", id="b")
            self.wait_for_lines("end", 1)
            os.truncate(self.audit, 0)
            attempt(client, "block-device-del", id="c")
        daemon.stop()
        self.assertEqual({"a"}, {line["arguments"]["id"]
                                 for line in self.lines("end", self.folder / "audit.log.1")})
        self.assertEqual({"c"}, {line["arguments"]["id"] for line in self.lines("end")})
        self.assertNotIn(b"\0", self.audit.read_bytes())

    def test_in_the_background(self):
        # A relative path is the starting directory's, after a rotation too.
        path = self.folder / "c.sock"
        run(firn_test.daemon_path(), "--audit", "audit.log", "--daemonize",
            "--chardev", f"socket,id=c,path={path},server=on,wait=off", "--monitor", "c",
            cwd=self.folder)
        pid = self.lines("start")[0]["pid"]
        try:
            self.audit.rename(self.folder / "old")
            with Qmp(path) as client:
                attempt(client, "block-device-del", id="a")
                client.execute("quit")
                with self.assertRaises(ConnectionError):
                    while True:
                        client.read_message()
            self.wait_for_lines("stop", 1)
        except BaseException:
            os.kill(pid, signal.SIGKILL)
            raise
        self.assertEqual(["block-device-del", "quit"],
                         [line["command"] for line in self.lines("end")])

    def test_a_crash_loses_nothing_that_began(self):
        daemon, path = self.start_with()
        with Qmp(path) as client:
            for i in range(200):
                attempt(client, "block-device-del", id=f"d{i}")
        daemon.process.send_signal(signal.SIGKILL)
        daemon.process.wait()
        self.assertEqual([f"d{i}" for i in range(200)],
                         [line["arguments"]["id"] for line in self.lines("begin")])

    @needs_root
    def test_a_full_disk_refuses_changes_and_nothing_else(self):
        mount = self.folder / "small"
        mount.mkdir()
        if run("mount", "-t", "tmpfs", "-o", "size=64k", "none", mount, check=False).returncode:
            self.skipTest("no right to mount")
        self.addCleanup(run, "umount", "-l", mount, check=False)
        self.audit = mount / "audit.log"
        daemon, path = self.start_with()
        ballast = mount / "ballast"
        with Qmp(path) as client:
            with open(ballast, "wb", buffering=0) as file:
                with self.assertRaises(OSError):
                    while True:
                        file.write(b"x" * 4096)
            text = ""
            for _ in range(50):
                text = attempt(client, "block-device-del", id="x" * 100)
                if "audit log" in text:
                    break
            self.assertIn("The command block-device-del is refused, since the audit log can't be "
                          f"written: Could not write to '{self.audit}': No space left on device",
                          text)
            client.execute("query-block")
            self.assertIn("commands that change something are refused", daemon.log())
            ballast.unlink()
            self.assertIn("not found", attempt(client, "block-device-del", id="later"))
        daemon.stop()
        text = self.audit.read_text()
        self.assertIn("No space left on device", text)  # the refusal, told late
        self.assertEqual("stop", json.loads(text.splitlines()[-1])["event"])

    def test_a_limit_of_sizes_is_like_a_full_disk(self):
        daemon, path = self.start_with()
        with Qmp(path) as client:
            attempt(client, "block-device-del", id="a")
            self.wait_for_lines("end", 1)
            size = self.audit.stat().st_size
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE,
                             (size, resource.RLIM_INFINITY))
            self.assertIn("File too large", attempt(client, "block-device-del", id="b"))
            resource.prlimit(daemon.process.pid, resource.RLIMIT_FSIZE,
                             (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            self.assertIn("not found", attempt(client, "block-device-del", id="c"))
        daemon.stop()
        self.assertEqual(["a", "c"], [line["arguments"]["id"] for line in self.lines("end")])
        self.assertEqual(["b"], [line["arguments"]["id"] for line in self.lines("refused")])

    def test_secrets_in_requests_stay_out(self):
        daemon, path = self.start_with()
        with Qmp(path) as client:
            for arguments in ({"qom-type": "secret", "id": "s", "data": "xyzzy"},
                              {"qom-type": "iothread", "id": "s", "dta": "xyzzy"},
                              {"qom-type": "xyzzy"}, {"xyzzy": 1}):
                attempt(client, "object-add", **arguments)
            for filename in ("nbd://user:xyzzy@host/x", "json:{\"password\": \"xyzzy\"}",
                             "https://host/x?token=xyzzy", "rbd:p/i:id=a:key=xyzzy"):
                attempt(client, "blockdev-add", driver="file", node_name="f", filename=filename)
                attempt(client, "blockdev-snapshot-sync", device="vda", snapshot_file=filename)
                attempt(client, "human-monitor-command",
                        command_line=f"snapshot_blkdev vda \"{filename.replace(chr(34), '')}\"")
        daemon.stop()
        self.assertNotIn("xyzzy", self.audit.read_text())
        self.assertGreater(len(self.lines("end")), 8)

    def test_bad_files_are_refused(self):
        for name, text in (("/dev/null", "it is not a regular file"),
                           (f"{self.folder}/no/log", "No such file or directory"),
                           ("file=x,sinc=on", "Parameter 'sinc' is unexpected")):
            result = run(firn_test.daemon_path(), "--audit", name, check=False)
            self.assertEqual(1, result.returncode)
            self.assertIn(text, result.stdout)
            self.assertIn(f"--audit {name}: ", result.stdout)


if __name__ == "__main__":
    firn_test.main()

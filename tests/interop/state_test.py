#!/usr/bin/env python3
"""--state: what comes back, what is refused, and what the command line means beside it."""

import contextlib
import json
import os
import sqlite3
import subprocess
import time
import unittest

import firn_test
from firn_test import daemon_path, run


def cli_path():
    return os.environ.get("FIRN_TEST_CLI", str(firn_test.ROOT / "build" / "release" / "bin" / "firn"))


@unittest.skipIf(firn_test.against_peer(), "Firn alone: the peer has no --state")
class StateTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.state = self.folder / "state"
        self.base = self.image("base.qcow2", "16M")
        self.arguments = [
            "--state", self.state, "--object", "iothread,id=io1",
            "--blockdev", f"driver=qcow2,node-name=disk,discard=unmap,file.driver=file,"
                          f"file.filename={self.base}",
            "--device", "id=vda,node-name=disk",
            "--export", "nbd,id=e,node-name=vda,name=vda,writable=on,iothread=io1"]

    def begin(self):
        self.daemon = self.start(*self.arguments)
        return self.daemon

    def again(self, *arguments):
        """The state alone: the sockets are those of the first daemon."""
        daemon = firn_test.Daemon.__new__(firn_test.Daemon)
        daemon.__dict__.update(self.daemon.__dict__)
        daemon._qmp = None
        daemon.argv = [daemon_path(), "--state", str(self.state), *map(str, arguments)]
        with open(daemon.log_path, "ab") as log:
            daemon.process = subprocess.Popen(daemon.argv, stdin=subprocess.DEVNULL, stdout=log,
                                              stderr=log)
        self._daemons.append(daemon)
        self.wait_for_greeting(daemon)
        return daemon

    def wait_for_greeting(self, daemon):
        """The kernel lets go of a killed daemon's sockets late: a connection may still reach them."""
        deadline = time.monotonic() + firn_test.START_TIMEOUT_S
        while daemon._qmp is None:
            if not daemon.is_running():
                raise AssertionError(f"{daemon.argv} ended with {daemon.process.returncode}:\n"
                                     f"{daemon.log()}")
            try:
                daemon._qmp = firn_test.Qmp(daemon.qmp_path)
            except (OSError, ConnectionError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def refused(self, *arguments):
        """What a start says that must fail."""
        result = run(daemon_path(), "--state", self.state, *arguments, check=False, timeout=30)
        self.assertEqual(result.returncode, 1, result.stdout)
        return result.stdout

    def take(self, daemon, number):
        daemon.execute("blockdev-snapshot-sync", device="vda",
                       snapshot_file=str(self.folder / f"s{number}"),
                       snapshot_node_name=f"s{number}")

    @staticmethod
    def picture(daemon):
        """All that a client can see, but what the daemon measures."""
        nodes = daemon.execute("query-named-block-nodes")
        for node in nodes:
            node.pop("image", None)
        return {"nodes": sorted(nodes, key=lambda node: node["node-name"]),
                "heads": {one["device"]: one["inserted"]["node-name"]
                          for one in daemon.execute("query-block")},
                "exports": daemon.execute("query-block-exports"),
                "chardevs": [one["label"] for one in daemon.execute("query-chardev")]}

    def cli(self, *arguments, check=True):
        return run(cli_path(), "state", *arguments, check=check)

    def test_all_is_back_after_a_crash_and_after_an_end(self):
        daemon = self.begin()
        daemon.execute("chardev-add", id="log", backend={"type": "ringbuf", "data": {}})
        daemon.execute("blockdev-add", driver="null-co", node_name="n", size=65536)
        daemon.execute("block-export-add", type="nbd", id="en", node_name="n", name="n")
        self.io(daemon, "write -P 5 1M 64k", "flush")
        self.take(daemon, 1)
        self.io(daemon, "write -P 6 2M 64k", "flush")
        self.take(daemon, 2)
        before = self.picture(daemon)
        daemon.kill()
        daemon = self.again()
        self.assertEqual(self.picture(daemon), before)
        self.io(daemon, "read -P 5 1M 64k", "read -P 6 2M 64k", "write -P 7 3M 64k", "flush")
        daemon.stop()
        daemon = self.again()
        self.assertEqual(self.picture(daemon), before)
        self.io(daemon, "read -P 7 3M 64k")
        self.take(daemon, 3)
        daemon.stop()
        self.check_image(self.folder / "s3")

    def test_a_commit_starts_anew(self):
        daemon = self.begin()
        self.io(daemon, "write -P 5 1M 1M", "flush")
        self.take(daemon, 1)
        self.io(daemon, "write -P 6 4M 4M", "flush")
        self.take(daemon, 2)
        self.io(daemon, "write -P 7 9M 1M", "flush")
        daemon.execute("block-commit", device="vda", job_id="j", base_node="disk", top_node="s1",
                       speed=65536)
        time.sleep(0.3)
        daemon.kill()
        daemon = self.again()
        self.assertEqual([job["device"] for job in daemon.execute("query-block-jobs")], ["j"])
        daemon.execute("block-job-set-speed", device="j", speed=0)
        daemon.qmp.wait_event("BLOCK_JOB_COMPLETED", timeout=30)
        self.io(daemon, "read -P 5 1M 1M", "read -P 6 4M 4M", "read -P 7 9M 1M")
        daemon.kill()
        daemon = self.again()
        self.assertEqual(daemon.execute("query-block-jobs"), [])
        self.io(daemon, "read -P 5 1M 1M", "read -P 6 4M 4M", "read -P 7 9M 1M")
        nodes = {one["node-name"]: one for one in daemon.execute("query-named-block-nodes")}
        self.assertEqual(nodes["s2"]["backing_file"], str(self.base))
        daemon.stop()
        self.check_image(self.base)

    def test_a_snapshot_s_overlay_still_goes_when_it_is_merged_after_a_restart(self):
        daemon = self.begin()
        for number in (1, 2, 3):
            self.take(daemon, number)
        daemon.kill()
        daemon = self.again()
        daemon.stop()
        daemon = self.again()
        daemon.execute("block-commit", device="vda", job_id="j", base_node="disk", top_node="s2")
        daemon.qmp.wait_event("BLOCK_JOB_COMPLETED", timeout=30)
        nodes = {one["node-name"] for one in daemon.execute("query-named-block-nodes")}
        self.assertIn("s3", nodes)
        self.assertFalse(nodes & {"s1", "s2"})

    def test_what_was_removed_stays_away(self):
        daemon = self.begin()
        daemon.execute("blockdev-add", driver="null-co", node_name="n")
        daemon.execute("block-export-del", id="e", mode="hard")
        daemon.execute("blockdev-del", node_name="n")
        daemon.execute("block-device-del", id="vda")
        daemon.kill()
        daemon = self.again()
        self.assertEqual(daemon.execute("query-block-exports"), [])
        self.assertEqual(daemon.execute("query-block"), [])
        self.assertEqual([one["node-name"] for one in daemon.execute("query-named-block-nodes")
                          if not one["node-name"].startswith("#")], ["disk"])

    def test_the_command_line_is_that_of_the_first_start(self):
        daemon = self.begin()
        self.take(daemon, 1)
        daemon.kill()
        same = [a for a in daemon.argv[1:] if a not in ("--state", str(self.state))]
        daemon = self.again(*same)
        self.assertEqual(self.picture(daemon)["heads"], {"vda": "s1"})
        daemon.stop()
        text = self.refused("--blockdev", "null-co,node-name=n")
        self.assertIn("--blockdev null-co,node-name=n: state file", text)
        self.assertIn("was not made with this option", text)
        other = [a.replace("discard=unmap", "discard=ignore") for a in same]
        self.assertIn("was not made with this option", self.refused(*other))
        daemon = self.again()  # what was refused has changed nothing
        daemon.stop()

    def test_a_layer_that_was_changed_is_refused(self):
        daemon = self.begin()
        self.take(daemon, 1)
        daemon.kill()
        self.io(self.base, "write -P 1 0 4k")
        text = self.refused()
        self.assertIn(f"'{self.base}' (node '#block", text)
        self.assertRegex(text, "written to since|bytes now")
        self.assertIn("firn state accept", text)
        result = self.cli("check", self.state, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stdout, "written to since|bytes now")
        self.cli("accept", self.state, "--node", "disk")
        self.assertIn("all is as the state says", self.cli("check", self.state).stdout)
        self.again().stop()

    def test_a_head_that_was_changed_after_an_orderly_end_is_refused(self):
        daemon = self.begin()
        daemon.stop()
        run("qemu-img", "resize", "-q", self.base, "32M")
        text = self.refused()
        self.assertTrue("it was written to since" in text or "bytes now" in text, text)

    def test_a_layer_that_is_gone_is_refused(self):
        daemon = self.begin()
        self.take(daemon, 1)
        daemon.kill()
        os.rename(self.folder / "s1", self.folder / "s1.away")
        self.assertIn(f"'{self.folder / 's1'}' (node '#block", self.refused())
        os.rename(self.folder / "s1.away", self.folder / "s1")
        self.again().stop()

    def test_one_daemon_at_a_time(self):
        self.begin()
        self.assertIn(f"state file '{self.state}' is in use by another process", self.refused())

    def test_other_files_are_left_alone(self):
        self.state.write_bytes(b"x" * 5000)
        self.assertIn("is not an SQLite database", self.refused())
        self.assertEqual(self.state.read_bytes(), b"x" * 5000)

    def test_a_damaged_file_is_refused(self):
        daemon = self.begin()
        self.take(daemon, 1)
        daemon.stop()
        data = bytearray(self.state.read_bytes())
        for page in range(4096, len(data), 4096):
            data[page:page + 64] = b"\xff" * 64
        self.state.write_bytes(data)
        text = self.refused()
        self.assertIn(f"state file '{self.state}'", text)
        self.assertIn("damaged", text)

    def test_a_full_disk_refuses_the_snapshot_and_nothing_has_changed(self):
        store = self.fault_store()
        self.state = store.path / "state"
        self.arguments[1] = self.state
        daemon = self.begin()
        store.tell("rule write name=state* error=ENOSPC")
        self.assert_qmp_error(self.take, daemon, 1, contains="No space left on device")
        self.assertFalse((self.folder / "s1").exists())
        self.assert_qmp_error(daemon.execute, "blockdev-add", driver="null-co", node_name="n",
                              contains="a restart does not know of it yet")
        store.tell("clear")
        self.take(daemon, 1)
        before = self.picture(daemon)
        daemon.kill()
        daemon = self.again()
        self.assertEqual(self.picture(daemon), before)
        daemon.stop()

    def test_a_seal_that_failed_is_remembered(self):
        daemon = self.begin()
        self.io(daemon, "write -P 5 1M 64k", "flush")
        self.take(daemon, 1)
        daemon.kill()
        # As a seal whose flush fails leaves it (formats/state.md).
        with contextlib.closing(sqlite3.connect(self.state)) as database, database:
            database.execute("UPDATE node SET seal = 2, read_only = 0 WHERE name = 'disk'")
        daemon = self.again()
        self.assertEqual(self.picture(daemon)["heads"], {"vda": "s1"})
        self.io(daemon, "write -P 6 2M 64k", check=False)
        client = firn_test.Nbd(daemon.nbd_path)
        client.go("vda")
        client.request(client.FLUSH)
        self.assertEqual(client.simple_reply()[0], 5)  # EIO
        client.close()
        self.assert_qmp_error(daemon.execute, "blockdev-snapshot-seal", node_name="disk",
                              contains="can't be sealed")
        daemon.kill()
        daemon = self.again()
        daemon.execute("blockdev-snapshot-seal", node_name="disk", accept_loss=True)
        self.io(daemon, "flush", "read -P 5 1M 64k")
        daemon.kill()
        daemon = self.again()
        self.io(daemon, "flush", "read -P 6 2M 64k")
        daemon.stop()

    def test_what_firn_state_says(self):
        daemon = self.begin()
        self.take(daemon, 1)
        text = self.cli("show", self.state).stdout  # of a daemon at work
        self.assertIn("disk  qcow2", text)
        self.assertIn("sealed", text)
        self.assertIn("device vda  s1", text)
        shown = json.loads(self.cli("show", self.state, "--output", "json").stdout)
        self.assertEqual({one["id"]: one.get("node-name") for one in shown["things"]
                          if one["kind"] in ("device", "export")}, {"vda": "s1", "e": "s1"})
        result = self.cli("accept", self.state, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("end the daemon first", result.stdout)
        before = self.picture(daemon)
        daemon.stop()
        # The options that it prints make the same without it.
        command = self.cli("export", self.state).stdout
        self.assertTrue(command.startswith("firnd"))
        daemon = firn_test.Daemon.__new__(firn_test.Daemon)
        daemon.__dict__.update(self.daemon.__dict__)
        daemon._qmp = None
        argv = ["sh", "-c", "exec " + command.replace("firnd", daemon_path(), 1)]
        with open(daemon.log_path, "ab") as log:
            daemon.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log,
                                              stderr=log)
        self._daemons.append(daemon)
        self.wait_for_greeting(daemon)
        after = self.picture(daemon)
        self.assertEqual(after["heads"], before["heads"])
        self.assertEqual([one["id"] for one in after["exports"]], ["e"])
        daemon.stop()
        for line in self.cli("export", self.state, "--as", "qmp").stdout.splitlines():
            self.assertIn("execute", json.loads(line))


if __name__ == "__main__":
    firn_test.main()

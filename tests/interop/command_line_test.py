#!/usr/bin/env python3
"""The daemon's command line, which is qemu-storage-daemon's."""

import json
import os
import signal
import subprocess
import time

import firn_test
from firn_test import MIB, Qmp, against_peer, firn_only, run

SIZE = 16 * MIB


class CommandLineTest(firn_test.Case):
    def daemon(self, *arguments, check=True):
        """Runs it to its end."""
        return run(firn_test.daemon_path(), *arguments, check=check, timeout=30)

    def refused(self, *arguments):
        """The error with which it ends at once."""
        result = self.daemon(*arguments, check=False)
        self.assertEqual(1, result.returncode, result.stdout)
        return result.stdout

    def test_help_and_version(self):
        text = self.daemon("--help").stdout
        for option in ("--blockdev", "--chardev", "--daemonize", "--export", "--monitor",
                       "--nbd-server", "--object", "--pidfile", "--version"):
            self.assertIn(option, text)
        self.assertIn("version", self.daemon("--version").stdout)
        self.assertEqual(self.daemon("-h").stdout, text)

    def test_unknown_options_are_named(self):
        self.assertIn("--bogus", self.refused("--bogus"))
        self.assertIn("blockdev", self.refused("--blockdev"))

    def test_both_syntaxes_of_blockdev(self):
        disk = self.image(size=SIZE)
        spellings = (
            ["--blockdev", f"driver=qcow2,node-name=disk0,file.driver=file,file.filename={disk}"],
            ["--blockdev", f"qcow2,node-name=disk0,file.driver=file,file.filename={disk}"],
            ["--blockdev", json.dumps({"driver": "qcow2", "node-name": "disk0",
                                       "file": {"driver": "file", "filename": str(disk)}})],
            ["--blockdev", json.dumps({"driver": "file", "node-name": "f", "filename": str(disk)}),
             "--blockdev", "driver=qcow2,node-name=disk0,file=f"])
        for arguments in spellings:
            with self.subTest(arguments=arguments):
                daemon = self.start(*arguments, "--export",
                                    "nbd,id=e,node-name=disk0,name=vda,writable=on")
                self.io(daemon, "write -q -P 4 0 4096", "read -q -P 4 0 4096")
                daemon.stop()
        self.check_image(disk)

    def test_a_comma_in_a_file_name_is_doubled(self):
        disk = self.folder / "a,b.raw"
        disk.write_bytes(bytes(SIZE))
        doubled = str(disk).replace(",", ",,")
        daemon = self.start("--blockdev", f"file,node-name=f,filename={doubled}",
                            "--export", "nbd,id=e,node-name=f,name=vda")
        self.io(daemon, "read -q -P 0 0 4096", read_only=True)
        daemon.stop()

    def test_errors_name_what_is_wrong(self):
        disk = self.image(size=SIZE)
        good = f"driver=qcow2,node-name=disk0,file.driver=file,file.filename={disk}"
        for arguments, texts in (
                (["--blockdev", "driver=bogus,node-name=n"], ["bogus"]),
                (["--blockdev", "driver=qcow2,node-name=n"], ["file"]),
                (["--blockdev", good + ",wrong=1"], ["wrong"]),
                (["--blockdev", good + ",read-only=maybe"], ["read-only"]),
                (["--blockdev", f"driver=file,node-name=n,filename={self.folder}/missing"],
                 ["missing", "No such file or directory"]),
                (["--blockdev", "{'driver': 'file'"], ["JSON"]),
                (["--blockdev", good, "--blockdev", good], ["disk0"]),
                (["--export", "type=nbd,id=e,node-name=nope"], []),
                (["--blockdev", good, "--export", "type=bogus,id=e,node-name=disk0"], ["bogus"]),
                (["--blockdev", good, "--export", "type=nbd,id=e,node-name=disk0"],
                 ["NBD server not running"]),
                (["--chardev", "socket,id=c"], []),
                (["--monitor", "chardev=nope"], ["nope"]),
                (["--nbd-server", "addr.type=unix"], ["path"]),
                (["--nbd-server", f"addr.type=unix,addr.path={self.folder}/nowhere/x"],
                 ["nowhere"])):
            with self.subTest(arguments=arguments):
                text = self.refused(*arguments)
                for part in texts:
                    self.assertIn(part, text)

    def test_members_are_honoured(self):
        disk = self.image("disk.raw", size=SIZE, fmt="raw")
        run("qemu-io", "-f", "raw", "-c", "write -P 1 0 16M", disk)
        daemon = self.start(
            "--blockdev", f"file,node-name=f,filename={disk},discard=unmap,"
                          f"cache.direct={'on' if self.takes_direct(disk) else 'off'},"
                          "cache.no-flush=off,aio=threads,read-only=off,locking=on",
            "--blockdev", "raw,node-name=disk0,file=f,discard=unmap,detect-zeroes=unmap",
            "--export", "nbd,id=e,node-name=disk0,name=vda,writable=on,description=a disk")
        before = disk.stat().st_blocks
        self.io(daemon, "discard -q 0 4M", "write -q -P 0 8M 4M", "flush", "read -q -P 0 8M 4M",
                "write -q -P 3 513 100", "read -q -P 3 513 100")
        daemon.stop()
        self.assertLess(disk.stat().st_blocks, before - 7 * MIB // 512)

    @staticmethod
    def takes_direct(path):
        """True if the file system has O_DIRECT; a tmpfs hasn't."""
        try:
            os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
            return True
        except OSError:
            return False

    def test_a_read_only_node_is_exported_read_only_or_not_at_all(self):
        disk = self.image(size=SIZE)
        arguments = ["--nbd-server", f"addr.type=unix,addr.path={self.folder}/n", "--blockdev",
                     f"qcow2,node-name=disk0,file.driver=file,file.filename={disk},read-only=on"]
        text = self.refused(*arguments, "--export", "nbd,id=e,node-name=disk0,writable=on")
        self.assertIn("read-only", text.lower().replace("read only", "read-only"))
        before = disk.read_bytes()
        daemon = self.start(*arguments[2:], "--export", "nbd,id=e,node-name=disk0,name=vda")
        self.io(daemon, "read -q -P 0 0 1M", read_only=True)
        daemon.stop()
        self.assertEqual(before, disk.read_bytes())

    @firn_only("it refuses by name what is not here")
    def test_members_that_are_not_here_are_refused_by_name(self):
        disk = self.image(size=SIZE)
        key = "qcow2,node-name=n,file.driver=file,file.filename=" + str(disk)
        self.assertIn("encrypt", self.refused("--blockdev", key + ",encrypt.format=luks"))
        self.assertIn("data-file", self.refused("--blockdev", key + ",data-file=x"))

    def test_iothread(self):
        disk = self.image(size=SIZE)
        daemon = self.serve(disk, extra=("--object", "iothread,id=io1"))
        self.io(daemon, "write -q -P 1 0 1M", "read -q -P 1 0 1M")
        daemon.stop()
        self.check_image(disk)

    def test_pidfile(self):
        pidfile = self.folder / "pid"
        daemon = self.start("--pidfile", pidfile)
        self.assertEqual(daemon.process.pid, int(pidfile.read_text()))
        daemon.stop()
        self.assertFalse(pidfile.exists())
        self.assertIn("nowhere", self.refused("--pidfile", self.folder / "nowhere" / "pid"))

    def test_daemonize(self):
        disk = self.image(size=SIZE)
        pidfile = self.folder / "pid"
        result = self.daemon(
            "--blockdev", f"qcow2,node-name=disk0,file.driver=file,file.filename={disk}",
            "--nbd-server", f"addr.type=unix,addr.path={self.folder}/n.sock",
            "--export", "nbd,id=e,node-name=disk0,name=vda,writable=on",
            "--chardev", f"socket,path={self.folder}/q.sock,server=on,wait=off,id=q",
            "--monitor", "chardev=q", "--daemonize", "--pidfile", pidfile)
        self.assertEqual("", result.stdout)
        pid = int(pidfile.read_text())
        try:  # it is ready when the command returns
            with Qmp(self.folder / "q.sock") as client:
                client.execute("query-version")
            run("qemu-io", "-f", "raw", "-c", "write 0 4096",
                f"nbd+unix:///vda?socket={self.folder}/n.sock")
        finally:
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and self.lives(pid):
                time.sleep(0.02)
            if self.lives(pid):
                os.kill(pid, signal.SIGKILL)
                self.fail("the daemon did not end")
        self.check_image(disk)

    @staticmethod
    def lives(pid):
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
                return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def test_daemonize_reports_an_error_of_the_start(self):
        text = self.refused("--daemonize", "--blockdev",
                            f"file,node-name=n,filename={self.folder}/missing")
        self.assertIn("No such file or directory", text)

    def test_sockets_are_removed_at_the_end(self):
        daemon = self.start()
        daemon.execute("query-version")
        self.assertTrue(daemon.qmp_path.exists())
        daemon.stop()
        if not against_peer():
            self.assertFalse(daemon.nbd_path.exists())
            self.assertFalse(daemon.qmp_path.exists())

    def test_a_signal_during_the_start_ends_it(self):
        for delay in (0, 0.005, 0.02):
            process = subprocess.Popen([firn_test.daemon_path(), "--chardev",
                                        f"socket,path={self.folder}/q,server=on,wait=off,id=q",
                                        "--monitor", "chardev=q"])
            time.sleep(delay)
            process.send_signal(signal.SIGTERM)
            self.assertIn(process.wait(30), (0, -signal.SIGTERM))


if __name__ == "__main__":
    firn_test.main()

#!/usr/bin/env python3
"""One disk's store does not answer any more. Whatever has to do with other disks goes on."""

import signal
import time

import firn_test

PROMPT_S = 10  # an answer that comes at all comes sooner, on a busy machine too


@firn_test.needs("qemu-img", "qemu-io")
class DeadStoreTest(firn_test.Case):
    WRITES = 48  # in flight, more than there are workers

    def setUp(self):
        super().setUp()
        self.store = self.fault_store()
        self.dead = self.store.path / "dead.qcow2"
        for path in (self.dead, self.folder / "live.qcow2"):
            firn_test.run("qemu-img", "create", "-q", "-f", "qcow2", path, "16M")
        arguments = []
        for name, path in (("dead", self.dead), ("live", self.folder / "live.qcow2")):
            arguments += ["--blockdev", f"driver=qcow2,node-name={name},file.driver=file,"
                                        f"file.filename={path}",
                          "--export", f"type=nbd,id={name},node-name={name},name={name},"
                                      "writable=on"]
        self.daemon = self.start(*arguments)
        self.addCleanup(self.store.tell, "clear")

    def client(self):
        client = firn_test.Qmp(self.daemon.qmp_path, timeout=PROMPT_S)
        self.addCleanup(client.close)
        return client

    def let_it_die(self):
        """The store stops answering while a guest writes and a snapshot is taken."""
        guest = firn_test.Nbd(self.daemon.nbd_path)
        self.addCleanup(guest.close)
        guest.go("dead")
        self.store.tell("rule any hang")
        for i in range(self.WRITES):
            guest.request(guest.WRITE, i << 16, 4096, bytes([i + 1]) * 4096, cookie=i)
        guest.request(guest.FLUSH, cookie=self.WRITES)
        snapshot = self.client()
        snapshot.send_command("blockdev-snapshot-sync",
                              {"node-name": "dead", "snapshot-node-name": "s",
                               "snapshot-file": str(self.store.path / "s.qcow2")})
        deadline = time.monotonic() + 10
        while int(self.store.tell("hanging")) == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        return guest, snapshot

    def test_other_disks_live_on(self):
        guest, hung = self.let_it_die()
        client = self.client()
        names = {node["node-name"] for node in client.execute("query-named-block-nodes")}
        self.assertLessEqual({"dead", "live"}, names)
        client.execute("query-block")
        self.assertEqual(len(client.execute("query-block-exports")), 2)
        self.io(self.daemon, "write -P 5 0 1M", "flush", "read -P 5 0 1M", export="live")
        client.execute("blockdev-snapshot-sync", node_name="live",
                       snapshot_file=str(self.folder / "s1.qcow2"), snapshot_node_name="s1")
        client.execute("block_resize", node_name="s1", size=32 << 20)
        self.io(self.daemon, "read -P 5 0 1M", "write -P 6 24M 64k", "flush", export="live")
        client.execute("block-export-del", id="live")
        client.execute("blockdev-del", node_name="s1")
        client.execute("blockdev-del", node_name="live")
        self.io(self.folder / "s1.qcow2", "read -P 6 24M 64k", "write -P 7 0 64k")

        self.store.tell("clear")
        self.assertEqual(hung.read_reply(), {"return": {}})
        for _ in range(self.WRITES + 1):
            self.assertEqual(guest.simple_reply()[0], 0)
        guest.close()
        self.daemon.stop()
        self.check_image(self.store.path / "s.qcow2")

    def test_others_end_in_order(self):
        self.io(self.daemon, "write -P 5 0 1M", export="live")
        self.let_it_die()
        self.daemon.process.send_signal(signal.SIGTERM)
        # Closed, clean, and its locks given up, while the other still hangs.
        deadline = time.monotonic() + PROMPT_S
        while True:
            try:
                self.io(self.folder / "live.qcow2", "read -P 5 0 1M", "write -P 7 0 64k")
                break
            except firn_test.ProgramFailed as error:
                self.assertLess(time.monotonic(), deadline, f"the live disk is still in use: {error}")
                time.sleep(0.1)
        self.assertTrue(self.daemon.is_running())
        self.check_image(self.folder / "live.qcow2")
        self.store.tell("clear")
        self.assertEqual(self.daemon.wait_for_end(), 0)


if __name__ == "__main__":
    firn_test.main()

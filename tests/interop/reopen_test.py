#!/usr/bin/env python3
"""change-backing-file and blockdev-reopen: what they change, what they refuse and in whose words, and
what is left of it after a restart."""

import json
import subprocess
import threading
import time

import firn_test
from firn_test import Nbd, QmpError, needs, run_json

QSD = "qemu-storage-daemon"
BLOCK = 4096


class ReopenCase(firn_test.Case):
    def setUp(self):
        super().setUp()
        self.make_images()

    def make_images(self):
        self.image("a.qcow2")
        self.io(self.folder / "a.qcow2", "write -q -P 1 0 64k")
        self.image("b.qcow2", size=None, backing="a.qcow2")
        self.image("c.qcow2", size=None, backing="b.qcow2")
        self.image("o.qcow2")
        self.io(self.folder / "o.qcow2", "write -q -P 9 0 64k")
        self.image("r.raw", size="1M", fmt="raw")

    def file(self, name, **more):
        return {"driver": "file", "node-name": f"f{name}",
                "filename": str(self.folder / f"{name}.qcow2"), **more}

    @staticmethod
    def node(name, backing=None, **more):
        return {"driver": "qcow2", "node-name": name, "file": f"f{name}", "backing": backing,
                **{key.replace("_", "-"): value for key, value in more.items()}}

    def nodes(self):
        """The chain a - b - c, all but c read-only, and o."""
        read_only = {"read-only": True}
        return [self.file("a", **read_only), self.node("a", **read_only),
                self.file("b", **read_only), self.node("b", "a", **read_only),
                self.file("c"), self.node("c", "b"), self.file("o"), self.node("o")]

    def chain(self, path=None, extra=()):
        daemon = self.start(*extra, path=path)
        for options in self.nodes():
            daemon.execute("blockdev-add", options)
        daemon.execute("block-export-add", type="nbd", id="e", node_name="c", name="c",
                       writable=True)
        return daemon

    def client(self, daemon):
        nbd = Nbd(daemon.nbd_path)
        nbd.go("c")
        self.addCleanup(nbd.close)
        return nbd

    def stored(self, name):
        info = run_json("qemu-img", "info", "-U", "--output=json", self.folder / f"{name}.qcow2")
        return info.get("backing-filename"), info.get("backing-filename-format")

    @staticmethod
    def reopen(daemon, *options):
        return daemon.execute("blockdev-reopen", options=list(options))

    @staticmethod
    def change(daemon, device, node, name):
        return daemon.execute("change-backing-file", device=device, image_node_name=node,
                              backing_file=name)

    @staticmethod
    def info(daemon, name, flat=True):
        return next(node for node in daemon.execute("query-named-block-nodes", flat=flat)
                    if node["node-name"] == name)


@needs(QSD, "qemu-img", "qemu-io")
class SideBySideTest(ReopenCase):
    def answers(self, path, requests):
        daemon = self.chain(path)
        found = []
        for command, arguments in requests:
            try:
                found.append(daemon.execute(command, arguments))
            except QmpError as error:
                found.append(error.desc)
        daemon.kill()
        return found

    def compare(self, requests):
        theirs = self.answers(QSD, requests)
        for request, their, our in zip(requests, theirs,
                                       self.answers(firn_test.daemon_path(), requests)):
            with self.subTest(json.dumps(request)):
                self.assertEqual(their, our)

    def test_change_backing_file(self):
        full = str(self.folder / "b.qcow2")
        self.compare([("change-backing-file",
                       {"device": device, "image-node-name": node, "backing-file": name})
                      for device, node, name in (
                          ("zz", "c", "x"), ("c", "zz", "x"), ("", "c", "x"), ("c", "", "x"),
                          ("b", "b", "a.qcow2"), ("c", "o", "a.qcow2"), ("c", "a", "x"),
                          ("fc", "fc", "x"), ("o", "o", "x"), ("c", "fc", "x"), ("c", "c", full),
                          ("c", "c", "b.qcow2"))])

    def test_reopen(self):
        node, file = self.node, self.file
        read_only = {"read-only": True}
        lists = (
            [node("zz")],
            [node("c", "b"), node("zz")],
            [{"driver": "null-co"}],
            [{"driver": "qcow2", "node-name": "c", "file": "fc"}],
            [{"driver": "qcow2", "node-name": "o", "file": "fo"}],
            [{"driver": "raw", "node-name": "o", "file": "fo"}],
            [{"driver": "null-co", "node-name": "o"}],
            [{"driver": "null-co", "node-name": "c"}],
            [node("c", "b")], [node("c", "zz")], [node("c", "")], [node("c", "c")],
            [node("b", "c", **read_only)], [node("c", "b", file="zz")],
            [node("c", "b", detect_zeroes="unmap")],
            [node("c", "b", discard="unmap", detect_zeroes="unmap")],
            [node("c", "b", force_share=True, **read_only)],
            [node("c", "b", **read_only)],
            [node("b", "a")], [file("b"), node("b", "a")],
            [node("b", "a", **read_only), file("b", **read_only)],
            [file("c")], [file("c", **read_only)], [file("c", filename="/x")],
            [file("c", locking="off")], [file("o", **read_only)],
            [file("o", **read_only), node("o", **read_only)], [node("o")], [node("o"), file("o")],
            [node("c", "a")], [node("c", "o")], [node("c")], [node("c", "b")],
        )
        self.compare([("blockdev-reopen", {"options": options}) for options in lists])


@needs("qemu-img", "qemu-io")
class FirnTest(ReopenCase):
    def setUp(self):
        super().setUp()
        if firn_test.against_peer():
            self.skipTest("Firn alone: names are checked, and the state is kept")

    def test_a_name_that_leads_elsewhere_is_refused(self):
        daemon = self.chain()
        for name in ("a.qcow2", "/nope", "", "nbd:x", "json:{}", "r.raw"):
            self.assert_qmp_error(self.change, daemon, "c", "c", name,
                                  contains="does not lead to the file of node 'b'")
        self.assertEqual(self.stored("c"), ("b.qcow2", "qcow2"))
        (self.folder / "link.qcow2").symlink_to("b.qcow2")
        self.change(daemon, "c", "c", "link.qcow2")
        self.assertEqual(self.stored("c"), ("link.qcow2", "qcow2"))

    def test_the_format_below_is_stored(self):
        daemon = self.start()
        path = self.image("top.qcow2", size="1M")
        daemon.execute("blockdev-add", driver="raw", node_name="r", read_only=True,
                       file={"driver": "file", "filename": str(self.folder / "r.raw")})
        daemon.execute("blockdev-add", driver="qcow2", node_name="top", backing="r",
                       file={"driver": "file", "filename": str(path)})
        self.change(daemon, "top", "top", "r.raw")
        self.assertEqual(self.stored("top"), ("r.raw", "raw"))

    def write_meanwhile(self, daemon, change):
        """Writes beside change(number), and reads all of it again."""
        nbd = self.client(daemon)
        failed = []

        def work():
            try:
                for number in range(50):
                    change(number)
            except Exception as error:  # told by the test, in its own thread
                failed.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        written = {}
        number = 0
        while thread.is_alive() or number < 100:
            offset = (16 + number * 7 % 1024) * BLOCK
            written[offset] = bytes([number % 255 + 1]) * BLOCK
            nbd.write(offset, written[offset])
            number += 1
        thread.join()
        self.assertEqual(failed, [])
        for offset, data in written.items():
            self.assertEqual(nbd.read(offset, BLOCK), data)
        self.assertEqual(nbd.read(0, BLOCK), b"\1" * BLOCK)

    def test_names_change_under_writes(self):
        daemon = self.chain()
        full = str(self.folder / "b.qcow2")
        below = str(self.folder / "a.qcow2")

        def change(number):
            self.change(daemon, "c", "c", (full, "b.qcow2")[number % 2])
            self.change(daemon, "c", "b", (below, "a.qcow2")[number % 2])

        self.write_meanwhile(daemon, change)
        self.assertTrue(self.info(daemon, "b")["ro"])
        daemon.stop()
        self.assertEqual(self.stored("b"), ("a.qcow2", "qcow2"))
        for name in "abc":
            self.check_image(self.folder / f"{name}.qcow2")

    def test_reopening_under_writes(self):
        daemon = self.chain()
        read_only = {"read-only": True}

        def change(number):
            self.reopen(daemon, self.node("c", "ab"[number % 2],
                                          discard=("ignore", "unmap")[number % 2]))
            self.reopen(daemon, self.file("b"), self.node("b", "a"))
            self.reopen(daemon, self.node("b", "a", **read_only), self.file("b", **read_only))

        self.write_meanwhile(daemon, change)
        daemon.stop()
        for name in "abc":
            self.check_image(self.folder / f"{name}.qcow2")

    def test_all_or_nothing(self):
        daemon = self.chain()
        before = daemon.execute("query-named-block-nodes", flat=True)
        self.assert_qmp_error(
            self.reopen, daemon, self.file("b"), self.node("b", "a", detect_zeroes="on"),
            self.node("o", "a", detect_zeroes="on"), self.node("c", "b", **{"read-only": True}),
            desc="Read-only block node 'c' cannot support read-write users")
        after = daemon.execute("query-named-block-nodes", flat=True)
        for one in (*before, *after):
            one["image"].pop("actual-size", None)
        self.assertEqual(before, after)
        self.io(daemon, "write -q -P 5 1M 64k", "read -q -P 5 1M 64k", export="c")

    def test_an_empty_list_changes_nothing(self):
        self.assertEqual(self.chain().execute("blockdev-reopen", {"options": []}), {})

    def test_what_cannot_change_is_named(self):
        daemon = self.chain()
        for options, name in ((self.node("c", "b", cache={"direct": True}), "cache.direct"),
                              (self.node("c", "b", cache={"no-flush": True}), "cache.no-flush"),
                              (self.node("c", "b", auto_read_only=True), "auto-read-only"),
                              (self.node("c", "b", l2_cache_size=65536), "l2-cache-size"),
                              (self.node("c", "b", file="fo"), "file")):
            self.assert_qmp_error(self.reopen, daemon, options,
                                  desc=f"Cannot change the option '{name}'")

    def restart(self, daemon, state):
        """Kills it, and starts what its state alone says, sockets included."""
        daemon.process.kill()
        daemon.process.wait()
        daemon._qmp.close()
        daemon._qmp = None
        with open(daemon.log_path, "ab") as log:
            daemon.process = subprocess.Popen([firn_test.daemon_path(), "--state", str(state)],
                                              stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + firn_test.START_TIMEOUT_S
        while daemon._qmp is None:
            self.assertTrue(daemon.is_running(), daemon.log())
            try:
                daemon._qmp = firn_test.Qmp(daemon.qmp_path)
            except OSError:  # the kernel lets go of a killed daemon's sockets late
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.01)

    def test_a_restart_keeps_what_changed(self):
        state = self.folder / "state"
        daemon = self.chain(extra=("--state", state))
        self.reopen(daemon, self.node("o", "a", detect_zeroes="on"),
                    self.node("c", "a", discard="unmap"))
        self.change(daemon, "c", "c", str(self.folder / "a.qcow2"))
        self.reopen(daemon, self.file("b"), self.node("b", "a"))
        self.restart(daemon, state)
        self.assertEqual(self.info(daemon, "o")["detect_zeroes"], "on")
        self.assertFalse(self.info(daemon, "b")["ro"])
        self.assertEqual(self.info(daemon, "c", flat=False)["image"]["backing-image"]["filename"],
                         str(self.folder / "a.qcow2"))
        self.assertEqual(self.stored("c"), (str(self.folder / "a.qcow2"), "qcow2"))

    def test_a_sealed_layer_keeps_its_place_in_the_state(self):
        state = self.folder / "state"
        daemon = self.chain(extra=("--state", state))
        self.change(daemon, "c", "b", str(self.folder / "a.qcow2"))
        self.restart(daemon, state)
        self.assertTrue(self.info(daemon, "b")["ro"])
        self.change(daemon, "c", "b", "a.qcow2")
        self.assertEqual(self.stored("b"), ("a.qcow2", "qcow2"))


if __name__ == "__main__":
    firn_test.main()

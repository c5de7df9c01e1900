#!/usr/bin/env python3
"""Going back and branching off while clients are connected: to layers, to internal snapshots, to new
devices; and disks that shrink and grow below their clients."""

import errno
import os
import random
import threading
import time

import firn_test
from firn_test import MIB, Nbd, QmpError, run, run_json

SIZE = 64 * MIB
BLOCK = 4096


class RevertCase(firn_test.Case):
    def setUp(self):
        super().setUp()
        if firn_test.against_peer():
            self.skipTest("no other daemon reverts, forks, or resizes what is exported")

    def disk(self, fmt="qcow2", size=SIZE):
        """A daemon with device vda, exported as vda; its head is disk0."""
        image = self.folder / f"disk.{fmt}"
        run("qemu-img", "create", "-q", "-f", fmt, image, str(size))
        return self.start(
            "--blockdev", f"driver={fmt},node-name=disk0,file.driver=file,file.filename={image},"
                          "discard=unmap,file.discard=unmap",
            "--device", "id=vda,node-name=disk0",
            "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on")

    def client(self, daemon, export="vda"):
        nbd = Nbd(daemon.nbd_path)
        nbd.go(export)
        self.addCleanup(nbd.close)
        return nbd

    def take(self, daemon, name, device="vda"):
        daemon.execute("blockdev-snapshot-sync", device=device,
                       snapshot_file=str(self.folder / f"{name}.qcow2"), snapshot_node_name=name)

    def revert(self, daemon, layer, name, **more):
        daemon.execute("blockdev-snapshot-revert", device="vda", layer=layer,
                       overlay_file=str(self.folder / f"{name}.qcow2"), overlay_node_name=name,
                       **more)
        return daemon.qmp.wait_event("BLOCK_SNAPSHOT_REVERTED")["data"]

    def head(self, daemon, device="vda"):
        for info in daemon.execute("query-block"):
            if info["device"] == device:
                return info["inserted"]["node-name"]
        raise AssertionError(f"no device {device}")

    def files(self):
        return sorted(p.name for p in self.folder.glob("*.qcow2"))

    def fails(self, daemon, command, text, **arguments):
        with self.assertRaises(QmpError) as refused:
            daemon.execute(command, arguments)
        self.assertIn(text, refused.exception.desc)
        return refused.exception


class LayerTest(RevertCase):
    def test_back_and_forth(self):
        daemon = self.disk()
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        self.take(daemon, "s1")
        client.write(0, b"B" * BLOCK)
        client.write(BLOCK, b"b" * BLOCK)

        told = self.revert(daemon, "disk0", "r1")
        self.assertEqual(("vda", "r1", "s1", "disk0"),
                         tuple(told[k] for k in ("device", "node-name", "left", "layer")))
        self.assertGreater(told["pause-ns"], 0)
        self.assertEqual("r1", self.head(daemon))
        # The same connection, and a new one.
        self.assertEqual(b"A" * BLOCK, client.read(0, BLOCK))
        self.assertEqual(bytes(BLOCK), client.read(BLOCK, BLOCK))
        client.write(BLOCK, b"c" * BLOCK)
        self.assertEqual(b"c" * BLOCK, self.client(daemon).read(BLOCK, BLOCK))

        # What was left is sealed, and the way back to it is open.
        self.revert(daemon, "s1", "r2")
        self.assertEqual(b"B" * BLOCK, client.read(0, BLOCK))
        self.assertEqual(b"b" * BLOCK, client.read(BLOCK, BLOCK))
        client.write(0, b"D" * BLOCK)

        # A branch that nobody needs goes.
        daemon.execute("blockdev-del", node_name="r1")
        client.close()
        daemon.stop()
        for name in ("disk", "s1", "r1", "r2"):
            self.check_image(self.folder / f"{name}.qcow2")
        self.io(self.folder / "r2.qcow2", f"read -q -P 68 0 {BLOCK}", f"read -q -P 98 {BLOCK} {BLOCK}")
        self.io(self.folder / "r1.qcow2", f"read -q -P 65 0 {BLOCK}", f"read -q -P 99 {BLOCK} {BLOCK}")
        info = run_json("qemu-img", "info", "--output=json", self.folder / "r2.qcow2")
        self.assertEqual(("qcow2", str(self.folder / "s1.qcow2")),
                         (info["backing-filename-format"], info["full-backing-filename"]))

    def test_a_raw_base(self):
        daemon = self.disk("raw")
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        self.take(daemon, "s1")
        client.write(0, b"B" * BLOCK)
        self.revert(daemon, "disk0", "r1")
        self.assertEqual(b"A" * BLOCK, client.read(0, BLOCK))
        daemon.stop()

    def test_the_size_of_then(self):
        daemon = self.disk()
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        self.take(daemon, "s1")
        daemon.execute("block_resize", device="vda", size=2 * SIZE)
        grown = self.client(daemon)
        grown.write(2 * SIZE - BLOCK, b"Z" * BLOCK)
        self.revert(daemon, "disk0", "r1")
        grown.request(Nbd.READ, 2 * SIZE - BLOCK, BLOCK)
        self.assertEqual(errno.EINVAL, grown.simple_reply()[0])
        grown.request(Nbd.WRITE, 2 * SIZE - BLOCK, BLOCK, b"Y" * BLOCK)
        self.assertEqual(errno.ENOSPC, grown.simple_reply()[0])
        self.assertEqual(b"A" * BLOCK, grown.read(0, BLOCK))
        self.assertEqual(SIZE, Nbd(daemon.nbd_path).go("vda"))
        daemon.stop()

    def test_under_load(self):
        """Each writer's acknowledged writes are all there or all gone, in the order of the reverts."""
        daemon = self.disk()
        self.take(daemon, "s1")
        end = threading.Event()
        failures = []
        counts = [0, 0, 0]

        def write(index):
            try:
                client = Nbd(daemon.nbd_path)
                client.go("vda")
                at = (1 + index * 8) * MIB
                while not end.is_set():
                    data = bytes([index + 1]) * BLOCK
                    client.write(at + counts[index] % 64 * BLOCK, data)
                    counts[index] += 1
                client.close()
            except Exception as error:  # told below
                failures.append(error)

        threads = [threading.Thread(target=write, args=(i,)) for i in range(3)]
        for thread in threads:
            thread.start()
        pauses = []
        marker = self.client(daemon)
        for i in range(20):
            marker.write(0, bytes([i + 1]) * BLOCK)
            self.take(daemon, f"t{i}")
            before = list(counts)
            marker.write(0, b"\xff" * BLOCK)
            told = self.revert(daemon, f"t{i - 1}" if i else "s1", f"u{i}")
            pauses.append(told["pause-ns"])
            expected = bytes([i + 1]) * BLOCK
            self.assertEqual(expected, marker.read(0, BLOCK))
            daemon.execute("blockdev-del", node_name=f"t{i}")
            # The head that comes next is called as the loop expects.
            self.take(daemon, f"v{i}")
            self.revert(daemon, f"u{i}", f"t{i}")
            deadline = time.monotonic() + 30
            while any(now == then for now, then in zip(counts, before)):
                self.assertFalse(failures)
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.005)
        end.set()
        for thread in threads:
            thread.join()
        self.assertEqual([], failures)
        self.assertLess(max(pauses), 5_000_000_000)
        daemon.stop()
        for path in self.folder.glob("*.qcow2"):
            self.check_image(path)

    def test_refusals_leave_nothing(self):
        daemon = self.disk()
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        self.take(daemon, "s1")
        other = self.folder / "other.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", other, str(SIZE))
        daemon.execute("blockdev-add", {"driver": "qcow2", "node-name": "other", "read-only": True,
                                        "file": {"driver": "file", "filename": str(other)}})
        before = self.files()
        new = str(self.folder / "new.qcow2")
        command = "blockdev-snapshot-revert"
        good = {"device": "vda", "layer": "disk0", "overlay-file": new}
        for change, text in (
                ({"layer": None}, "Parameter 'layer' is missing"),
                ({"overlay-file": None}, "Parameter 'overlay-file' is missing"),
                ({"name": "x"}, "can't be used together"),
                ({"layer": None, "name": "x"}, "Parameter 'overlay-file' needs 'layer'"),
                ({"layer": None, "overlay-file": None, "name": "x"},
                 "Snapshot with id 'null' and name 'x' does not exist on device 'vda'"),
                ({"layer": None, "overlay-file": None, "name": ""}, "Name or id must be provided"),
                ({"device": "vdz"}, "Cannot find device='vdz' nor node-name=''"),
                ({"layer": "nope"}, "Cannot find device='' nor node-name='nope'"),
                ({"layer": "s1"}, "Node 's1' is the head"),
                ({"layer": "other"}, "Node 'other' is no layer of 's1'"),
                ({"device": "disk0"}, "Cannot find device='disk0'"),
                ({"device": None, "node-name": "disk0"}, "node is used as backing hd of 's1'"),
                ({"device": None, "node-name": "s1"}, "New overlay node-name missing"),
                ({"overlay-node-name": "s1"}, "New overlay node-name already in use"),
                ({"format": "bogus"}, "Unknown file format 'bogus'"),
                ({"format": "raw"}, "Backing file not supported for file format 'raw'"),
                ({"overlay-file": "/nowhere/x"}, "Could not create '/nowhere/x'"),
                ({"overlay-file": str(self.folder / "disk.qcow2")}, "same filename as the backing"),
                ({"overlay-file": str(self.folder / "s1.qcow2")}, "node "),
                ({"overlay-file": str(other)}, "node ")):
            arguments = {k: v for k, v in {**good, **change}.items() if v is not None}
            with self.subTest(arguments=arguments):
                self.fails(daemon, command, text, **arguments)
                self.assertEqual(before, self.files())
                self.assertEqual("s1", self.head(daemon))
        self.assertEqual(b"A" * BLOCK, client.read(0, BLOCK))
        daemon.stop()

    def test_a_store_that_does_not_answer(self):
        """Requests that don't end make the command fail in time, and all go on."""
        store = self.fault_store()
        base = self.folder / "disk.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", base, str(SIZE))
        daemon = self.start(
            "--blockdev", f"driver=qcow2,node-name=disk0,file.driver=file,file.filename={base}",
            "--device", "id=vda,node-name=disk0",
            "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on")
        daemon.execute("blockdev-snapshot-sync", device="vda", snapshot_node_name="s1",
                       snapshot_file=str(store.path / "s1.qcow2"))
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        store.tell("rule write name=s1.qcow2 hang")
        client.request(Nbd.WRITE, 0, BLOCK, b"B" * BLOCK)
        new = self.folder / "r1.qcow2"
        self.fails(daemon, "blockdev-snapshot-revert", "are under way for more than 200 ms",
                   **{"device": "vda", "layer": "disk0", "overlay-file": str(new),
                      "deadline-ms": 200})
        self.assertFalse(new.exists())
        store.tell("clear")
        self.assertEqual(0, client.simple_reply()[0])
        self.assertEqual(b"B" * BLOCK, client.read(0, BLOCK))
        self.assertEqual("s1", self.head(daemon))
        self.revert(daemon, "disk0", "r2")
        self.assertEqual(bytes(BLOCK), client.read(0, BLOCK))
        daemon.stop()


class ForkTest(RevertCase):
    def fork(self, daemon, name, **more):
        daemon.execute("block-device-fork", id=name, overlay_node_name=f"{name}-head",
                       overlay_file=str(self.folder / f"{name}.qcow2"), **more)
        return daemon.qmp.wait_event("BLOCK_DEVICE_FORKED")["data"]

    def export(self, daemon, device):
        daemon.execute("block-export-add", {"type": "nbd", "id": device, "node-name": device,
                                            "name": device, "writable": True})
        return self.client(daemon, device)

    def test_of_a_layer(self):
        daemon = self.disk()
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        self.take(daemon, "s1")
        client.write(0, b"B" * BLOCK)
        told = self.fork(daemon, "test1", node_name="disk0")
        self.assertEqual(("test1", "test1-head", "disk0"),
                         tuple(told[k] for k in ("id", "node-name", "layer")))
        self.assertNotIn("device", told)
        forked = self.export(daemon, "test1")
        self.assertEqual(b"A" * BLOCK, forked.read(0, BLOCK))
        forked.write(0, b"C" * BLOCK)
        self.assertEqual(b"B" * BLOCK, client.read(0, BLOCK))
        # Each goes its own way: snapshots, reverts and sizes of one are nothing to the other.
        self.take(daemon, "t1", "test1")
        daemon.execute("block_resize", device="test1", size=2 * SIZE)
        self.revert(daemon, "disk0", "r1")
        self.assertEqual(b"A" * BLOCK, client.read(0, BLOCK))
        self.assertEqual(b"C" * BLOCK, forked.read(0, BLOCK))
        daemon.stop()
        for path in self.folder.glob("*.qcow2"):
            self.check_image(path)

    def test_of_a_live_head(self):
        daemon = self.disk()
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        told = self.fork(daemon, "test1", device="vda", snapshot_node_name="s1",
                         snapshot_file=str(self.folder / "s1.qcow2"))
        self.assertEqual(("disk0", "vda"), (told["layer"], told["device"]))
        taken = daemon.qmp.wait_event("BLOCK_SNAPSHOT_COMPLETED")["data"]
        self.assertEqual(("disk0", "s1"), (taken["node-name"], taken["overlay"]))
        self.assertEqual("s1", self.head(daemon))
        self.assertEqual("test1-head", self.head(daemon, "test1"))
        client.write(0, b"B" * BLOCK)
        forked = self.export(daemon, "test1")
        self.assertEqual(b"A" * BLOCK, forked.read(0, BLOCK))
        forked.write(BLOCK, b"C" * BLOCK)
        self.assertEqual(bytes(BLOCK), client.read(BLOCK, BLOCK))
        daemon.stop()
        for name in ("disk", "s1", "test1"):
            self.check_image(self.folder / f"{name}.qcow2")

    def test_many_of_one_layer(self):
        daemon = self.disk()
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        self.take(daemon, "s1")
        times = [self.fork(daemon, f"test{i}", node_name="disk0")["total-ns"] for i in range(20)]
        for i in range(20):
            forked = self.export(daemon, f"test{i}")
            self.assertEqual(b"A" * BLOCK, forked.read(0, BLOCK))
            forked.write(0, bytes([i + 1]) * BLOCK)
            forked.close()
        for i in range(20):
            self.assertEqual(bytes([i + 1]) * BLOCK, self.client(daemon, f"test{i}").read(0, BLOCK))
        print(f"fork: median {sorted(times)[10] / 1e6:.1f} ms of 20", flush=True)
        daemon.stop()

    def test_refusals_leave_nothing(self):
        daemon = self.disk()
        self.take(daemon, "s1")
        before = self.files()
        good = {"id": "test1", "node-name": "disk0", "overlay-node-name": "n1",
                "overlay-file": str(self.folder / "new.qcow2")}
        snapshot = {"snapshot-file": str(self.folder / "s2.qcow2"), "snapshot-node-name": "s2"}
        live = {"node-name": None, "device": "vda"}
        for change, text in (
                ({"id": "vda"}, "Device with id 'vda' already exists"),
                ({"id": "s1"}, "Device name 's1' conflicts with an existing node name"),
                ({"id": "a b"}, "expects an identifier"),
                ({"id": "n1"}, "New overlay node-name already in use"),
                ({"node-name": "nope"}, "Cannot find device='' nor node-name='nope'"),
                ({"overlay-node-name": None}, "New overlay node-name missing"),
                ({"overlay-node-name": "s1"}, "New overlay node-name already in use"),
                (snapshot, "Node 'disk0' is a sealed layer: it needs no snapshot"),
                (live, "Node 's1' is written to: a fork stands on a snapshot of it"),
                ({**live, **snapshot, "snapshot-node-name": "n1"}, "already in use"),
                ({**live, **snapshot, "snapshot-file": good["overlay-file"]}, "new.qcow2"),
                ({**live, **snapshot, "snapshot-file": "/nowhere/x"}, "Could not create"),
                ({"format": "raw"}, "Backing file not supported"),
                ({"overlay-file": str(self.folder / "s1.qcow2")}, "node ")):
            arguments = {k: v for k, v in {**good, **change}.items() if v is not None}
            with self.subTest(arguments=arguments):
                self.fails(daemon, "block-device-fork", text, **arguments)
                self.assertEqual(before, self.files())
                self.assertEqual(["vda"], [i["device"] for i in daemon.execute("query-block")])
                self.assertEqual("s1", self.head(daemon))
        daemon.stop()


class CrashTest(RevertCase):
    """With --state reverts and forks last: after SIGKILL `firnd --state FILE` alone has them."""

    def begin(self):
        image = self.folder / "disk.qcow2"
        run("qemu-img", "create", "-q", "-f", "qcow2", image, str(SIZE))
        return self.start(
            "--state", self.folder / "state",
            "--blockdev", f"driver=qcow2,node-name=disk0,file.driver=file,file.filename={image}",
            "--device", "id=vda,node-name=disk0",
            "--export", "type=nbd,id=vda,node-name=vda,name=vda,writable=on")

    def again(self, daemon):
        daemon.kill()
        # The state names the sockets of the first start.
        restarted = self.start("--state", self.folder / "state", nbd=False, qmp=False)
        restarted.qmp_path, restarted.nbd_path = daemon.qmp_path, daemon.nbd_path
        restarted._wait_for(restarted.qmp_path)
        return restarted

    def test_after_the_reply(self):
        daemon = self.begin()
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        self.take(daemon, "s1")
        client.write(0, b"B" * BLOCK)
        self.revert(daemon, "disk0", "r1")
        client.write(BLOCK, b"C" * BLOCK)
        client.request(Nbd.FLUSH)
        client.simple_reply()
        daemon.execute("block-device-fork", id="test1", node_name="s1",
                       overlay_node_name="test1-head",
                       overlay_file=str(self.folder / "test1.qcow2"))
        daemon = self.again(daemon)
        self.assertEqual("r1", self.head(daemon))
        self.assertEqual("test1-head", self.head(daemon, "test1"))
        client = self.client(daemon)
        self.assertEqual(b"A" * BLOCK, client.read(0, BLOCK))
        self.assertEqual(b"C" * BLOCK, client.read(BLOCK, BLOCK))
        # What was left is there, sealed, and a way back.
        self.revert(daemon, "s1", "r2")
        self.assertEqual(b"B" * BLOCK, client.read(0, BLOCK))
        daemon.stop()

    def test_at_any_moment(self):
        daemon = self.begin()
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        self.take(daemon, "s1")
        client.write(0, b"B" * BLOCK)
        client.request(Nbd.FLUSH)
        client.simple_reply()
        client.close()
        heads = ["s1"]
        chance = random.Random(4)
        for i in range(12):
            target = "disk0" if heads[-1] == "s1" or i % 3 else "s1"
            killer = threading.Timer(chance.uniform(0, 0.04), daemon.process.kill)
            killer.start()
            try:
                self.revert(daemon, target, f"r{i}")
                heads.append(f"r{i}")
            except (ConnectionError, OSError):
                pass
            killer.join()
            daemon = self.again(daemon)
            head = self.head(daemon)
            self.assertIn(head, (heads[-1], f"r{i}"))
            if head != heads[-1]:
                heads.append(head)
            layers = {n["node-name"]: n for n in daemon.execute("query-named-block-nodes")}
            below = os.path.basename(layers[head].get("backing_file", ""))
            client = self.client(daemon)
            self.assertEqual((b"B" if head == "s1" or below == "s1.qcow2" else b"A") * BLOCK,
                             client.read(0, BLOCK))
            client.close()
        daemon.stop()
        for path in self.folder.glob("*.qcow2"):
            if path.name.startswith("r") and path.stem not in heads:
                continue  # of a command that did not happen
            self.assertIn(run("qemu-img", "check", path, check=False).returncode, (0, 3))


class InternalTest(RevertCase):
    def test_back(self):
        daemon = self.disk()
        client = self.client(daemon)
        client.write(0, b"A" * BLOCK)
        client.request(Nbd.FLUSH)
        client.simple_reply()
        daemon.stop()
        image = self.folder / "disk.qcow2"
        run("qemu-img", "snapshot", "-c", "first", image)
        daemon = self.start(
            "--blockdev", f"driver=qcow2,node-name=disk0,file.driver=file,file.filename={image}",
            "--device", "id=vda,node-name=disk0",
            "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on")
        client = self.client(daemon)
        client.write(0, b"B" * BLOCK)
        client.write(8 * MIB, b"C" * BLOCK)
        for how in ({"name": "first"}, {"id": "1"}, {"id": "1", "name": "first"}):
            client.write(0, b"B" * BLOCK)
            daemon.execute("blockdev-snapshot-revert", {"device": "vda", **how})
            told = daemon.qmp.wait_event("BLOCK_SNAPSHOT_REVERTED")["data"]
            self.assertEqual(("vda", "disk0", "1", "first"),
                             tuple(told[k] for k in ("device", "node-name", "id", "name")))
            self.assertNotIn("left", told)
            self.assertEqual(b"A" * BLOCK, client.read(0, BLOCK))
            self.assertEqual(bytes(BLOCK), client.read(8 * MIB, BLOCK))
        self.fails(daemon, "blockdev-snapshot-revert", "Snapshot with id '2' and name 'first'",
                   device="vda", id="2", name="first")
        client.write(BLOCK, b"D" * BLOCK)
        client.close()
        daemon.stop()
        self.check_image(image)
        self.io(image, f"read -q -P 65 0 {BLOCK}", f"read -q -P 68 {BLOCK} {BLOCK}",
                f"read -q -P 0 8M {BLOCK}")

    def test_a_raw_disk_has_none(self):
        daemon = self.disk("raw")
        self.fails(daemon, "blockdev-snapshot-revert",
                   "Block format 'raw' used by device 'vda' does not support internal snapshots",
                   device="vda", name="x")
        daemon.stop()


class ResizeTest(RevertCase):
    def test_both_ways_through_a_chain(self):
        for fmt in ("raw", "qcow2"):
            with self.subTest(format=fmt):
                daemon = self.disk(fmt)
                client = self.client(daemon)
                client.write(SIZE - BLOCK, b"E" * BLOCK)
                self.take(daemon, f"{fmt}-s1")
                self.fails(daemon, "block_resize", "the data beyond would be lost", device="vda",
                           size=SIZE // 2)
                self.assertEqual(b"E" * BLOCK, client.read(SIZE - BLOCK, BLOCK))
                daemon.execute("block_resize", device="vda", size=SIZE // 2, shrink=True)
                client.request(Nbd.READ, SIZE - BLOCK, BLOCK)
                self.assertEqual(errno.EINVAL, client.simple_reply()[0])
                client.request(Nbd.WRITE, SIZE // 2, BLOCK, b"F" * BLOCK)
                self.assertEqual(errno.ENOSPC, client.simple_reply()[0])
                client.request(Nbd.WRITE, SIZE // 2 - 512, 1024, b"F" * 1024)
                self.assertEqual(errno.ENOSPC, client.simple_reply()[0])
                client.write(SIZE // 2 - BLOCK, b"G" * BLOCK)
                self.assertEqual(SIZE // 2, Nbd(daemon.nbd_path).go("vda"))
                # Growing again shows zeroes, not what the layer below has there.
                daemon.execute("block_resize", device="vda", size=2 * SIZE)
                self.assertEqual(bytes(BLOCK), client.read(SIZE - BLOCK, BLOCK))
                self.assertEqual(b"G" * BLOCK, client.read(SIZE // 2 - BLOCK, BLOCK))
                grown = self.client(daemon)
                self.assertEqual(bytes(BLOCK), grown.read(2 * SIZE - BLOCK, BLOCK))
                grown.write(2 * SIZE - BLOCK, b"H" * BLOCK)
                daemon.execute("blockdev-snapshot-sync", device="vda",
                               snapshot_file=str(self.folder / f"{fmt}-s2.qcow2"),
                               snapshot_node_name=f"{fmt}-s2")
                self.assertEqual(b"H" * BLOCK, grown.read(2 * SIZE - BLOCK, BLOCK))
                client.close()
                grown.close()
                daemon.stop()
                for name in ("s1", "s2"):
                    self.check_image(self.folder / f"{fmt}-{name}.qcow2")
                self.io(self.folder / f"{fmt}-s2.qcow2", f"read -q -P 0 {SIZE - BLOCK} {BLOCK}",
                        f"read -q -P 72 {2 * SIZE - BLOCK} {BLOCK}")

    def test_shrinking_under_load(self):
        daemon = self.disk()
        end = threading.Event()
        failures = []

        def write():
            client = Nbd(daemon.nbd_path)
            client.go("vda")
            at = 0
            while not end.is_set():
                client.request(Nbd.WRITE, at, BLOCK, b"W" * BLOCK)
                answer = client.simple_reply()[0]
                if answer not in (0, errno.ENOSPC):
                    failures.append((at, answer))
                if answer == 0 and at >= SIZE:
                    failures.append((at, answer))
                at = (at + 37 * BLOCK) % SIZE
            client.close()

        threads = [threading.Thread(target=write) for _ in range(3)]
        for thread in threads:
            thread.start()
        for i in range(30):
            size = SIZE // 2 + (i % 7) * 512 * 3 if i % 2 else SIZE
            daemon.execute("block_resize", device="vda", size=size, shrink=True)
        daemon.execute("block_resize", device="vda", size=SIZE // 4, shrink=True)
        end.set()
        for thread in threads:
            thread.join()
        self.assertEqual([], failures)
        daemon.stop()
        self.check_image(self.folder / "disk.qcow2")
        self.assertLess(os.stat(self.folder / "disk.qcow2").st_blocks * 512, SIZE)


if __name__ == "__main__":
    firn_test.main()

#!/usr/bin/env python3
"""Internal snapshots of disks in use: taken, listed, deleted, in groups; QEMU's tools find them as
they should be, and its daemon answers the same."""

import os
import re
import threading

import firn_test
from firn_test import MIB, Nbd, QmpError, firn_only, needs, run

QSD = "qemu-storage-daemon"
SIZE = 64 * MIB
BLOCK = 4096
TAKE = "blockdev-snapshot-internal-sync"
DELETE = "blockdev-snapshot-delete-internal-sync"


class InternalSnapshotCase(firn_test.Case):
    def disk(self, *names, more=()):
        """A daemon with disks of these names, each exported under its name."""
        arguments = []
        for name in names:
            image = self.folder / f"{name}.qcow2"
            run("qemu-img", "create", "-q", "-f", "qcow2", image, str(SIZE))
            arguments += ["--blockdev", f"driver=qcow2,node-name={name},file.driver=file,"
                                        f"file.filename={image}",
                          "--export", f"type=nbd,id={name},node-name={name},writable=on"]
        return self.start(*arguments, *more)

    def client(self, daemon, export):
        nbd = Nbd(daemon.nbd_path)
        nbd.go(export)
        self.addCleanup(nbd.close)
        return nbd

    def listed(self, daemon, node):
        """(id, name) of what query-named-block-nodes lists."""
        for info in daemon.execute("query-named-block-nodes"):
            if info["node-name"] == node:
                return [(s["id"], s["name"]) for s in info["image"].get("snapshots", [])]
        raise AssertionError(f"no node {node}")

    def in_image(self, name):
        """The same as qemu-img has it."""
        lines = run("qemu-img", "snapshot", "-l", self.folder / f"{name}.qcow2").stdout.splitlines()
        return [tuple(line.split()[:2]) for line in lines if re.match(r"\d+ ", line)]

    def fails(self, daemon, command, text, **arguments):
        with self.assertRaises(QmpError) as refused:
            daemon.execute(command, arguments)
        self.assertEqual(text, refused.exception.desc)

    def content(self, name, snapshot, at, length):
        """What the image has in a snapshot."""
        out = self.folder / "out.raw"
        run("qemu-img", "convert", "-l", f"snapshot.name={snapshot}", "-O", "raw",
            self.folder / f"{name}.qcow2", out)
        with open(out, "rb") as file:
            file.seek(at)
            return file.read(length)


class CommandTest(InternalSnapshotCase):
    def test_take_list_delete(self):
        daemon = self.disk("s1")
        client = self.client(daemon, "s1")
        client.write(0, b"A" * BLOCK)
        daemon.execute(TAKE, device="s1", name="i1")
        client.write(0, b"B" * BLOCK)
        daemon.execute(TAKE, device="s1", name="i2")
        client.write(0, b"C" * BLOCK)
        self.assertEqual([("1", "i1"), ("2", "i2")], self.listed(daemon, "s1"))
        gone = daemon.execute(DELETE, device="s1", name="i1")
        self.assertEqual(("1", "i1", 0), tuple(gone[k] for k in ("id", "name", "vm-state-size")))
        self.assertGreater(gone["date-sec"], 1_600_000_000)
        self.assertEqual([("2", "i2")], self.listed(daemon, "s1"))
        self.assertEqual(b"C" * BLOCK, client.read(0, BLOCK))
        client.close()
        daemon.stop()
        self.assertEqual([("2", "i2")], self.in_image("s1"))
        self.check_image(self.folder / "s1.qcow2")
        self.assertEqual(b"B" * BLOCK, self.content("s1", "i2", 0, BLOCK))
        self.io(self.folder / "s1.qcow2", f"read -q -P 67 0 {BLOCK}")

    @firn_only("a device is a name of its own, and the event tells of the pause")
    def test_of_a_device(self):
        daemon = self.disk("s1", more=["--device", "id=vda,node-name=s1"])
        daemon.execute(TAKE, device="vda", name="i1")
        told = daemon.qmp.wait_event("BLOCK_INTERNAL_SNAPSHOT_COMPLETED")["data"]
        self.assertEqual(("vda", "s1", "1", "i1"),
                         tuple(told[k] for k in ("device", "node-name", "id", "name")))
        self.assertLessEqual(told["pause-ns"], told["prepare-ns"])
        self.assertGreater(told["store-ns"], 0)
        inserted = daemon.execute("query-block")[0]["inserted"]
        self.assertEqual("i1", inserted["image"]["snapshots"][0]["name"])
        self.fails(daemon, TAKE, "Snapshot with name 'i1' already exists on device 'vda'",
                   device="vda", name="i1")
        # The disk's head changes; the image below keeps its snapshots and takes no more.
        daemon.execute("blockdev-snapshot-sync", device="vda",
                       snapshot_file=str(self.folder / "top.qcow2"), snapshot_node_name="top")
        self.fails(daemon, TAKE, "Need a root block node", device="s1", name="i2")
        daemon.execute(TAKE, device="vda", name="i2")
        self.assertEqual([("1", "i2")], self.listed(daemon, "top"))
        daemon.stop()
        self.check_image(self.folder / "s1.qcow2")
        self.check_image(self.folder / "top.qcow2")

    def test_under_writes(self):
        """A writer counts up through the blocks: a snapshot has what was done before it, and of what
        came later nothing that skips anything."""
        daemon = self.disk("s1")
        end = threading.Event()
        failures = []
        done = [0]
        blocks = 64

        def write():
            try:
                client = Nbd(daemon.nbd_path)
                client.go("s1")
                while not end.is_set():
                    turn, block = divmod(done[0], blocks)
                    client.write(block * BLOCK, bytes([turn % 250 + 1]) * BLOCK)
                    done[0] += 1
                client.close()
            except Exception as error:  # told below
                failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        between = {}
        for i in range(6):
            before = done[0]
            daemon.execute(TAKE, device="s1", name=f"i{i}")
            between[f"i{i}"] = (before, done[0] + 1)
            if i == 3:
                daemon.execute(DELETE, device="s1", name="i1")
                del between["i1"]
        end.set()
        writer.join()
        self.assertEqual([], failures)
        daemon.stop()
        self.assertEqual(sorted(between), [name for _, name in self.in_image("s1")])
        self.check_image(self.folder / "s1.qcow2")
        for name, (before, after) in between.items():
            data = self.content("s1", name, 0, blocks * BLOCK)
            marks = data[::BLOCK]
            self.assertTrue(any(data == self.state(count, blocks)
                                for count in range(before, after + 1)), (name, before, after, marks))

    @staticmethod
    def state(count, blocks):
        """The blocks after so many writes."""
        turn, block = divmod(count, blocks)

        def content(index):
            turns = turn + (index < block)
            return bytes([(turns - 1) % 250 + 1 if turns else 0]) * BLOCK
        return b"".join(content(index) for index in range(blocks))


class GroupTest(InternalSnapshotCase):
    @staticmethod
    def take(device, name):
        return {"type": TAKE, "data": {"device": device, "name": name}}

    def overlay(self, node, name):
        return {"type": "blockdev-snapshot-sync",
                "data": {"node-name": node, "snapshot-file": str(self.folder / f"{name}.qcow2"),
                         "snapshot-node-name": name}}

    def test_one_instant(self):
        """A writer writes to one disk and then to the other: no snapshot has the second alone."""
        threads = [] if firn_test.against_peer() else ["t0", "t1"]
        daemon = self.disk("s1", "s2")
        for thread, node in zip(threads, ("s1", "s2")):
            daemon.execute("block-export-del", id=node)
            daemon.execute("object-add", qom_type="iothread", id=thread)
            daemon.execute("block-export-add", type="nbd", id=node, node_name=node, writable=True,
                           iothread=thread)
        end = threading.Event()
        failures = []

        def write():
            try:
                clients = [Nbd(daemon.nbd_path) for _ in range(2)]
                for client, export in zip(clients, ("s1", "s2")):
                    client.go(export)
                count = 0
                while not end.is_set():
                    count += 1
                    for client in clients:
                        client.write(0, count.to_bytes(8, "big") * (BLOCK // 8))
                for client in clients:
                    client.close()
            except Exception as error:  # told below
                failures.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        for i in range(8):
            daemon.execute("transaction", actions=[self.take("s1", f"i{i}"),
                                                   self.take("s2", f"i{i}")])
        end.set()
        writer.join()
        self.assertEqual([], failures)
        daemon.stop()
        for i in range(8):
            first, second = (int.from_bytes(self.content(disk, f"i{i}", 0, 8), "big")
                             for disk in ("s1", "s2"))
            self.assertIn(first - second, (0, 1))
        for disk in ("s1", "s2"):
            self.check_image(self.folder / f"{disk}.qcow2")

    def test_beside_an_overlay(self):
        daemon = self.disk("s1", "s2")
        client = self.client(daemon, "s1")
        client.write(0, b"A" * BLOCK)
        daemon.execute("transaction", actions=[self.take("s1", "i1"), self.overlay("s2", "o2")])
        client.write(0, b"B" * BLOCK)
        client.close()
        self.assertEqual([("1", "i1")], self.listed(daemon, "s1"))
        daemon.stop()
        self.assertEqual(b"A" * BLOCK, self.content("s1", "i1", 0, BLOCK))
        for name in ("s1", "s2", "o2"):
            self.check_image(self.folder / f"{name}.qcow2")

    def test_a_failure_leaves_nothing(self):
        daemon = self.disk("s1", "s2")
        client = self.client(daemon, "s1")
        abort = {"type": "abort", "data": {}}
        for actions, text in (
                ([self.take("s1", "i1"), abort], "Transaction aborted using Abort action"),
                ([self.take("s1", "i1"), self.overlay("s2", "s1")],
                 "New overlay node-name already in use"),
                ([self.take("s1", "i1"), self.take("s2", "")], "Name is empty")):
            self.fails(daemon, "transaction", text, actions=actions)
            client.write(0, b"A" * BLOCK)
            self.assertEqual([], self.listed(daemon, "s1"))
            self.assertEqual([], self.listed(daemon, "s2"))
        self.fails(daemon, "transaction",
                   f"Action '{TAKE}' does not support Transaction property completion-mode = grouped",
                   actions=[self.take("s1", "i1")], properties={"completion-mode": "grouped"})
        client.close()
        daemon.stop()
        self.assertEqual([], self.in_image("s1"))
        self.check_image(self.folder / "s1.qcow2")

    @firn_only("QEMU takes two of one disk")
    def test_each_disk_once(self):
        daemon = self.disk("s1")
        busy = "Node 's1' is busy: this transaction takes a snapshot of it already"
        for actions in ([self.take("s1", "i1"), self.take("s1", "i2")],
                        [self.take("s1", "i1"), self.overlay("s1", "o1")],
                        [self.overlay("s1", "o1"), self.take("s1", "i1")]):
            self.fails(daemon, "transaction", busy, actions=actions)
            self.assertEqual([], self.listed(daemon, "s1"))
            self.assertFalse(os.path.exists(self.folder / "o1.qcow2"))
        daemon.stop()


class HumanTest(InternalSnapshotCase):
    @firn_only("QEMU's storage daemon has no human monitor")
    def test_lines(self):
        daemon = self.disk("s1")

        def ask(line):
            return daemon.execute("human-monitor-command", command_line=line)
        self.assertEqual("", ask("snapshot_blkdev_internal s1 i1"))
        self.assertEqual([("1", "i1")], self.listed(daemon, "s1"))
        self.assertIn("Error: Snapshot with name 'i1' already exists on device 's1'",
                      ask("snapshot_blkdev_internal s1 i1"))
        self.assertIn("Error: Snapshot with id '2' and name 'i1' does not exist on device 's1'",
                      ask("snapshot_delete_blkdev_internal s1 i1 2"))
        self.assertEqual("", ask("snapshot_delete_blkdev_internal s1 i1 1"))
        self.assertEqual([], self.listed(daemon, "s1"))
        daemon.stop()


@needs(QSD)
class PeerTest(InternalSnapshotCase):
    def test_the_same_answers(self):
        for name in ("base", "s1", "ro"):
            self.image(f"{name}.qcow2", size="1M",
                       backing=f"{self.folder}/base.qcow2" if name == "s1" else None)
        run("qemu-img", "create", "-q", "-f", "raw", self.folder / "b.raw", str(MIB))
        answers = []
        for path in (firn_test.daemon_path(), QSD):
            daemon = firn_test.Daemon(self.folder, [
                "--blockdev", f"driver=qcow2,node-name=s1,file.driver=file,file.node-name=f,"
                              f"file.filename={self.folder}/s1.qcow2,backing.driver=qcow2,"
                              f"backing.node-name=base,backing.file.driver=file,"
                              f"backing.file.filename={self.folder}/base.qcow2",
                "--blockdev", f"driver=raw,node-name=b,file.driver=file,"
                              f"file.filename={self.folder}/b.raw",
                "--blockdev", f"driver=qcow2,node-name=ro,read-only=on,file.driver=file,"
                              f"file.filename={self.folder}/ro.qcow2"], path=path)
            self.addCleanup(daemon.kill)
            answers.append([self.answer(daemon, *request) for request in self.requests()])
            daemon.stop()
        for request, ours, theirs in zip(self.requests(), *answers):
            self.assertEqual(theirs, ours, request)
        self.assertEqual([], self.in_image("s1"))
        self.check_image(self.folder / "s1.qcow2")

    @staticmethod
    def requests():
        for device, name in (("zz", "i"), ("base", "i"), ("f", "i"), ("b", ""), ("b", "i"),
                             ("ro", ""), ("ro", "i"), ("s1", ""), ("s1", "i1"), ("s1", "i1"),
                             ("s1", "1"), ("s1", "x" * 255)):
            yield TAKE, {"device": device, "name": name}
        yield TAKE, {"device": "s1"}
        for more in ({"device": "zz"}, {"device": "base", "name": "i"}, {"device": "s1"},
                     {"device": "s1", "name": ""}, {"device": "s1", "id": "", "name": "i1"},
                     {"device": "s1", "name": "zz"}, {"device": "s1", "id": "9"},
                     {"device": "s1", "id": "1", "name": "1"}, {"device": "b", "name": "i"},
                     {"device": "ro", "name": "i"}, {"device": "s1", "name": "1"},
                     {"device": "s1", "id": "2"}, {"device": "s1", "id": "3"},
                     {"device": "s1", "id": "1", "name": "i1"}, {"device": "s1", "name": "i1"}):
            yield DELETE, more

    @staticmethod
    def answer(daemon, command, arguments):
        """A success without its times, or the text of the error."""
        try:
            value = daemon.execute(command, arguments)
            return {k: v for k, v in value.items() if "date" not in k and "clock" not in k}
        except QmpError as error:
            return error.desc


if __name__ == "__main__":
    firn_test.main()

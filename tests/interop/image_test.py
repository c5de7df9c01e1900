#!/usr/bin/env python3
"""Images that the daemon writes, judged by QEMU's tools; images that QEMU's tools write, read by the
daemon."""

import random

import firn_test
from firn_test import MIB, run, run_json

SIZE = 16 * MIB

# Options of `qemu-img create` for qcow2 images of every kind that must work.
KINDS = {
    "plain": "",
    "version 2": "compat=0.10",
    "clusters of 512": "cluster_size=512",
    "clusters of 4k": "cluster_size=4k",
    "clusters of 2M": "cluster_size=2M",
    "refcounts of 1 bit": "refcount_bits=1",
    "refcounts of 8 bits": "refcount_bits=8",
    "refcounts of 64 bits": "refcount_bits=64",
    "subclusters": "extended_l2=on",
    "subclusters of 4k": "extended_l2=on,cluster_size=128k",
    "lazy refcounts": "lazy_refcounts=on",
    "preallocated tables": "preallocation=metadata",
    "zstd": "compression_type=zstd",
}


def write_commands(seed, count=60):
    """Commands for qemu-io, of every kind that changes what reads give."""
    rand = random.Random(seed)
    commands = []
    for _ in range(count):
        length = rand.choice([512, 4096, 8192, 65536, 200 * 512, 3 * 65536])
        offset = rand.randrange(0, (SIZE - length) // 512) * 512
        kind = rand.random()
        if kind < 0.7:
            commands.append(f"write -q -P {rand.randrange(1, 256)} {offset} {length}")
        elif kind < 0.85:
            commands.append(f"write -q -z {offset} {length}")
        else:
            commands.append(f"write -q -z -u {offset} {length}")
        if rand.random() < 0.1:
            commands.append("flush")
    return commands


class ImageTest(firn_test.Case):
    def compare(self, one, other, *formats):
        run("qemu-img", "compare", *formats, one, other)

    def model(self, *command_lists):
        """A raw image to which QEMU's own qemu-io did the same."""
        path = self.image("model.raw", size=SIZE, fmt="raw")
        for commands in command_lists:
            self.io(path, *commands, fmt="raw")
        return path

    def test_writes_to_images_of_every_kind(self):
        for number, (kind, image_options) in enumerate(KINDS.items()):
            with self.subTest(kind=kind):
                commands = write_commands(number)
                disk = self.image(f"disk{number}.qcow2", size=SIZE, options=image_options)
                daemon = self.serve(disk)
                self.io(daemon, *commands)
                model = self.model(commands)
                self.compare(model, daemon.uri("vda"), "-f", "raw", "-F", "raw")
                daemon.stop()
                self.check_image(disk)
                self.compare(model, disk, "-f", "raw", "-F", "qcow2")

    def test_reads_images_of_every_kind(self):
        for number, (kind, image_options) in enumerate(KINDS.items()):
            with self.subTest(kind=kind):
                disk = self.image(f"disk{number}.qcow2", size=SIZE, options=image_options)
                self.io(disk, *write_commands(100 + number))
                daemon = self.serve(disk, writable=False, extra=())
                raw = self.folder / "out.raw"
                run("nbdcopy", daemon.uri("vda"), raw)
                daemon.stop()
                self.compare(raw, disk, "-f", "raw", "-F", "qcow2")

    def test_raw_image(self):
        commands = write_commands(7)
        disk = self.image("disk.raw", size=SIZE, fmt="raw")
        daemon = self.serve(disk, fmt="raw")
        self.io(daemon, *commands)
        daemon.stop()
        self.compare(self.model(commands), disk, "-f", "raw", "-F", "raw")

    def test_chain_that_qemu_made(self):
        below = write_commands(1)
        middle = write_commands(2)
        above = write_commands(3)
        base = self.image("base.qcow2", size=SIZE)
        self.io(base, *below)
        layer = self.image("layer.qcow2", size=None, backing=base, options="cluster_size=4k")
        self.io(layer, *middle)
        head = self.image("head.qcow2", size=None, backing=layer, options="extended_l2=on")
        before = run_json("qemu-img", "map", "--output=json", layer)
        daemon = self.serve(head)
        self.io(daemon, *above)
        daemon.stop()
        for path in (base, layer, head):
            self.check_image(path)
        self.compare(self.model(below, middle, above), head, "-f", "raw", "-F", "qcow2")
        self.compare(self.model(below, middle), layer, "-f", "raw", "-F", "qcow2")
        self.assertEqual(before, run_json("qemu-img", "map", "--output=json", layer))

    def test_overlay_longer_and_shorter_than_its_backing(self):
        base = self.image("base.qcow2", size=SIZE)
        self.io(base, f"write -q -P 7 0 {SIZE}")
        for size in (SIZE // 2, SIZE * 2):
            with self.subTest(size=size):
                head = self.image(f"head{size}.qcow2", size=size, backing=base)
                daemon = self.serve(head)
                self.io(daemon, f"write -q -P 9 {size - 70000 // 512 * 512} 512")
                self.compare(head, daemon.uri("vda"), "-U", "-f", "qcow2", "-F", "raw")
                daemon.stop()
                self.check_image(head)

    def test_shorter_layer_in_the_middle_hides_what_is_below(self):
        base = self.image("base.qcow2", size=SIZE)
        self.io(base, f"write -q -P 7 0 {SIZE}")
        middle = self.image("middle.qcow2", size=SIZE // 2, backing=base)
        head = self.image("head.qcow2", size=SIZE, backing=middle)
        daemon = self.serve(head)
        self.io(daemon, f"read -q -P 7 0 {SIZE // 2}", f"read -q -P 0 {SIZE // 2} {SIZE // 2}")
        # A write that copies the rest of its cluster copies zeroes there.
        self.io(daemon, f"write -q -P 1 {SIZE // 2 + 65536} 512")
        self.io(daemon, f"read -q -P 0 {SIZE // 2 + 65536 + 512} 65024")
        daemon.stop()
        self.check_image(head)

    def test_compressed_clusters_are_read_and_written_over(self):
        source = self.image("source.raw", size=SIZE, fmt="raw")
        self.io(source, f"write -q -P 85 0 {SIZE // 2}", *write_commands(4), fmt="raw")
        for method in ("zlib", "zstd"):
            with self.subTest(method=method):
                disk = self.folder / f"{method}.qcow2"
                run("qemu-img", "convert", "-c", "-O", "qcow2", "-o", f"compression_type={method}",
                    "-f", "raw", source, disk)
                commands = write_commands(5)
                daemon = self.serve(disk)
                self.compare(source, daemon.uri("vda"), "-f", "raw", "-F", "raw")
                self.io(daemon, *commands)
                daemon.stop()
                self.check_image(disk)
                model = self.folder / "model.raw"
                run("cp", source, model)
                self.io(model, *commands, fmt="raw")
                self.compare(model, disk, "-f", "raw", "-F", "qcow2")

    def test_discard_gives_space_back(self):
        disk = self.image(size=SIZE)
        daemon = self.start(
            "--blockdev", f"driver=file,node-name=file0,filename={disk},discard=unmap",
            "--blockdev", "driver=qcow2,node-name=disk0,file=file0,discard=unmap",
            "--export", "type=nbd,id=vda,node-name=disk0,name=vda,writable=on")
        self.io(daemon, f"write -q -P 7 0 {8 * MIB}", "flush")
        self.io(daemon, f"discard -q 0 {6 * MIB}", "flush")
        self.io(daemon, f"read -q -P 0 0 {6 * MIB}", f"read -q -P 7 {6 * MIB} {2 * MIB}")
        daemon.stop()
        self.check_image(disk)
        self.assertLess(disk.stat().st_blocks * 512, 4 * MIB)

    def test_written_zeroes_read_as_zeroes_over_a_backing(self):
        base = self.image("base.qcow2", size=SIZE)
        self.io(base, f"write -q -P 7 0 {SIZE}")
        for name, image_options in (("v3", ""), ("v2", "compat=0.10"), ("sub", "extended_l2=on")):
            with self.subTest(name=name):
                head = self.image(f"{name}.qcow2", size=None, backing=base, options=image_options)
                daemon = self.serve(head)
                self.io(daemon, "write -q -z 4096 4096", f"write -q -z {MIB} {MIB}",
                        "write -q -z -u 3M 65536", "discard -q 5M 65536")
                self.io(daemon, "read -q -P 7 0 4096", "read -q -P 0 4096 4096",
                        "read -q -P 7 8192 4096", f"read -q -P 0 {MIB} {MIB}",
                        "read -q -P 0 3M 65536")
                daemon.stop()
                self.check_image(head)
                self.io(head, "read -q -P 7 0 4096", "read -q -P 0 4096 4096",
                        f"read -q -P 0 {MIB} {MIB}", "read -q -P 0 3M 65536")

    def test_map_agrees_with_qemu(self):
        base = self.image("base.qcow2", size=SIZE)
        self.io(base, *write_commands(11, count=10))
        head = self.image("head.qcow2", size=None, backing=base)
        self.io(head, *write_commands(12, count=10))
        expected = self.extents(run_json("qemu-img", "map", "--output=json", head))
        daemon = self.serve(head, writable=False)
        seen = self.extents(run_json("qemu-img", "map", "--output=json", "-f", "raw",
                                     daemon.uri("vda")))
        daemon.stop()
        self.assertEqual(expected, seen)

    @staticmethod
    def extents(entries):
        """Which parts read as zeroes by the map alone, with neighbours joined."""
        joined = []
        for entry in entries:
            zero = entry["zero"]
            if joined and joined[-1][2] == zero:
                joined[-1][1] += entry["length"]
            else:
                joined.append([entry["start"], entry["length"], zero])
        return joined

    def test_a_dirty_image_is_repaired_before_it_is_used(self):
        disk = self.image(size=SIZE, options="lazy_refcounts=on")
        # qemu-io that aborts leaves the dirty bit behind.
        self.io(disk, "write -q -P 7 0 1M", "flush", "abort", check=False)
        info = run_json("qemu-img", "info", "-U", "--output=json", disk)
        self.assertTrue(info["dirty-flag"], "the test wants a dirty image")
        daemon = self.serve(disk)
        self.io(daemon, "read -q -P 7 0 1M", "write -q -P 8 2M 1M")
        daemon.stop()
        self.check_image(disk)
        self.io(disk, "read -q -P 7 0 1M", "read -q -P 8 2M 1M")

    def test_what_an_image_needs_and_is_not_here_is_refused_by_name(self):
        disk = self.image(size=SIZE)
        daemon = self.start(nbd=False)
        with open(disk, "r+b") as file:  # an unknown incompatible feature, bit 40
            file.seek(72)
            bits = int.from_bytes(file.read(8), "big") | 1 << 40
            file.seek(72)
            file.write(bits.to_bytes(8, "big"))
        self.assert_qmp_error(daemon.execute, "blockdev-add", {
            "driver": "qcow2", "node-name": "n", "file": {"driver": "file", "filename": str(disk)}},
            contains=["incompatible feature", "10000000000"])
        daemon.stop()

    def test_a_file_that_is_no_qcow2_is_refused(self):
        garbage = self.folder / "garbage"
        garbage.write_bytes(random.Random(1).randbytes(200000))
        empty = self.folder / "empty"
        empty.write_bytes(b"")
        daemon = self.start(nbd=False)
        for path in (garbage, empty):
            self.assert_qmp_error(daemon.execute, "blockdev-add", {
                "driver": "qcow2", "node-name": "n",
                "file": {"driver": "file", "filename": str(path)}}, contains="qcow2 format")
        self.assertEqual([], daemon.execute("query-named-block-nodes"))
        daemon.stop()

    def test_damaged_headers_are_refused_and_never_crash(self):
        disk = self.image(size=SIZE)
        good = disk.read_bytes()
        daemon = self.start(nbd=False)
        rand = random.Random(5)
        for number in range(300):
            bad = bytearray(good)
            for _ in range(rand.randrange(1, 4)):
                bad[rand.randrange(4, 112)] = rand.randrange(256)
            path = self.folder / f"bad{number}.qcow2"
            path.write_bytes(bad)
            try:
                daemon.execute("blockdev-add", {
                    "driver": "qcow2", "node-name": "n", "read-only": True,
                    "file": {"driver": "file", "filename": str(path)}})
                daemon.execute("blockdev-del", node_name="n")
            except firn_test.QmpError:
                pass
            path.unlink()
        daemon.stop()

    def test_an_image_open_for_writing_elsewhere_is_refused(self):
        disk = self.image(size=SIZE)
        daemon = self.serve(disk)
        result = run("qemu-io", "-f", "qcow2", "-c", "write 0 512", disk, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn('Failed to get "write" lock', result.stdout)
        other = self.start(nbd=False)
        self.assert_qmp_error(other.execute, "blockdev-add", {
            "driver": "qcow2", "node-name": "n", "file": {"driver": "file", "filename": str(disk)}},
            contains='Failed to get "write" lock')
        other.stop()
        daemon.stop()


if __name__ == "__main__":
    firn_test.main()

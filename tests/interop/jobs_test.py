#!/usr/bin/env python3
"""Jobs, step by step beside qemu-storage-daemon: the same requests give the same answers, the same
events in the same order, and images that are the same to QEMU's tools."""

import shutil
import time

import firn_test
from firn_test import MIB, QmpError, needs, run, run_json

QSD = "qemu-storage-daemon"


class Side:
    """One daemon in a folder of its own, where file names are the same on both sides."""

    def __init__(self, case, path, folder, options=""):
        self.folder = folder
        folder.mkdir()
        self.daemon = case.start_monitor(path, folder, options)
        self.qmp = self.daemon._qmp = firn_test.Qmp(folder / "qmp")

    def ask(self, command, arguments):
        """The answer, without the class of an error."""
        try:
            return self.qmp.execute(command, arguments)
        except QmpError as error:
            return {"desc": error.desc}

    def status(self, job):
        return next((info["status"] for info in self.qmp.execute("query-jobs")
                     if info["id"] == job), None)

    def wait_for_status(self, job, *statuses, timeout=10):
        deadline = time.monotonic() + timeout
        while (status := self.status(job)) not in statuses:
            if time.monotonic() > deadline:
                raise AssertionError(f"job '{job}' is {status}, not {statuses}")
            time.sleep(0.005)
        return status

    def events(self):
        """What came until now, each as (name, data)."""
        self.qmp.execute("query-version")
        taken, self.qmp.events = self.qmp.events, []
        return [(event["event"], event["data"]) for event in taken]


def names(events):
    return [data.get("status", name) for name, data in events]


# (options of blockdev-create, whether it is made); files are there before as START says.
FILES = [
    ({"filename": "/nowhere/x", "size": 5}, False),
    ({"filename": "new.img", "size": MIB + 1}, True),
    ({"filename": "falloc.img", "size": 1000000, "preallocation": "falloc"}, True),
    ({"filename": "full.img", "size": 1000000, "preallocation": "full"}, True),
    ({"filename": "off.img", "size": 1000000, "preallocation": "off"}, True),
    ({"filename": "empty.img", "size": 0}, True),
    ({"filename": "m.img", "size": 1000000, "preallocation": "metadata"}, False),
    ({"filename": "plain.img", "size": 8193}, True),
    ({"filename": "file:prefix.img", "size": 512}, True),
    ({"filename": "nope:x", "size": 512}, False),
    ({"filename": "huge.img", "size": -1}, False),
    ({"filename": "huge.img", "size": 9223372036854775807}, False),
    ({"filename": "open.img", "size": 512}, False),
    ({"filename": ".", "size": 512}, False),
]

# Other words here, for a reason.
FILE_TEXTS = {
    "file:prefix.img": "QEMU takes the name as it is",
    "nope:x": "QEMU takes the name as it is",
    ".": "opening a folder for writing has a text of its own",
}

IMAGES = [
    ({"size": 5}, False),
    ({"size": 512}, True),
    ({"size": 64 * MIB}, True),
    ({"size": 0}, True),
    ({"size": MIB, "cluster-size": 1000}, False),
    ({"size": MIB, "cluster-size": 256}, False),
    ({"size": MIB, "cluster-size": 4 * MIB}, False),
    ({"size": MIB, "cluster-size": 512}, True),
    ({"size": MIB, "cluster-size": 2 * MIB}, True),
    ({"size": MIB, "refcount-bits": 3}, False),
    ({"size": MIB, "refcount-bits": 128}, False),
    ({"size": MIB, "refcount-bits": 1}, True),
    ({"size": MIB, "refcount-bits": 64}, True),
    ({"size": MIB, "version": "v2"}, True),
    ({"size": MIB, "version": "v2", "refcount-bits": 8}, False),
    ({"size": MIB, "version": "v2", "lazy-refcounts": True}, False),
    ({"size": MIB, "version": "v2", "compression-type": "zstd"}, False),
    ({"size": MIB, "version": "v2", "extended-l2": True}, False),
    ({"size": MIB, "version": "v3", "lazy-refcounts": True}, True),
    ({"size": MIB, "compression-type": "zstd"}, True),
    ({"size": MIB, "extended-l2": True}, True),
    ({"size": MIB, "extended-l2": True, "cluster-size": 4096}, False),
    ({"size": MIB, "backing-fmt": "raw"}, False),
    ({"size": MIB, "backing-file": "base.img", "backing-fmt": "raw"}, True),
    ({"size": MIB, "backing-file": "base.img"}, True),
    ({"size": MIB, "backing-file": "base.img", "preallocation": "metadata"}, False),
    ({"size": MIB, "preallocation": "metadata"}, True),
    ({"size": MIB, "preallocation": "falloc"}, True),
    ({"size": MIB, "preallocation": "full"}, True),
    ({"size": MIB, "preallocation": "metadata", "extended-l2": True}, True),
]

# Refused before there is a job.
REFUSED = [
    {"job-id": "9", "options": {"driver": "file", "filename": "x", "size": 1}},
    {"job-id": "", "options": {"driver": "file", "filename": "x", "size": 1}},
    {"job-id": "a b", "options": {"driver": "file", "filename": "x", "size": 1}},
    {"job-id": "j", "options": {"driver": "raw"}},
    {"job-id": "j", "options": {"driver": "null-co"}},
    {"job-id": "j", "options": {"driver": "host_device"}},
    {"job-id": "j", "options": {"driver": "raw", "size": 1}},
    {"job-id": "j", "options": {"driver": "nope", "size": 1}},
    {"job-id": "j", "options": {"driver": "file", "size": 1}},
    {"job-id": "j", "options": {"driver": "file", "filename": "x"}},
    {"job-id": "j", "options": {"driver": "qcow2", "size": 512}},
    {"job-id": "j", "options": {"driver": "qcow2", "size": 512, "file": "n", "version": "v4"}},
    {"job-id": "j"},
]


@needs(QSD, "qemu-img")
class JobsTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        own = "" if firn_test.against_peer() else ",errors=qemu"
        self.ours = Side(self, firn_test.daemon_path(), self.folder / "ours", own)
        self.theirs = Side(self, QSD, self.folder / "theirs")
        self.sides = (self.ours, self.theirs)

    def ask_both(self, command, arguments=None):
        """Both answers, which agree."""
        ours, theirs = (side.ask(command, arguments) for side in self.sides)
        self.assertEqual(theirs, ours, f"{command} {arguments}")
        return ours

    def create_both(self, options, made):
        """Runs the job on both sides to its end; gives what each query-jobs says of it."""
        ends = []
        for side in self.sides:
            side.events()
            side.qmp.execute("blockdev-create", {"job-id": "j", "options": options})
            side.wait_for_status("j", "concluded")
            info, = side.qmp.execute("query-jobs")
            ends.append((info, side.events()))
            self.assertEqual(made, "error" not in info, f"{options}: {info}")
            side.qmp.execute("job-dismiss", {"id": "j"})
            self.assertEqual([("JOB_STATUS_CHANGE", {"id": "j", "status": "null"})], side.events())
        (ours, our_events), (theirs, their_events) = ends
        self.assertEqual(names(their_events), names(our_events), options)
        return ours, theirs

    def test_files(self):
        for side in self.sides:
            (side.folder / "plain.img").write_bytes(b"x" * MIB)
            run("qemu-img", "create", "-q", "-f", "qcow2", side.folder / "open.img", "1M")
            side.qmp.execute("blockdev-add", {"driver": "qcow2", "node-name": "q",
                                              "file": {"driver": "file", "filename": "open.img"}})
        for options, made in FILES:
            name = options["filename"]
            if name in FILE_TEXTS:
                continue
            ours, theirs = self.create_both({"driver": "file", **options}, made)
            self.assertEqual(theirs, ours, options)
            files = [side.folder / name for side in self.sides]
            if made:
                sizes = {file.stat().st_size for file in files}
                self.assertEqual({options["size"]}, sizes, options)
                self.assertEqual(files[1].read_bytes(), files[0].read_bytes())
                if options.get("preallocation") in ("falloc", "full"):
                    self.assertGreaterEqual(files[0].stat().st_blocks * 512, options["size"])
            elif name == "open.img":
                self.assertIn("No errors", run("qemu-img", "check", "-U", files[0]).stdout)
            elif not firn_test.against_peer():
                self.assertFalse(files[0].exists(), f"{options} left a file")

    def test_a_file_that_a_node_has_open_is_not_overwritten(self):
        """QEMU overwrites it where the node keeps no lock."""
        if firn_test.against_peer():
            self.skipTest("Firn alone")
        path = self.ours.folder / "layer.img"
        path.write_bytes(b"x" * MIB)
        self.ours.qmp.execute("blockdev-add", {"driver": "file", "node-name": "layer",
                                               "read-only": True, "filename": str(path)})
        self.ours.qmp.execute("blockdev-create", {
            "job-id": "j", "options": {"driver": "file", "filename": "layer.img", "size": 512}})
        self.ours.wait_for_status("j", "concluded")
        info, = self.ours.qmp.execute("query-jobs")
        self.assertEqual("Could not create 'layer.img': node 'layer' has this file open",
                         info["error"])
        self.assertEqual(b"x" * MIB, path.read_bytes())

    def test_images(self):
        for side in self.sides:
            for name in ("base.img", "busy.img"):
                (side.folder / name).write_bytes(b"x" * MIB)
            side.qmp.execute("blockdev-add", {"driver": "file", "node-name": "ro", "read-only": True,
                                              "filename": "base.img"})
        for number, (options, made) in enumerate(IMAGES):
            # QEMU preallocates only in files that grow by it.
            old = b"x" * (MIB if "preallocation" not in options else 65536)
            for side in self.sides:
                (side.folder / f"{number}.img").write_bytes(old)
                side.qmp.execute("blockdev-add", {"driver": "file", "node-name": "n",
                                                  "filename": f"{number}.img"})
            ours, theirs = self.create_both({"driver": "qcow2", "file": "n", **options}, made)
            self.assertEqual(theirs, ours, options)
            facts = []
            for side in self.sides:
                side.qmp.execute("blockdev-del", {"node-name": "n"})
                path = side.folder / f"{number}.img"
                if not made:
                    self.assertEqual(old, path.read_bytes(), f"{options}: its content is gone")
                    continue
                self.assertIn("No errors", run("qemu-img", "check", "-f", "qcow2", path).stdout)
                info = run_json("qemu-img", "info", "-U", "-f", "qcow2", "--output=json", path)
                facts.append({key: str(value).replace(str(side.folder), "")
                              for key, value in info.items() if key != "actual-size"})
            self.assertEqual(facts[1:], facts[:1], options)
        for file, text in (("nope", "Cannot find device='nope' nor node-name='nope'"),
                           ("ro", "Block node is read-only"),
                           ({"driver": "file", "filename": "nope.img"}, None),
                           ({"driver": "file", "filename": "busy.img"}, "")):
            ours, theirs = self.create_both({"driver": "qcow2", "file": file, "size": MIB},
                                            text == "")
            self.assertEqual("" if text is None else text, "" if text is None
                             else theirs.get("error", ""))
            self.assertEqual(theirs["error"].replace("nope.img", "") if "error" in theirs else None,
                             ours["error"].replace(f"{self.ours.folder}/nope.img", "").replace(
                                 "nope.img", "") if "error" in ours else None)
        # The node that was opened for the image is gone again.
        for side in self.sides:
            nodes = {node["node-name"] for node in side.qmp.execute("query-named-block-nodes")}
            self.assertEqual({"ro"}, nodes - {name for name in nodes if name.startswith("#")})

    def test_an_image_in_use_is_not_laid_out_anew(self):
        for side in self.sides:
            run("qemu-img", "create", "-q", "-f", "qcow2", side.folder / "a.qcow2", "1M")
            side.qmp.execute("blockdev-add", {"driver": "file", "node-name": "f",
                                              "filename": "a.qcow2"})
            side.qmp.execute("blockdev-add", {"driver": "qcow2", "node-name": "q", "file": "f"})
        ours, theirs = self.create_both({"driver": "qcow2", "file": "f", "size": MIB}, False)
        for info in (ours, theirs):
            self.assertRegex(info["error"], "^Permission conflict on node 'f': permissions 'write, "
                                            "resize' are both required by .* and unshared by node "
                                            r"'q' \(uses node 'f' as 'file' child\)\.$")
        run("qemu-img", "check", "-U", self.ours.folder / "a.qcow2")

    def test_what_is_refused_before_there_is_a_job(self):
        for arguments in REFUSED:
            self.assertIn("desc", self.ask_both("blockdev-create", arguments))
        self.assertEqual([], self.ask_both("query-jobs"))
        self.assertEqual([], self.ask_both("query-block-jobs"))

    def test_verbs_of_a_concluded_job(self):
        options = {"driver": "file", "filename": "a.img", "size": 512}
        for side in self.sides:
            side.qmp.execute("blockdev-create", {"job-id": "j", "options": options})
            side.wait_for_status("j", "concluded")
        self.ask_both("blockdev-create", {"job-id": "j", "options": options})
        for verb in ("pause", "resume", "cancel", "complete", "finalize"):
            self.assertIn("desc", self.ask_both(f"job-{verb}", {"id": "j"}))
            self.assertIn("desc", self.ask_both(f"job-{verb}", {"id": "nope"}))
        for verb in ("pause", "resume", "cancel", "complete", "set-speed"):
            more = {"speed": 1} if verb == "set-speed" else {}
            self.assertIn("desc", self.ask_both(f"block-job-{verb}", {"device": "j", **more}))
        for verb in ("dismiss", "finalize"):
            self.assertIn("desc", self.ask_both(f"block-job-{verb}", {"id": "j"}))
        self.assertEqual([], self.ask_both("query-block-jobs"))
        self.assertEqual({}, self.ask_both("job-dismiss", {"id": "j"}))
        self.assertIn("desc", self.ask_both("job-dismiss", {"id": "j"}))

    def test_many_jobs_are_listed_newest_first(self):
        for number in range(20):
            options = {"driver": "file", "filename": f"{number}.img", "size": 512}
            for side in self.sides:
                side.qmp.execute("blockdev-create", {"job-id": f"j{number}", "options": options})
        for side in self.sides:
            for number in range(20):
                side.wait_for_status(f"j{number}", "concluded")
        self.assertEqual([f"j{n}" for n in reversed(range(20))],
                         [job["id"] for job in self.ask_both("query-jobs")])

    def commit_both(self, steps, **arguments):
        """A chain of three on both sides, a commit, and `steps`: commands, and states to wait for.
        The events of both, which agree."""
        told = []
        for side in self.sides:
            below = None
            for name in ("base", "mid", "top"):
                shutil.copy(self.folder / f"{name}.qcow2", side.folder)
                side.qmp.execute("blockdev-add", {
                    "driver": "qcow2", "node-name": name, **({"backing": below} if below else {}),
                    "file": {"driver": "file", "filename": f"{name}.qcow2"}})
                below = name
            side.events()
            side.qmp.execute("block-commit", {"job-id": "j", "device": "top", "base-node": "base",
                                              **arguments})
            for step in steps:
                if isinstance(step, str):
                    side.wait_for_status("j", None if step == "gone" else step)
                else:
                    side.qmp.execute(*step)
            told.append(side.events())
            for name in ("top", "mid", "base"):
                try:
                    side.qmp.execute("blockdev-del", {"node-name": name})
                except QmpError:
                    pass  # left with its chain
        ours, theirs = told
        for events in told:
            for name, data in events:
                for key in ("len", "offset"):
                    data.pop(key, None)
        self.assertEqual(theirs, ours, f"{arguments} {steps}")
        return names(ours)

    def test_a_commits_events(self):
        """Each way through the life of a job."""
        below = None
        for name in ("base", "mid", "top"):
            more = ["-b", f"{below}.qcow2", "-F", "qcow2"] if below else []
            path = self.folder / f"{name}.qcow2"
            run("qemu-img", "create", "-q", "-f", "qcow2", *more, path, "2M", cwd=self.folder)
            run("qemu-io", "-c", "write -P 7 0 1M", path)
            below = name
        job = {"id": "j"}
        device = {"device": "j"}
        plain = self.commit_both(["gone"], **{"top-node": "mid"})
        self.assertEqual(["created", "running", "waiting", "pending", "BLOCK_JOB_COMPLETED",
                          "concluded", "null"], plain)
        self.commit_both(["concluded", ("job-dismiss", job)],
                         **{"top-node": "mid", "auto-dismiss": False})
        self.commit_both(["pending", ("job-finalize", job)],
                         **{"top-node": "mid", "auto-finalize": False})
        self.commit_both(["pending", ("job-cancel", job), "gone"],
                         **{"top-node": "mid", "auto-finalize": False})
        self.commit_both([("job-pause", job), "paused", ("job-resume", job),
                          ("block-job-set-speed", {**device, "speed": 0}), "gone"],
                         **{"top-node": "mid", "speed": 1024})
        self.commit_both([("job-cancel", job), "gone"], **{"top-node": "mid", "speed": 1024})
        self.commit_both([("block-job-cancel", device), "gone"],
                         **{"top-node": "mid", "speed": 1024})
        self.commit_both([("job-pause", job), "paused", ("job-cancel", job), "gone"],
                         **{"top-node": "mid", "speed": 1024})
        head = self.commit_both(["ready", ("job-complete", job), "gone"])
        self.assertEqual(["created", "running", "ready", "BLOCK_JOB_READY", "waiting", "pending",
                          "BLOCK_JOB_COMPLETED", "concluded", "null"], head)
        self.commit_both(["ready", ("block-job-cancel", device), "gone"])
        self.commit_both(["ready", ("block-job-cancel", {**device, "force": True}), "gone"])
        self.commit_both(["ready", ("job-cancel", job), "gone"])
        self.commit_both(["ready", ("job-pause", job), "standby", ("job-complete", job),
                          ("job-resume", job), "gone"])
        self.commit_both(["ready", ("job-complete", job), "pending", ("block-job-finalize", job),
                          "concluded", ("block-job-dismiss", job)],
                         **{"auto-finalize": False, "auto-dismiss": False})

    @firn_test.firn_only("jobs that are not dismissed")
    def test_the_daemon_ends_with_jobs_on_its_list(self):
        options = {"driver": "file", "filename": "a.img", "size": 512}
        self.ours.qmp.execute("blockdev-create", {"job-id": "j", "options": options})
        self.ours.wait_for_status("j", "concluded")
        self.ours.daemon.stop()


if __name__ == "__main__":
    firn_test.main()

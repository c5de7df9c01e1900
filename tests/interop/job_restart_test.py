#!/usr/bin/env python3
"""Jobs that a daemon with --state was doing when it ended go on with the next one."""

import random
import signal
import time

import firn_test
from firn_test import MIB, Qmp, needs, run, run_json

KIB = 1024
WAIT_S = 20


@needs("qemu-img", "qemu-io")
class JobRestartTest(firn_test.Case):
    """base <- mid <- top, each with a part of its own; top is the head of vda."""

    def setUp(self):
        super().setUp()
        if firn_test.against_peer():
            self.skipTest("Firn alone")
        self.state = self.folder / "state"
        self.image("base.qcow2", size="16M")
        self.image("mid.qcow2", size="16M", backing=self.folder / "base.qcow2")
        self.image("top.qcow2", size="16M", backing=self.folder / "mid.qcow2")
        for number, name in enumerate(("base", "mid", "top")):
            run("qemu-io", "-c", f"write -P {number + 1} {number * 2}M 8M",
                self.folder / f"{name}.qcow2")
        run("qemu-img", "convert", "-O", "raw", self.folder / "top.qcow2",
            self.folder / "expected.raw")

    def begin(self):
        arguments = ["--state", self.state]
        below = None
        for name in ("base", "mid", "top"):
            text = (f"qcow2,node-name={name},file.driver=file,"
                    f"file.filename={self.folder}/{name}.qcow2")
            arguments += ["--blockdev", text + (f",backing={below}" if below else "")]
            below = name
        arguments += ["--device", "id=vda,node-name=top",
                      "--export", "nbd,id=e,node-name=vda,name=e,writable=on"]
        self.daemon = self.start(*arguments)
        self.qmp_path = self.daemon.qmp_path
        return self.daemon.qmp

    def again(self):
        """A daemon from nothing but the state; its monitor and its server come back too."""
        nbd_path = self.daemon.nbd_path
        self.daemon = self.start("--state", self.state, nbd=False, qmp=False)
        self.daemon.nbd_path = nbd_path
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                self.daemon._qmp = Qmp(self.qmp_path)
                return self.daemon.qmp
            except OSError:
                if time.monotonic() > deadline or not self.daemon.is_running():
                    raise AssertionError(self.daemon.log()) from None
                time.sleep(0.01)

    def wait_for(self, qmp, job, status):
        deadline = time.monotonic() + WAIT_S
        while True:
            jobs = {info["id"]: info["status"] for info in qmp.execute("query-jobs")}
            if jobs.get(job) == status:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{job} should be {status}: {jobs}\n{self.daemon.log()}")
            time.sleep(0.01)

    def chain(self, qmp):
        image = qmp.execute("query-block")[0]["inserted"]["image"]
        names = []
        while image:
            names.append(image["filename"].rsplit("/", 1)[1].split(".")[0])
            image = image.get("backing-image")
        return names

    def check_content(self):
        """The disk reads as it did, through the daemon and, after its end, from the files."""
        run("qemu-img", "compare", "-f", "raw", "-F", "raw", self.folder / "expected.raw",
            self.daemon.uri("e"))

    def commit_mid(self, qmp, **more):
        qmp.execute("block-commit", {"job-id": "c", "device": "vda", "top-node": "mid",
                                     "base-node": "base", **more})

    def test_a_paused_job_comes_back_paused_with_its_speed(self):
        qmp = self.begin()
        self.commit_mid(qmp, speed=64 * KIB)
        qmp.execute("job-pause", id="c")
        self.wait_for(qmp, "c", "paused")
        qmp.execute("block-job-set-speed", device="c", speed=128 * KIB)
        self.daemon.kill()
        qmp = self.again()
        self.wait_for(qmp, "c", "paused")
        info, = qmp.execute("query-block-jobs")
        self.assertEqual(("c", "commit", 128 * KIB, True),
                         (info["device"], info["type"], info["speed"], info["paused"]))
        self.assertEqual(["top", "mid", "base"], self.chain(qmp))
        self.check_content()
        qmp.execute("block-job-set-speed", device="c", speed=0)
        qmp.execute("job-resume", id="c")
        self.wait_for(qmp, "c", None)
        self.assertEqual(["top", "base"], self.chain(qmp))
        self.check_content()
        # And it is over for good.
        self.daemon.kill()
        qmp = self.again()
        self.assertEqual([], qmp.execute("query-jobs"))
        self.assertNotIn("job", self.daemon.log())
        self.assertEqual(["top", "base"], self.chain(qmp))
        self.check_content()

    def test_an_orderly_end_keeps_the_job(self):
        qmp = self.begin()
        self.commit_mid(qmp, speed=64 * KIB)
        self.daemon.stop(signal.SIGTERM)
        qmp = self.again()
        self.wait_for(qmp, "c", "running")
        qmp.execute("block-job-set-speed", device="c", speed=0)
        self.wait_for(qmp, "c", None)
        self.assertEqual(["top", "base"], self.chain(qmp))
        self.check_content()

    def test_a_cancelled_job_does_not_come_back(self):
        qmp = self.begin()
        self.commit_mid(qmp, speed=64 * KIB)
        qmp.execute("job-cancel", id="c")
        self.wait_for(qmp, "c", None)
        qmp.execute("query-version")
        time.sleep(0.2)  # until the state has it
        self.daemon.kill()
        qmp = self.again()
        self.assertEqual([], qmp.execute("query-jobs"))
        self.assertEqual(["top", "mid", "base"], self.chain(qmp))
        self.check_content()

    def test_a_ready_job_gets_ready_again(self):
        qmp = self.begin()
        qmp.execute("block-commit", {"job-id": "c", "device": "vda", "base-node": "base"})
        self.wait_for(qmp, "c", "ready")
        self.daemon.kill()
        qmp = self.again()
        self.wait_for(qmp, "c", "ready")
        self.check_content()
        qmp.execute("job-complete", id="c")
        self.wait_for(qmp, "c", None)
        self.assertEqual(["base"], self.chain(qmp))
        self.check_content()

    def test_layers_that_snapshots_have_sealed(self):
        """The state knows their files by size and time; a commit changes the base's."""
        self.daemon = self.start(
            "--state", self.state, "--blockdev",
            f"qcow2,node-name=s0,file.driver=file,file.filename={self.folder}/base.qcow2",
            "--device", "id=vda,node-name=s0",
            "--export", "nbd,id=e,node-name=vda,name=e,writable=on")
        self.qmp_path = self.daemon.qmp_path
        qmp = self.daemon.qmp
        for number in range(1, 5):
            qmp.execute("blockdev-snapshot-sync",
                        {"device": "vda", "snapshot-node-name": f"s{number}",
                         "snapshot-file": str(self.folder / f"s{number}")})
            run("qemu-io", "-f", "raw", "-c", f"write -P {number} {number}M 4M",
                self.daemon.uri("e"))
        run("qemu-img", "convert", "-f", "raw", "-O", "raw", self.daemon.uri("e"),
            self.folder / "expected.raw")

        def again():
            self.daemon.kill()
            qmp = self.again()
            self.check_content()
            return qmp

        def commit(qmp, **arguments):
            qmp.execute("block-commit", {"job-id": "c", "device": "vda", "base-node": "s0",
                                         **arguments})

        commit(qmp, **{"top-node": "s1", "speed": MIB})
        time.sleep(0.5)
        qmp = again()  # amidst it
        qmp.execute("block-job-set-speed", device="c", speed=0)
        self.wait_for(qmp, "c", None)
        qmp = again()  # after it
        self.assertEqual(["s4", "s3", "s2", "base"], self.chain(qmp))
        commit(qmp, **{"top-node": "s2", "speed": MIB})
        time.sleep(0.5)
        qmp.execute("job-cancel", id="c")
        self.wait_for(qmp, "c", None)
        qmp = again()  # after one that came to nothing
        commit(qmp)
        self.wait_for(qmp, "c", "ready")
        qmp = again()
        self.wait_for(qmp, "c", "ready")
        qmp.execute("job-complete", id="c")
        self.wait_for(qmp, "c", None)
        qmp = again()
        self.assertEqual(["base"], self.chain(qmp))

    def test_kills_at_any_moment(self):
        seed = random.randrange(1 << 32)
        draw = random.Random(seed)
        qmp = self.begin()
        self.commit_mid(qmp, speed=4 * MIB)
        for _ in range(8):
            time.sleep(draw.random() * 0.3)
            self.daemon.kill()
            qmp = self.again()
            self.check_content()
        deadline = time.monotonic() + WAIT_S
        while qmp.execute("query-jobs"):
            self.assertLess(time.monotonic(), deadline, f"seed {seed}")
            time.sleep(0.02)
        self.assertEqual(["top", "base"], self.chain(qmp), f"seed {seed}")
        self.check_content()
        self.daemon.stop()
        for name in ("base", "top"):
            check = run_json("qemu-img", "check", "--output=json", self.folder / f"{name}.qcow2")
            self.assertNotIn("corruptions", check)
        run("qemu-img", "compare", self.folder / "expected.raw", self.folder / "top.qcow2")


if __name__ == "__main__":
    firn_test.main()

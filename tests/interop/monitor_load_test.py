#!/usr/bin/env python3
"""A monitor with a thousand clients, some of which do wrong: one hundred that ask much and read
nothing, and one that sends 64 MiB without a newline, byte by byte.

What fails a test is an answer that does not come, and memory beyond what docs/monitor.md allows. How
long the others' answers take is printed, as a ratio to a daemon without all this; it fails only if
it is past all reason, since machines under test have other things to do. For the figure:

    FIRN_LOAD_MEASURE=1 tests/interop/monitor_load_test.py MonitorLoadTest.test_a_thousand_clients
"""

import json
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import time

import firn_test
from firn_test import MIB, Qmp, firn_only

# Under AddressSanitizer freed memory is kept for a while: no more of it than does not matter here.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8"

MEASURE = "FIRN_LOAD_MEASURE" in os.environ
CLIENTS = 1000
DEAF = 100
DEAF_REQUESTS = 8
ENDLESS_BYTES = 64 * MIB
# Sent one by one; the rest in larger pieces, unless it is to be measured.
SINGLE_BYTES = ENDLESS_BYTES if MEASURE else MIB
SAMPLES = 2000 if MEASURE else 300
BUDGET = 256 * MIB
# A request of 64 MiB, while it becomes a value.
WHILE_PARSING = 320 * MIB
PER_CLIENT = 32 << 10
RATIO_PAST_ALL_REASON = 50

# A process of its own, so that what it sends does not slow the measuring down.
ENDLESS_CLIENT = """
import socket, sys
path, single, total = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
client = socket.socket(socket.AF_UNIX)
client.connect(path)
client.recv(65536)
client.sendall(b'{"execute": "qmp_capabilities"}')
client.recv(65536)
client.sendall(b'"')
print("begun", flush=True)
for _ in range(single):
    client.send(b"a")
sent = single
while sent < total:
    client.sendall(b"a" * min(65536, total - sent))
    sent += 65536
print(client.recv(65536).decode(), flush=True)
"""


class MonitorLoadTest(firn_test.Case):
    def setUp(self):
        super().setUp()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < CLIENTS + 200:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * CLIENTS), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))

    def start_daemon(self, **keywords):
        self.daemon = self.start(nbd=False, **keywords)
        return self.daemon

    def memory(self, field):
        with open(f"/proc/{self.daemon.process.pid}/status", encoding="ascii") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) << 10
        raise AssertionError(field)

    def latencies(self, client, count):
        taken = []
        for _ in range(count):
            begun = time.perf_counter()
            client.execute("query-version")
            taken.append(time.perf_counter() - begun)
        return taken

    @staticmethod
    def summary(taken):
        taken = sorted(taken)
        return statistics.median(taken), taken[int(len(taken) * 0.99)]

    @firn_only("it serves many clients at once")
    def test_a_thousand_clients(self):
        daemon = self.start_daemon()
        probe = Qmp(daemon.qmp_path)
        self.latencies(probe, 50)
        before = self.summary(self.latencies(probe, SAMPLES))
        at_start = self.memory("VmRSS")

        clients = [Qmp(daemon.qmp_path) for _ in range(CLIENTS)]
        idle = self.memory("VmRSS") - at_start
        self.assertLess(idle, CLIENTS * PER_CLIENT, "of clients that only wait")
        deaf, others = clients[:DEAF], clients[DEAF:]
        for number in range(DEAF_REQUESTS):
            for client in deaf:
                client.send_command("query-qmp-schema", {})
        # Every other client is served meanwhile, until those who do not read are not answered further.
        for client in others:
            client.send_command("query-version", {})
        for client in others:
            self.assertIn("return", client.read_reply())
        self.wait_until_idle()
        endless = subprocess.Popen(
            [sys.executable, "-c", ENDLESS_CLIENT, str(daemon.qmp_path), str(SINGLE_BYTES),
             str(ENDLESS_BYTES + 1)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(endless.wait)
        self.addCleanup(endless.kill)
        self.assertEqual("begun\n", endless.stdout.readline())

        during = self.summary(self.latencies(probe, SAMPLES))
        error = json.loads(endless.stdout.readline())
        self.assertEqual("JSON token size limit exceeded", error["error"]["desc"])
        self.assertEqual(0, endless.wait(60))

        held = self.memory("VmRSS") - at_start
        peak = self.memory("VmHWM") - at_start
        self.assertLess(peak, BUDGET + WHILE_PARSING)
        self.read_all(deaf[:10])
        for client in clients:
            client.close()
        self.latencies(probe, 10)
        print(f"\n{CLIENTS} clients: {idle // CLIENTS} bytes each while they wait; "
              f"{held >> 20} MiB held with {DEAF} that do not read, {peak >> 20} MiB at most")
        for name, one, two in zip(("median", "99 %"), before, during):
            print(f"  latency, {name}: {one * 1e6:.0f} us alone, {two * 1e6:.0f} us with all of "
                  f"them: {two / one:.2f} times")
        self.assertLess(during[0] / before[0], RATIO_PAST_ALL_REASON)
        probe.close()
        daemon.stop()

    def processor_ticks(self):
        with open(f"/proc/{self.daemon.process.pid}/stat", encoding="ascii") as stat:
            fields = stat.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def wait_until_idle(self):
        before = -1
        while before != self.processor_ticks():
            before = self.processor_ticks()
            time.sleep(0.1)

    def read_all(self, clients):
        """Those that did not read do so now, and get what they asked for."""
        for client in clients:
            for _ in range(DEAF_REQUESTS):
                self.assertIsInstance(client.read_reply()["return"], list)

    @firn_only("it bounds all clients' memory together")
    def test_memory_of_all_together(self):
        daemon = self.start_daemon()
        probe = Qmp(daemon.qmp_path)
        at_start = self.memory("VmRSS")
        greedy = [Qmp(daemon.qmp_path) for _ in range(8)]
        sizes = [60 * MIB - 4 * MIB * number for number in range(len(greedy))]
        dropped = []
        for client, size in zip(greedy, sizes):
            client.socket.settimeout(60)
            try:
                client.send(b'{"execute": "nope", "id": "')
                for _ in range(size >> 20):
                    client.send(b"x" * MIB)
            except OSError:
                pass
            # What it sent is read by the time that another is answered.
            probe.execute("query-version")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and sum(sizes) > BUDGET:
            ready, _, _ = select.select([c.socket for c in greedy if c not in dropped], [], [], 0.5)
            for client in [c for c in greedy if c.socket in ready]:
                self.assertIn("hold more than 256 MiB", client.read_message()["error"]["desc"])
                dropped.append(client)
            if not ready:
                break
        self.assertGreater(len(dropped), 0)
        self.assertLess(sum(s for c, s in zip(greedy, sizes) if c not in dropped), BUDGET + MIB)
        self.assertIn(greedy[0], dropped, "the greatest goes first")
        self.assertLess(self.memory("VmHWM") - at_start, BUDGET + 128 * MIB)
        survivor = greedy[-1]
        survivor.send(b'"}')
        self.assertEqual("CommandNotFound", survivor.read_reply()["error"]["class"])
        for client in greedy:
            client.close()
        probe.execute("query-version")
        probe.close()
        print(f"\n{len(greedy)} clients with {sum(sizes) >> 20} MiB: {len(dropped)} dropped, "
              f"{(self.memory('VmHWM') - at_start) >> 20} MiB at most")
        daemon.stop()

    @firn_only("it serves many clients at once")
    def test_more_clients_than_it_takes(self):
        daemon = self.start_daemon(wrapper=("prlimit", "--nofile=256:256"))
        clients = []
        refused = None
        while refused is None:
            client = socket.socket(socket.AF_UNIX)
            client.settimeout(20)
            client.connect(str(daemon.qmp_path))
            clients.append(client)
            text = b""
            while b"\n" not in text:
                text += client.recv(65536)
            if len(clients) > 100:
                try:
                    client.sendall(b'{"execute": "qmp_capabilities"}')
                except BrokenPipeError:  # the daemon has said all that it has to say
                    pass
                text += client.recv(65536)
                if b"error" in text:
                    refused = text
            self.assertLess(len(clients), 200)
        messages = [json.loads(line) for line in refused.splitlines()]
        self.assertIn("QMP", messages[0])
        self.assertIn("This monitor has 128 clients and takes no more",
                      messages[1]["error"]["desc"])
        clients.pop(0).close()
        with self.wait_for_place(daemon) as client:
            self.assertIn("qemu", client.execute("query-version"))
        for client in clients:
            client.close()
        self.assertEqual(1, daemon.log().count("is refused"), daemon.log())
        daemon.stop()

    @staticmethod
    def wait_for_place(daemon):
        deadline = time.monotonic() + 20
        while True:
            try:
                return Qmp(daemon.qmp_path)
            except (firn_test.QmpError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


if __name__ == "__main__":
    firn_test.main()

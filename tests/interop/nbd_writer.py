"""A client of an NBD export that writes all the time, for tests of what happens meanwhile."""

import threading

from firn_test import Nbd

BLOCK = 4096


class NbdWriter:
    """Writes block after block, each filled with its number, and counts what is acknowledged."""

    def __init__(self, daemon, size, export="vda"):
        self.written = 0
        self._count = size // BLOCK
        self._end = False
        self._failure = None
        self._grew = threading.Condition()
        self._nbd = Nbd(daemon.nbd_path)
        self._nbd.go(export)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @staticmethod
    def reads(count):
        """qemu-io's commands that check the first `count` blocks."""
        return [f"read -q -P {n % 255 + 1} {n * BLOCK} {BLOCK}" for n in range(count)]

    def _run(self):
        try:
            while not self._end and self.written < self._count:
                self._nbd.write(self.written * BLOCK, bytes([self.written % 255 + 1]) * BLOCK)
                with self._grew:
                    self.written += 1
                    self._grew.notify_all()
        except Exception as error:  # told by wait_for and stop
            self._failure = error

    def wait_for(self, count):
        """Waits until so many blocks, as far as they exist, are acknowledged."""
        with self._grew:
            if not self._grew.wait_for(lambda: self.written >= min(count, self._count), timeout=60):
                raise AssertionError(f"{self.written} of {count} writes: {self._failure}")

    def stop(self):
        """Flushes and disconnects. What failed in the background fails here."""
        self._end = True
        self._thread.join()
        if self._failure:
            raise self._failure
        self._nbd.request(Nbd.FLUSH)
        self._nbd.simple_reply()
        self._nbd.close()

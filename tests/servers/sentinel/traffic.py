"""Reads and writes without end on hot keys, and what became of them."""

import threading
import time

KEYS = tuple(f"hot {number}" for number in range(10))
STEADY = tuple(f"steady {number}" for number in range(5))
"""Read all the time, and never written again: reads of them must find them, whatever happens."""


class Traffic:
    """One thread writes versions of the hot keys through `writer`, one reads them through each of `readers`."""

    def __init__(self, writer, *readers):
        self._writer, self._readers = writer, readers
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._write, daemon=True)]
        self._threads += [threading.Thread(target=self._read, args=(reader,), daemon=True) for reader in readers]
        self.acknowledged = dict.fromkeys(KEYS, 0)
        """The latest version of each key that the server has taken."""
        self.written_at = 0.0
        """When the last write was taken."""
        self.reads = 0
        self.failed = []
        """Reads that raised, or found nothing where nothing was written meanwhile: a write that is in doubt after an
        outage is replayed as a delete."""
        self.back = []
        """When a reader saw an older version than before, and of which key."""

    def __enter__(self):
        for key in KEYS:
            self._writer.set(key, 0, ttl=None)
        for key in STEADY:
            self._writer.set(key, key, ttl=None)
        for reader in self._readers:
            reader.get_many(STEADY)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def lost(self, cache):
        """Return the keys of which the deployment has an older version than it acknowledged; nobody may be writing."""
        return [key for key in KEYS if (cache.get(key) or 0) < self.acknowledged[key]]

    def _write(self):
        version = 0
        while not self._ending.wait(0.003):
            version += 1
            key = KEYS[version % len(KEYS)]
            errors = self._writer.stats().remote_errors
            self._writer.set(key, version, ttl=None)
            if self._writer.stats().remote_errors == errors:
                self.acknowledged[key] = version
                self.written_at = time.monotonic()

    def _read(self, cache):
        seen = dict.fromkeys(KEYS, 0)
        while not self._ending.wait(0.0005):
            for key in KEYS:
                self.reads += 1
                try:
                    version = cache.get(key)
                except Exception as error:  # noqa: BLE001 - that it raises is what is counted
                    self.failed.append(repr(error))
                    continue
                if version is None:
                    continue
                if version < seen[key]:
                    self.back.append((time.monotonic(), key, seen[key], version))
                seen[key] = version
            for key in STEADY:
                self.reads += 1
                try:
                    if cache.get(key) != key:
                        self.failed.append(key)
                except Exception as error:  # noqa: BLE001 - as above
                    self.failed.append(repr(error))

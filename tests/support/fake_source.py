"""Sources to write to, and whether a cache agrees with one."""

import asyncio
import threading


class FakeSource:
    """A table in memory that remembers what it was asked; `before` is called first, and may raise."""

    def __init__(self):
        self.rows, self.asked = {}, []
        self.before = lambda: None
        self._lock = threading.Lock()

    def write(self, values):
        """Put rows."""
        self.before()
        with self._lock:
            self.asked.append(("write", dict(values)))
            self.rows.update(values)

    def delete(self, keys):
        """Remove rows."""
        self.before()
        with self._lock:
            self.asked.append(("delete", list(keys)))
            for key in keys:
                self.rows.pop(key, None)


class OffTheLoop:
    """A writer whose methods are coroutines, and run those of another on a thread, where they may block."""

    def __init__(self, writer):
        self._writer = writer

    async def write(self, values):
        """Put rows."""
        await asyncio.to_thread(self._writer.write, values)

    async def delete(self, keys):
        """Remove rows."""
        await asyncio.to_thread(self._writer.delete, keys)


def contradictions(cache, source, keys):
    """Return the keys of which the cache has something else than the source."""
    found = cache.get_many(keys)
    return [key for key, value in found.items() if source.rows.get(key, None) != value]

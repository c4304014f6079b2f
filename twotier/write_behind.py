"""`WriteBehind`: a write returns once the cache and a stream on the server have it, and reaches the source later."""

from __future__ import annotations

import inspect
import logging
import threading
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

from twotier.cache import Cache
from twotier.core.flow.drive import drive
from twotier.core.namespace.process_bound import ProcessBound
from twotier.core.write_behind.calls import WriteBehindCalls
from twotier.errors import ConfigurationError, TwoTierError
from twotier.fork import reset_on_fork
from twotier.options import DEFAULT_TTL, Ttl
from twotier.worker import start_later, start_thread

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from twotier.core.flow.drive import Flow
    from twotier.core.write_behind.drainers import Drainers
    from twotier.core.write_behind.reports import DeadLetter, WriteBehindStats
    from twotier.core.write_behind.settings import WriteBehindOptions, WriteBehindOptionsDict
    from twotier.writer import Writer

R = TypeVar("R")

_PATIENCE: Final = 10.0
"""Seconds that `close` waits for a call of the writer to end."""
_AFTER_A_FAULT: Final = 1.0
"""Seconds until draining goes on after an unexpected error."""

_log = logging.getLogger("twotier")


class WriteBehind(ProcessBound):
    """Writes to a cache at once, and to its source by way of a stream on the server, in batches. Threads may share it.

    A write is in the cache and in the stream, both or neither, when the call returns. Of all processes that have a
    `WriteBehind` on one namespace, one at a time drains the stream, on threads of its own: it calls `writer` with
    batches that hold each key once, with its last value; retries failed writes; and moves writes that fail too often
    to the dead letters. Every write reaches the writer at least once, and the writes of one key in their order, as
    long as the server keeps its data. When the draining process is killed, another takes over within `drain_lease`.
    In a cluster there are several streams, each drained by one process; docs/patterns.md lists the other differences.

    `cache`: a `Cache` with a remote tier, a `secret` (or `trust_server=True` here), and no writer of its own. `writer`:
    see `Writer`; its methods should have deadlines of their own. `options`: a `WriteBehindOptions`, or its fields as
    keyword arguments. Close it before the cache.

    >>> from twotier import Cache, WriteBehind
    >>> class Table:
    ...     def __init__(self):
    ...         self.rows = {}
    ...     def write(self, values):
    ...         self.rows.update(values)
    ...     def delete(self, keys):
    ...         for key in keys:
    ...             self.rows.pop(key, None)
    >>> table = Table()
    >>> with Cache("embedded://") as cache, WriteBehind(cache, table, trust_server=True) as behind:
    ...     behind.set("answer", 42)
    ...     behind.flush(10)
    ...     cache.get("answer"), table.rows
    (42, {'answer': 42})
    """

    def __init__(
        self,
        cache: Cache,
        writer: Writer,
        options: WriteBehindOptions | None = None,
        **settings: Unpack[WriteBehindOptionsDict],
    ) -> None:
        if not isinstance(cache, Cache):
            raise TypeError(f"cache must be a twotier.Cache, got {type(cache).__qualname__}")
        if any(inspect.iscoroutinefunction(getattr(writer, name, None)) for name in ("write", "delete")):
            raise ConfigurationError(
                f"writer must have synchronous methods here, as it is called by a thread, got {writer!r}"
            )
        self._calls = WriteBehindCalls(cache._calls, writer, options, settings)  # noqa: SLF001 - a face beside the other
        self._namespace = self._calls.namespace
        self.options = self._calls.options
        self._closed = False
        self._reset()
        reset_on_fork(self)
        self.start()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._drainer: threading.Thread | None = None
        self._stop, self._ended, self._wake = threading.Event(), threading.Event(), threading.Event()

    def after_fork(self) -> None:
        """In a forked child: draining starts when the child first uses the object."""
        self._calls.after_fork()
        self._reset()

    def start(self) -> None:
        """Let this process drain when no other does; done when it is made, and in a forked child on first use."""
        if self._drainer is not None or not self.options.drain:
            return
        with self._lock:
            if self._drainer is None and not self._closed:
                drainers, self._ended = self._calls.new_drainers(), threading.Event()
                # Nothing is drained without the thread that renews the lease.
                if start_thread(self._keep, "twotier-write-behind-lease", drainers, self._ended) is not None:
                    self._drainer = start_thread(self._drain, "twotier-write-behind", drainers)
                if self._drainer is None:
                    self._ended.set()
                    start_later(self)

    def set(self, key: str, value: Any, ttl: Ttl = DEFAULT_TTL, tags: Iterable[str] = ()) -> None:
        """Put `value` for `ttl` seconds, with `tags`, and have it written to the source.

        With a ttl of 0 it goes to the source alone. Raises SerializationError for a value the codec can't encode,
        BacklogFull when too much is waiting already, and RemoteError while the server doesn't answer: then nothing was
        written, or (RemoteTimeout, RemoteUnavailable) it isn't known whether both the cache and the stream have it, or
        neither. TooFewReplicas (`too_few_replicas="raise"`) is of a write that was done.
        """
        self._write(self._calls.set(key, value, ttl, tags))

    def set_many(self, values: Mapping[str, Any], ttl: Ttl = DEFAULT_TTL, tags: Iterable[str] = ()) -> None:
        """Put every value of a mapping; as `set`. Up to 500 keys are one transaction."""
        self._write(self._calls.set_many(values, ttl, tags))

    def delete(self, key: str) -> bool:
        """Remove `key`, and have it deleted at the source; return True if the cache had it. Raises as `set`."""
        return self._write(self._calls.delete(key))

    def delete_many(self, keys: Iterable[str]) -> int:
        """Remove `keys`, and have them deleted at the source; return how many the cache had. Raises as `set`."""
        return self._write(self._calls.delete_many(keys))

    def flush(self, timeout: float | None = None) -> None:
        """Wait until the source has all that was written before, by any process; dead letters are not waited for.

        Raises TimeoutError after `timeout` seconds, RemoteError when the server doesn't answer, and WritesLost, once,
        when the server has lost writes that it had acknowledged to this process.
        """
        self._write(self._calls.flush(timeout))

    def stats(self) -> WriteBehindStats:
        """Return how far the source is behind, and the counts of this process."""
        return self._run(self._calls.stats())

    def dead_letters(self, count: int = 100) -> list[DeadLetter]:
        """Return the oldest `count` writes that the source didn't take. Raises RemoteError."""
        return self._run(self._calls.dead_letters(count))

    def retry_dead_letters(self) -> None:
        """Retry each dead letter once, in the draining process, after all earlier writes.

        One whose key was written since is dropped; one that fails again stays. `flush` waits for it. Raises
        RemoteError.
        """
        self._write(self._calls.queue.retry_dead_letters())

    def discard_dead_letters(self, letters: Iterable[DeadLetter]) -> int:
        """Forget writes that the source will never take; return how many were still there. Raises RemoteError."""
        return self._run(self._calls.queue.discard_dead_letters(letters))

    def close(self) -> None:
        """Stop draining here, after the current call of the writer; waiting writes stay on the server."""
        with self._lock:
            self._closed = True
            drainer = self._drainer
        self._stop.set()
        self._wake.set()
        if drainer is not None and drainer is not threading.current_thread():
            drainer.join(_PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<twotier.WriteBehind of {self._namespace.options.namespace!r} on {self._namespace.label}>"

    def _write(self, flow: Flow[R]) -> R:
        if self._closed:
            raise TwoTierError("the write-behind is closed; make a new one")
        self.start()
        result = self._run(flow)
        if self._calls.drainers.hurried:
            self._wake.set()
        return result

    def _run(self, flow: Flow[R]) -> R:
        return drive(flow, self._namespace.executor, self._namespace.background)

    def _drain(self, drainers: Drainers) -> None:
        stop, wake = self._stop, self._wake
        try:
            while not stop.is_set() and not self._namespace.closed:
                try:
                    pause = self._run(drainers.step())
                except BaseException:  # noqa: BLE001 - logged whole, on a thread that must go on
                    _log.exception("draining failed; it goes on in a moment")
                    pause = _AFTER_A_FAULT
                if pause and wake.wait(pause):
                    wake.clear()
            self._run(drainers.release())
        finally:
            self._ended.set()

    def _keep(self, drainers: Drainers, ended: threading.Event) -> None:
        """Renew the lease while the other thread drains, however long the writer takes."""
        while not ended.wait(self.options.drain_lease / 3):
            self._run(drainers.renew())

"""`AsyncWriteBehind`: the asynchronous face of a write-behind."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

from twotier.aio import AsyncCache
from twotier.core.flow.async_drive import async_drive
from twotier.core.namespace.process_bound import ProcessBound
from twotier.core.write_behind.calls import WriteBehindCalls
from twotier.errors import TwoTierError
from twotier.fork import reset_on_fork
from twotier.options import DEFAULT_TTL, Ttl

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping
    from types import TracebackType

    from twotier.core.flow.drive import Flow
    from twotier.core.write_behind.reports import DeadLetter, WriteBehindStats
    from twotier.core.write_behind.settings import WriteBehindOptions, WriteBehindOptionsDict
    from twotier.writer import Writer

R = TypeVar("R")

_PATIENCE: Final = 10.0
"""Seconds that `close` waits for a call of the writer to end, before it is cancelled."""
_AFTER_A_FAULT: Final = 1.0
"""Seconds until draining goes on after an unexpected error."""

_log = logging.getLogger("twotier")


class AsyncWriteBehind(ProcessBound):
    """A `WriteBehind` for event loops: the same calls and meanings, awaited.

    `cache`: an `AsyncCache`. `writer`: its methods may be coroutines; plain ones run on the loop's thread, and hold up
    the loop. It drains in two tasks of the loop in which it is first used, `async with` being a use; when that loop is
    closed, in the next one's. A cancelled call of the writer is repeated later, by the process that drains then.

    >>> from twotier import AsyncCache, AsyncWriteBehind
    >>> class Table:
    ...     rows = {}
    ...     async def write(self, values):
    ...         self.rows.update(values)
    ...     async def delete(self, keys):
    ...         for key in keys:
    ...             self.rows.pop(key, None)
    >>> async def main():
    ...     async with (
    ...         AsyncCache("embedded://") as cache,
    ...         AsyncWriteBehind(cache, Table(), trust_server=True) as behind,
    ...     ):
    ...         await behind.set("answer", 42)
    ...         await behind.flush(10)
    ...         return await cache.get("answer"), Table.rows
    >>> asyncio.run(main())
    (42, {'answer': 42})
    """

    def __init__(
        self,
        cache: AsyncCache,
        writer: Writer,
        options: WriteBehindOptions | None = None,
        **settings: Unpack[WriteBehindOptionsDict],
    ) -> None:
        if not isinstance(cache, AsyncCache):
            raise TypeError(f"cache must be a twotier.AsyncCache, got {type(cache).__qualname__}")
        self._calls = WriteBehindCalls(cache._calls, writer, options, settings)  # noqa: SLF001 - a face beside the other
        self._namespace = self._calls.namespace
        self.options = self._calls.options
        self._closed = False
        self._reset()
        reset_on_fork(self)

    def _reset(self) -> None:
        self._draining: _Draining | None = None

    def after_fork(self) -> None:
        """In a forked child: draining starts when the child first uses the object."""
        self._calls.after_fork()
        self._reset()

    def start(self) -> None:
        """Let this process drain, in tasks of the running loop, when no other does; done on first use."""
        if not self.options.drain or self._closed:
            return
        if self._draining is None or self._draining.over:
            self._draining = _Draining(self._calls)

    async def set(self, key: str, value: Any, ttl: Ttl = DEFAULT_TTL, tags: Iterable[str] = ()) -> None:
        """Put `value` for `ttl` seconds, with `tags`, and have it written to the source; see `WriteBehind.set`."""
        await self._write(self._calls.set(key, value, ttl, tags))

    async def set_many(self, values: Mapping[str, Any], ttl: Ttl = DEFAULT_TTL, tags: Iterable[str] = ()) -> None:
        """Put every value of a mapping; as `set`. Up to 500 keys are one transaction."""
        await self._write(self._calls.set_many(values, ttl, tags))

    async def delete(self, key: str) -> bool:
        """Remove `key`, and have it deleted at the source; return True if the cache had it. Raises as `set`."""
        return await self._write(self._calls.delete(key))

    async def delete_many(self, keys: Iterable[str]) -> int:
        """Remove `keys`, and have them deleted at the source; return how many the cache had. Raises as `set`."""
        return await self._write(self._calls.delete_many(keys))

    async def flush(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as in the other face
        """Wait until the source has all that was written before, by any process; see `WriteBehind.flush`."""
        await self._write(self._calls.flush(timeout))

    async def stats(self) -> WriteBehindStats:
        """Return how far the source is behind, and the counts of this process."""
        return await self._run(self._calls.stats())

    async def dead_letters(self, count: int = 100) -> list[DeadLetter]:
        """Return the oldest `count` writes that the source didn't take. Raises RemoteError."""
        return await self._run(self._calls.dead_letters(count))

    async def retry_dead_letters(self) -> None:
        """Have each dead letter tried once more; see `WriteBehind.retry_dead_letters`."""
        await self._write(self._calls.queue.retry_dead_letters())

    async def discard_dead_letters(self, letters: Iterable[DeadLetter]) -> int:
        """Forget writes that the source will never take; return how many were still there. Raises RemoteError."""
        return await self._run(self._calls.queue.discard_dead_letters(letters))

    async def close(self) -> None:
        """Stop draining here, after the current call of the writer; waiting writes stay on the server."""
        self._closed = True
        draining, self._draining = self._draining, None
        if draining is not None:
            await draining.end()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<twotier.AsyncWriteBehind of {self._namespace.options.namespace!r} on {self._namespace.label}>"

    async def _write(self, flow: Flow[R]) -> R:
        if self._closed:
            flow.close()
            raise TwoTierError("the write-behind is closed; make a new one")
        self.start()
        result = await self._run(flow)
        if self._draining is not None and self._calls.drainers.hurried:
            self._draining.hurry()
        return result

    def _run(self, flow: Flow[R]) -> Coroutine[Any, Any, R]:
        return async_drive(flow, self._namespace.async_executor, self._namespace.tasks)


class _Draining:
    """The two tasks of one loop: one drains, the other renews the lease meanwhile."""

    def __init__(self, calls: WriteBehindCalls) -> None:
        self._calls = calls
        self._namespace, self._drainers = calls.namespace, calls.new_drainers()
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        self._stopping = False
        self._task = self._loop.create_task(self._drain(), name="twotier-write-behind")
        self._keeper = self._loop.create_task(self._keep(), name="twotier-write-behind-lease")

    @property
    def over(self) -> bool:
        """Whether nothing drains any more."""
        return self._task.done() or self._loop.is_closed()

    def hurry(self) -> None:
        """Look at the stream now; callable from any loop."""
        with contextlib.suppress(RuntimeError):  # its loop has just been closed
            self._loop.call_soon_threadsafe(self._wake.set)

    async def end(self) -> None:
        """Stop after the writer's call that is under way; cancel it when that takes too long."""
        self._stopping = True
        if self.over:
            return
        self.hurry()
        ended = asyncio.run_coroutine_threadsafe(self._ended(), self._loop)
        await asyncio.wrap_future(ended)

    async def _ended(self) -> None:
        await asyncio.wait([self._task], timeout=_PATIENCE)
        self._task.cancel()
        await asyncio.wait([self._task, self._keeper])

    async def _drain(self) -> None:
        try:
            while not self._stopping and not self._namespace.closed:
                try:
                    pause = await self._run(self._drainers.step())
                except Exception:  # noqa: BLE001 - logged whole, by a task that must go on
                    _log.exception("draining failed; it goes on in a moment")
                    pause = _AFTER_A_FAULT
                if pause:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(pause):
                            await self._wake.wait()
                    self._wake.clear()
                else:
                    await asyncio.sleep(0)  # the writer may be a plain function
        finally:
            self._keeper.cancel()
            await self._run(self._drainers.release())

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._calls.options.drain_lease / 3)
            await self._run(self._drainers.renew())

    def _run(self, flow: Flow[R]) -> Coroutine[Any, Any, R]:
        return async_drive(flow, self._namespace.async_executor, self._namespace.tasks)

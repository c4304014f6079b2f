"""Writers that are coroutines, and what becomes of them when their task is cancelled or their loop closed."""

import asyncio
import contextlib

import pytest
from waiting import wait_for

from twotier import AsyncWriteBehind, ConfigurationError, TwoTierError


class Stoppable:
    """A source whose calls can be held up."""

    def __init__(self, rows):
        self.rows = rows
        self.calls = 0
        self.going = None

    async def write(self, values):
        """Put rows, and hang before returning while `going` isn't set."""
        self.rows.update(values)
        self.calls += 1
        if self.going is not None:
            await self.going.wait()

    async def delete(self, keys):
        """Remove rows."""
        for key in keys:
            self.rows.pop(key, None)


async def until(condition):
    """Let the loop go on until `condition` holds."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - no event is worth it
            await asyncio.sleep(0.001)


def test_a_write_through_that_is_cancelled_at_the_source_leaves_nothing_behind(make, source):
    """Nobody knows whether the source was written: the key leaves the cache, and loads aren't held up."""
    writer = Stoppable(source.rows)
    cache = make(writer=writer)

    async def scene():
        await cache.aio.set("key", "old")
        writer.going = asyncio.Event()
        task = asyncio.create_task(cache.aio.set("key", "new"))
        await until(lambda: writer.calls == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(scene())
    wait_for(lambda: cache.health().journal == 0, "the journal is replayed")
    assert cache.get("key") is None
    assert cache.get_or_set("key", lambda: source.rows["key"]) == "new"
    assert cache.get("key") == "new"


def test_a_write_through_that_is_cancelled_at_any_moment_leaves_nothing_old(make, source):
    """Wherever it is stopped, the cache doesn't keep a value that the source has no more."""
    writer = Stoppable(source.rows)
    cache = make(writer=writer)

    async def scene(turns):
        await cache.aio.set("key", f"old {turns}")
        task = asyncio.create_task(cache.aio.set("key", f"new {turns}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    for turns in range(40):
        asyncio.run(scene(turns))
        wait_for(lambda: cache.health().journal == 0, "the journal is replayed")
        assert cache.get("key") in (None, source.rows["key"])
        assert cache.get_or_set("key", lambda: source.rows["key"]) == source.rows["key"]


def test_a_loop_that_is_closed_in_mid_batch_loses_nothing(make, source):
    """What its writer was called with is written again in the next loop."""
    writer = Stoppable(source.rows)
    cache = make()
    behind = AsyncWriteBehind(cache.aio, writer, trust_server=True, drain_lease=0.5)

    async def first():
        writer.going = asyncio.Event()
        await behind.set_many({"a": 1, "b": 2})
        await until(lambda: writer.calls)

    async def second():
        writer.going = None
        await behind.set("c", 3)
        await behind.flush(20)
        stats = await behind.stats()
        await behind.close()
        return stats

    asyncio.run(first())
    source.rows.clear()
    assert asyncio.run(second()).depth == 0
    assert source.rows == {"a": 1, "b": 2, "c": 3}


def test_close_cancels_a_writer_that_takes_too_long(make, source, monkeypatch):
    """What it had in hand stays on the server, for whoever drains next."""
    monkeypatch.setattr("twotier.async_write_behind._PATIENCE", 0.05)
    writer = Stoppable(source.rows)
    cache = make()

    async def scene():
        writer.going = asyncio.Event()
        async with AsyncWriteBehind(cache.aio, writer, trust_server=True) as behind:
            await behind.set("key", 1)
            await until(lambda: writer.calls)
        async with AsyncWriteBehind(cache.aio, writer, trust_server=True, drain=False) as look:
            with pytest.raises(TimeoutError):
                await look.flush(0)
        writer.going = None
        async with AsyncWriteBehind(cache.aio, writer, trust_server=True) as again:
            await again.flush(20)
        assert writer.calls == 2

    asyncio.run(scene())


def test_a_cancelled_write_behind_is_in_both_or_in_neither(make, source):
    """Whenever a task that writes is cancelled, the source ends with what the cache has."""
    writer = Stoppable(source.rows)
    cache = make()
    keys = [f"key:{turns}" for turns in range(30)]

    async def scene():
        async with AsyncWriteBehind(cache.aio, writer, trust_server=True) as behind:
            for turns, key in enumerate(keys):
                task = asyncio.create_task(behind.set(key, turns))
                for _ in range(turns // 3):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            await behind.set("last", 1)
            await behind.flush(20)
            assert await cache.aio.get_many(keys) == {key: source.rows[key] for key in keys if key in source.rows}

    asyncio.run(scene())


def test_what_an_asynchronous_write_behind_takes(make, source):
    """It is made on an AsyncCache, and used until it is closed."""
    cache = make()
    with pytest.raises(TypeError, match=r"cache must be a twotier\.AsyncCache, got Cache"):
        AsyncWriteBehind(cache, source, trust_server=True)

    async def scene():
        behind = AsyncWriteBehind(cache.aio, source, trust_server=True)
        await behind.close()
        with pytest.raises(TwoTierError, match="closed"):
            await behind.set("key", 1)

    asyncio.run(scene())


def test_a_synchronous_cache_refuses_a_coroutine(make, source):
    """A coroutine that nobody here would wait for is a TypeError, and changes nothing."""

    through = make(writer=source)

    async def write(values):
        source.rows.update(values)

    source.write = write
    with pytest.raises(TypeError, match="must return its result, got an awaitable"):
        through.set("key", 1)
    assert (source.rows, through.get("key")) == ({}, None)


def test_a_synchronous_write_behind_refuses_coroutines(make, behind, source):
    """One whose methods are coroutines is refused at once, one that returns an awaitable fails like any other."""

    class Asynchronous:
        async def write(self, values):
            """Do nothing."""

        delete = write

    cache = make()
    with pytest.raises(ConfigurationError, match="writer must have synchronous methods"):
        behind(cache, Asynchronous())
    source.write = lambda values: Asynchronous().write(values)
    writes = behind(cache)
    writes.set("key", 1)
    writes.flush(20)
    (letter,) = writes.dead_letters()
    assert letter.error.startswith("TypeError: a loader or writer of a synchronous cache must return its result")

"""Tasks that are cancelled: nobody else fails or hangs for it, and nothing is left undone."""

import asyncio
import random
import time

import pytest
from waiting import PATIENCE, wait_for

from twotier import Cache
from twotier.core.access.reads import CHUNK
from twotier.remote.commands.load_locks import SettleLoadLocks, TakeLoadLocks
from twotier.remote.execute.tasks import AsyncExecutor


@pytest.fixture
def cache(plain):
    """Called through either face by each test itself."""
    return plain


async def turns(count):
    """Let the loop turn `count` times."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_followers_of_a_cancelled_leader_take_over(cache, loop):
    """A leader that is cancelled is so alone: one of those who waited for it loads, be it a task or a thread."""
    loads = []

    async def never():
        loads.append("never")
        await asyncio.Event().wait()

    async def soon():
        loads.append("soon")
        await asyncio.sleep(0)
        return "loaded"

    async def scene():
        leader = asyncio.create_task(cache.aio.get_or_set("key", never))
        while not loads:  # noqa: ASYNC110 - no event is worth it
            await asyncio.sleep(0)
        followers = [asyncio.create_task(cache.aio.get_or_set("key", soon)) for _ in range(5)]
        thread = asyncio.create_task(asyncio.to_thread(cache.get_or_set, "key", lambda: "loaded"))
        await asyncio.sleep(0.01)
        leader.cancel()
        assert await asyncio.gather(*followers, thread) == ["loaded"] * 6
        with pytest.raises(asyncio.CancelledError):
            await leader

    loop.run(scene())
    assert loads.count("never") == 1
    assert cache.stats().loads <= 3
    assert cache.stats().load_errors == 0


def test_cancelled_loads_give_their_places_back(namespace, loop):
    """The cap on loads is not used up by tasks that were cancelled, loading or queueing."""
    with Cache(namespace=namespace, max_concurrent_loads=2) as cache:

        async def scene():
            forever = asyncio.Event().wait
            tasks = [asyncio.create_task(cache.aio.get_or_set(f"{number}", forever)) for number in range(8)]
            await asyncio.sleep(0.01)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert [await cache.aio.get_or_set(f"{number}", lambda: 1) for number in range(8)] == [1] * 8

        loop.run(scene())
        assert cache._namespace.load_gate.free == 2


def test_a_cancelled_load_leaves_no_lease(make, loop):
    """Another process needn't wait for the end of a lease whose task was cancelled."""
    cache, other = make(load_lease=60), make(load_lease=60)

    async def scene():
        began = asyncio.Event()

        async def never():
            began.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(cache.aio.get_or_set("key", never))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await asyncio.wait_for(other.aio.get_or_set("key", lambda: "loaded"), PATIENCE)

    assert loop.run(scene()) == "loaded"


@pytest.mark.parametrize("step", [TakeLoadLocks, SettleLoadLocks])
@pytest.mark.parametrize("keys", [["key"], [f"key {number}" for number in range(CHUNK + 1)]], ids=["one", "many"])
def test_a_load_cancelled_in_a_trip_leaves_no_lease(make, monkeypatch, loop, step, keys):
    """Nor does one that is cancelled while it asks for leases, which may be granted, or stores a value under one."""
    cache, other = make(load_lease=60), make(load_lease=60)
    trips, run = [], AsyncExecutor.run

    async def cancelled(executor, command, **probing):
        if isinstance(command, step):
            trips.append(command)
            if len(trips) == (1 if len(keys) == 1 else 2):
                asyncio.current_task().cancel()  # as soon as it is sent
        return await run(executor, command, **probing)

    async def loaded(missing):
        return dict.fromkeys(missing, "loaded")

    async def scene():
        with monkeypatch.context() as patch:
            patch.setattr(AsyncExecutor, "run", cancelled)
            with pytest.raises(asyncio.CancelledError):
                await asyncio.create_task(cache.aio.get_or_set_many(keys, loaded))
        assert len(trips) >= (1 if len(keys) == 1 else 2)
        return await asyncio.wait_for(other.aio.get_or_set_many(keys, loaded), PATIENCE)

    assert loop.run(scene()) == dict.fromkeys(keys, "loaded")


def test_cancelling_anywhere_never_mixes_values(make, loop):
    """Calls of all kinds, cancelled at any point: the rest get what belongs to their key, and all goes on."""
    cache = make(max_connections=4, local_ttl=0.001, load_lease=0.25)  # a cancelled request for a lease may be granted
    aio, chance = cache.aio, random.Random(3)
    keys = [f"key {number}" for number in range(12)]

    async def check(key):
        value = await aio.get(key)
        assert value in (None, [key])
        assert await aio.get_many([key]) in ({}, {key: [key]})

    async def load(key):
        assert await aio.get_or_set(key, lambda: asyncio.sleep(0, [key])) == [key]

    async def write(key):
        await aio.set(key, [key])

    async def scene():
        results = []
        for _ in range(150):
            doing = [chance.choice((check, check, load, write, aio.delete))(key) for key in keys]
            tasks = [asyncio.create_task(one) for one in doing]
            await turns(chance.randrange(10))
            for task in chance.sample(tasks, 8):
                task.cancel()
                await turns(chance.randrange(2))
            results += await asyncio.gather(*tasks, return_exceptions=True)
        assert not [result for result in results if isinstance(result, Exception)]
        return sum(isinstance(result, asyncio.CancelledError) for result in results)

    assert loop.run(scene()) > 500
    wait_for(lambda: cache.health().journal == 0, "what was cancelled is settled")
    for key in keys:
        cache.set(key, [key])
        assert cache.get(key) == [key]
    assert len(cache._namespace.topology.pool()._channels) <= 4
    assert cache.health().breaker == "closed"


@pytest.mark.parametrize("call", ["set", "set_many", "delete", "invalidate", "clear"])
def test_a_cancelled_write_leaves_no_older_value(make, loop, call):
    """A write that is cancelled before it was sent is made good in the background: the key is invalidated."""
    cache, other = make(max_connections=1), make()
    pool = cache._namespace.topology.pool()
    arguments = {"set": ("key", "new"), "set_many": ({"key": "new"},), "delete": ("key",), "invalidate": ("key",)}
    cache.set("key", "old")
    assert other.get("key") == "old"

    async def scene():
        held = []
        pool.take(held, time.monotonic() + PATIENCE)
        task = asyncio.create_task(getattr(cache.aio, call)(*arguments.get(call, ())))
        await turns(3)
        assert pool._turns
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pool.give(held)

    loop.run(scene())
    wait_for(lambda: cache.health().journal == 0, "the write is settled")
    wait_for(lambda: other.get("key") is None, "the others have heard of it")
    assert cache.get("key") is None


@pytest.mark.parametrize("holder", ["pool", "journal", "recovery"])
def test_a_coroutine_may_be_closed_anywhere(make, holder):
    """The garbage collector closes abandoned calls wherever it happens to run, also where a lock of ours is held."""
    cache, local = make(max_connections=1), Cache()
    namespace = cache._namespace
    pool = namespace.topology.pool()
    locks = {"pool": pool, "journal": namespace.journal, "recovery": namespace.recovery._worker}

    async def scene():
        loading = local.aio.get_or_set("key", asyncio.Event().wait)
        loading.send(None)
        held = []
        pool.take(held, time.monotonic() + PATIENCE)
        waiting = [cache.aio.get_or_set("key", lambda: 1), cache.aio.set("key", 2), cache.aio.delete("key")]
        for call in waiting:
            call.send(None)
        pool.give(held)
        sent = cache.aio.set("key", 3)
        sent.send(None)
        with locks[holder]._lock:
            for call in (*waiting, sent, loading):
                call.close()

    asyncio.run(asyncio.wait_for(scene(), PATIENCE))
    wait_for(lambda: cache.health().journal == 0, "what was abandoned is settled")
    cache.set("key", "after")
    assert cache.get_or_set("key", lambda: 1) == "after"
    assert local.get_or_set("key", lambda: "loaded") == "loaded"
    local.close()

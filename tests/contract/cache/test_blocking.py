"""Synchronous calls on an event loop's own thread: bad manners, but nothing hangs."""

import asyncio
import time

import pytest
from waiting import PATIENCE, live, wait_for

from twotier import Cache


@pytest.fixture
def cache(plain):
    """Called through both faces by each test."""
    return plain


async def begun(call, event):
    """Return the task of a call that has set its event."""
    task = asyncio.create_task(call)
    await asyncio.wait_for(event.wait(), PATIENCE)
    return task


def test_a_load_of_a_task_of_the_blocked_loop_is_not_waited_for(cache, loop):
    """The synchronous caller loads for itself; the task goes on with its own load, which was overtaken."""

    async def scene():
        began, go = asyncio.Event(), asyncio.Event()

        async def slow():
            began.set()
            await go.wait()
            return "by the task"

        task = await begun(cache.aio.get_or_set("key", slow), began)
        assert cache.get("key") is None
        assert cache.get_or_set("key", lambda: "by the thread") == "by the thread"
        go.set()
        assert await task in ("by the task", "by the thread")

    loop.run(scene())


def test_places_that_tasks_of_the_blocked_loop_hold_are_not_waited_for(namespace, loop):
    """The synchronous caller passes the gate, and takes no place from others."""
    with Cache(namespace=namespace, max_concurrent_loads=1) as cache:

        async def scene():
            began, go = asyncio.Event(), asyncio.Event()

            async def slow():
                began.set()
                await go.wait()

            task = await begun(cache.aio.get_or_set("slow", slow), began)
            assert cache.get_or_set("key", lambda: "loaded") == "loaded"
            go.set()
            await task
            assert await cache.aio.get_or_set("another", lambda: "loaded") == "loaded"

        loop.run(scene())
        assert cache._namespace.load_gate.free == 1


def test_a_fetch_of_a_task_of_the_blocked_loop_is_not_waited_for(make, loop):
    """The synchronous reader of a suspect asks the server itself."""
    cache = make(max_connections=2)
    cache.set("key", "value")
    wait_for(lambda: live(cache), "the link is live")
    pool = cache._namespace.topology.pool()

    async def scene():
        cache._namespace.store.bump_epoch()
        held = [[], []]
        for loan in held:
            pool.take(loan, time.monotonic() + PATIENCE)
        task = asyncio.create_task(cache.aio.get("key"))
        while not pool._turns:  # noqa: ASYNC110 - it waits for a connection, leading the fetch
            await asyncio.sleep(0)
        for loan in held:
            pool.give(loan)
        assert cache.get("key") == "value"
        assert await task == "value"

    loop.run(scene())


def test_threads_beside_the_loop_wait_as_ever(cache, loop):
    """Only the loop's own thread passes: a thread that a loader hands its call to is like any other."""
    loads = []

    async def slow():
        loads.append("task")
        await asyncio.sleep(0.05)
        return "loaded"

    async def scene():
        task = asyncio.create_task(cache.aio.get_or_set("key", slow))
        while not loads:  # noqa: ASYNC110 - no event is worth it
            await asyncio.sleep(0)
        assert await asyncio.to_thread(cache.get_or_set, "key", lambda: loads.append("thread")) == "loaded"
        await task

    loop.run(scene())
    assert loads == ["task"]


def test_a_coroutine_function_is_no_loader_of_a_synchronous_cache(cache):
    """It is told so, and nothing is left unawaited."""

    async def load():
        """Be never run."""

    with pytest.raises(TypeError, match=r"AsyncCache \(cache\.aio\)"):
        cache.get_or_set("key", load)

"""Under ASGI: what runs on Django's one thread for synchronous code doesn't wait for what is queued for that thread."""

import asyncio
import threading
import time

import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from waiting import PATIENCE, PATIENT

SETTINGS = {"load_lease": 600.0, **PATIENT}
"""Nobody may wait for the end of a lease."""


@pytest.fixture
def asgi(caches_of, location, namespace):
    """A backend, with few places for loads."""
    options = {"namespace": namespace, "max_concurrent_loads": 4, **SETTINGS}
    return caches_of(location, default={"OPTIONS": options})["default"]


def run(scene):
    """Run a scene on a loop of its own, in time."""
    asyncio.run(asyncio.wait_for(scene, PATIENCE))


async def until(condition):
    """Let others run until something holds."""
    while not condition():  # noqa: ASYNC110 - of threads and tasks alike
        await asyncio.sleep(0.001)


async def main(asgi, loader, key="key"):
    """Have the one thread busy until a task's load is under way and queued for it, then load on that thread."""
    entered, queued = threading.Event(), threading.Event()

    def view_part():
        entered.set()
        assert queued.wait(PATIENCE)
        return asgi.get_or_set(key, lambda: "by the thread")

    helping = asyncio.create_task(sync_to_async(view_part)())
    await until(entered.is_set)
    tasks = await loader()
    queued.set()
    return [await helping, *await asyncio.gather(*tasks)]


@pytest.mark.parametrize("epoch", ["one epoch", "another epoch"])
@pytest.mark.parametrize("plain", [True, False], ids=["a plain loader", "a coroutine over the ORM"])
def test_a_thread_and_a_task_load_one_key(asgi, plain, epoch):
    """The task's loader is queued for the thread on which a view asks for the same key."""

    async def orm():
        return await sync_to_async(lambda: "by the task")()

    async def begin():
        task = asyncio.create_task(asgi.aget_or_set("key", (lambda: "by the task") if plain else orm))
        await until(lambda: asgi.cache._namespace.flights._flights)
        await asyncio.sleep(0.01)
        if epoch == "another epoch":
            asgi.cache._namespace.store.bump_epoch()
        return [task]

    async def scene():
        results = await main(asgi, begin)
        assert set(results) <= {"by the thread", "by the task"}

    run(scene())


def test_other_keys_have_every_place(asgi):
    """The cap on loads is used up by tasks whose loaders are queued for the thread that asks for a place."""

    async def begin():
        tasks = [asyncio.create_task(asgi.aget_or_set(f"{number}", lambda: "by a task")) for number in range(40)]
        await until(lambda: asgi.cache._namespace.load_gate.is_full)
        return tasks

    async def scene():
        results = await main(asgi, begin)
        assert results == ["by the thread"] + ["by a task"] * 40

    run(scene())


def test_two_consumers(asgi):
    """One is synchronous, the other isn't, and each is a task with a thread of its own, as Channels makes them."""

    async def consumer(work):
        async with ThreadSensitiveContext():
            return await work()

    async def scene():
        task = asyncio.create_task(consumer(lambda: asgi.aget_or_set("key", lambda: time.sleep(0.05) or "loaded")))
        await until(lambda: asgi.cache._namespace.flights._flights)
        other = consumer(lambda: sync_to_async(asgi.get_or_set)("key", lambda: pytest.fail("loaded twice")))
        assert await other == "loaded"
        assert await task == "loaded"

    run(scene())


def test_a_synchronous_view_that_calls_an_asynchronous_one(asgi):
    """The thread-sensitive code runs on the thread that waits in `async_to_sync`."""

    async def view():
        entered, queued = threading.Event(), threading.Event()

        def view_part():
            entered.set()
            assert queued.wait(PATIENCE)
            return asgi.get_or_set("key", lambda: "by the thread")

        helping = asyncio.create_task(sync_to_async(view_part)())
        await until(entered.is_set)
        task = asyncio.create_task(asgi.aget_or_set("key", lambda: "by the task"))
        await until(lambda: asgi.cache._namespace.flights._flights)
        await asyncio.sleep(0.01)
        queued.set()
        return await asyncio.wait_for(asyncio.gather(helping, task), PATIENCE)

    assert set(async_to_sync(view)()) <= {"by the thread", "by the task"}

"""Waits inside one process: each has a limit, and ends at once where nobody is left who could end it."""

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sources import Source, on_thread
from waiting import PATIENCE, PATIENT, live, wait_for

from twotier import Cache

LONG = 600.0
"""A `load_lease` that nobody may wait for."""
SHORT = 0.5


class Loop:
    """An event loop on a thread, which a test may stop, close or block."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.go = threading.Event()
        self._tasks = []
        """Held, as a loop doesn't hold its tasks."""

    def spawn(self, coroutine):
        """Run a coroutine as a task of the loop."""
        self._tasks.append(asyncio.run_coroutine_threadsafe(coroutine, self.loop))
        return self._tasks[-1]

    def stop(self):
        """Stop the loop amid its tasks."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(PATIENCE)

    def block(self):
        """Hold the loop up until `go` is set."""
        blocked = threading.Event()
        self.loop.call_soon_threadsafe(lambda: blocked.set() or self.go.wait(PATIENCE))
        assert blocked.wait(PATIENCE)

    def close(self):
        """Go on, and end."""
        self.go.set()
        if self.thread.is_alive():
            self.stop()
        if not self.loop.is_closed():
            self.loop.run_until_complete(self._end())
            self.loop.close()

    async def _end(self):
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
            await asyncio.wait([task])


@pytest.fixture
def own_loop():
    """A loop for one test."""
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture(params=["local-only", "two-tier"])
def make_cache(request, namespace, server):
    """Makes a cache in either mode."""
    made = []

    def make(**settings):
        target = server.url if request.param == "two-tier" else None
        made.append(Cache(target, namespace=namespace, **PATIENT, **settings))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


async def forever(began):
    """Be a loader that says that it has begun, and never ends."""
    began.set()
    await asyncio.Event().wait()


def begin(cache, loop, key="key"):
    """Have a task of the loop load a key, for ever."""
    began = threading.Event()
    loop.spawn(cache.aio.get_or_set(key, lambda: forever(began)))
    assert began.wait(PATIENCE)


@pytest.mark.parametrize("call", ["get_or_set", "get_or_set_many", "refresh"])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_load_of_a_stopped_loop_is_not_waited_for(make_cache, own_loop, call, when):
    """Neither by those who come afterwards nor by those who wait already; its lease and its place come back at once."""
    cache = make_cache(load_lease=LONG, max_concurrent_loads=1)
    begin(cache, own_loop)
    if when == "before":
        own_loop.stop()
    key = ["key"] if call == "get_or_set_many" else "key"
    loader = (lambda keys: dict.fromkeys(keys, "mine")) if call == "get_or_set_many" else lambda: "mine"
    thread, results = on_thread(getattr(cache, call), key, loader)
    if when == "meanwhile":
        own_loop.stop()
    thread.join(PATIENCE)
    assert results == [{"key": "mine"} if call == "get_or_set_many" else "mine"]
    assert cache._namespace.load_gate.free == 1
    assert cache.get("key") == "mine"


def test_a_load_of_a_closed_loop_is_not_waited_for_by_tasks_either(make_cache, own_loop):
    """Of another loop; and the cap isn't used up by it for other keys."""
    cache = make_cache(load_lease=LONG, max_concurrent_loads=1)
    begin(cache, own_loop)
    own_loop.stop()
    own_loop.close()

    async def scene():
        assert await cache.aio.get_or_set("other", lambda: "mine") == "mine"
        assert await cache.aio.get_or_set("key", lambda: "mine") == "mine"

    asyncio.run(asyncio.wait_for(scene(), PATIENCE))


@pytest.mark.parametrize("call", ["get_or_set", "get_or_set_many", "refresh"])
@pytest.mark.parametrize("policy", [{}, {"soft_timeout": 0.01}, {"hard_timeout": 20.0}], ids=str)
def test_a_loader_that_hangs_is_waited_for_no_longer_than_a_lease(make_cache, call, policy):
    """One of those who wait takes over, and the others have what it loads."""
    cache = make_cache(load_lease=SHORT)
    hung = Source(free=False)
    leader, _ = on_thread(cache.get_or_set, "key", hung)
    assert hung.began.wait(PATIENCE)
    began = time.monotonic()
    key = ["key"] if call == "get_or_set_many" else "key"
    loader = (lambda keys: dict.fromkeys(keys, "mine")) if call == "get_or_set_many" else lambda: "mine"
    calls = [on_thread(getattr(cache, call), key, loader, **policy) for _ in range(4)]
    for thread, _ in calls:
        thread.join(PATIENCE)
    took = time.monotonic() - began
    assert [results for _, results in calls] == [[{"key": "mine"} if call == "get_or_set_many" else "mine"]] * 4
    assert took < 10 * SHORT
    hung.go.set()
    leader.join(PATIENCE)


def test_tasks_wait_for_a_hung_loader_no_longer_than_a_lease(make_cache, own_loop):
    """Whether a thread or a task has it."""
    cache = make_cache(load_lease=SHORT)
    begin(cache, own_loop)
    tasks = [own_loop.spawn(cache.aio.get_or_set("key", lambda: asyncio.sleep(0, "mine"))) for _ in range(3)]
    assert [task.result(PATIENCE) for task in tasks] == ["mine"] * 3


def test_places_that_hung_loaders_hold_are_waited_for_no_longer_than_a_lease(make_cache):
    """Then callers pass the cap."""
    cache = make_cache(load_lease=SHORT, max_concurrent_loads=1)
    hung = Source(free=False)
    leader, _ = on_thread(cache.get_or_set, "hung", hung)
    assert hung.began.wait(PATIENCE)
    thread, results = on_thread(cache.get_or_set, "key", lambda: "mine")
    thread.join(PATIENCE)
    assert results == ["mine"]
    hung.go.set()
    leader.join(PATIENCE)


def test_loaders_that_need_a_lock_and_each_other_end(make_cache):
    """One loader holds a lock of the database, and loads what another loads, which needs that lock."""
    cache = make_cache(load_lease=SHORT)
    lock, held, asked = threading.Lock(), threading.Event(), threading.Event()

    def first():
        with lock:
            held.set()
            assert asked.wait(PATIENCE)
            return cache.get_or_set("second", lambda: "second, by the first")

    def second():
        asked.set()
        with lock:
            return "second"

    one, results = on_thread(cache.get_or_set, "first", first)
    assert held.wait(PATIENCE)
    two, others = on_thread(cache.get_or_set, "second", second)
    one.join(PATIENCE)
    two.join(PATIENCE)
    assert results == ["second, by the first"]
    assert others[0] in {"second", "second, by the first"}


def test_a_waiter_finds_what_another_process_has_stored(make_cache, request):
    """It looks at the server meanwhile, and needn't wait for a loader that hangs."""
    if "local-only" in request.node.name:
        pytest.skip("there is one process only")
    cache, other = make_cache(load_lease=LONG), make_cache()
    wait_for(lambda: live(cache), "the link is live")
    hung = Source(free=False)
    leader, _ = on_thread(cache.get_or_set, "key", hung)
    assert hung.began.wait(PATIENCE)
    thread, results = on_thread(cache.get_or_set, "key", lambda: pytest.fail("loaded"))
    other.set("key", "by another process")
    thread.join(PATIENCE)
    assert results == ["by another process"]
    hung.go.set()
    leader.join(PATIENCE)


def test_a_fetch_of_a_task_of_a_blocked_loop_is_waited_for_as_long_as_a_call(namespace, server, own_loop):
    """A thread that reads a suspect asks the server itself after `timeout`."""
    with Cache(server.url, namespace=namespace, **PATIENT, max_connections=2) as cache:
        cache.set("key", "value")
        wait_for(lambda: live(cache), "the link is live")
        fetches = cache._namespace.fetches
        cache._namespace.store.bump_epoch()
        joined = threading.Event()
        mine = []

        async def ask():
            mine.append(fetches.flight("key"))
            fetches.join("key", mine[0])
            joined.set()

        own_loop.spawn(ask())
        assert joined.wait(PATIENCE)
        own_loop.block()
        thread, results = on_thread(cache.get, "key")
        thread.join(PATIENCE)
        assert results == ["value"]
        own_loop.go.set()
        fetches.abandon(mine[0])


def test_threads_of_an_executor_do_not_wait_for_a_task_that_needs_one(make_cache, own_loop):
    """With every thread of `asyncio.to_thread` waiting for a task's load, one loads for itself."""
    cache = make_cache(load_lease=LONG)
    own_loop.loop.set_default_executor(ThreadPoolExecutor(2))

    async def scene():
        began, go = asyncio.Event(), asyncio.Event()

        async def needy():
            began.set()
            await go.wait()
            return await asyncio.to_thread(lambda: "by the task")

        task = asyncio.create_task(cache.aio.get_or_set("key", needy))
        await began.wait()
        others = [asyncio.create_task(asyncio.to_thread(cache.get_or_set, "key", lambda: "mine")) for _ in range(2)]
        await asyncio.sleep(0.02)  # both threads are taken
        go.set()
        return await asyncio.gather(task, *others)

    assert set(own_loop.spawn(scene()).result(PATIENCE)) <= {"mine", "by the task"}


def test_a_backlog_is_no_reason_to_load_twice(make_cache):
    """Threads of an executor that others queue for share a load that a thread has in hand."""
    cache = make_cache(load_lease=LONG)
    source = Source(free=False)
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(cache.get_or_set, "key", source) for _ in range(20)]
        wait_for(lambda: source.calls and pool._work_queue.qsize() > 10, "there is a backlog")
        time.sleep(0.1)  # what would have loaded for itself would have begun by then
        source.go.set()
        assert [future.result(PATIENCE) for future in futures] == [1] * 20
    assert len(source.calls) == 1


def test_a_load_that_another_epoch_began_is_waited_for_no_longer(make_cache, own_loop, request):
    """Where a write has come between two loads of one process, the second waits for the lease of the first."""
    if "local-only" in request.node.name:
        pytest.skip("there are no leases")
    cache = make_cache(load_lease=LONG)
    wait_for(lambda: live(cache), "the link is live")
    begin(cache, own_loop)
    cache._namespace.store.bump_epoch()
    thread, results = on_thread(cache.get_or_set, "key", lambda: "mine")
    wait_for(lambda: len(cache._namespace.claims.under_way) == 2, "it waits")
    own_loop.stop()
    thread.join(PATIENCE)
    assert results == ["mine"]

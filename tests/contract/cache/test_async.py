"""What only the asynchronous face has: tasks, cancelling, loops of several kinds, a synchronous face beside it."""

import asyncio
import inspect
import threading

import pytest
from forking import in_child
from loops import LoopThread
from waiting import PATIENCE, PATIENT, wait_for

from twotier import AsyncCache, Cache, RemoteError, TwoTierError

LOOPS = ["asyncio", "uvloop"]
VALUES = [None, (), (1, 2), ("a", (3,)), 5, "text", [1], {"a": [2]}]


@pytest.fixture
def cache(plain):
    """Called through either face by each test itself."""
    return plain


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_local_hit_awaits_nothing(value):
    """The result is there at the first step, whatever it is, and a value is given once, as by a coroutine."""
    with Cache() as cache:
        cache.set("key", value)
        got = cache.aio.get("key")
        with pytest.raises(StopIteration) as caught:
            got.send(None)
        assert caught.value.value == value
        assert type(caught.value.value) is type(value)
        with pytest.raises(RuntimeError, match="already awaited"):
            got.send(None)


@pytest.mark.parametrize("kind", LOOPS)
def test_hits_and_misses_can_be_awaited_in_any_way(kind, request):
    """In a coroutine, a task, a group of them, with a timeout, or not at all."""
    loop = request.getfixturevalue(kind)

    async def scene():
        async with AsyncCache() as cache:
            for value in VALUES:
                await cache.set("there", value)
                for key, expected in (("there", value), ("nothing", "default")):
                    assert await cache.get(key, "default") == expected
                    assert await asyncio.create_task(cache.get(key, "default")) == expected
                    assert await asyncio.gather(cache.get(key, "default")) == [expected]
                    assert await asyncio.wait_for(cache.get(key, "default"), PATIENCE) == expected
                    assert await asyncio.shield(cache.get(key, "default")) == expected
                    task = asyncio.create_task(cache.get(key))
                    assert "Task" in repr(task)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    hit = cache.get(key)
                    assert inspect.isawaitable(hit)
                    hit.close()
                    with pytest.raises(RuntimeError, match="already awaited"):
                        await hit
                    with pytest.raises(ZeroDivisionError):
                        cache.get(key).throw(ZeroDivisionError())

    loop.run(scene())


def test_peek_looks_at_the_local_tier_alone(make):
    """`peek` gives what is fresh here, without asking anybody."""
    first, second = make(), make()
    first.set("key", [1])
    assert first.aio.peek("key") == [1]
    assert second.aio.peek("key") is None
    assert second.aio.peek("key", "default") == "default"


def test_in_says_what_to_do():
    """`in` can't be awaited, and names what can."""
    with Cache() as cache, pytest.raises(TypeError, match=r"await cache\.contains\(key\)"):
        "key" in cache.aio  # noqa: B015 - raises


def test_a_bad_key_is_told_where_it_is_awaited(loop):
    """As `Cache.get` does."""
    with Cache() as cache:
        with pytest.raises(TypeError, match="key must be a str"):
            loop.run(cache.aio.get(1))
        with pytest.raises(ValueError, match="empty"):
            loop.run(cache.aio.get(""))


def test_faces_see_each_others_writes_at_once(cache, loop):
    """What one face has written, deleted or loaded, the other has the moment the call returns."""
    for number in range(50):
        cache.set("key", number)
        assert loop.run(cache.aio.get("key")) == number
        loop.run(cache.aio.set("key", -number))
        assert cache.get("key") == -number
        loop.run(cache.aio.delete("key"))
        assert cache.get("key") is None
        assert loop.run(cache.aio.get_or_set("key", lambda number=number: asyncio.sleep(0, number))) == number
        assert cache.get("key") == number
        cache.clear()
        assert cache.aio.peek("key") is None


def test_closing_either_closes_both(server, namespace, loop):
    """There is one cache behind the two faces."""
    cache = Cache(server.url, namespace=namespace, **PATIENT)
    loop.run(cache.aio.set("key", 1))
    loop.run(cache.aio.close())
    with pytest.raises(TwoTierError, match="closed"):
        cache.get("key")
    other = Cache(server.url, namespace=namespace, **PATIENT)
    other.close()
    with pytest.raises(TwoTierError, match="closed"):
        loop.run(other.aio.get("key"))


def test_stands_alone(server, namespace, loop):
    """An `AsyncCache` needs no `Cache` beside it; leaving `async with` closes it."""

    async def scene():
        async with AsyncCache(server.url, namespace=namespace, **PATIENT) as cache:
            await cache.set("key", {"a": 1})
            assert await cache.get("key") == {"a": 1}
            assert namespace in repr(cache)
            assert server.url in repr(cache)
        with pytest.raises(TwoTierError, match="closed"):
            await cache.get("key")
        async with AsyncCache.from_url(server.url, namespace=namespace, **PATIENT) as cache:
            assert await cache.get("key") == {"a": 1}

    loop.run(scene())


def test_made_on_a_thread_it_holds_up_no_loop(loop, namespace):
    """Other tasks run while `embedded://` starts its server on a thread; then the cache is the loop's to use."""

    async def scene():
        making = asyncio.create_task(asyncio.to_thread(AsyncCache, "embedded://", namespace=namespace))
        turns = 0
        while not making.done():
            await asyncio.sleep(0.001)
            turns += 1
        async with await making as cache:
            await cache.set("key", 1)
            return turns, await cache.get("key")

    turns, value = loop.run(scene())
    assert turns > 3
    assert value == 1


def test_options_and_settings_exclude_each_other():
    """As for a `Cache`."""
    with Cache() as cache, pytest.raises(TypeError, match="either options or keyword"):
        AsyncCache(options=cache.options, ttl=1)


def test_tasks_and_threads_share_one_load(cache, loop):
    """Of the tasks of two loops, and of threads, that miss one key at once, one loads."""
    loads, began, go = [], threading.Event(), threading.Event()

    async def slow():
        loads.append(1)
        began.set()
        await asyncio.to_thread(go.wait, PATIENCE)
        return ["loaded"]

    async def tasks():
        return await asyncio.gather(*(cache.aio.get_or_set("key", slow) for _ in range(10)))

    results = []
    with LoopThread() as other:
        leading = asyncio.run_coroutine_threadsafe(tasks(), loop.loop)
        assert began.wait(PATIENCE)
        following = asyncio.run_coroutine_threadsafe(tasks(), other.loop)
        thread = threading.Thread(target=lambda: results.append(cache.get_or_set("key", lambda: loads.append(2))))
        thread.start()
        go.set()
        results += leading.result(PATIENCE) + following.result(PATIENCE)
        thread.join(PATIENCE)
    assert results == [["loaded"]] * 21
    assert loads == [1]
    assert len({id(result) for result in results}) == 21


def test_loads_of_tasks_that_wait_for_each_other(cache, loop):
    """Two tasks of one loop that load each other's keys both come to an end; so do those who gather."""

    async def one(other, depth=0):
        await asyncio.sleep(0.001)
        if depth > 3:
            return "end"
        key = f"{other}"
        with_other = "b" if other == "a" else "a"
        return await cache.aio.get_or_set(key, lambda: one(with_other, depth + 1))

    async def scene():
        results = await asyncio.gather(
            cache.aio.get_or_set("a", lambda: one("b")),
            cache.aio.get_or_set("b", lambda: one("a")),
            return_exceptions=True,
        )
        return [type(result) for result in results]

    async def outer():
        return await asyncio.wait_for(scene(), PATIENCE)

    assert set(loop.run(outer())) <= {str, TwoTierError}


def test_a_loader_that_asks_for_its_own_key_is_told(cache, loop):
    """Also where it asks in a task of its own, or on a thread."""

    async def in_task():
        return await asyncio.create_task(cache.aio.get_or_set("key", in_task))

    async def gathered():
        return await asyncio.gather(cache.aio.get_or_set("key", gathered))

    async def on_thread():
        return await asyncio.to_thread(cache.get_or_set, "key", lambda: 1)

    for loader in (in_task, gathered, on_thread):
        with pytest.raises(TwoTierError, match="wait for itself"):
            loop.run(cache.aio.get_or_set("key", loader))
    assert loop.run(cache.aio.get_or_set("key", lambda: "fine")) == "fine"


def test_an_outage_is_served_through(own_server, make, loop):
    """Reads and writes go on while the server is away, only counters raise, and everything is back after it."""
    cache = make(own_server.url)
    aio = cache.aio

    async def away():
        assert await aio.get("key") == "value"
        assert await aio.get_many(["key", "nothing"]) == {"key": "value"}
        await aio.set("key", "written")
        await aio.set_many({"other": 1})
        assert await aio.delete("gone") is True
        assert await aio.get_many(["key", "other", "gone"]) == {"key": "written", "other": 1}
        assert await aio.add("added", 1) is False
        assert await aio.get_or_set("loaded", lambda: asyncio.sleep(0, "loaded")) == "loaded"
        with pytest.raises(RemoteError):
            await aio.incr("count")

    loop.run(aio.set_many({"key": "value", "gone": "value"}))
    own_server.kill()
    loop.run(away())
    wait_for(lambda: cache.health().breaker == "open", "the breaker has heard of it")
    own_server.start()
    wait_for(lambda: cache.health().breaker == "closed" and not cache.health().journal, "all is made good")
    loop.run(aio.set("key", "after"))
    assert make(own_server.url).get("key") == "after"


def test_each_run_of_a_program_has_its_own_loop(make):
    """A cache outlives the loops that used it."""
    cache = make(local_ttl=0.001)

    async def scene(number):
        await cache.aio.set("key", number)
        return await cache.aio.get("key")

    assert [asyncio.run(scene(number)) for number in range(5)] == list(range(5))


def test_a_forked_child_has_its_own_connections(make):
    """A child of a process that uses the asynchronous face works, and so does the parent after it."""
    cache = make(local_ttl=0.001)

    async def scene(value):
        await cache.aio.set("key", value)
        results = await asyncio.gather(*(cache.aio.get("key") for _ in range(5)))
        assert results == [value] * 5

    asyncio.run(scene("parent"))
    for _ in range(3):
        in_child(lambda: asyncio.run(scene("child")))
        asyncio.run(scene("parent"))


def parameters(call):
    """Return name, kind and default of each parameter."""
    return [(each.name, each.kind, each.default) for each in inspect.signature(call).parameters.values()]


def test_both_faces_have_the_same_calls():
    """What a `Cache` can be asked, an `AsyncCache` can, by the same names and with the same arguments."""
    own = {"aio", "cached"}  # the way here, and what makes functions of either kind
    for name, call in vars(Cache).items():
        if inspect.isfunction(call) and not name.startswith("_") and name not in own:
            assert parameters(getattr(AsyncCache, name)) == parameters(call)

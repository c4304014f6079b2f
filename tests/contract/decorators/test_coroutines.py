"""Coroutine functions, cached through `Cache` and `AsyncCache`, on loops of either kind."""

import asyncio as aio
import functools
import inspect
import pickle

import pytest

from twotier import AsyncCache


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request):
    """A running loop of either kind, on a thread of its own."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["Cache", "AsyncCache"])
def face(request, cache):
    """The face that is asked to decorate."""
    return cache if request.param == "Cache" else cache.aio


def test_a_coroutine_function_runs_once_for_equal_calls(face, loop):
    """The second call is answered by the cache, with a value of its own; None is a value."""
    ran = []

    @face.cached(ttl=60)
    async def load(user_id, *, full=False):
        await aio.sleep(0)
        ran.append((user_id, full))
        return {"id": [user_id]} if user_id else None

    async def scene():
        for _ in range(3):
            (await load(7))["id"].append("mine")
            assert await load(7) == {"id": [7]}
            assert await load(7, full=True) == {"id": [7]}
            assert await load(0) is None

    loop.run(scene())
    assert ran == [(7, False), (7, True), (0, False)]
    assert load.cache_info()[:2] == (9, 3)


def test_tasks_load_once(face, loop):
    """Of tasks that call alike at once, one runs the function; what it raises is raised in all, and not stored."""
    ran, failing = [], [True]

    @face.cached(key="slow:{x}")
    async def load(x):
        ran.append(x)
        await aio.sleep(0)
        if failing:
            raise ZeroDivisionError
        return [x]

    async def scene():
        failed = await aio.gather(*[load(1) for _ in range(8)], return_exceptions=True)
        assert {type(error) for error in failed} == {ZeroDivisionError}
        failing.clear()
        ran.clear()
        assert await aio.gather(*[load(1) for _ in range(8)]) == [[1]] * 8

    loop.run(scene())
    assert ran == [1]


def test_functions_and_coroutine_functions_share_entries(cache, loop):
    """Under one template, what either has stored the other reads."""
    load = cache.cached(key="both:{x}")(lambda x: [x, "by the function"])

    @cache.cached(key="both:{x}")
    async def fetch(x):
        return [x, "by the coroutine"]

    assert load(1) == loop.run(fetch(1)) == [1, "by the function"]
    assert loop.run(fetch(2)) == load(2) == [2, "by the coroutine"]


def test_methods(face, loop):
    """A coroutine method is called on its object, and can be invalidated through it."""

    class User:
        number = 7

        @face.cached(key="user:{self.number}:{part}")
        async def part(self, part):
            return part

        @face.cached()
        @staticmethod
        async def double(x):
            return 2 * x

    async def scene():
        user = User()
        assert await user.part("a") == await User.part(user, "a") == "a"
        assert user.part.key_for("a") == "user:7:a"
        assert await user.part.invalidate("a") is True
        assert await User.part.invalidate(user, "a") is False
        assert await user.part("a") == "a"
        assert user.part.cache_info().misses == 2
        assert await user.double(2) == await User.double(2) == 4

    loop.run(scene())


def test_refresh_and_clear(face, loop):
    """Both are awaited; a policy of loads is taken as by `get_or_set`."""
    source = ["old"]

    @face.cached(key="page:{x}", tags=["pages"], stale_on_error=True)
    async def load(x):
        await aio.sleep(0)
        return [x, *source]

    class Owner:
        @face.cached(ignore=("self",))
        async def method(self, x):
            return x

    async def scene():
        assert await load(1) == [1, "old"]
        source[0] = "new"
        assert await load(1) == [1, "old"]
        assert await load.refresh(1) == await load(1) == [1, "new"]
        source[0] = "newest"
        await load.cache_clear()
        assert await load(1) == [1, "newest"]
        source[0] = "last"
        owner = Owner()
        assert await owner.method(1) == await owner.method.refresh(1) == 1
        await owner.method.cache_clear()
        assert await owner.method(1) == 1
        assert owner.method.cache_info().misses == 3

    loop.run(scene())


def test_what_can_be_done_with_a_call(loop):
    """A hit is as good as a coroutine: it can be a task, gathered, timed, awaited once, closed."""

    async def scene():
        async with AsyncCache() as cache:

            @cache.cached()
            async def double(x):
                return 2 * x

            for _ in range(2):
                assert await double(1) == 2
                assert await aio.create_task(double(2)) == 4
                assert await aio.gather(double(3), double(3)) == [6, 6]
                assert await aio.wait_for(double(4), 10) == 8
            hit = double(1)
            with pytest.raises(StopIteration) as done:
                hit.send(None)
            assert done.value.value == 2
            double(5).close()

    loop.run(scene())


def test_frameworks_take_it_for_a_coroutine_function(local):
    """asyncio (and inspect, where it can be told) see a coroutine function; it is pickled by name."""

    async def load(x):
        return x

    cached = local.cached()(load)
    assert aio.iscoroutinefunction(cached)
    if hasattr(inspect, "markcoroutinefunction"):
        assert inspect.iscoroutinefunction(cached)
    assert not aio.iscoroutinefunction(local.cached(key="{x}")(lambda x: x))
    assert pickle.loads(pickle.dumps(kept)) is kept
    assert str(inspect.signature(cached)) == "(x)"


kept_cache = AsyncCache()


@kept_cache.cached()
async def kept():
    """Is found by name."""


def test_partials_and_wrappers(local, loop):
    """A partial of a coroutine function is one; an AsyncCache also takes functions that return something to await."""

    async def add(x, y):
        return x + y

    @functools.wraps(add)
    def wrapper(x, y):
        return add(x, y)

    plus_one = local.cached(key="one:{y}")(functools.partial(add, 1))
    assert loop.run(plus_one(2)) == loop.run(plus_one(2)) == local.get("one:2") == 3
    wrapped = local.aio.cached(key="two:{x}:{y}")(wrapper)
    assert loop.run(wrapped(1, 2)) == loop.run(wrapped(1, 2)) == local.get("two:1:2") == 3


def test_mistakes_show_at_the_call(local):
    """What can't be called so, or has no key, is an error before anything is awaited."""

    @local.cached()
    async def load(x):
        return x

    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        load()
    with pytest.raises(TypeError, match=r"argument 'x' is or holds a value of type object, which has no stable text"):
        load(object())


def test_generators_are_refused(local):
    """An async generator function can't be cached."""

    async def generate():
        yield 1

    for face in (local, local.aio):
        with pytest.raises(TypeError, match="is an async generator function"):
            face.cached()(generate)


def test_a_cancelled_call_leaves_the_others(face, loop):
    """When the task that runs the function is cancelled, another runs it, and nobody hangs."""
    ran = []
    began = aio.Event()

    @face.cached(key="cancelled:{x}")
    async def load(x):
        ran.append(x)
        began.set()
        if len(ran) == 1:
            await aio.Event().wait()
        return x

    async def scene():
        first = aio.create_task(load(1))
        await began.wait()
        others = [aio.create_task(load(1)) for _ in range(4)]
        await aio.sleep(0)
        first.cancel()
        assert await aio.gather(*others) == [1] * 4
        with pytest.raises(aio.CancelledError):
            await first

    loop.run(scene())
    assert ran == [1, 1]

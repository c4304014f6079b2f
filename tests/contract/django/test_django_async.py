"""The asynchronous methods: natively on the event loop, one cache with the synchronous ones."""

import asyncio
import contextvars
import threading

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache.backends.base import BaseCache
from twotier.django import TwoTierCache, UncacheableError
from waiting import PATIENCE, wait_for


def test_requests_at_once_each_have_a_backend_and_all_one_cache(caches_of, location, namespace):
    """As under ASGI: each request is a task with a context of its own, and awaits while others go on."""
    caches = caches_of(location, default={"OPTIONS": {"namespace": namespace, "timeout": 2, "max_staleness": 8}})
    backends, loads = set(), []

    async def page():
        loads.append(1)
        await asyncio.sleep(0.01)
        return "page"

    async def view(number):
        cache = caches["default"]
        backends.add(cache)
        await cache.aset(f"user-{number}", {"number": number})
        assert await cache.aget_or_set("page", page) == "page"
        assert await cache.aget(f"user-{number}") == {"number": number}
        assert await cache.aget_many([f"user-{number}", "nobody"]) == {f"user-{number}": {"number": number}}
        assert await sync_to_async(cache.get)(f"user-{number}") == {"number": number}
        await cache.aclose()
        return number

    async def serve():
        tasks = [asyncio.create_task(view(number), context=contextvars.Context()) for number in range(50)]
        return await asyncio.gather(*tasks)

    assert asyncio.run(serve()) == list(range(50))
    assert len(backends) == 50
    assert loads == [1]
    assert caches["default"].get("user-7") == {"number": 7}


def test_nothing_but_defaults_leaves_the_loop(cache, monkeypatch):
    """No method runs on another thread; a default that is no coroutine function does, as it may use the database."""
    left, leave = [], asyncio.BaseEventLoop.run_in_executor

    def counted(loop, executor, function, *arguments):
        left.append(function)
        return leave(loop, executor, function, *arguments)

    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", counted)

    async def use():
        for number in range(10):
            await cache.aset("key", number)
            await cache.aget("key")
            await cache.ahas_key("key")
            await cache.aincr("key")
        assert not left
        assert await cache.aget_or_set("made", threading.get_ident) != threading.get_ident()
        assert len(left) == 1

    asyncio.run(use())


def test_a_view_in_a_thread_may_await(cache):
    """`async_to_sync`, as Django calls asynchronous middleware from a synchronous worker."""
    async_to_sync(cache.aset)("key", 1)
    assert async_to_sync(cache.aget)("key") == 1
    assert async_to_sync(cache.aget_or_set)("other", lambda: 2) == 2
    assert cache.get("other") == 2


def test_errors_are_those_of_the_twins(cache):
    """What can't be stored, what isn't there."""

    async def use():
        with pytest.raises(UncacheableError):
            await cache.aset("bad", threading.Lock())
        with pytest.raises(UncacheableError):
            await cache.aadd("bad", threading.Lock())
        with pytest.raises(UncacheableError):
            await cache.aget_or_set("bad", threading.Lock)
        assert await cache.aset_many({"good": 1, "bad": threading.Lock()}) == ["bad"]
        assert await cache.aget("good") == 1
        with pytest.raises(ValueError, match="not found"):
            await cache.adecr("nothing")

    asyncio.run(use())


def test_a_cancelled_request_fails_no_other(cache):
    """A client that goes away while its page is made leaves the others waiting for nothing."""

    async def use():
        began = asyncio.Event()

        async def never():
            began.set()
            await asyncio.Event().wait()

        gone = asyncio.create_task(cache.aget_or_set("page", never))
        await began.wait()
        other = asyncio.create_task(cache.aget_or_set("page", lambda: "page"))
        await asyncio.sleep(0)
        gone.cancel()
        assert await asyncio.wait_for(other, PATIENCE) == "page"

    asyncio.run(use())
    wait_for(lambda: cache.get("page") == "page", "the page is there")


def test_every_method_that_awaits_is_our_own():
    """None is left to the base class's detour over a thread, but those that it builds of others of ours."""
    built = {"aincr_version", "adecr_version", "aclose"}
    methods = {name for name, method in vars(BaseCache).items() if asyncio.iscoroutinefunction(method)}
    assert methods - built <= {name for kind in TwoTierCache.__mro__[:-2] for name in vars(kind)}

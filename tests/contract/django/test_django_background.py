"""Loads that the backend runs elsewhere than in the request: in its language, on connections that are looked after."""

import asyncio
import threading

import pytest
from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections, transaction
from django.utils import timezone, translation
from waiting import wait_for

from twotier.clock import ManualClock

WINDOW = {"stale_while_revalidate": 60, "stale_ttl": 60}


@pytest.fixture
def lapsing(caches_of, namespace):
    """A backend whose values are loaded again in the background, and a call that lets them lapse."""
    clock = ManualClock()
    cache = caches_of("", default={"OPTIONS": {"namespace": namespace, "clock": clock, **WINDOW}})["default"]

    def lapse():
        cache.set("key", "old", 1)
        clock.advance(2)

    return cache, lapse


def loaded(cache):
    """Wait until another value than the old one is there, and return it."""
    wait_for(lambda: cache.get("key", "old") != "old", "the key is loaded")
    return cache.get("key")


async def until(condition):
    """Wait for a condition, as long as the test is let."""
    while not condition():  # noqa: ASYNC110 - told by nobody
        await asyncio.sleep(0.001)


def test_the_language_of_the_request(lapsing):
    """What is loaded again in the background is in the caller's language and time zone."""
    cache, lapse = lapsing

    def load():
        return [translation.get_language(), timezone.get_current_timezone_name(), threading.current_thread().name]

    for language in ("de", "en", "fr"):
        lapse()
        with translation.override(language), timezone.override("Europe/Berlin"):
            assert cache.get_or_set("key", load) == "old"
        assert loaded(cache) == [language, "Europe/Berlin", "twotier-background"]


def test_the_language_of_a_task(lapsing):
    """So is what a task loads again, by a function or a coroutine function."""
    cache, lapse = lapsing

    async def aload():
        return await sync_to_async(translation.get_language)()

    async def use(load):
        with translation.override("de"):
            assert await cache.aget_or_set("key", load) == "old"
        await until(lambda: cache.get("key", "old") != "old")
        return await cache.aget("key")

    for load in (translation.get_language, aload):
        lapse()
        assert asyncio.run(asyncio.wait_for(use(load), 20)) == "de"


def test_connections_are_closed_when_they_have_had_their_time(lapsing):
    """With CONN_MAX_AGE=0 a background load leaves no connection open, and a broken one is replaced by the next."""
    cache, lapse = lapsing
    seen = []

    def load():
        connection = connections["file"]
        connection.ensure_connection()
        seen.append((connection, connection.connection))
        return len(seen)

    for count in range(1, 4):
        lapse()
        cache.get_or_set("key", load)
        assert loaded(cache) == count
        connection, opened = seen[-1]
        wait_for(lambda connection=connection: connection.connection is None, "the connection is closed")
        assert opened not in [earlier for _, earlier in seen[:-1]]


def test_a_broken_connection_breaks_no_later_load(lapsing, monkeypatch):
    """A connection that stays open by its age, and breaks, is dropped before the next background load."""
    cache, lapse = lapsing
    monkeypatch.setitem(connections.settings["file"], "CONN_MAX_AGE", None)
    broken = []

    def load():
        connection = connections["file"]
        connection.ensure_connection()
        if connection.connection in broken:
            raise AssertionError("the broken connection is used again")
        if not broken:
            broken.append(connection.connection)
            connection.errors_occurred = True
            monkeypatch.setattr(connection, "is_usable", lambda: connection.connection not in broken)
        return "loaded"

    for _ in range(3):
        lapse()
        cache.get_or_set("key", load)
        assert loaded(cache) == "loaded"


def test_tasks_that_outlive_their_request_load_all_the_same(lapsing):
    """A request's thread for synchronous calls ends with it; the load goes on, on connections that are looked after."""
    cache, lapse = lapsing
    seen = []

    def load():
        connection = connections["file"]
        connection.ensure_connection()
        seen.append(connection)
        return "loaded"

    async def aload():
        return await sync_to_async(load)()

    async def use(default):
        over = asyncio.Event()

        async def late():
            await over.wait()
            result = default()
            return await result if asyncio.iscoroutine(result) else await sync_to_async(load)()

        async with ThreadSensitiveContext():
            await sync_to_async(threading.get_ident)()
            assert await cache.aget_or_set("key", late) == "old"
        over.set()
        await until(lambda: cache.get("key", "old") != "old")
        await until(lambda: seen[-1].connection is None)
        return await cache.aget("key")

    for default in (aload, lambda: None):
        lapse()
        assert asyncio.run(asyncio.wait_for(use(default), 20)) == "loaded"


@pytest.mark.parametrize(
    "policy",
    [{"hard_timeout": 5}, {"soft_timeout": 0.001, "stale_ttl": 60}, WINDOW, {"early_refresh": 10_000.0}],
    ids=str,
)
@pytest.mark.parametrize("call", ["get_or_set", "refresh", "many", "cached"])
def test_a_transaction_is_not_left(caches_of, namespace, policy, call):
    """Inside of atomic() a load runs on the caller's thread, whatever timeouts are set; outside they count."""
    clock = ManualClock()
    cache = caches_of("", default={"OPTIONS": {"namespace": namespace, "clock": clock, **policy}})["default"]
    name = cache.make_key("key")

    def load(*_):
        return {name: threading.get_ident()} if call == "many" else threading.get_ident()

    ask = {
        "get_or_set": lambda: cache.get_or_set("key", load, 100),
        "refresh": lambda: cache.cache.refresh(name, threading.get_ident, 100),
        "many": lambda: cache.cache.get_or_set_many([name], load, 100)[name],
        "cached": cache.cache.cached(100, name, ignore=["_"])(load),
    }[call]
    with transaction.atomic(using="file"):
        assert ask() == threading.get_ident()
        clock.advance(101)
        assert ask() == threading.get_ident()
    if "hard_timeout" in policy and call != "refresh":
        clock.advance(101)
        assert ask() != threading.get_ident()


def test_a_call_that_asks_for_a_timeout_itself(caches_of, namespace):
    """The same holds for calls of the cache behind with a policy of their own, with and without a transaction."""
    cache = caches_of("", default={"OPTIONS": {"namespace": namespace}})["default"].cache
    with transaction.atomic(using="file"):
        assert cache.get_or_set("within", threading.get_ident, hard_timeout=5) == threading.get_ident()
    assert cache.get_or_set("without", threading.get_ident, hard_timeout=5) != threading.get_ident()
    assert cache.get_or_set("plain", threading.get_ident) == threading.get_ident()

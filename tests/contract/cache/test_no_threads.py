"""Where no thread can be started: calls go on without, and services start once there are threads again."""

import asyncio
import subprocess
import sys
import threading

import pytest
from waiting import PATIENT, live, wait_for

from twotier import AsyncCache, Cache, WriteBehind
from twotier import worker as worker_module


@pytest.fixture
def threads(monkeypatch):
    """Switches the starting of threads off and on: `threads(False)`, `threads(True)`."""
    start = threading.Thread.start

    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(worker_module, "RETRY", 0.001)

    def switch(on):
        monkeypatch.setattr(threading.Thread, "start", start if on else refuse)

    return switch


@pytest.fixture
def make(own_server, namespace):
    """Makes caches on one server, closed at the end."""
    caches = []

    def make(**settings):
        cache = Cache(own_server.url, namespace=namespace, **settings)
        caches.append(cache)
        return cache

    yield make
    for cache in caches:
        cache.close()


def test_an_outage_that_begins_without_threads_ends_with_them(make, own_server, threads):
    """Reads, writes and loads raise nothing while the server is lost; once threads can be had, all is as before."""
    cache = make()
    wait_for(lambda: live(cache), "the link is live")
    cache.set("key", "old")
    threads(False)
    own_server.kill()
    wait_for(lambda: cache.get("nothing") is None and cache.health().breaker != "closed", "the breaker is open")
    for _ in range(5):
        assert cache.get("key") == "old"
        assert cache.get_or_set("loaded", lambda: "value") == "value"
    cache.set("key", "new")
    assert cache.health().journal
    own_server.start()
    threads(True)
    wait_for(lambda: cache.get("nothing") is None and cache.health().breaker == "closed", "the breaker is closed")
    wait_for(lambda: live(cache) and not cache.health().journal, "the write is settled")


def test_a_cache_that_is_made_without_threads_works(make, threads):
    """Connections are opened by the callers themselves, and loads with a limit run in the foreground."""
    threads(False)
    cache = make(**PATIENT, audit_interval=60)
    cache.set("key", "value")
    cache._namespace.store.clear()
    assert cache.get("key") == "value"
    assert cache.incr("number") == 1
    assert cache.get_or_set("loaded", lambda: "value", hard_timeout=10) == "value"
    assert cache.health().breaker == "closed"
    assert cache.health().link != "live"
    threads(True)
    wait_for(lambda: live(cache), "the link is live")
    # The next call, or the next round of a service that runs, starts what found no thread.
    wait_for(lambda: cache.get("key") and cache._namespace._audit._worker.thread is not None, "the audit runs")


def test_what_is_served_stale_is_reloaded_later(threads):
    """A reload in the background that finds no thread is left out, and made by a later reader."""
    with Cache(ttl=0.05, stale_while_revalidate=60) as cache:
        cache.set("key", "old")
        threads(False)
        time_is_over(cache)
        assert cache.get_or_set("key", lambda: "new") == "old"
        threads(True)
        wait_for(lambda: cache.get_or_set("key", lambda: "new") == "new", "it is loaded")


def time_is_over(cache):
    """Wait until the key has expired."""
    wait_for(lambda: cache.ttl("key") == 0.0, "it has expired")


def test_a_write_behind_drains_once_there_are_threads(make, threads):
    """One that was made when there were none starts with the next call of anything."""
    written = {}

    class Writer:
        def write(self, values):
            written.update(values)

        def delete(self, keys):
            pass

    cache = make(**PATIENT)
    threads(False)
    behind = WriteBehind(cache, Writer(), trust_server=True)
    behind.set("key", 1)
    threads(True)
    wait_for(lambda: cache.get("nothing") is None and written == {"key": 1}, "it is written")
    behind.close()


@pytest.mark.parametrize("on", [True, False], ids=["threads", "none"])
def test_close_always_closes(own_server, namespace, threads, on):
    """Also where no thread can be started, and where the executor of asyncio's own is gone."""

    async def scene():
        cache = AsyncCache(own_server.url, namespace=namespace, **PATIENT)
        await cache.set("key", 1)
        asyncio.get_running_loop().set_default_executor(Ended())
        threads(on)
        try:
            await cache.close()
        finally:
            threads(True)
        assert cache._namespace.closed
        assert not cache._namespace.topology.pool()._channels

    asyncio.run(scene())


class Ended(asyncio.base_events.concurrent.futures.ThreadPoolExecutor):
    """An executor whose interpreter is ending."""

    def submit(self, *_, **__):
        raise RuntimeError("cannot schedule new futures after interpreter shutdown")


@pytest.mark.parametrize("way", ["collected", "closed"])
def test_followers_of_a_load_that_was_dropped_load_themselves(way):
    """They don't hear of the loop that the collector had no use of."""
    with Cache() as cache:
        loading = cache.aio.get_or_set("key", forever)

        async def begin():
            loading.send(None)

        asyncio.run(begin())
        results = []
        follower = threading.Thread(target=lambda: results.append(cache.get_or_set("key", lambda: "loaded")))
        follower.start()
        if way == "collected":
            del loading
        else:
            loading.close()
        follower.join(20)
        assert results == ["loaded"]


async def forever():
    """Load without end."""
    await asyncio.Event().wait()


REFUSED = """
import threading

start = threading.Thread.start


def refuse(thread):
    if not threading.main_thread().is_alive():
        raise RuntimeError("can't create new thread at interpreter shutdown")
    start(thread)


threading.Thread.start = refuse
"""

AT_EXIT = """
import atexit, os, sys, threading, time
from twotier import Cache

cache = Cache(sys.argv[1], namespace=sys.argv[2], timeout=2.0, max_staleness=8.0)
other = Cache(sys.argv[1], namespace=sys.argv[2] + "-other", timeout=2.0, max_staleness=8.0)
cache.set("key", 1)


def late():
    for each in (cache, other):  # `other` connects for the first time
        each.set("late", 2)
        each._namespace.store.clear()
        assert each.get("late") == 2, each.get("late")
        assert each.get_or_set("loaded", lambda: 3, hard_timeout=10) == 3
        each.incr("number")
        each.delete("late")
        assert each.get("late") is None
        each.close()
    print("done", flush=True)


if sys.argv[3] == "atexit":
    atexit.register(late)
else:

    def beyond():
        threading.main_thread().join()
        late()

    threading.Thread(target=beyond).start()
"""


@pytest.mark.parametrize("when", ["atexit", "thread"])
@pytest.mark.parametrize("refused", [False, True], ids=["as here", "as from 3.12 on"])
def test_calls_while_the_interpreter_ends(server, namespace, when, refused):
    """They do what they always do, in handlers of `atexit` and in threads that outlive the main one."""
    script = (REFUSED if refused else "") + AT_EXIT
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, server.url, namespace, when],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)

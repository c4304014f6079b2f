"""The sweeper: expired entries leave stores that have gone quiet."""

import gc
import threading

from waiting import wait_for

from twotier import Cache, LocalCache
from twotier.clock import NEVER, SECOND, ManualClock
from twotier.local import Store
from twotier.local.sweeper import Sweeper


def test_what_has_expired_leaves_without_reads_or_writes():
    """A million nanoseconds past their ttl, ten thousand entries are gone from a store that nobody touches."""
    clock = ManualClock()
    store = Store(20_000, clock=clock)
    store.renew(NEVER)
    for number in range(10_000):
        store.put(number, number, expires=clock.now() + SECOND)
    Sweeper(0.01).watch(store)
    clock.advance(2)
    wait_for(lambda: len(store) == 0, "the store is empty")
    assert store.counters()["expirations"] == 10_000


def test_it_ends_with_the_last_store():
    """A sweeper without stores keeps no thread, and starts again with the next store."""
    sweeper = Sweeper(0.01)
    for _ in range(2):
        store = Store(10)
        sweeper.watch(store)
        thread = sweeper._worker.thread
        assert thread.is_alive()
        del store
        gc.collect()
        wait_for(lambda thread=thread: not thread.is_alive(), "the thread has ended")


def test_caches_are_swept():
    """A LocalCache with a ttl, and a Cache, are watched by the process's one sweeper."""
    with Cache() as cache:
        local = LocalCache(ttl=0.05)
        local["key"] = 1
        cache.set("key", 1, ttl=0.05)
        wait_for(lambda: not len(local) and not cache.stats().entries, "both are empty")
        assert sum(thread.name == "twotier-sweeper" for thread in threading.enumerate()) == 1

"""Stale copies in place of waiting: while revalidating, past a timeout, on an error, over the cap."""

import logging

import pytest
from sources import Source, on_thread
from waiting import wait_for

from twotier import Cache, LoadShed, LoadTimeout, TwoTierError
from twotier.clock import ManualClock


@pytest.fixture
def clock():
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture(params=["local-only", "two-tier"])
def lapse(request, make, namespace):
    """Makes a cache in each mode, and a way to let the 10 s (two-tier: 20 ms) pass for which keys live."""
    if request.param == "two-tier":

        def make_two_tier(**options):
            cache = make(jitter=0, ttl=0.02, **options)

            def gone(key):
                wait_for(lambda: cache.ttl(key) == 0.0 and cache.get(key) is None, "the key has expired")

            return cache, gone

        yield make_two_tier
        return
    clock, caches = ManualClock(), []

    def make_local(**options):
        cache = Cache(namespace=namespace, clock=clock, ttl=10, **options)
        caches.append(cache)
        return cache, lambda key: clock.advance(10)  # noqa: ARG005 - every key

    yield make_local
    for cache in caches:
        cache.close()


def test_lapsed_value_is_served_while_it_is_loaded_again(lapse):
    """Past its expiry a key is served at once, and loaded by one in the background."""
    cache, pass_time = lapse(stale_while_revalidate=30)
    source = Source()
    assert cache.get_or_set("key", source) == 1
    pass_time("key")
    source.go.clear()
    source.began.clear()
    assert [cache.get_or_set("key", source) for _ in range(5)] == [1] * 5
    assert source.began.wait(30)
    assert len(source.calls) == 2
    assert cache.stats().stale_while_revalidating == cache.stats().stale_served == 5
    source.go.set()
    wait_for(lambda: cache.get_or_set("key", source) >= 2, "the new value is served")


def test_values_that_lapsed_long_ago_are_not_served(clock):
    """Past the window, callers wait for the load, as without."""
    with Cache(clock=clock) as cache:
        source = Source()
        assert cache.get_or_set("key", source, 10, stale_while_revalidate=5) == 1
        clock.advance(14.9)
        assert cache.get_or_set("key", lambda: "later", 10, stale_while_revalidate=5) == 1
        wait_for(lambda: cache.get("key") == "later", "it was revalidated")
        clock.advance(15)
        assert cache.get_or_set("key", source, 10, stale_while_revalidate=5) == 2


@pytest.mark.parametrize("end", ["delete", "invalidate", "clear"])
def test_what_was_invalidated_is_not_served_while_revalidating(lapse, end):
    """Only time may have ended what is served."""
    cache, pass_time = lapse(stale_while_revalidate=30)
    source = Source()
    cache.get_or_set("key", source)
    pass_time("key")
    {"delete": lambda: cache.delete("key"), "invalidate": lambda: cache.invalidate("key"), "clear": cache.clear}[end]()
    assert cache.get_or_set("key", source) == 2


def test_invalidation_elsewhere_ends_revalidation(make):
    """What another process has deleted isn't served while revalidating, once that was heard of."""
    cache, other = make(stale_while_revalidate=30, ttl=0.02, jitter=0), make()
    cache.get_or_set("key", lambda: "old")
    wait_for(lambda: cache.get("key") is None, "the key has expired")
    other.set("key", "new")
    other.delete("key")
    wait_for(lambda: cache._namespace.store.op("key") is None, "the message has come")
    assert cache.get_or_set("key", lambda: "loaded") == "loaded"


def test_failing_revalidation_is_logged_and_held_off(clock, caplog):
    """A background load that raises is logged and counted, nobody else is told, and the next one waits a second."""
    with Cache(clock=clock, ttl=10, stale_while_revalidate=30) as cache:
        source = Source()
        cache.get_or_set("key", source)
        source.error = ZeroDivisionError("the source")
        clock.advance(10)
        with caplog.at_level(logging.WARNING, "twotier"):
            assert cache.get_or_set("key", source) == 1
            wait_for(lambda: cache.stats().load_errors == 1 and not cache._namespace.attempts._under_way, "it failed")
        assert "a load in the background failed: ZeroDivisionError('the source')" in caplog.text
        assert [cache.get_or_set("key", source) for _ in range(3)] == [1] * 3
        assert len(source.calls) == 2
        clock.advance(1)
        source.error = None
        cache.get_or_set("key", source)
        wait_for(lambda: cache.get("key") == 3, "it was loaded again")


def test_loader_that_exits_in_the_background_stops_nobody(clock):
    """SystemExit in a background load ends that load alone."""
    with Cache(clock=clock, ttl=10, stale_while_revalidate=30) as cache:
        source = Source()
        cache.get_or_set("key", source)
        source.error = SystemExit()
        clock.advance(10)
        assert cache.get_or_set("key", source) == 1
        wait_for(lambda: not cache._namespace.attempts._under_way, "it ended")
        assert cache._namespace.load_gate.enter_at_once() is not None


def test_slow_loader_is_not_waited_for_where_there_is_a_stale_copy(lapse):
    """Past soft_timeout callers get the stale copy, whoever leads; what is loaded then reaches the cache."""
    cache, pass_time = lapse(soft_timeout=0.01)
    source = Source()
    cache.set("key", "stale")
    pass_time("key")
    source.go.clear()
    source.began.clear()
    assert cache.get_or_set("key", source, 100) == "stale"
    assert cache.get_or_set("key", source, 100) == "stale"
    assert source.began.wait(30)
    assert len(source.calls) == 1
    assert cache.stats().load_timeouts == 2
    source.go.set()
    wait_for(lambda: cache.get("key") == 1, "what was loaded is there")


def test_without_a_stale_copy_a_slow_loader_is_waited_for(cache):
    """soft_timeout alone changes nothing where there is nothing else to serve."""
    source = Source(free=False)
    thread, results = on_thread(cache.get_or_set, "key", source, soft_timeout=0.01)
    assert source.began.wait(30)
    follower, followed = on_thread(cache.get_or_set, "key", source, soft_timeout=0.01)
    source.go.set()
    thread.join(30)
    follower.join(30)
    assert (results, followed) == ([1], [1])


def test_callers_give_up_past_hard_timeout_and_the_load_goes_on(cache):
    """A LoadTimeout for who leads and who follows; the result is stored all the same, of one call of the loader."""
    source = Source(free=False)
    for _ in range(2):
        with pytest.raises(LoadTimeout, match=r"the loader of 'key' took longer than hard_timeout \(0.01 s\)"):
            cache.get_or_set("key", source, hard_timeout=0.01)
    assert cache.stats().load_timeouts == 2
    source.go.set()
    wait_for(lambda: cache.get("key") == 1, "what was loaded is there")
    assert len(source.calls) == 1
    assert issubclass(LoadTimeout, TimeoutError)


def test_loaders_own_timeout_is_its_own(cache):
    """A loader that raises TimeoutError within the time is an error like any other."""

    def loader():
        raise TimeoutError("the source's")

    for policy in ({}, {"hard_timeout": 30}, {"soft_timeout": 10}):
        with pytest.raises(TimeoutError, match="the source's"):
            cache.get_or_set("key", loader, **policy)
    assert cache.stats().load_timeouts == 0


def test_own_key_is_refused_in_the_background_too(cache):
    """A loader on a thread of the cache's that asks for its own key is told so, rather than waiting for itself."""
    with pytest.raises(TwoTierError, match="wait for itself"):
        cache.get_or_set("key", lambda: cache.get_or_set("key", lambda: 1), hard_timeout=30)


def test_loads_within_loads_find_threads(plain):
    """Loaders that wait for loads with timeouts of their own don't take each other's threads."""

    def deep(level):
        return plain.get_or_set(f"key {level}", lambda: deep(level - 1) if level else "bottom", hard_timeout=30)

    assert deep(40) == "bottom"


def test_loads_that_queue_keep_no_thread_from_the_load_that_they_queue_for():
    """A loader with the only place finds a thread for what it loads, though others wait for that place on threads."""
    with Cache(max_concurrent_loads=1) as cache:
        source = Source(free=False)

        def loader():
            source()
            return cache.get_or_set("inner", lambda: "loaded", hard_timeout=20)

        outer, results = on_thread(cache.get_or_set, "outer", loader)
        assert source.began.wait(30)
        queued, waited = on_thread(cache.get_or_set, "queued", lambda: "in turn", hard_timeout=60)
        wait_for(lambda: len(cache._namespace.background._threads) == 1, "it waits on a thread")
        source.go.set()
        outer.join(30)
        queued.join(30)
        assert (results, waited) == (["loaded"], ["in turn"])


def test_failing_loader_is_covered_by_the_stale_copy(lapse, caplog):
    """With stale_on_error callers get what there was, counted and logged; for a second the loader is let alone."""
    cache, pass_time = lapse(stale_on_error=True)
    source = Source()
    assert cache.get_or_set("key", source) == 1
    pass_time("key")
    source.error = ZeroDivisionError("the source")
    with caplog.at_level(logging.WARNING, "twotier"):
        assert [cache.get_or_set("key", source) for _ in range(3)] == [1] * 3
    assert len(source.calls) == 2
    assert (cache.stats().stale_on_error, cache.stats().load_errors) == (3, 1)
    assert caplog.text.count("stale copies are served: ZeroDivisionError('the source')") == 1
    with pytest.raises(ZeroDivisionError):
        cache.get_or_set("key without a copy", source)


def test_the_loader_is_asked_again_after_a_moment(clock):
    """The back-off lasts a second; after that, one caller tries."""
    with Cache(clock=clock, ttl=10, stale_on_error=True) as cache:
        source = Source()
        cache.get_or_set("key", source)
        clock.advance(10)
        source.error = ZeroDivisionError()
        assert cache.get_or_set("key", source) == 1
        source.error = None
        clock.advance(0.9)
        assert cache.get_or_set("key", source) == 1
        clock.advance(0.1)
        assert cache.get_or_set("key", source) == 3


def test_hard_timeout_is_covered_by_stale_on_error(lapse):
    """A loader that takes too long counts as one that fails."""
    cache, pass_time = lapse(stale_on_error=True, hard_timeout=0.01)
    cache.set("key", "stale")
    pass_time("key")
    source = Source(free=False)
    assert cache.get_or_set("key", source) == "stale"
    source.go.set()


def test_stale_copies_are_kept_without_a_server_only_where_they_are_asked_for(clock):
    """Without a remote tier an expired entry leaves, unless the cache or the load may serve it stale."""
    with Cache(clock=clock, ttl=10, when_busy="stale") as cache:
        cache.get_or_set("plain", lambda: 1)
        cache.get_or_set("asked for", lambda: 1, stale_on_error=True)
        clock.advance(11)
        cache._namespace.store.expire()
        assert len(cache._namespace.store) == 1
    with Cache(clock=clock, ttl=10, soft_timeout=1, stale_ttl=60) as cache:
        cache.set("set", 1)
        cache.add("added", 1)
        cache.incr("counted")
        clock.advance(11)
        cache._namespace.store.expire()
        assert len(cache._namespace.store) == 3
        clock.advance(60)
        cache._namespace.store.expire()
        assert len(cache._namespace.store) == 0


@pytest.mark.parametrize("when_busy", ["wait", "stale", "shed"])
def test_over_the_cap(lapse, when_busy):
    """Callers over the cap wait, or get the stale copy, or are refused, as they ask."""
    cache, pass_time = lapse(max_concurrent_loads=1, stale_on_error=True)
    cache.set("key", "stale")
    pass_time("key")
    busy = Source(free=False)
    holder, _ = on_thread(cache.get_or_set, "other", busy)
    assert busy.began.wait(30)
    thread, results = on_thread(cache.get_or_set, "key", lambda: "loaded", when_busy=when_busy)
    if when_busy == "wait":
        wait_for(lambda: cache._namespace.load_gate.queued, "it queues")
        assert not results
        busy.go.set()
        thread.join(30)
        assert results == ["loaded"]
    else:
        thread.join(30)
        if when_busy == "stale":
            assert results == ["stale"]
        else:
            assert isinstance(results[0], LoadShed)
            assert "1 loaders run already" in str(results[0])
            assert cache.stats().loads_shed == 1
        busy.go.set()
    holder.join(30)
    assert cache.get_or_set("key", lambda: "loaded", when_busy="shed") in {"loaded", "stale"}


def test_closed_cache_loads_nothing(cache):
    """After close, loads say so, in the background as well."""
    cache.close()
    for policy in ({}, {"hard_timeout": 1}, {"stale_while_revalidate": 1}):
        with pytest.raises(TwoTierError, match="closed"):
            cache.get_or_set("key", lambda: 1, **policy)
    with pytest.raises(TwoTierError, match="closed"):
        cache.refresh("key", lambda: 1)
    with pytest.raises(TwoTierError, match="closed"):
        cache.get_or_set_many(["key"], lambda keys: dict.fromkeys(keys, 1))

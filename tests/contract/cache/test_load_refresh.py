"""`refresh`: loads now, whatever is there, and replaces it in both tiers."""

import threading

import pytest
from sources import Source, on_thread
from waiting import wait_for

from twotier import NOT_FOUND, Cache, LoadShed, LoadTimeout, TwoTierError


def test_refresh_replaces_what_is_there(cache):
    """Fresh or missing, the key is loaded; later reads see the result."""
    source = Source()
    assert [cache.refresh("key", source) for _ in range(3)] == [1, 2, 3]
    assert cache.get("key") == 3
    cache.set("key", "set")
    assert cache.refresh("key", source, ttl=None) == 4
    assert (cache.get("key"), cache.ttl("key")) == (4, None)


def test_refresh_reaches_other_processes(make):
    """Processes that hold the old value hear of the new one."""
    one, other = make(), make()
    one.set("key", "old")
    assert other.get("key") == "old"
    one.refresh("key", lambda: "new")
    wait_for(lambda: other.get("key") == "new", "the new value is seen")


@pytest.mark.parametrize(
    ("write", "stands"),
    [
        (lambda cache: cache.set("key", "written"), "written"),
        (lambda cache: cache.incr("count") and cache.set("key", "written"), "written"),
        (lambda cache: cache.delete("key"), None),
        (lambda cache: cache.invalidate("key"), None),
    ],
    ids=["set", "incr", "delete", "invalidate"],
)
@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_overtaken_refresh_is_stored_nowhere(make, write, stands, elsewhere):
    """A write or a delete while the loader runs wins."""
    loading, judge = make(), make(local_ttl=0.001)
    writing = make() if elsewhere else loading
    loading.set("key", "old")
    assert loading.refresh("key", lambda: (write(writing) and None) or "loaded") == "loaded"
    assert judge.get("key") == stands
    wait_for(lambda: loading.get("key") == stands, "the message of the write has come")


def test_overtaken_refresh_without_a_server(cache):
    """The same in every mode."""
    cache.set("key", "old")
    assert cache.refresh("key", lambda: cache.set("key", "written") or "loaded") == "loaded"
    assert cache.get("key") == "written"
    assert cache.refresh("key", lambda: cache.delete("key") and "loaded") == "loaded"
    assert cache.get("key") is None


def test_refreshes_share_a_load(cache):
    """A refresh joins one that is under way, and so does a caller who misses the key."""
    source = Source(free=False)
    first, got_first = on_thread(cache.refresh, "key", source)
    assert source.began.wait(30)
    second, got_second = on_thread(cache.refresh, "key", lambda: pytest.fail("loaded"))
    third, got_third = on_thread(cache.get_or_set, "key", lambda: pytest.fail("loaded"))
    source.go.set()
    for thread in (first, second, third):
        thread.join(30)
    assert got_first == got_second == got_third == [1]


def test_a_refresh_under_way_elsewhere_is_joined(make):
    """Across processes one loads; the others take what it stored, though they had a value before."""
    one, other = make(), make()
    one.set("key", "old")
    source, mine = Source(free=False), Source()
    first, got_first = on_thread(one.refresh, "key", source)
    assert source.began.wait(30)
    second, got_second = on_thread(other.refresh, "key", mine)
    wait_for(lambda: other._namespace.flights._flights, "it is under way")
    source.go.set()
    first.join(30)
    second.join(30)
    assert (got_first, got_second, len(mine.calls)) in (([1], [1], 0), ([1], [1], 1))


def test_a_refresh_that_fails_elsewhere_is_done_here(make):
    """When the process that loads fails, who waited for it loads."""
    one, other = make(), make()
    one.set("key", "old")
    source = Source(free=False)
    source.error = ZeroDivisionError()
    first, got_first = on_thread(one.refresh, "key", source)
    assert source.began.wait(30)
    second, got_second = on_thread(other.refresh, "key", lambda: "mine")
    source.go.set()
    first.join(30)
    second.join(30)
    assert isinstance(got_first[0], ZeroDivisionError)
    assert got_second == ["mine"]
    assert one.get("key") in {"old", "mine"}


def test_failed_refresh_leaves_what_is_there(cache):
    """What the loader raises comes out, whatever stale copies may do elsewhere, and the old value stays."""
    cache.set("key", "old")
    with pytest.raises(ZeroDivisionError):
        cache.refresh("key", lambda: 1 / 0, stale_on_error=True)
    assert cache.get("key") == "old"


def test_refresh_of_what_is_gone(cache):
    """When the source has nothing, the old value leaves, and with negative_ttl that is remembered."""
    cache.set("key", "old")
    assert cache.refresh("key", lambda: NOT_FOUND) is NOT_FOUND
    assert "key" not in cache
    cache.set("key", "old")
    assert cache.refresh("key", lambda: NOT_FOUND, negative_ttl=60) is NOT_FOUND
    assert "key" not in cache
    assert cache.get_or_set("key", lambda: pytest.fail("loaded")) is NOT_FOUND
    assert cache.refresh("key", lambda: "back", negative_ttl=60) == "back"
    assert cache.get_or_set("key", lambda: pytest.fail("loaded")) == "back"


def test_refresh_for_no_time_removes(cache):
    """With a ttl of 0 nothing is stored, as in `set`."""
    cache.set("key", "old")
    assert cache.refresh("key", lambda: "new", ttl=0) == "new"
    assert cache.get("key") is None


def test_refresh_waits_no_longer_than_it_is_told(cache):
    """hard_timeout holds for refreshes; soft_timeout doesn't, as the old value isn't what is asked for."""
    cache.set("key", "old")
    source = Source(free=False)
    with pytest.raises(LoadTimeout):
        cache.refresh("key", source, soft_timeout=0.01, hard_timeout=0.02)
    source.go.set()
    wait_for(lambda: cache.get("key") == 1, "what was loaded is there")


def test_refresh_is_under_the_cap():
    """A refresh takes a place like any load, and never the old value in its stead."""
    with Cache(max_concurrent_loads=1) as cache:
        cache.set("key", "old")
        busy = Source(free=False)
        holder, _ = on_thread(cache.get_or_set, "busy", busy)
        assert busy.began.wait(30)
        with pytest.raises(LoadShed):
            cache.refresh("key", lambda: 1, when_busy="shed")
        waiting, results = on_thread(cache.refresh, "key", lambda: "new", when_busy="stale")
        wait_for(lambda: cache._namespace.load_gate.queued, "it queues")
        busy.go.set()
        holder.join(30)
        waiting.join(30)
        assert results == ["new"]


def test_refresh_within_its_own_load_is_refused(cache):
    """A loader that refreshes its own key is told so."""
    with pytest.raises(TwoTierError, match="wait for itself"):
        cache.refresh("key", lambda: cache.refresh("key", lambda: 1))


def test_refresh_while_the_server_is_away(own_server, namespace):
    """Without a server the new value is kept here, and served here."""
    with Cache(own_server.url, namespace=namespace) as cache:
        cache.set("key", "old")
        own_server.kill()
        assert cache.refresh("key", lambda: "new") == "new"
        wait_for(lambda: cache.health().breaker != "closed" or cache.get("key") == "new", "the outage is noticed")
        assert cache.get("key") == "new"


def test_threads_refresh_and_write_at_once(make):
    """However refreshes and writes interleave, both processes end with the last write or a later load."""
    caches = [make() for _ in range(2)]
    version = [0]
    lock = threading.Lock()

    def write(cache):
        for _ in range(60):
            with lock:
                version[0] += 1
                cache.set("key", version[0])

    def refresh(cache):
        for _ in range(60):
            cache.refresh("key", lambda: version[0])

    threads = [on_thread(work, cache) for cache in caches for work in (write, refresh)]
    for thread, results in threads:
        thread.join(60)
        assert results == [None]
    wait_for(lambda: all(cache.get("key") == version[0] for cache in caches), "both have the last version")

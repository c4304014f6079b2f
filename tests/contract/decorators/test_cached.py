"""`cached` in every mode: functions that answer from the cache."""

import os
import threading

import pytest
from waiting import live, wait_for

from twotier import Cache


def test_a_function_runs_once_for_equal_calls(cache):
    """The second call is answered by the cache, with a value of its own; None is a value."""
    ran = []

    @cache.cached(ttl=60)
    def load(user_id, *, full=False):
        ran.append((user_id, full))
        return {"id": [user_id]} if user_id else None

    for _ in range(3):
        load(7)["id"].append("mine")
        assert load(7) == {"id": [7]}
        assert load(7, full=True) == {"id": [7]}
        assert load(0) is None
    assert ran == [(7, False), (7, True), (0, False)]


def test_counters(cache):
    """`cache_info` tells what became of the calls."""
    cold = cache.options.local_ttl is not None

    @cache.cached()
    def double(x):
        return 2 * x

    assert double.cache_info() == (0, 0, 0)
    for number in (1, 2, 1, 1):
        double(number)
    if cold:
        assert double.cache_info()[:2] == (2, 2)
    else:
        assert double.cache_info() == (2, 2, 2)
    assert str(double.cache_info()).startswith("CacheInfo(hits=2, misses=2, local_hits=")


def test_errors_are_not_cached(cache):
    """What the function raises is raised, as it is, and the next call runs it again."""
    errors = [KeyError("first"), ZeroDivisionError("second")]

    @cache.cached()
    def fail(x):
        if errors:
            raise errors.pop(0)
        return x

    with pytest.raises(KeyError, match="first"):
        fail(1)
    with pytest.raises(ZeroDivisionError, match="second"):
        fail(1)
    assert fail(1) == fail(1) == 1
    assert fail.cache_info()[:2] == (1, 3)


def test_functions_share_the_cache_with_its_other_callers(cache):
    """A key of a template is the cache's own: reading, writing and deleting it count."""

    @cache.cached(key="user:{user_id}")
    def load(user_id):
        return f"loaded {user_id}"

    assert load(7) == cache.get("user:7") == "loaded 7"
    cache.set("user:7", "set")
    assert load(7) == "set"
    cache.delete("user:7")
    assert load(7) == "loaded 7"
    cache.clear()
    assert load.cache_info().misses == 2
    assert load(7) == "loaded 7"
    assert load.cache_info().misses == 3


def test_another_cache_of_the_namespace_shares_results(make):
    """What one process has loaded, another reads; what one writes, the other sees."""
    ran = []
    loads = []
    caches = [make(), make()]
    for number, cache in enumerate(caches):

        def load(x, number=number):
            ran.append(number)
            return x

        loads.append(cache.cached(key="shared:{x}")(load))
    assert [load(1) for load in loads] == [1, 1]
    assert ran == [0]
    caches[0].set("shared:1", "new")
    wait_for(lambda: loads[1](1) == "new", "the other cache has heard of it")
    assert ran == [0]


def test_ttl(local):
    """Each result lives for the ttl given, or the cache's own; 0 stores nothing."""
    for ttl, least, most in ((60, 59, 60), (None, None, None), (0.5, 0.4, 0.5)):
        local.cached(ttl=ttl, key="k{x}")(lambda x: x)(1)
        left = local.ttl("k1")
        assert left is None if least is None else least < left <= most
        local.delete("k1")
    local.cached(key="k{x}")(lambda x: x)(1)
    assert 299 < local.ttl("k1") <= 300
    ran = []
    never = local.cached(ttl=0, key="never")(lambda: ran.append(1))
    never(), never()
    assert len(ran) == 2


def test_threads_load_once(cache):
    """Of threads that call alike at once, one runs the function."""
    ran, gate = [], threading.Barrier(8)

    @cache.cached()
    def load(x):
        ran.append(x)
        return [x]

    def call():
        gate.wait()
        results.append(load(1))

    results = []
    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[1]] * 8
    assert ran == [1]
    info = load.cache_info()
    assert (info.hits, info.misses) == (7, 1)


def test_a_closed_cache_says_so():
    """Calls after close raise what the cache's own do."""
    cache = Cache()
    double = cache.cached(key="{x}")(lambda x: 2 * x)
    assert double(1) == 2
    cache.close()
    with pytest.raises(Exception, match="the cache is closed"):
        double(1)


def test_a_forked_child_calls_on(make):
    """In a child the function works, and what the child loads the parent sees."""
    cache = make()
    load = cache.cached(key="k:{x}")(lambda x: [x, "loaded"])
    assert load(1) == [1, "loaded"]
    child = os.fork()
    if child == 0:
        good = load(1) == [1, "loaded"] and load(2) == [2, "loaded"]
        os._exit(0 if good else 1)
    assert os.waitpid(child, 0)[1] == 0
    wait_for(lambda: cache.get("k:2") == [2, "loaded"], "the child's result is there")
    assert load(2) == [2, "loaded"]
    assert load.cache_info().misses == 1


def test_in_an_outage(own_server, namespace):
    """Without the server, calls are answered from the local tier, and run the function otherwise."""
    with Cache(own_server.url, namespace=namespace, timeout=0.25) as cache:
        wait_for(lambda: live(cache), "the link is live")
        load = cache.cached(key="k:{x}")(lambda x: [x])
        assert load(1) == [1]
        own_server.kill()
        assert load(1) == load(1) == [1]
        assert load(2) == load(2) == [2]
        assert load.cache_info().misses == 2

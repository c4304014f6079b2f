"""Loads across processes: one loads, and what was overtaken by a write is stored nowhere."""

import threading
import time

import pytest
import redis
from waiting import wait_for


@pytest.mark.parametrize(
    ("write", "stands"),
    [
        (lambda cache: cache.set("key", "written"), "written"),
        (lambda cache: cache.set_many({"key": "written"}), "written"),
        (lambda cache: cache.add("key", "written"), "written"),
        (lambda cache: cache.incr("key"), 1),
        (lambda cache: cache.delete("key"), None),
    ],
    ids=["set", "set_many", "add", "incr", "delete"],
)
def test_overtaken_load_is_stored_nowhere(make, write, stands):
    """A write elsewhere while a loader runs voids what it loaded, whether or not its message has arrived."""
    loading, other, judge = make(), make(), make(local_ttl=0.001)

    def overtaken():
        write(other)
        return "loaded"

    for _ in range(20):
        assert loading.get_or_set("key", overtaken) == "loaded"
        assert judge.get("key") == stands
        assert loading.get("key") == stands
        loading.delete("key")


def test_load_overtaken_by_a_clear_goes_with_the_rest(make):
    """What was loaded while another process cleared is gone as soon as the clear is heard of."""
    loading, other, judge = make(), make(), make(local_ttl=0.001)
    for _ in range(10):
        assert loading.get_or_set("key", lambda: other.clear() or "loaded") == "loaded"
        wait_for(lambda: judge.get("key") is None and loading.get("key") is None, "the value is gone")


def test_processes_load_once(make):
    """Caches that miss one key together load it once; the others get what the first stored."""
    caches = [make() for _ in range(4)]
    loads, barrier = [], threading.Barrier(12)

    def loader():
        loads.append(1)
        time.sleep(0.05)  # the source's own time, not a wait for a state
        return ["loaded"]

    results = []

    def work(cache):
        barrier.wait()
        results.append(cache.get_or_set("key", loader))

    threads = [threading.Thread(target=work, args=(cache,)) for cache in caches for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [1]
    assert results == [["loaded"]] * 12


def test_failed_load_frees_the_others(make):
    """When a loader raises, its lease ends at once."""
    one, two = make(), make()
    with pytest.raises(ZeroDivisionError):
        one.get_or_set("key", lambda: 1 / 0)
    start = time.monotonic()
    assert two.get_or_set("key", lambda: 2) == 2
    assert time.monotonic() - start < 5


def test_killed_holder_holds_up_nobody_for_longer_than_its_lease(make, server, namespace):
    """A lease whose holder is gone ends by itself, and the next one loads and stores."""
    cache, other = make(load_lease=5), make()
    with redis.Redis.from_url(server.url) as client:
        generation = client.get(f"{namespace}:gen").decode()
        client.set(f"{namespace}:{generation}!key", "a holder that was killed", px=300)
        start = time.monotonic()
        assert cache.get_or_set("key", lambda: "loaded") == "loaded"
        assert 0.1 < time.monotonic() - start < 5
    wait_for(lambda: other.get("key") == "loaded", "it is stored")


def test_leases_leave_nothing_behind(make, server, namespace):
    """After a load, the server holds the value and the generation, and no lease."""
    cache = make()
    cache.get_or_set("key", lambda: 1)
    with redis.Redis.from_url(server.url) as client:
        assert not client.keys(f"{namespace}:*!*")


def test_load_with_ttl_of_zero_is_stored_nowhere(make):
    """A ttl of 0 asks for a value that nobody keeps."""
    cache = make()
    assert cache.get_or_set("key", lambda: 1, ttl=0) == 1
    assert make().get("key") is None


def test_loaders_that_need_each_other_do_not_wait_for_ever(make):
    """Two loaders that load each other's keys on two threads both end."""
    cache = make()
    barrier = threading.Barrier(2)
    results = []

    def load(mine, other):
        def loader():
            barrier.wait(10)
            return cache.get_or_set(other, lambda: f"{other} for {mine}")

        results.append(cache.get_or_set(mine, loader))

    threads = [threading.Thread(target=load, args=pair, daemon=True) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    wait_for(lambda: not any(thread.is_alive() for thread in threads), "both loads have ended")
    assert len(results) == 2

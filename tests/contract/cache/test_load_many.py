"""`get_or_set_many`: what is missing is loaded in one call, what others load is waited for."""

import pytest
import redis
from sources import Source, on_thread
from waiting import wait_for

from twotier import NOT_FOUND, Cache, LoaderError, LoadShed, LoadTimeout, TwoTierError
from twotier.clock import ManualClock
from twotier.core.access.reads import CHUNK
from twotier.core.loading.single_flight import SingleFlight


def test_missing_keys_are_loaded_in_one_call(cache):
    """What is there isn't loaded; the rest is asked for at once; results come in the order of the keys."""
    source = Source()
    cache.set("b", "there")
    assert list(cache.get_or_set_many(["c", "b", "a", "c"], source.many).items()) == [
        ("c", "c 1"),
        ("b", "there"),
        ("a", "a 1"),
    ]
    assert source.calls == [["c", "a"]]
    assert cache.get_or_set_many(["a", "b", "c"], source.many) == {"a": "a 1", "b": "there", "c": "c 1"}
    assert len(source.calls) == 1
    assert cache.get_many(["a", "b", "c"]) == {"a": "a 1", "b": "there", "c": "c 1"}
    assert cache.get_or_set_many([], source.many) == {}


def test_keys_that_the_loader_leaves_out_are_not_there(cache):
    """Keys left out, or mapped to NOT_FOUND, are absent; keys that weren't asked for are ignored."""
    loaded = {"a": 1, "b": NOT_FOUND, "other": 2}
    assert cache.get_or_set_many(["a", "b", "c"], lambda keys: loaded) == {"a": 1}  # noqa: ARG005 - always the same
    assert cache.get_many(["a", "b", "c", "other"]) == {"a": 1}


@pytest.mark.parametrize("result", [["a"], None, "ab", 7])
def test_loader_must_return_a_mapping(cache, result):
    """Anything else is refused, and said."""
    with pytest.raises(TypeError, match="must return a mapping of keys to values, got"):
        cache.get_or_set_many(["a", "b"], lambda keys: result)  # noqa: ARG005 - whatever it is asked for
    with pytest.raises(TypeError, match="keys must be an iterable of str, got one str"):
        cache.get_or_set_many("ab", lambda keys: {})  # noqa: ARG005 - not called


def test_more_keys_than_fit_in_a_trip(cache):
    """The loader is called once for any number of keys."""
    source = Source()
    keys = [f"key {number}" for number in range(2 * CHUNK + 7)]
    assert cache.get_or_set_many(keys, source.many) == {key: f"{key} 1" for key in keys}
    assert source.calls == [keys]
    assert len(cache.get_many(keys)) == len(keys)


def test_other_processes_have_what_was_loaded(make, server, namespace):
    """What one process loads in bulk reaches the server and everybody else, and no lease stays."""
    one, other = make(), make()
    source = Source()
    one.get_or_set_many(["a", "b"], source.many)
    assert other.get_or_set_many(["a", "b", "c"], source.many) == {"a": "a 1", "b": "b 1", "c": "c 2"}
    assert source.calls == [["a", "b"], ["c"]]
    assert not leases(server, namespace)


def leases(server, namespace):
    """Return the names of the leases on the server."""
    with redis.Redis.from_url(server.url) as client:
        return client.keys(f"{namespace}:*!*")


def test_keys_that_others_load_are_waited_for(cache):
    """Each key is loaded by one caller; the rest of a call's keys in one call of its loader."""
    first, second = Source(free=False), Source()
    one, got_one = on_thread(cache.get_or_set_many, ["a", "b"], first.many)
    assert first.began.wait(30)
    single, got_single = on_thread(cache.get_or_set, "b", lambda: pytest.fail("b is being loaded"))
    two, got_two = on_thread(cache.get_or_set_many, ["b", "c", "a"], second.many)
    assert second.began.wait(30)
    first.go.set()
    for thread in (one, single, two):
        thread.join(30)
    assert got_one == [{"a": "a 1", "b": "b 1"}]
    assert got_single == ["b 1"]
    assert got_two == [{"b": "b 1", "c": "c 1", "a": "a 1"}]
    assert (first.calls, second.calls) == ([["a", "b"]], [["c"]])


def test_keys_that_another_process_loads_are_waited_for(make):
    """A lease elsewhere is respected, key by key; and freed at once by a loader that raises."""
    one, other = make(), make()
    first, second, third = Source(free=False), Source(), Source()
    loading, got_one = on_thread(one.get_or_set_many, ["a", "b"], first.many)
    assert first.began.wait(30)
    thread, got_other = on_thread(other.get_or_set_many, ["b", "c"], second.many)
    assert second.began.wait(30)
    first.error = ZeroDivisionError()
    first.go.set()
    loading.join(30)
    thread.join(30)
    assert isinstance(got_one[0], ZeroDivisionError)
    assert got_other == [{"b": "b 2", "c": "c 1"}]
    assert second.calls == [["c"], ["b"]]
    assert one.get_or_set_many(["a", "b"], third.many) == {"a": "a 1", "b": "b 2"}


def test_calls_that_overlap_both_ways_end(make):
    """Two processes that each load what the other needs don't wait for each other."""
    one, other = make(), make()
    sources = Source(free=False), Source(free=False)
    first, got_first = on_thread(one.get_or_set_many, ["a"], sources[0].many)
    second, got_second = on_thread(other.get_or_set_many, ["b"], sources[1].many)
    assert all(source.began.wait(30) for source in sources)
    third, got_third = on_thread(one.get_or_set_many, ["b", "a"], lambda keys: pytest.fail(f"{keys}"))
    fourth, got_fourth = on_thread(other.get_or_set_many, ["a", "b"], lambda keys: pytest.fail(f"{keys}"))
    for source in sources:
        source.go.set()
    for thread in (first, second, third, fourth):
        thread.join(30)
    assert (got_first, got_second) == ([{"a": "a 1"}], [{"b": "b 1"}])
    assert got_third == got_fourth == [{"a": "a 1", "b": "b 1"}]


@pytest.mark.parametrize("write", ["set", "delete", "invalidate"])
def test_overtaken_keys_are_stored_nowhere_the_others_are(make, write):
    """A write of one key while the loader runs voids what was loaded for that key alone."""
    loading, other, judge = make(), make(), make(local_ttl=0.001)

    def overtaken(keys):
        if write == "set":
            other.set("b", "written")
        else:
            getattr(other, write)("b")
        return dict.fromkeys(keys, "loaded")

    for _ in range(10):
        assert loading.get_or_set_many(["a", "b", "c"], overtaken) == dict.fromkeys("abc", "loaded")
        stands = {"b": "written"} if write == "set" else {}
        assert judge.get_many(["a", "b", "c"]) == {"a": "loaded", "c": "loaded", **stands}
        assert loading.get_many(["a", "b", "c"]) == {"a": "loaded", "c": "loaded", **stands}
        loading.delete_many(["a", "b", "c"])


def test_what_one_loader_raises_is_raised(cache, monkeypatch):
    """As it is, in all who wait for one of its keys, and nothing is stored."""
    joined, join = [], SingleFlight.join

    def noted(flights, key, mine):
        flight = join(flights, key, mine)
        joined.append(key)
        return flight

    monkeypatch.setattr(SingleFlight, "join", noted)
    source = Source(free=False)
    source.error = ZeroDivisionError("the source")
    threads = [on_thread(cache.get_or_set_many, ["a", "b"], source.many)]
    assert source.began.wait(30)
    threads.append(on_thread(cache.get_or_set_many, ["b", "a"], lambda keys: pytest.fail(f"loaded {keys}")))
    threads.append(on_thread(cache.get_or_set, "a", lambda: pytest.fail("loaded")))
    wait_for(lambda: joined.count("a") == 3 and joined.count("b") == 2, "all wait for the one that loads")
    source.go.set()
    for thread, results in threads:
        thread.join(30)
        assert results == [source.error]


def test_several_loaders_errors_are_joined(cache):
    """Where the loaders of several callers have failed, a LoaderError tells of all."""
    first, second = Source(free=False), Source(free=False)
    first.error, second.error = ZeroDivisionError(), KeyError("b")
    one, _ = on_thread(cache.get_or_set, "a", first)
    two, _ = on_thread(cache.get_or_set, "b", second)
    assert first.began.wait(30)
    assert second.began.wait(30)
    flights = cache._namespace.flights
    third = Source()
    many, results = on_thread(cache.get_or_set_many, ["a", "b", "c"], third.many)
    assert third.began.wait(30)
    first.go.set()
    second.go.set()
    for thread in (one, two, many):
        thread.join(30)
    assert isinstance(results[0], LoaderError)
    assert str(results[0]) == "2 loaders failed: ZeroDivisionError, KeyError"
    assert set(results[0].__cause__.exceptions) == {first.error, second.error}
    assert cache.get("c") == "c 1"
    assert not flights._flights


def test_own_keys_are_refused(cache):
    """A bulk loader that asks for one of its own keys is told so, and frees what it had begun."""
    with pytest.raises(TwoTierError, match="the loader of 'b' asked the cache to load 'b'"):
        cache.get_or_set_many(["a", "b"], lambda keys: cache.get_or_set_many(["x", keys[1]], dict.fromkeys))
    assert not cache._namespace.flights._flights
    assert cache.get_or_set_many(["a", "b", "x"], lambda keys: dict.fromkeys(keys, 1)) == {"a": 1, "b": 1, "x": 1}


def test_interrupted_bulk_is_taken_over(plain):
    """When a bulk load is interrupted, those who wait for its keys load for themselves."""
    source = Source(free=False)
    source.error = KeyboardInterrupt()
    leader, stopped = on_thread(plain.get_or_set_many, ["a", "b"], source.many)
    assert source.began.wait(30)
    mine = Source()
    follower, followed = on_thread(plain.get_or_set_many, ["b", "c"], mine.many)
    assert mine.began.wait(30)
    source.go.set()
    leader.join(30)
    follower.join(30)
    assert isinstance(stopped[0], KeyboardInterrupt)
    assert followed == [{"b": "b 2", "c": "c 1"}]


def test_timeouts_count_for_the_whole_call(cache):
    """Past hard_timeout the call ends with a LoadTimeout; what is loaded is stored."""
    source = Source(free=False)
    with pytest.raises(LoadTimeout, match=r"took longer than hard_timeout \(0.02 s\)"):
        cache.get_or_set_many(["a", "b"], source.many, hard_timeout=0.02)
    source.go.set()
    wait_for(lambda: len(cache.get_many(["a", "b"])) == 2, "both are stored")
    assert cache.get_or_set_many(["c"], lambda keys: dict.fromkeys(keys, 3), hard_timeout=30) == {"c": 3}


def test_over_the_cap():
    """A bulk load is one load: it waits, or is refused, as a whole."""
    with Cache(max_concurrent_loads=1) as one:
        busy = Source(free=False)
        thread, _ = on_thread(one.get_or_set, "busy", busy)
        assert busy.began.wait(30)
        with pytest.raises(LoadShed):
            one.get_or_set_many(["a", "b"], lambda keys: pytest.fail(f"{keys}"), when_busy="shed")
        assert not [key for key in one._namespace.flights._flights if key != "busy"]
        waiting, results = on_thread(one.get_or_set_many, ["a", "b"], lambda keys: dict.fromkeys(keys, 1))
        wait_for(lambda: one._namespace.load_gate.queued, "it queues")
        busy.go.set()
        thread.join(30)
        waiting.join(30)
        assert results == [{"a": 1, "b": 1}]


def test_stale_copies_stand_in_key_by_key():
    """While revalidating, on errors and past soft_timeout, keys with a stale copy have it, the others are loaded."""
    clock = ManualClock()
    with Cache(clock=clock, ttl=10, stale_while_revalidate=5, stale_on_error=True, soft_timeout=0.01) as cache:
        cache.set_many({"a": "old", "b": "old"})
        clock.advance(11)
        source = Source()
        found = cache.get_or_set_many(["a", "b", "c"], source.many)
        assert (found["a"], found["b"], found["c"][0]) == ("old", "old", "c")
        wait_for(lambda: len(cache.get_many(["a", "b"])) == 2, "both were revalidated")
        assert sorted(map(len, source.calls)) == [1, 2]
        clock.advance(20)
        source.error = ZeroDivisionError()
        assert set(cache.get_or_set_many(["a", "b"], source.many)) == {"a", "b"}
        assert cache.stats().stale_on_error == 2
        clock.advance(2)
        source.error = None
        source.go.clear()
        assert set(cache.get_or_set_many(["a", "b"], source.many)) == {"a", "b"}
        source.go.set()


def test_works_while_the_server_is_away(own_server, namespace):
    """Without a server each process loads for itself, and keeps the results as suspects."""
    with Cache(own_server.url, namespace=namespace) as cache:
        own_server.kill()
        source = Source()
        assert cache.get_or_set_many(["a", "b"], source.many) == {"a": "a 1", "b": "b 1"}
        assert cache.get_or_set_many(["a", "b"], source.many) == {"a": "a 1", "b": "b 1"}
        assert len(source.calls) == 1

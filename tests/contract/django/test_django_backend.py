"""What the backend promises beyond what Django asks of any: sharing, signing, settings, asynchronous calls."""

import asyncio
import datetime as dt
import decimal
import pickle
import threading
import warnings

import pytest
import redis
from django.contrib.auth.models import User
from django.core.cache import CacheKeyWarning
from django.utils.safestring import SafeString, mark_safe
from twotier.django import TwoTierCache, UncacheableError
from twotier.django.shared import shared_caches
from waiting import PATIENT, live, wait_for

import twotier
from twotier.core.namespace import sweep


class Unpicklable:
    def __reduce__(self):
        raise TypeError("not this one")


# Sharing


def test_backends_of_one_configuration_share_a_cache(caches_of, location, namespace):
    """Each thread has a backend of its own, and all of them, under any prefix and version, one cache."""
    options = {"OPTIONS": {"namespace": namespace}}
    caches = caches_of(location, default=options, prefixed=options | {"KEY_PREFIX": "p", "VERSION": 2, "TIMEOUT": 5})
    seen = []
    threads = [threading.Thread(target=lambda: seen.append(caches["default"])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(backend) for backend in [caches["default"], *seen]}) == 4
    assert {id(backend.cache) for backend in [caches["default"], caches["prefixed"], *seen]} == {
        id(caches["default"].cache)
    }


def test_threads_that_come_at_once_make_one_cache(caches_of, namespace):
    """However many threads ask first, one cache is made."""
    gate = threading.Barrier(8)
    seen = []
    caches = caches_of("", default={"OPTIONS": {"namespace": namespace}})

    def ask():
        gate.wait()
        seen.append(caches["default"].cache)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(cache) for cache in seen}) == 1


def test_other_options_make_another_cache(caches_of):
    """Backends that differ in OPTIONS don't share."""
    caches = caches_of("", small={"OPTIONS": {"maxsize": 10}}, large={"OPTIONS": {"maxsize": 1000}})
    caches["small"].set("a", 1)
    assert caches["large"].get("a") is None
    assert caches["small"].cache is not caches["large"].cache


def test_close_leaves_the_shared_cache_open(cache):
    """The end of a request, at which Django closes backends, costs nothing of what is cached."""
    cache.set("a", 1)
    cache.close()
    assert cache.get("a") == 1


# Reading and writing


def test_any_picklable_object_comes_back(cache):
    """Values need not be of the types that the plain cache takes: models, safe strings, classes."""
    user = User(username="ann", first_name="Ann")
    safe = mark_safe("<b>bold</b>")
    day = dt.datetime(2024, 2, 29, tzinfo=dt.UTC)
    values = {"user": user, "safe": safe, "class": User, "day": day, "price": decimal.Decimal("1.50"), "set": {1, 2}}
    cache.set_many(values)
    for key, value in values.items():
        back = cache.get(key)
        assert back == value or back.username == "ann"
        assert type(back) is type(value)
    assert type(cache.get("safe")) is SafeString


def test_values_reach_another_process_whole(caches_of, server, namespace):
    """What a second cache reads from the server is what the first one wrote, though it was never in its memory."""
    options = {"OPTIONS": {"namespace": namespace, **PATIENT}}
    caches_of(server.url, default=options)["default"].set("user", User(username="ann", first_name="Ann"))
    shared_caches.close()
    back = caches_of(server.url, default=options)["default"].get("user")
    assert (type(back), back.username, back.first_name) == (User, "ann", "Ann")


def test_a_cached_list_is_not_the_callers(cache):
    """What a caller does to a value after storing or reading it stays with the caller."""
    given = [1, {"deep": [2]}]
    cache.set("list", given)
    given[1]["deep"].append("mine")
    cache.get("list").append("also mine")
    assert cache.get("list") == [1, {"deep": [2]}]


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_a_timeout_that_is_past_removes(cache, timeout):
    """Zero and negative timeouts store nothing and leave nothing there, for every call that takes one."""
    cache.set("a", "old")
    cache.set("a", "new", timeout)
    assert cache.get("a") is None
    assert cache.add("b", 1, timeout) is True
    assert cache.get("b") is None
    cache.set("c", 1)
    assert cache.touch("c", timeout) is True
    assert cache.get("c") is None
    assert cache.set_many({"d": 1}, timeout) == []
    assert cache.get("d") is None
    assert cache.get_or_set("e", lambda: 5, timeout) == 5
    assert cache.get("e") is None


@pytest.mark.parametrize(
    ("timeout", "least", "most"), [({}, 290, 300), ({"TIMEOUT": 60}, 50, 60), ({"TIMEOUT": None}, None, None)]
)
def test_timeout_is_the_ttl(caches_of, location, namespace, timeout, least, most):
    """TIMEOUT, 300 s unless given, is the life of what is set without one; None means no expiry."""
    cache = caches_of(location, default={"OPTIONS": {"namespace": namespace}, **timeout})["default"]
    cache.set("a", 1)
    left = cache.cache.ttl(cache.make_key("a"))
    assert left is None if most is None else least < left <= most


def test_incr_keeps_the_expiry(cache):
    """A counter goes on counting towards the same end, as memcached's do."""
    cache.set("n", 1, timeout=50)
    cache.incr("n")
    assert 40 < cache.cache.ttl(cache.make_key("n")) <= 50


def test_set_many_reports_what_it_could_not_store(cache):
    """The keys of values that can't be stored are returned, and the others are stored."""
    assert cache.set_many({"good": 1, "bad": Unpicklable(), "fine": 2}) == ["bad"]
    assert cache.get_many(["good", "bad", "fine"]) == {"good": 1, "fine": 2}


def test_values_over_the_limit_are_refused(caches_of, location, namespace):
    """A value larger than max_value_bytes is refused with an error that pickle's handlers catch too."""
    cache = caches_of(location, default={"OPTIONS": {"namespace": namespace, "max_value_bytes": 100}})["default"]
    with pytest.raises(UncacheableError, match="100"):
        cache.set("large", "x" * 200)
    assert cache.set_many({"large": "x" * 200, "small": "x"}) == ["large"]


def test_unpicklable_values_raise_for_both_kinds_of_handler(cache):
    """What can't be pickled raises an error that is a pickle.PickleError and a twotier.SerializationError."""
    for store in (cache.set, cache.add, cache.get_or_set):
        for caught in (pickle.PickleError, twotier.SerializationError):
            with pytest.raises(caught, match="Unpicklable"):
                store("bad", Unpicklable())


def test_get_or_set_calls_its_default_once(cache):
    """Threads that miss together wait for the one that calls."""
    calls, gate = [], threading.Barrier(4)

    def ask():
        gate.wait()
        cache.get_or_set("made", lambda: calls.append(1) or "value")

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert cache.get("made") == "value"


def test_clear_leaves_other_namespaces(caches_of, location, namespace):
    """Clearing one cache is no flush of the server."""
    caches = caches_of(
        location, one={"OPTIONS": {"namespace": namespace}}, two={"OPTIONS": {"namespace": namespace + "x"}}
    )
    caches["one"].set("a", 1)
    caches["two"].set("a", 2)
    caches["one"].clear()
    assert (caches["one"].get("a"), caches["two"].get("a")) == (None, 2)


# Keys


def test_keys_are_as_djangos_own(cache):
    """Keys of other types than str are the same key as their text, with every call."""
    cache.set(7, "seven")
    assert cache.get("7") == cache.get(7) == "seven"
    assert cache.get_many([7, "8"]) == {7: "seven"}
    assert cache.delete("7") is True


def test_prefix_and_version_may_change_on_a_live_backend(cache):
    """A new key_prefix, version or key_func counts from the next call on, as with Django's own backends."""
    cache.set("a", "first")
    cache.version = 2
    assert cache.get("a") is None
    cache.version, cache.key_prefix = 1, "other"
    assert cache.get("a") is None
    cache.key_prefix = ""
    assert cache.get("a") == "first"
    cache.key_func = lambda key, _prefix, _version: f"mine-{key}"
    assert cache.get("a") is None


def test_a_subclass_may_make_its_own_keys(caches_of, namespace):
    """An overridden make_key is asked for every key."""

    class Tenant(TwoTierCache):
        def make_key(self, key, version=None):
            return "tenant:" + super().make_key(key, version)

    cache = Tenant("", {"OPTIONS": {"namespace": namespace}})
    cache.set("a", 1)
    assert cache.get("a") == 1
    assert cache.cache.get("tenant::1:a") == 1
    assert caches_of("", default={"OPTIONS": {"namespace": namespace}})["default"].get("a") is None


@pytest.mark.parametrize("key", ["with space", "x" * 251])
def test_unportable_keys_warn_when_written_or_missed(cache, key):
    """A key that memcached would refuse draws CacheKeyWarning from writes and misses; a local hit is let pass."""
    with pytest.warns(CacheKeyWarning):
        cache.set(key, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get(key) == 1
        assert cache.get_many([key]) == {key: 1}
    for miss in (lambda: cache.get(key + "2"), lambda: cache.get_many([key + "2"]), lambda: cache.get(key, version=9)):
        with pytest.warns(CacheKeyWarning):
            assert not miss()


# Asynchronous


def test_async_methods_answer_as_their_twins(cache):
    """Every a-method gives what its synchronous twin gives, on the same entries."""

    async def use():
        await cache.aset("n", 1)
        assert await cache.aincr("n", 2) == 3
        assert await cache.adecr("n") == 2
        assert await cache.aadd("n", 9) is False
        assert await cache.aset_many({"a": 1, "b": None}) == []
        assert await cache.aget_many(["a", "b", "c"]) == {"a": 1, "b": None}
        assert await cache.aget("b", "default") is None
        assert await cache.aget("c", "default") == "default"
        assert await cache.ahas_key("b") is True
        assert await cache.atouch("a", 50) is True
        assert await cache.aget_or_set("made", lambda: 7) == 7
        assert await cache.aincr_version("made") == 2
        assert await cache.aget("made", version=2) == 7
        await cache.adelete_many(["a", "b"])
        assert await cache.adelete("n") is True
        assert await cache.aget_many(["a", "b", "n"]) == {}
        await cache.aclear()
        await cache.aclose()
        with pytest.raises(ValueError, match="not found"):
            await cache.aincr("n")

    asyncio.run(use())


def test_a_local_hit_stays_on_the_event_loop(cache):
    """`aget` of what is in memory suspends nothing: it is over at its first step."""
    cache.set("a", 1)
    call = cache.aget("a")
    with pytest.raises(StopIteration) as done:
        call.send(None)
    assert done.value.value == 1


# Outage


def test_reads_and_writes_go_on_while_the_server_is_away(caches_of, own_server, namespace):
    """With the server gone, hot keys are served and writes kept; only counting raises."""
    cache = caches_of(own_server.url, default={"OPTIONS": {"namespace": namespace}})["default"]
    wait_for(lambda: live(cache.cache), "the link is live")
    cache.set("hot", "value")
    assert cache.get("hot") == "value"
    own_server.kill()
    assert cache.get("hot") == "value"
    cache.set("fresh", "kept")
    assert cache.get("fresh") == "kept"
    assert cache.add("added", 1) is False
    assert cache.get_many(["hot", "fresh", "cold"]) == {"hot": "value", "fresh": "kept"}
    assert cache.get_or_set("computed", lambda: "here") == "here"
    with pytest.raises(twotier.RemoteError):
        cache.incr("hot")


def test_tags_and_invalidation_by_the_cache_behind(cache):
    """What Django's API has no word for is done by `cache.cache`, under the keys that Django makes."""
    cache.cache.set(cache.make_key("page:7"), "...", ttl=300, tags=["user:7"])
    assert cache.get("page:7") == "..."
    cache.cache.invalidate_tag("user:7")
    assert cache.get("page:7") is None
    cache.set("page:8", "...")
    assert cache.cache.invalidate(cache.make_key("page:8")) is True
    assert cache.get("page:8") is None


def test_what_a_clear_leaves_on_the_server_is_removed(caches_of, own_server, namespace, monkeypatch):
    """Entries with `timeout=None` too, which Django's own backends would remove with FLUSHDB."""
    monkeypatch.setattr(sweep, "GRACE", 0.0)
    options = {"namespace": namespace, **PATIENT}
    backend = caches_of(own_server.url, default={"OPTIONS": options})["default"]
    wait_for(lambda: live(backend.cache), "the link is live")
    backend.set_many({f"key{number}": number for number in range(100)}, timeout=None)
    with redis.Redis.from_url(own_server.url) as admin:
        old = admin.get(f"{namespace}:gen").decode()
        backend.clear()
        wait_for(lambda: not admin.keys(f"{namespace}:{old}*"), "its keys are removed")

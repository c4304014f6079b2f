"""Negative caching: that a loader found nothing is remembered, and ends with the next write."""

import copy
import pickle

import pytest
import redis
from sources import Source
from waiting import PATIENT, wait_for

from twotier import NOT_FOUND, Cache, SerializationError
from twotier.clock import ManualClock


@pytest.fixture(params=["local-only", "two-tier", "tracking", "none", "check"])
def negative(request, make, server, namespace):
    """A cache in each mode that remembers absence for a minute."""
    if request.param in {"local-only", "check"}:
        with Cache(namespace=namespace, negative_ttl=60, copy="check" if request.param == "check" else "auto") as cache:
            yield cache
    elif request.param == "none":
        with Cache(server.url, namespace=namespace, coherence="none", negative_ttl=60, **PATIENT) as cache:
            yield cache
    else:
        yield make(negative_ttl=60, **({"coherence": "tracking"} if request.param == "tracking" else {}))


def nothing(calls):
    """Return a loader that counts its calls and finds nothing."""

    def loader():
        calls.append(1)
        return NOT_FOUND

    return loader


def test_absence_is_remembered(negative):
    """The loader is called once; reads see nothing there; all of them count."""
    calls = []
    assert [negative.get_or_set("key", nothing(calls)) for _ in range(3)] == [NOT_FOUND] * 3
    assert calls == [1]
    assert negative.get("key", "default") == "default"
    assert negative.get_many(["key"]) == {}
    assert "key" not in negative
    assert negative.ttl("key") == 0.0
    assert negative.touch("key", 9) is False
    assert negative.stats().negative_hits >= 2
    assert negative.get_or_set_many(["key"], lambda keys: pytest.fail(f"{keys}")) == {}


@pytest.mark.parametrize(
    ("write", "stands"),
    [
        (lambda cache: cache.set("key", 1), 1),
        (lambda cache: cache.set_many({"key": 1}), 1),
        (lambda cache: cache.add("key", 1), 1),
        (lambda cache: cache.incr("key"), 1),
        (lambda cache: cache.refresh("key", lambda: 1), 1),
        (lambda cache: cache.delete("key"), "loaded"),
        (lambda cache: cache.invalidate("key"), "loaded"),
        (lambda cache: cache.clear(), "loaded"),
    ],
    ids=["set", "set_many", "add", "incr", "refresh", "delete", "invalidate", "clear"],
)
def test_any_write_ends_it(negative, write, stands):
    """After a write the key is there, or is loaded again; add and incr find nothing in their way."""
    assert negative.get_or_set("key", lambda: NOT_FOUND) is NOT_FOUND
    result = write(negative)
    assert result in {None, True, False}
    assert negative.get_or_set("key", lambda: "loaded") == stands


@pytest.mark.parametrize("coherence", ["pubsub", "tracking"])
def test_other_processes_know_of_it(make, coherence):
    """What one process's loader didn't find, another doesn't ask for, until it is written."""
    one, other = (make(negative_ttl=60, coherence=coherence) for _ in range(2))
    one.get_or_set("key", lambda: NOT_FOUND)
    assert other.get_or_set("key", lambda: pytest.fail("loaded")) is NOT_FOUND
    assert other.get_or_set_many(["key"], lambda keys: pytest.fail(f"{keys}")) == {}
    assert "key" not in other
    one.set("key", "there")
    wait_for(lambda: other.get("key") == "there", "the write is seen")
    one.delete("key")
    wait_for(lambda: other.get_or_set("key", lambda: "loaded") != "there", "the removal is seen")
    assert other.get_or_set("key", lambda: "loaded") == "loaded"


def test_absence_costs_no_trip(make):
    """Once known, absence is answered from the local tier."""
    cache = make(negative_ttl=60)
    cache.get_or_set("key", lambda: NOT_FOUND)
    run, trips = cache._namespace.executor.run, []
    cache._namespace.executor.run = lambda command: trips.append(command) or run(command)
    for _ in range(5):
        assert cache.get_or_set("key", lambda: pytest.fail("loaded")) is NOT_FOUND
        assert cache.get("key") is None
        assert cache.get_many(["key"]) == {}
    assert not trips


def test_absence_ends_with_time():
    """After negative_ttl the loader is asked again."""
    clock, calls = ManualClock(), []
    with Cache(clock=clock) as cache:
        cache.get_or_set("key", nothing(calls), negative_ttl=5)
        clock.advance(4.9)
        cache.get_or_set("key", nothing(calls), negative_ttl=5)
        assert len(calls) == 1
        clock.advance(0.1)
        cache.get_or_set("key", nothing(calls), negative_ttl=5)
        assert len(calls) == 2


def test_absence_ends_with_time_on_the_server(make):
    """The server forgets it too."""
    one, other = make(), make()
    one.get_or_set("key", lambda: NOT_FOUND, negative_ttl=0.05)
    wait_for(lambda: other.get_or_set("key", lambda: "loaded") == "loaded", "it was forgotten")


def test_without_negative_ttl_nothing_is_remembered(cache):
    """NOT_FOUND comes back, and the loader is asked each time."""
    calls = []
    for _ in range(3):
        assert cache.get_or_set("key", nothing(calls)) is NOT_FOUND
    assert len(calls) == 3
    assert "key" not in cache


def test_not_found_is_no_value(cache):
    """It can't be set; it is false, one of a kind, and tells its name."""
    with pytest.raises(SerializationError, match="NOT_FOUND is what a loader returns"):
        cache.set("key", NOT_FOUND)
    assert not NOT_FOUND
    assert pickle.loads(pickle.dumps(NOT_FOUND)) is NOT_FOUND
    assert copy.deepcopy(NOT_FOUND) is NOT_FOUND
    assert repr(NOT_FOUND) == "NOT_FOUND"


def test_write_during_the_load_wins(make):
    """Absence that was overtaken by a set is remembered nowhere."""
    cache, other = make(negative_ttl=60), make(negative_ttl=60)

    def overtaken():
        other.set("key", "written")
        return NOT_FOUND

    for _ in range(20):
        assert cache.get_or_set("key", overtaken) is NOT_FOUND
        assert cache.get_or_set("key", lambda: pytest.fail("loaded")) == "written"
        cache.delete("key")
        other.delete("key")


def test_absence_in_an_outage(own_server, namespace):
    """While the server is away it is remembered here, and not for longer than the outage."""
    with Cache(own_server.url, namespace=namespace, negative_ttl=60) as cache:
        own_server.kill()
        source = Source()
        calls = []
        wait_for(lambda: cache.get("other") is None and cache.health().breaker != "closed", "away")
        assert [cache.get_or_set("key", nothing(calls)) for _ in range(3)] == [NOT_FOUND] * 3
        assert calls == [1]
        own_server.start()
        wait_for(lambda: cache.health().link == "live" and cache.health().breaker == "closed", "back")
        assert cache.get_or_set("key", source) == 1


def test_signed_absence_cannot_be_forged(make, server, namespace):
    """With a secret, what says that there is nothing must be signed; anything else in its place is a lease."""
    one = make(secret="one key, 16 bytes", negative_ttl=60)
    one.get_or_set("other", lambda: NOT_FOUND)
    with redis.Redis.from_url(server.url) as client:
        generation = client.get(f"{namespace}:gen").decode()
        absence = client.get(f"{namespace}:{generation}!other")
        assert absence.startswith(b"\xf2tt\x02\xa0")
        client.set(f"{namespace}:{generation}!key", absence, px=300)
    patient = make(secret="one key, 16 bytes", load_lease=0.3)
    assert patient.get_or_set("key", lambda: "loaded") == "loaded"

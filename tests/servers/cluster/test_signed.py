"""Signed values and counters on a cluster: generations by group, numbers and warrants in one slot."""

import pytest
from loops import Awaited
from redis.crc import key_slot
from waiting import PATIENT, wait_for

from twotier.core.namespace.generation_names import GenerationNames

SECRET = "a key of 16 bytes"
KEYS = ["hits", "{tagged}hits", "other{x}", "a:b!c#d"]


@pytest.fixture(params=["Cache", "AsyncCache"])
def signed(request, cluster, make):
    """Two signed caches of one namespace, as in two processes, through either face."""
    both = [make(cluster, secret=SECRET, **PATIENT) for _ in range(2)]
    if request.param == "Cache":
        return both
    loop = request.getfixturevalue("asyncio")
    return [Awaited(cache.aio, loop) for cache in both]


def test_counters(signed):
    """They begin from nothing and from what was set, keep their life, are read in bulk, and end with a clear."""
    one, two = signed
    for key in KEYS:
        assert one.incr(key, 5) == 5
        assert two.incr(key) == 6
        two.set(key, 40, ttl=100)
        assert one.incr(key, 2) == 42
        assert two.incr(key, create=False) == 43
        assert one.ttl(key) == pytest.approx(100, abs=5)
        assert two.touch(key, ttl=50)
    assert two.get_many(KEYS) == dict.fromkeys(KEYS, 43)
    one.set_many(dict.fromkeys(KEYS, 7))
    wait_for(lambda: two.get_many(KEYS) == dict.fromkeys(KEYS, 7), "what was set is seen")
    one.delete_many(KEYS[:2])
    wait_for(lambda: two.get_many(KEYS) == dict.fromkeys(KEYS[2:], 7), "what was deleted is gone")
    assert one.incr(KEYS[2]) == 8
    one.clear()
    wait_for(lambda: two.get_many(KEYS) == {}, "the clear is heard")
    assert two.incr(KEYS[2]) == 1


def test_other_secrets_are_seen(cluster, make):
    """Profiles are on the nodes of their keys, and both sides find what contradicts their own."""
    one, two = make(cluster, secret=SECRET, **PATIENT), make(cluster, secret="another of 16 bytes", **PATIENT)
    for cache in (one, two, one):
        cache.get("nothing")
        cache._namespace.fleet.look()
    assert len(one.health().conflicts) == len(two.health().conflicts) == 2


def test_planted_numbers_and_generations(signed, cluster, namespace):
    """A planted number is a miss; a planted generation of one group is replaced, and clears that group alone."""
    one, two = signed
    one.set_many(dict.fromkeys(KEYS, False))
    client = cluster.client(cluster.owner(key_slot(b"hits")))
    (place,) = [name for name in client.keys("*") if name.startswith(f"{namespace}:") and name.endswith(":hits")]
    client.set(place, 1)
    wait_for(lambda: two.get("hits", "missing") == "missing", "the number is none")
    planted = client.keys(f"{namespace}:gen*")
    assert len(planted) > 1
    for name in planted:
        client.set(name, "planted")
    wait_for(lambda: two.get("hits", "missing") == "missing", "the process goes on")
    two.set("hits", "after")
    wait_for(lambda: one.get("hits") == "after", "the other goes along")
    names = GenerationNames((SECRET.encode(),), namespace)
    assert not client.keys(f"{namespace}:planted*")
    assert names.rank(place.split(":")[1].partition("{")[0].encode()) is not None

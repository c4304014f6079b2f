"""`coherence="tracking"` on a real server: whatever changes a key there, whoever did it, reaches the local tiers."""

import os
import threading

import pytest
import redis
from forking import Child
from waiting import live, wait_for

from twotier import Cache
from twotier.errors import ConfigurationError

KEY = "user:7:naïve"


@pytest.fixture
def track(make):
    """Makes caches that track."""
    return lambda target=None, **settings: make(target, coherence="tracking", **settings)


@pytest.fixture
def client(server):
    """A foreign client of the shared server."""
    with redis.Redis.from_url(server.url) as client:
        yield client


def held(cache, key=KEY):
    """Tell whether the local tier has a fresh `key`, filled by a read of the server after the echoes of its write."""
    cache.get(key)
    return key in cache._namespace.store


def place(client, namespace, key=KEY):
    """Return the name of `key` on the server."""
    (found,) = client.keys(f"{namespace}:*:{key}")
    return found


def fill(cache, value, key=KEY):
    """Write and read `key` until the local tier holds it for good: the echo of the write has passed."""
    before = cache.stats().invalidations_received
    cache.set(key, value)
    wait_for(lambda: cache.stats().invalidations_received > before, "the echo has been heard")
    wait_for(lambda: held(cache, key), "it is held")


def test_tracking_needs_resp3(server):
    """The protocol that has no pushes is refused, by the name of the option."""
    with pytest.raises(ConfigurationError, match="protocol"):
        Cache(server.url, coherence="tracking", protocol=2)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda client, name: client.delete(name), id="DEL"),
        pytest.param(lambda client, name: client.unlink(name), id="UNLINK"),
        pytest.param(lambda client, name: client.pexpire(name, 20), id="EXPIRE"),
        pytest.param(lambda client, name: client.set(name, 8), id="SET"),
        pytest.param(lambda client, name: client.rename(name, name + b"2"), id="RENAME"),
        pytest.param(lambda client, _: client.flushall(), id="FLUSHALL"),
        pytest.param(lambda client, _: client.flushdb(), id="FLUSHDB"),
    ],
)
def test_foreign_changes_reach_every_local_tier(track, client, namespace, change):
    """What another client does to a key by hand is seen by all, without a message of ours."""
    caches = [track(), track()]
    fill(caches[0], 7)
    wait_for(lambda: all(held(cache) for cache in caches), "both hold it")
    name = place(client, namespace)
    change(client, name)
    wait_for(lambda: all(cache.get(KEY) != 7 for cache in caches), "both have let go of it")
    wait_for(lambda: client.get(name) != b"7", "an expiry has fired")  # its last moment counts as gone before it is
    expected = 8 if client.get(name) else None
    assert [cache.get(KEY) for cache in caches] == [expected] * 2


def test_an_eviction_reaches_the_local_tier(own_server, track):
    """A key that the server evicts for want of memory leaves the local tier."""
    with redis.Redis.from_url(own_server.url) as client:
        cache = track(own_server.url)
        for number in range(50):
            cache.set(f"key {number}", "x" * 1000)
        wait_for(lambda: all(held(cache, f"key {number}") for number in range(50)), "all are held")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.config_set("maxmemory", "1mb")  # less than an empty server needs: everything goes
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("more", "x" * 100_000)
        assert client.info("stats")["evicted_keys"] >= 50
        wait_for(lambda: len(cache._namespace.store.keys()) == 0, "nothing is held")


def test_nothing_is_published(track, client, namespace):
    """The server does the telling: writes carry no message."""
    cache = track()
    with client.pubsub() as ear:
        ear.subscribe(f"{namespace}:inv:v1")
        assert ear.get_message(timeout=5)["type"] == "subscribe"
        cache.set(KEY, 1)
        cache.clear()
        assert cache.get(KEY) is None
        assert ear.get_message(timeout=0.05) is None
    assert cache.stats().invalidations_sent == 0


def test_leases_and_other_keys_of_the_prefix_cost_nothing(track, client, namespace):
    """Keys of the namespace that hold no entry are ignored."""
    cache = track()
    fill(cache, 1)
    before = cache.stats()
    client.set(f"{namespace}:g!{KEY}", "lease")
    client.set(f"{namespace}:other", "x")
    client.set(f"{namespace}:g:\udcff".encode("utf-8", "surrogateescape"), "x")
    client.set(f"{namespace}:g:last", "x")
    wait_for(lambda: cache.stats().invalidations_received > before.invalidations_received, "the last was heard")
    assert KEY in cache._namespace.store
    assert cache.stats().invalidations_received == before.invalidations_received + 1


def test_namespaces_share_a_link_and_hear_their_own(server, namespace, client):
    """Several namespaces of one process are tracked on one connection; one that closes and returns works again."""
    names = [f"{namespace}-{letter}" for letter in "abc"]
    caches = [Cache(server.url, namespace=name, coherence="tracking") for name in names]
    try:
        for number, cache in enumerate(caches):
            wait_for(lambda cache=cache: live(cache), "the link is live")
            fill(cache, number)
        assert sum(thread.name == "twotier-link" for thread in threading.enumerate()) == 1
        client.set(place(client, names[1]), 9)
        wait_for(lambda: caches[1].get(KEY) == 9, "the change is seen")
        assert KEY in caches[0]._namespace.store
        assert KEY in caches[2]._namespace.store
        caches.pop().close()
        caches.append(Cache(server.url, namespace=names[2], coherence="tracking"))
        wait_for(lambda: live(caches[2]) and held(caches[2]), "it is live again")
        client.set(place(client, names[2]), 9)
        wait_for(lambda: caches[2].get(KEY) == 9, "the change is seen")
    finally:
        for cache in caches:
            cache.close()


def test_pubsub_and_tracking_side_by_side(make, track, namespace):
    """Caches of both modes on one server each have a link of their own, and work."""
    messages = [make(namespace=f"{namespace}-messages") for _ in range(2)]
    tracking = [track() for _ in range(2)]
    assert sum(thread.name == "twotier-link" for thread in threading.enumerate()) == 2
    for one, two in (messages, tracking):
        for number in range(20):
            one.set(KEY, number)
            wait_for(lambda number=number, two=two: two.get(KEY) == number, "the other sees it")


def test_a_lost_link_is_tracked_anew(track, client):
    """After CLIENT KILL of the link everything is in doubt, and changes are heard of again."""
    cache = track()
    fill(cache, 1)
    epoch = cache.health().epoch
    client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_for(lambda: cache.health().epoch > epoch and live(cache), "the link is back")
    wait_for(lambda: held(cache), "it is held")
    (name,) = client.keys(f"{cache.options.namespace}:*:{KEY}")
    client.set(name, 2)
    wait_for(lambda: cache.get(KEY) == 2, "the change is seen")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")  # from 3.12 on, of a process with threads
def test_a_child_tracks_on_a_connection_of_its_own(track):
    """After a fork both processes hear of each other's writes, over links of their own."""
    cache = track()
    fill(cache, "parent's")

    def work():
        wait_for(lambda: live(cache) and held(cache), "the child's link is live")
        cache.set(KEY, "child's")
        wait_for(lambda: cache.get(KEY) == "end", "the child sees the parent's write")

    child = Child(work)
    wait_for(lambda: cache.get(KEY) == "child's", "the parent sees the child's write")
    cache.set(KEY, "end")
    child.reap()

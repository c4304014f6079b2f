"""Two processes' worth of caches on one server: coherence, fills, the namespace's generation."""

import threading
import time

import pytest
import redis
from waiting import wait_for

from twotier import Cache
from twotier.clock import NEVER
from twotier.core.access.missing import MISSING


def test_local_hit_needs_no_server(make):
    """Once filled, a read is answered by the local tier."""
    cache = make()
    cache.set("key", {"a": 1})
    before = cache.stats()
    assert cache.get("key") == {"a": 1}
    after = cache.stats()
    assert after.local_hits == before.local_hits + 1
    assert after.remote_hits == before.remote_hits


def test_remote_hit_fills_the_local_tier(make):
    """The first read of another process's value is remote, the second local."""
    writer, reader = make(), make()
    writer.set("key", 1)
    wait_for(lambda: reader.stats().invalidations_received > 0, "the message has arrived")
    assert reader.get("key") == 1
    assert reader.get("key") == 1
    stats = reader.stats()
    assert (stats.remote_hits, stats.local_hits) == (1, 1)


HEARING = [
    pytest.param({"protocol": 2}, id="pubsub-RESP2"),
    pytest.param({"protocol": 3}, id="pubsub-RESP3"),
    pytest.param({"coherence": "tracking"}, id="tracking"),
]
"""Ways to hear of writes elsewhere."""


@pytest.mark.parametrize("hearing", HEARING)
def test_write_elsewhere_reaches_the_local_tier(make, hearing):
    """A value that another cache overwrites, deletes, touches, counts up or clears leaves this local tier."""
    writer, reader = make(**hearing), make(**hearing)
    for write, expected in (
        (lambda: writer.set("key", 2), 2),
        (lambda: writer.set_many({"key": 3, "other": 4}), 3),
        (lambda: writer.incr("key"), 2),
        (lambda: writer.delete("key"), None),
        (lambda: writer.add("key", 5), 5),
        (writer.clear, None),
    ):
        if expected != 5:
            writer.set("key", 1)
            wait_for(lambda: reader.get("key") == 1, "the reader has the old value")
        write()
        wait_for(lambda expected=expected: reader.get("key") == expected, f"the reader sees {expected}")
        assert writer.get("key") == expected


@pytest.mark.parametrize("hearing", HEARING)
def test_own_writes_are_read_at_once(make, hearing):
    """A process reads what it wrote, without waiting for a message."""
    cache = make(**hearing)
    for number in range(200):
        cache.set("key", number)
        assert cache.get("key") == number
    for _ in range(50):
        cache.set("key", 1)
        cache.delete("key")
        assert cache.get("key") is None
        cache.incr("key")
        assert cache.get("key") == 1
        cache.clear()
        assert cache.get("key") is None


@pytest.mark.parametrize("hearing", HEARING)
def test_writers_and_readers_agree_after_quiet(make, hearing):
    """Threads that write and read a few keys through four caches leave every cache with what the server has."""
    caches = [make(maxsize=50, **hearing) for _ in range(4)]
    keys = [f"key {number}" for number in range(5)]
    stop = time.monotonic() + 1.0

    def work(cache, seed):
        count = seed
        while time.monotonic() < stop:
            count += 1
            key = keys[count % len(keys)]
            match count % 7:
                case 0:
                    cache.set(key, [seed, count])
                case 1:
                    cache.delete(key)
                case 2:
                    cache.get_or_set(key, lambda: ["loaded"])
                case _:
                    cache.get(key)

    threads = [threading.Thread(target=work, args=(cache, seed)) for seed, cache in enumerate(caches)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with make(local_ttl=0.001, **hearing) as judge:
        truth = judge.get_many(keys)

        def agreed():
            return all(cache.get(key) == truth.get(key) for cache in caches for key in keys)

        wait_for(agreed, "all caches agree")
        assert all(cache.get(key) == truth.get(key) for cache in caches for key in keys)


def test_foreign_and_corrupt_values_are_misses(make, server, namespace):
    """What isn't ours under our key is a miss and counted, and a set repairs it."""
    cache = make(local_ttl=0.001)
    cache.set("key", "good")
    with redis.Redis.from_url(server.url) as client:
        (place,) = client.keys(f"{namespace}:*:key")
        good = client.get(place)
        for number, bad in enumerate((b"hello", good[:-1], good[:5], b"", good.replace(b"good", b"evil")[:-1], b"1.5")):
            client.set(place, bad)
            wait_for(lambda: cache.get("key") is None, f"{bad!r} is a miss")
            assert cache.stats().corrupt > number
            assert cache.get_many(["key"]) == {}
        cache.set("key", "repaired")
    assert cache.get("key") == "repaired"


def test_value_moved_to_another_key_is_a_miss(make, server, namespace):
    """A reply for another key is never taken for this one's."""
    cache = make(local_ttl=0.001)
    cache.set("mine", "mine")
    cache.set("other", "other")
    with redis.Redis.from_url(server.url) as client:
        (mine,), (other,) = client.keys(f"{namespace}:*:mine"), client.keys(f"{namespace}:*:other")
        client.set(mine, client.get(other))
    wait_for(lambda: cache.get("mine") is None, "the foreign value is a miss")


@pytest.mark.parametrize("hearing", HEARING[1:])
def test_flushall_is_noticed(make, server, hearing):
    """When somebody empties the server, the local tiers follow within a lease exchange, and work on."""
    one, two = make(**hearing), make(**hearing)
    one.set("key", 1)
    wait_for(lambda: two.get("key") == 1, "both have it")
    with redis.Redis.from_url(server.url) as client:
        client.flushall()
    wait_for(lambda: one.get("key") is None and two.get("key") is None, "the local tiers are empty")
    one.set("key", 2)
    wait_for(lambda: two.get("key") == 2, "they share a namespace again")
    two.set("key", 3)
    wait_for(lambda: one.get("key") == 3, "in both directions")


def test_two_caches_of_a_process_share_one_connection(make):
    """Caches of one deployment are served by one listener thread."""
    caches = [make() for _ in range(5)]
    assert sum(thread.name.startswith("twotier-l") for thread in threading.enumerate()) == 1
    caches[0].set("key", 1)
    wait_for(lambda: all(cache.get("key") == 1 for cache in caches), "all hear of it")


def test_ready_client(server, namespace):
    """A redis.Redis client in place of the URL works, whatever its decoding."""
    for settings in ({}, {"decode_responses": True}, {"protocol": 2}):
        with redis.Redis.from_url(server.url, **settings) as client, Cache(client, namespace=namespace) as cache:
            cache.set("key", ["é", 1])
            assert cache.get("key") == ["é", 1]
            assert cache.incr("count") >= 1
            wait_for(lambda cache=cache: cache.get("key") and cache.health().link == "live", "the link is live")


def test_signed_values(make):
    """With a secret any picklable value is stored; another secret reads a miss; rotation reads the old one's."""
    signed = make(secret="one key, 16 bytes", local_ttl=0.001)
    signed.set("key", Point(1, 2))
    wait_for(lambda: signed.get("key") == Point(1, 2), "the value comes back")
    assert make(secret="two key, 16 bytes", local_ttl=0.001).get("key") is None
    assert make(secret=["two key, 16 bytes", "one key, 16 bytes"], local_ttl=0.001).get("key") == Point(1, 2)
    assert make(local_ttl=0.001).get("key") is None


class Point:
    """A class that only unrestricted pickle takes."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None


def test_objects_are_copied_too(make):
    """A value that isn't a tree of built-ins is rebuilt on every hit."""
    cache = make(secret="a key of 16 bytes")
    cache.set("key", Point(1, 2))
    found = cache.get("key")
    found.x = 7
    assert cache.get("key") == Point(1, 2)


def test_concurrent_loads_are_one(make):
    """Threads that miss one key together load it once, and each gets a value of its own."""
    cache = make()
    inside, go = threading.Semaphore(0), threading.Event()
    loads = []

    def loader():
        loads.append(1)
        inside.release()
        assert go.wait(10)
        return [0]

    results = []
    threads = [threading.Thread(target=lambda: results.append(cache.get_or_set("key", loader))) for _ in range(20)]
    for thread in threads:
        thread.start()
    assert inside.acquire(timeout=10)
    wait_for(lambda: cache.stats().misses >= 20, "all have missed")
    go.set()
    for thread in threads:
        thread.join()
    assert loads == [1]
    assert results == [[0]] * 20
    results[0].append(1)
    assert results[1:] == [[0]] * 19
    assert cache.get("key") == [0]


def test_threads_that_come_while_a_load_is_stored_do_not_load_again(make):
    """A load counts for those who miss while it is on its way into the tiers, or has arrived just after they missed."""
    cache = make()
    loads, gate = [], threading.Barrier(6)

    def ask():
        for number in range(100):
            gate.wait()
            assert cache.get_or_set(f"key {number}", lambda number=number: loads.append(number) or number) == number

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(loads) == list(range(100))


def test_incr_of_what_is_missing_leaves_nothing_behind(make):
    """A counter that isn't there, and isn't to be made, isn't there a moment later either, for any kind of write."""
    cache = make()
    for _ in range(3):
        with pytest.raises(KeyError):
            cache.incr("count", create=False)
    assert cache.add("count", 5) is True
    assert cache.incr("count", create=False) == 6


def test_write_during_a_load_wins(make):
    """A key that is written while its loader runs keeps the written value, here and on the server."""
    loading, other = make(), make()

    def overtaken():
        other.set("key", "written")
        wait_for(lambda: loading.stats().invalidations_received > 0, "the message has arrived")
        return "loaded"

    assert loading.get_or_set("key", overtaken) == "loaded"
    assert loading.get("key") == "written"
    assert other.get("key") == "written"


@pytest.mark.parametrize("old", ["old", MISSING], ids=["value", "nothing"])
def test_a_slow_reader_does_not_undo_a_write_of_its_own_process(make, monkeypatch, old):
    """A read that saw what was there before, and comes home after the write, leaves the written value in place."""
    cache = make()
    cache.set("other", 1)  # so that the generation is known
    if old is not MISSING:
        cache.set("key", old)
    monkeypatch.setattr(cache._namespace.subscriber, "received", lambda _payloads: None)  # the echo is late
    run = cache._namespace.executor.run
    writing = cache._tiers.set("key", "new", NEVER)
    put = next(writing)  # has dropped the local entry, and is about to send
    reading = cache._tiers.get("key")
    fetched = run(next(reading))
    with pytest.raises(StopIteration):
        writing.send(run(put))
    with pytest.raises(StopIteration) as read:
        reading.send(fetched)
    assert read.value.value == old
    before = cache.stats()
    assert cache.get("key") == "new"
    assert cache.stats().local_hits == before.local_hits + 1


def test_without_coherence_entries_live_by_their_ttl_alone(server, namespace):
    """With coherence="none" nothing is published or listened to; a clear elsewhere is noticed within the bound."""
    settings = {"namespace": namespace, "coherence": "none", "max_staleness": 1.0}
    with Cache(server.url, **settings) as one, Cache(server.url, local_ttl=0.05, **settings) as two:
        one.set("key", 1)
        assert two.get("key") == 1
        assert one.health().link == "none"
        two.set("key", 2)
        assert one.get("key") == 1
        one.delete("key")
        wait_for(lambda: two.get("key") is None, "the local ttl is over")
        one.set_many({"key": 3, "other": 4})
        assert one.incr("key") == 4
        assert one.touch("key", 100)
        assert one.add("other", 1) is False
        assert one.get_or_set("loaded", lambda: 5) == two.get_or_set("loaded", lambda: 6) == 5
        two.clear()
        wait_for(lambda: one.get("nothing") is one.get("key"), "the clear is noticed with a read of the server")
        assert one.stats().invalidations_sent == one.stats().invalidations_received == 0
        assert one._namespace._listener is two._namespace._listener is None

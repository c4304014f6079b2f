"""Replicas: writes that wait for them, and reads from them while the primary is away."""

import asyncio
import signal

import pytest
from fake_source import FakeSource
from waiting import PATIENT, wait_for

from twotier import NOT_FOUND, Cache, ConfigurationError, TooFewReplicas, WriteBehind
from twotier.testing import assert_coherent

WAITING = {**PATIENT, "wait_replicas": 2}


def replicas_of(deployment):
    """Return the numbers of the nodes that aren't the primary."""
    return [number for number in range(len(deployment.nodes)) if number != deployment.primary()]


def test_writes_wait_for_replicas(deployment, make):
    """When a write returns, every replica that was asked for has it."""
    cache = make(**WAITING)
    for number in range(20):
        cache.set("key", number)
        cache.set_many({"a": number, "b": number})
        cache.incr("count")
        for replica in replicas_of(deployment):
            with deployment.client(replica) as client:
                assert client.get(client.keys(f"{cache.options.namespace}:*:count")[0]) == str(number + 1).encode()
    cache.touch("key", 100)
    assert cache.delete("key")
    cache.clear()
    assert cache.stats().few_replicas == 0
    assert cache.stats().remote_errors == 0


@pytest.mark.parametrize("answer", ["count", "raise"])
def test_too_few_replicas(deployment, make, answer):
    """Writes that replicas don't have in time are counted, and raise if asked; the primary has them, and so do we."""
    cache = make(**{**WAITING, "timeout": 0.5}, too_few_replicas=answer)
    cache.set("key", 0)
    stopped = replicas_of(deployment)[0]
    deployment.hang(stopped)
    try:
        if answer == "raise":
            with pytest.raises(TooFewReplicas, match="1 of 2"):
                cache.set("key", 1)
            with pytest.raises(TooFewReplicas):
                cache.delete_many(["other"])
        else:
            cache.set("key", 1)
            cache.delete_many(["other"])
        assert cache.stats().few_replicas == 2
        assert cache.get("key") == 1
        assert not cache.health().journal
        assert cache.get_or_set("loaded", lambda: 5) == 5  # what is loaded doesn't wait
        assert cache.stats().few_replicas == 2
    finally:
        deployment.go_on(stopped)
    assert_coherent(cache)


def test_a_write_behind_waits_for_replicas(deployment, make):
    """What waits for the source is on the replicas, too, when the call returns; too few are told, as of any write."""
    cache, source = make(**{**WAITING, "timeout": 0.5}, too_few_replicas="raise"), FakeSource()
    with WriteBehind(cache, source, trust_server=True, drain=False) as behind:
        behind.set_many({"a": 1, "b": 2})
        behind.delete("a")
        for replica in replicas_of(deployment):
            with deployment.client(replica) as client:
                (stream,) = client.scan_iter(f"{cache.options.namespace}:*", _type="stream")
                assert client.xlen(stream) == 3
        stopped = replicas_of(deployment)[0]
        deployment.hang(stopped)
        try:
            with pytest.raises(TooFewReplicas, match="1 of 2"):
                behind.set("c", 3)
        finally:
            deployment.go_on(stopped)
        assert cache.stats().few_replicas == 1
        assert behind.stats().depth == 4  # it is there all the same
    with WriteBehind(cache, source, trust_server=True) as behind:
        behind.flush(30)
        assert source.rows == {"b": 2, "c": 3}


def test_a_single_server_has_no_replicas(server, namespace):
    """Without replicas each write is one with too few; reading from them needs sentinels."""
    with Cache(server.url, namespace=namespace, wait_replicas=1) as cache:
        cache.set("key", 1)
        assert cache.stats().few_replicas == 1
        assert cache.get("key") == 1
    with pytest.raises(ConfigurationError, match="replica_fallback must be False without sentinels"):
        Cache(server.url, replica_fallback=True)
    with pytest.raises(ConfigurationError, match="wait_replicas must be an int >= 0"):
        Cache(wait_replicas=-1)


@pytest.fixture
def no_failover(deployment):
    """The primary hangs, and the sentinels with it, so that nobody is promoted: what a long outage is like."""

    def begin():
        for each in deployment.sentinels:
            each.signal(signal.SIGSTOP)
        deployment.hang(deployment.nodes.index(begin.primary))

    begin.primary = deployment.nodes[deployment.primary()]
    yield begin
    deployment.go_on(deployment.nodes.index(begin.primary))
    for each in deployment.sentinels:
        each.signal(signal.SIGCONT)


def test_replicas_answer_while_the_primary_is_away(deployment, make, no_failover):
    """What the local tier doesn't have comes from a replica, counted as stale, and never enters the local tier."""
    peer, cache = make(**PATIENT), make(replica_fallback=True)
    peer.set_many({"a": 1, "b": [2], "c": "x"})
    peer.set("written here", 0)
    watch = cache._namespace.topology._watch
    wait_for(lambda: len(watch.replicas) == 2, "the replicas are known")
    for each in replicas_of(deployment):
        with deployment.client(each) as client:
            wait_for(lambda client=client: client.keys("*:written here"), "replicated")
    no_failover()
    cache.set("written here", 9)
    wait_for(lambda: cache.health().breaker != "closed", "the breaker is open")
    assert cache.get("a") == 1
    assert cache.get_many(["b", "nothing", "c", "written here"]) == {"b": [2], "c": "x", "written here": 9}
    assert cache.get_or_set("a", lambda: "loaded") == 1
    assert cache.get("nothing", "?") == "?"
    stats = cache.stats()
    assert stats.replica_reads == 4
    assert stats.stale_served >= 4
    for key in ("a", "b", "c"):
        assert cache._namespace.store.op(key) is None
    cache.delete("a")
    assert cache.get("a") is None  # our own delete counts, whatever replicas say


def test_loads_ask_a_replica_before_their_loader(deployment, make, no_failover):
    """While the primary is away, loaders are asked for what no replica has; `refresh` asks them at once."""
    peer, cache = make(**PATIENT), make(replica_fallback=True, timeout=0.5)
    peer.set_many({"a": 1, "b": [2], "written here": 0})
    peer.set_many({f"n{number}": number for number in range(1200)})
    wait_for(lambda: len(cache._namespace.topology._watch.replicas) == 2, "the replicas are known")
    for each in replicas_of(deployment):
        with deployment.client(each) as client:
            wait_for(lambda client=client: client.keys("*:n1199"), "replicated")
    no_failover()
    cache.delete("written here")
    wait_for(lambda: cache.health().breaker != "closed", "the breaker is open")
    asked = []

    def load(keys):
        asked.extend(keys)
        return dict.fromkeys(keys, "loaded")

    expected = {"a": 1, "nothing": "loaded", "b": [2], "written here": "loaded"}
    assert cache.get_or_set_many(list(expected), load) == expected
    many = {f"n{number}": number for number in range(1200)}
    assert cache.get_or_set_many(many, load) == many  # in several trips
    assert cache.get_or_set("a", lambda: load(["a"])) == 1
    assert cache.stats().replica_reads == 1203
    assert asked == ["nothing", "written here"]

    async def awaited():
        many = await cache.aio.get_or_set_many(["b", "other"], load)
        return many, await cache.aio.get_or_set("a", lambda: load(["a"]))

    assert asyncio.run(awaited()) == ({"b": [2], "other": "loaded"}, 1)
    assert asked == ["nothing", "written here", "other"]
    for key in ("a", "b", "n7"):
        assert cache._namespace.store.op(key) is None
    assert cache.refresh("a", lambda: 5) == 5
    assert cache.get("a") == 5  # known here now, and newer than what replicas have

    def stays_absent():  # unless the lease ends in between, and puts that in doubt
        cache.refresh("b", lambda: NOT_FOUND, negative_ttl=60)
        return cache.get("b") is None

    wait_for(stays_absent, "it is known that there is none")


def test_event_loops_wait_for_replicas_and_read_from_them(make, no_failover):
    """Awaited calls do the same: writes wait, and misses go to a replica while the primary is away."""
    cache = make(replica_fallback=True, wait_replicas=2)

    async def write():
        await cache.aio.set("a", 1)
        await cache.aio.set_many({"b": 2, "c": 3})

    asyncio.run(write())
    assert cache.stats().few_replicas in {0, 1, 2}  # a busy machine
    cache._namespace.store.clear()
    wait_for(lambda: len(cache._namespace.topology._watch.replicas) == 2, "the replicas are known")
    no_failover()
    wait_for(lambda: cache.get("nothing") is None and cache.health().breaker != "closed", "the breaker is open")

    async def read():
        return await cache.aio.get("a"), await cache.aio.get_many(["b", "c"])

    assert asyncio.run(read()) == (1, {"b": 2, "c": 3})
    assert cache.stats().replica_reads == 3


def test_without_the_option_a_miss_stays_a_miss(make, no_failover):
    """Nobody reads from replicas unasked."""
    peer, cache = make(**PATIENT), make()
    peer.set("a", 1)
    no_failover()
    wait_for(lambda: cache.get("a") is None and cache.health().breaker != "closed", "the breaker is open")
    assert cache.get("a") is None


def test_replicas_are_not_asked_where_an_outage_is_a_miss(deployment, make, no_failover):
    """What may be stale isn't given out, whoever has it."""
    peer, cache = make(**PATIENT), make(replica_fallback=True, on_outage="miss")
    peer.set("a", 1)
    wait_for(lambda: len(cache._namespace.topology._watch.replicas) == 2, "the replicas are known")
    for each in replicas_of(deployment):
        with deployment.client(each) as client:
            wait_for(lambda client=client: client.keys("*:a"), "replicated")
    no_failover()
    wait_for(lambda: cache.get("a") is None and cache.health().breaker != "closed", "the breaker is open")
    assert cache.get_many(["a"]) == {}
    assert cache.stats().replica_reads == 0


def test_misses_are_cheap_when_replicas_are_gone_too(deployment, make, no_failover):
    """With nobody left, a miss costs a deadline once a second, not each time."""
    cache = make(replica_fallback=True)
    cache.set("hot", 1)
    wait_for(lambda: cache._namespace.topology._watch.replicas, "the replicas are known")
    stopped = replicas_of(deployment)
    no_failover()
    for number in stopped:
        deployment.hang(number)
    try:
        wait_for(lambda: cache.get("nothing") is None and cache.health().breaker != "closed", "the breaker is open")
        edge = cache._namespace.executor._edge
        failed = edge.of_replicas().breaker
        cache.get("nothing")
        until = failed._until
        for _ in range(200):
            assert cache.get("nothing") is None
            assert cache.get("hot") == 1
        assert failed._until - until < 3
    finally:
        for number in stopped:
            deployment.go_on(number)

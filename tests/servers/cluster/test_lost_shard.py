"""While a node is lost, and nobody takes its place yet, only its own keys are the worse for it."""

import asyncio
import time

import pytest
from fake_source import FakeSource
from waiting import PATIENCE, wait_for

from twotier.core.namespace.cluster_generations import GROUP_SLOTS
from twotier.core.outage.journal import Doubt
from twotier.remote.commands.base import Fetch
from twotier.remote.commands.slot_map import Node
from twotier.remote.hash_slots import slot_of, tag_of
from twotier.remote.io.errors import RedirectionError
from twotier.testing import EmbeddedCluster, assert_coherent

KEYS = [f"key{number}" for number in range(150)]
OLD = {key: ["old", key] for key in KEYS}
CALM = {"timeout": 1.0, "connect_timeout": 1.0, "max_staleness": 4.0}
"""Options of caches to which a busy machine isn't an outage; a hanging node costs as much, three times."""


class Outage:
    """A cluster one of whose primaries is lost, until its replica may take over."""

    def __init__(self, cluster: EmbeddedCluster, fault: str) -> None:
        self._cluster = cluster
        ranges = cluster.primaries()
        self.victim = cluster.owner(0)
        served = [range(first, last + 1) for (first, last), server in ranges.items() if server is self.victim]
        self.slots = {slot for slots in served for slot in slots}
        self._fault = fault
        self.replica = cluster.replica_of(self.victim)
        cluster.let_others_serve()

    def begin(self, *, replica_hangs: bool = True) -> None:
        """Lose the primary; its replica hangs, too, or only doesn't take over."""
        if replica_hangs:
            self._cluster.stop(self.replica)
        else:
            self._cluster.hold_failover(self.victim)
        if self._fault == "kill":
            self.victim.kill()
        else:
            self._cluster.stop(self.victim)

    def end(self) -> None:
        """Let the replica take over."""
        self._cluster.resume(self.replica)
        self._cluster.hold_failover(self.victim, held=False)

    def has(self, key: str) -> bool:
        """Tell whether a key is lost."""
        return slot_of(key.encode()) in self.slots

    def spares(self, key: str) -> bool:
        """Tell whether neither a key nor its generation is lost."""
        slot = slot_of(key.encode())
        return slot not in self.slots and slot // GROUP_SLOTS * GROUP_SLOTS not in self.slots


@pytest.fixture(params=["kill", "stop"])
def outage(request, own_cluster):
    """A cluster that is to lose a primary."""
    return Outage(own_cluster, request.param)


def journaled(cache, keys):
    """Return those keys that are in doubt."""
    return [key for key in keys if key in cache._namespace.journal]


def settled(*caches):
    """Tell whether every cache is live and has nothing left to replay."""
    asked = [cache for cache in caches if cache.get("any") is None]
    return all(cache.health().link == "live" and not cache._namespace.journal for cache in asked)


def known_lost(cache, key):
    """Write a lost key until that is known: nobody waits for its node any more, and nothing is fresh."""
    wait_for(lambda: cache.set(key, "probe") is None and cache.health().breaker == "open", "it is known to be lost")
    wait_for(lambda: cache.health().link != "live", "the link is lost")


def lag_behind(cluster, primary):
    """Keep the replica of a primary from hearing what is written from now on."""
    cluster.client(cluster.replica_of(primary)).config_set("masterauth", "wrong")
    cluster.client(primary).execute_command("CLIENT", "KILL", "TYPE", "replica")


def test_only_the_lost_shards_keys_degrade(outage, make, own_cluster):
    """Others are written at once, by every call, and unjournaled; the lost ones are journaled, and come good."""
    reader, writer = make(own_cluster, **CALM), make(own_cluster, **CALM)
    writer.set_many(OLD)
    wait_for(lambda: reader.get_many(KEYS) == OLD and set(reader._namespace.store.keys()) >= set(KEYS), "all is held")
    mine = [key for key in KEYS if outage.has(key)]
    others = [key for key in KEYS if outage.spares(key)]
    assert min(len(mine), len(others)) > 30
    outage.begin()
    known_lost(writer, mine[0])
    known_lost(reader, mine[0])
    began = time.monotonic()
    for key in others:
        writer.set(key, "written")
    assert time.monotonic() - began < len(others) * writer.options.timeout / 5
    assert {reader.get(key) for key in others} == {"written"}
    writer.set_many({key: ["many", key] for key in KEYS})
    assert reader.get_many(others) == {key: ["many", key] for key in others}
    assert writer.get_many(mine) == {key: ["many", key] for key in mine}
    assert writer.delete_many([*mine[:2], *others[:3]]) == 5
    assert not writer.delete(others[0])
    assert writer.add(others[0], "added")
    assert not reader.add(others[0], "again")
    assert writer.incr(f"{{{others[1]}}}count", 5) == 5
    assert reader.incr(f"{{{others[1]}}}count") == 6
    assert reader.get(others[2]) is None
    assert writer.get_or_set(others[2], lambda: ["loaded"]) == reader.get(others[2]) == ["loaded"]
    assert writer.touch(others[2], ttl=60)
    assert writer.invalidate(others[3])
    fresh = [f"{{{key}}}fresh" for key in (mine[5], *others[5:15])]
    loads = writer.get_or_set_many(fresh, lambda keys: {key: ["made", key] for key in keys})
    assert loads == {key: ["made", key] for key in fresh}
    assert reader.get_many(fresh[1:]) == {key: ["made", key] for key in fresh[1:]}
    assert journaled(writer, [*others, *fresh[1:]]) == []
    assert set(journaled(writer, mine)) == set(mine)
    assert reader.get(mine[9]) == OLD[mine[9]]
    outage.end()
    wait_for(lambda: settled(reader, writer), "what was in doubt is made good")
    assert reader.get_many(mine) == {}
    writer.set_many(OLD)
    wait_for(lambda: reader.get_many(KEYS) == OLD, "writes are taken and heard")
    assert_coherent(writer, reader, patience=PATIENCE)


def test_writes_go_through_to_the_source_and_the_nodes_that_are_there(outage, make, own_cluster):
    """Write-through journals the lost node's keys alone."""

    source = FakeSource()
    reader, writer = make(own_cluster, **CALM), make(own_cluster, writer=source, **CALM)
    writer.set_many(OLD)
    mine = [key for key in KEYS if outage.has(key)]
    others = [key for key in KEYS if outage.spares(key)]
    outage.begin()
    known_lost(reader, mine[0])
    known_lost(writer, mine[0])
    writer.set_many({key: ["new", key] for key in KEYS})
    assert source.rows == {key: ["new", key] for key in KEYS}
    assert reader.get_many(others) == {key: ["new", key] for key in others}
    assert journaled(writer, others) == []
    assert set(journaled(writer, mine)) == set(mine)
    outage.end()
    wait_for(lambda: settled(reader, writer), "what was in doubt is made good")
    assert reader.get_many(mine) == {}


@pytest.mark.parametrize("replay", ["delete", "set"])
def test_a_clear_reaches_the_lost_shard_when_it_is_back(outage, make, own_cluster, replay):
    """What was cleared never comes back; others are written on meanwhile, and keep what they get."""
    reader, writer = make(own_cluster, **CALM), make(own_cluster, replay=replay, **CALM)
    writer.set_many(OLD)
    wait_for(lambda: reader.get_many(KEYS) == OLD, "all is there")
    mine = [key for key in KEYS if outage.has(key)]
    others = [key for key in KEYS if outage.spares(key)]
    outage.begin()
    known_lost(writer, mine[0])
    writer.clear()
    assert writer.get_many(KEYS) == {}
    wait_for(lambda: reader.get_many(others) == {}, "the reader has heard of it")
    new = {key: ["new", key] for key in KEYS[::2]}
    writer.set_many(new)
    assert reader.get_many(others) == {key: new[key] for key in others if key in new}
    assert journaled(writer, others) == []
    assert set(journaled(writer, mine)) == set(mine)
    outage.end()

    def is_back():
        assert all(value[0] == "new" for value in writer.get_many(mine).values())
        return settled(reader, writer)

    wait_for(is_back, "the clear is complete")
    found = make(own_cluster, **CALM).get_many(KEYS)
    assert all(value[0] == "new" for value in found.values())
    assert {key: found[key] for key in others if key in found} == {key: new[key] for key in others if key in new}
    wait_for(lambda: reader.get_many(KEYS) == found == writer.get_many(KEYS), "all agree")
    assert_coherent(writer, reader, patience=PATIENCE)


def test_a_border(outage, make, own_cluster):
    """A key whose generation alone is lost is read on, and what is written to it comes good afterwards."""
    reader, writer = make(own_cluster, **CALM), make(own_cluster, **CALM)
    slot = max(outage.slots) + 1
    assert slot // GROUP_SLOTS * GROUP_SLOTS in outage.slots
    key = tag_of(slot).decode() + "key"
    writer.set(key, "old")
    assert reader.get(key) == "old"
    outage.begin()
    known_lost(writer, next(filter(outage.has, KEYS)))
    known_lost(reader, next(filter(outage.has, KEYS)))
    reader._namespace.store.discard(key)
    assert reader.get(key) == "old"
    assert key not in reader._namespace.store
    writer.set(key, "new")
    assert journaled(writer, [key]) == [key]
    assert writer.get(key) == "new"
    outage.end()
    wait_for(lambda: settled(reader, writer), "what was in doubt is made good")
    assert reader.get(key) is None
    writer.set(key, "again")
    wait_for(lambda: reader.get(key) == "again", "it is written and heard")


def test_another_shards_doubts_do_not_wait_for_the_lost_one(outage, make, own_cluster):
    """What is in doubt on a node that is there is made good although another is lost."""
    reader, writer = make(own_cluster, **CALM), make(own_cluster, **CALM)
    writer.set_many(OLD)
    mine = [key for key in KEYS if outage.has(key)]
    others = [key for key in KEYS if outage.spares(key)]
    outage.begin()
    known_lost(writer, mine[0])
    writer._namespace.doubt({key: Doubt(writer._namespace.op_ids.next()) for key in others[:3]})
    wait_for(lambda: journaled(writer, others) == [], "they are made good")
    assert journaled(writer, mine) == mine[:1]
    assert reader.get_many(others) == {key: OLD[key] for key in others[3:]}
    outage.end()
    wait_for(lambda: settled(reader, writer), "what was in doubt is made good")


def test_replicas_answer_for_the_lost_shard(outage, make, own_cluster):
    """What the local tier doesn't have of the lost node comes from its replica, as stale; nobody else's is asked."""
    settings = {"replica_fallback": True, **CALM}
    writer, reader, loader = (make(own_cluster, **settings) for _ in range(3))
    mine = [key for key in KEYS if outage.has(key)]
    gone, *others = [key for key in KEYS if outage.spares(key)]
    writer.set_many(OLD)
    own_cluster.replicated()
    lag_behind(own_cluster, own_cluster.owner(slot_of(gone.encode())))
    writer.delete(gone)
    outage.begin(replica_hangs=False)
    known_lost(writer, mine[0])
    known_lost(reader, mine[0])
    assert reader.get(mine[1]) == OLD[mine[1]]
    assert reader.get_many([*mine[1:], gone, *others]) == {key: OLD[key] for key in (*mine[1:], *others)}
    assert reader.get(gone) is None  # its own primary says so, whatever the replica that lags still has
    assert reader.get(mine[0]) == "probe"  # what was written here counts
    assert reader.stats().replica_reads == len(mine)
    assert not set(mine[1:]) & set(reader._namespace.store.keys())
    asked = []
    loads = loader.get_or_set_many([*mine[1:], gone], lambda keys: asked.extend(keys) or dict.fromkeys(keys, "loaded"))
    assert loads == {key: OLD[key] for key in mine[1:]} | {gone: "loaded"}
    assert asked == [gone]

    async def awaited():
        return await reader.aio.get_many(mine[1:4]), await reader.aio.get(mine[4])

    assert asyncio.run(awaited()) == ({key: OLD[key] for key in mine[1:4]}, OLD[mine[4]])
    outage.end()
    wait_for(lambda: settled(reader, writer), "what was in doubt is made good")
    assert_coherent(writer, reader, patience=PATIENCE)


def test_a_connection_reads_from_a_replica_for_one_call_only(outage, make, own_cluster):
    """What a node is asked in its own right afterwards, it answers as the replica that it is: it sends us on."""
    cache, peer = make(own_cluster, replica_fallback=True, **CALM), make(own_cluster, **CALM)
    key = next(filter(outage.has, KEYS))
    peer.set(key, 1)
    own_cluster.replicated()
    outage.begin(replica_hangs=False)
    wait_for(lambda: cache.get(key) == 1, "a replica answers")
    assert cache.stats().replica_reads > 0
    (place,) = own_cluster.client(outage.replica).keys(f"*:{key}")
    member = cache._namespace.topology.members.member(Node("127.0.0.1", outage.replica.port))
    with pytest.raises(RedirectionError):
        member.executor.run(Fetch(place.encode()))

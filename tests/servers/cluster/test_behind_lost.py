"""Write-behind in a cluster that loses nodes: what of a key is lost, and what goes on meanwhile."""

from collections import defaultdict

import pytest
from fake_source import FakeSource, contradictions
from stepping import SOON, slot_of_stream
from waiting import wait_for

from twotier import RemoteError, WriteBehind
from twotier.core.write_behind.streams import Streams
from twotier.remote.hash_slots import slot_of


def succeeds(call):
    """Call until no RemoteError comes; return what it gives."""
    given = []

    def tried():
        try:
            given.append(call())
        except RemoteError:
            return False
        return True

    wait_for(tried, "it succeeds")
    return given[0]


def by_what_is_lost(cluster, cache, victim):
    """Return keys by what of them is on a node."""
    lost = set()
    for (first, last), server in cluster.primaries().items():
        if server is victim:
            lost.update(range(first, last + 1))
    namespace = cache._namespace
    streams = Streams("any", namespace.values, slotted=True)
    found = defaultdict(list)
    for key in (f"key{number}" for number in range(30_000)):
        slots = {
            "key": slot_of(key.encode()),
            "stream": slot_of(streams.all[streams.of(key)].stream),
            "generation": slot_of(namespace.generations.keys[namespace.generations.group_of(key)]),
        }
        found[tuple(name for name, slot in slots.items() if slot in lost)].append(key)
    return found


@pytest.mark.parametrize("fault", ["kill", "stop"])
@pytest.mark.parametrize("lost", ["key", "stream", "generation"])
def test_a_node_is_lost(own_cluster, make, source, fault, lost):
    """Writes whose stream is lost raise, the others count; all is well once the replica has taken over."""
    cache, other = make(own_cluster), make(own_cluster)
    own_cluster.let_others_serve()
    victim = own_cluster.servers[1 if lost == "stream" else 0]
    found = by_what_is_lost(own_cluster, cache, victim)
    raising = found["key", "stream", "generation"][:15] + found["stream",][:15]  # mostly a node has all of a key
    journaled = found["generation",][:15] if lost == "generation" else found["key", "generation"][:15]
    plain = found[()][:30]
    keys = raising + journaled + plain
    assert raising
    assert plain
    assert found["stream",] if lost == "stream" else journaled
    drainer = WriteBehind(other, source, trust_server=True, **SOON)
    behind = WriteBehind(cache, source, trust_server=True, drain=False)
    behind.set_many(dict.fromkeys(keys, "before"))
    drainer.flush(30)
    assert source.rows == dict.fromkeys(keys, "before")
    own_cluster.replicated()
    own_cluster.hold_failover(victim)  # what was journaled would be replayed
    (victim.kill if fault == "kill" else lambda: own_cluster.stop(victim))()
    written = {}
    for key in (found["stream",][:15] if lost == "stream" else journaled) + plain[:5]:
        for value in ("during", "again"):
            try:
                behind.set(key, value)
            except RemoteError:
                assert key in raising
            else:
                written[key] = value
                assert cache.get(key) == value
    assert set(written) >= {*plain[:5], *(journaled if lost != "stream" else ())}
    wait_for(lambda: all(source.rows[key] == written[key] for key in written), "what could be written has arrived")
    own_cluster.hold_failover(victim, held=False)
    own_cluster.wait_for_failover(victim)
    if fault == "stop":
        own_cluster.resume(victim)
    succeeds(lambda: behind.set_many(dict.fromkeys(raising, "after")))
    succeeds(lambda: drainer.flush(30))
    expected = dict.fromkeys(keys, "before") | written | dict.fromkeys(raising, "after")
    assert source.rows == expected
    wait_for(lambda: not cache.health().journal and not other.health().journal, "the journals are replayed")
    wait_for(lambda: contradictions(other, source, keys) == [] == contradictions(cache, source, keys), "all agree")
    succeeds(lambda: behind.set_many(dict.fromkeys(keys, "at last")))
    succeeds(lambda: drainer.flush(30))
    wait_for(lambda: other.get_many(keys) == source.rows == dict.fromkeys(keys, "at last"), "all is as before")
    drainer.close()


def test_lost_keys_of_a_stream_hold_up_no_others(own_cluster, make, source):
    """Of one call and one batch, only keys whose node or generation is lost are journaled, and acknowledged later."""
    cache = make(own_cluster)
    victim = own_cluster.servers[0]
    replica = own_cluster.replica_of(victim)
    found = by_what_is_lost(own_cluster, cache, victim)
    streams = Streams(cache.options.namespace, cache._namespace.values, slotted=True)
    at_border = streams.of(found["generation",][0])
    stream = streams.all[at_border].stream.decode()
    lost = found["key", "generation"][:10] + found["generation",][:10]
    others = [key for key in found[()] if streams.of(key) == at_border][:20]
    assert {streams.of(key) for key in lost} == {at_border}
    assert len(others) == len(lost)
    keys = lost + others
    own_cluster.let_others_serve()
    client = own_cluster.client(own_cluster.owner(slot_of(stream.encode())))
    with WriteBehind(cache, source, trust_server=True, **SOON) as behind:
        behind.set_many(dict.fromkeys(keys, "before"))
        behind.flush(30)
        own_cluster.stop(replica)
        victim.kill()
        behind.set_many(dict.fromkeys(keys, "during"))
        assert cache.get_many(keys) == dict.fromkeys(keys, "during")
        assert cache.health().journal == len(lost)
        wait_for(lambda: client.xlen(stream) == len(lost), "the others are acknowledged")
        assert source.rows == dict.fromkeys(keys, "during")
        behind.set_many(dict.fromkeys(others, "still"))
        wait_for(lambda: client.xlen(stream) == len(lost), "those that wait hold up no others")
        assert source.rows == dict.fromkeys(lost, "during") | dict.fromkeys(others, "still")
        own_cluster.resume(replica)
        own_cluster.wait_for_failover(victim)
        succeeds(lambda: behind.flush(30))
        wait_for(lambda: not cache.health().journal, "the journal is replayed")
        wait_for(lambda: contradictions(cache, source, keys) == [], "cache and source agree")


def test_streams_of_a_lost_node_hold_up_no_others(own_cluster, make):
    """A process goes on draining what it can while a node hangs, and hands the source nothing twice meanwhile."""
    cache = make(own_cluster)
    source = FakeSource()
    keys = [f"key{number}" for number in range(200)]
    victim = own_cluster.servers[0]
    own_cluster.let_others_serve()
    with WriteBehind(cache, source, trust_server=True, drain_lease=5.0) as behind:
        behind.set_many(dict.fromkeys(keys, 0))
        behind.flush(30)
        mine = [key for key in keys if own_cluster.owner(slot_of_stream(cache, source, key)) is not victim]
        own_cluster.hold_failover(victim)
        own_cluster.stop(victim)
        source.asked.clear()
        for key in mine[:20]:
            behind.set(key, 1)
        wait_for(lambda: all(source.rows[key] == 1 for key in mine[:20]), "they have arrived")
        asked = [key for _, values in source.asked for key in values]
        assert sorted(asked) == sorted(mine[:20])
        assert behind.stats().depth is None
        own_cluster.hold_failover(victim, held=False)
        own_cluster.wait_for_failover(victim)
        own_cluster.resume(victim)
        succeeds(lambda: behind.flush(30))
        wait_for(lambda: not cache.health().journal, "the journal is replayed")
        assert contradictions(cache, source, keys) == []

"""A cluster that loses nodes, moves slots, and grows, under caches in use."""

import os
import threading
import time

import pytest
from waiting import wait_for

from twotier import Cache
from twotier.remote.hash_slots import slot_of

HOT = {f"hot{number}": ["value", number] for number in range(90)}
"""On all nodes."""


def agree(caches, keys):
    """Tell whether all caches, asked again and again, say the same of all keys."""
    told = [cache.get_many(keys) for cache in caches]
    return told[0] if all(each == told[0] for each in told) else None


class Users:
    """Threads that read hot keys from a cache until told to stop; what they get must be what was set."""

    def __init__(self, cache, expected):
        self.wrong, self.reads = [], 0
        self._cache, self._expected = cache, expected
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _read(self):
        while not self._stop.is_set():
            for key, value in self._expected.items():
                try:
                    found = self._cache.get(key)
                except Exception as error:  # noqa: BLE001 - none may come
                    found = error
                self.reads += 1
                if found != value:
                    self.wrong.append((key, found))


def hold(cache, values):
    """Wait until the local tier holds `values`, with no echo of their writing under way that would drop them again."""
    namespace = cache._namespace
    written = namespace.clock.now()
    wait_for(lambda: (namespace.subscriber.proven_at or 0) > written, "every echo has arrived")
    wait_for(lambda: cache.get_many(values) == values and set(namespace.store.keys()) >= set(values), "all is held")


def settled(caches):
    """Tell whether every cache is live and has nothing left to replay."""
    health = [cache.health() for cache in caches if cache.get("any") is None]
    return all(each.link == "live" and not each.journal for each in health)


@pytest.mark.parametrize("fault", ["kill", "stop"])
def test_a_primary_is_lost(own_cluster, make, fault):
    """No hot read fails; the lost node's keys are served, and what is written of them comes good afterwards."""
    reader, writer = make(own_cluster), make(own_cluster)
    writer.set_many(HOT)
    hold(reader, HOT)
    victim = own_cluster.owner(0)
    keys = [f"new{number}" for number in range(40)]
    mine = [key for key in keys if own_cluster.owner(slot_of(key.encode())) is victim]
    others = [key for key in keys if key not in mine]
    with Users(reader, HOT) as users:
        (victim.kill if fault == "kill" else lambda: own_cluster.stop(victim))()
        wait_for(lambda: writer.set(mine[0], "written") is None and writer.health().journal, "a write is journaled")
        for key in others:
            writer.set(key, "written")
        wait_for(lambda: settled((reader, writer)), "the replica has taken over")
        writer.set_many(dict.fromkeys(mine, "again"))
        wait_for(lambda: reader.get_many(mine) == dict.fromkeys(mine, "again"), "writes are taken and heard")
        if fault == "stop":
            own_cluster.resume(victim)  # it finds out that it is a replica now
            wait_for(lambda: own_cluster.client(victim).role()[0] == "slave", "the old primary follows")
            writer.set_many(dict.fromkeys(mine, "once more"))
            wait_for(lambda: reader.get_many(mine) == dict.fromkeys(mine, "once more"), "writes are heard")
        wait_for(lambda: users.reads > 10_000, "there were reads")
    assert users.wrong == []
    wait_for(lambda: agree((reader, writer), [*HOT, *mine, *others]), "both agree")


@pytest.mark.parametrize("informed", [True, False], ids=["by-the-map", "by-the-primary-alone"])
def test_an_isolated_primary_is_not_believed(own_cluster, make, namespace, monkeypatch, informed):
    """A primary that was replaced, but is still reached, makes nothing fresh; its keys' stale copies are served."""
    if not own_cluster.can_isolate:
        pytest.skip("this server can't be told to drop all that other nodes send")
    reader = make(own_cluster)
    reader.set("key", "old")
    hold(reader, {"key": "old"})
    slot = slot_of(b"key")
    victim = own_cluster.owner(slot)
    witness = next(server for server in own_cluster.primaries().values() if server is not victim)
    if not informed:  # as if it reached no other node that knows better
        monkeypatch.setattr(reader._namespace.topology.members, "survey", lambda: True)
    own_cluster.isolate(victim)
    wait_for(lambda: own_cluster.owner(slot, witness) not in (None, victim), "another has taken over")
    with Cache(f"redis+cluster://127.0.0.1:{witness.port}", namespace=namespace) as outside:
        wait_for(lambda: outside.set("key", "new") is None and not outside.health().journal, "it is written there")
        written = time.monotonic()
        bound = reader.options.max_staleness

        def is_new():
            asked = time.monotonic()
            link, found = reader.health().link, reader.get("key")
            assert found == "new" or link != "live" or asked < written + bound
            return found == "new"

        wait_for(lambda: is_new() or time.monotonic() > written + 2 * bound, "the bound is past")
        assert reader.get("key") == ("new" if informed else "old")
        assert informed or reader.health().link != "live"


def test_an_old_map_ends_the_lease(cluster, make, monkeypatch):
    """Primaries that can't be asked for may be others by now: then nothing is fresh, however well the known are."""
    reader = make(cluster)
    monkeypatch.setattr(reader._namespace.topology.members, "survey", lambda: False)
    wait_for(lambda: reader.health().link != "live", "the lease is over")
    assert not reader._namespace.store.live


def test_slots_move_under_load(own_cluster, make):
    """While slots are moved key by key, nothing fails or is wrong; both processes agree afterwards."""
    reader, writer = make(own_cluster), make(own_cluster)
    writer.set_many(HOT)
    counters = [f"count{number}" for number in range(30)]
    for key in counters:
        writer.incr(key)
    stop = threading.Event()
    written = dict.fromkeys(counters, 0)
    errors = []

    def write():
        while not stop.is_set():
            for key in counters:
                written[key] += 1
                try:
                    writer.set(key, ["value", written[key]])
                except Exception as error:  # noqa: BLE001 - none may come
                    errors.append(error)

    thread = threading.Thread(target=write)
    with Users(reader, HOT) as users:
        thread.start()
        source = own_cluster.owner(0)
        target = next(server for server in own_cluster.primaries().values() if server is not source)
        names = [name.encode() for kind in ("hot", "count") for name in own_cluster.client(source).keys(f"*:{kind}*")]
        moved = sorted({slot_of(name) for name in names})
        for slot in moved:
            own_cluster.move(slot, target)
        stop.set()
        thread.join()
        wait_for(lambda: settled((reader, writer)), "all is settled")
    assert (users.wrong, errors) == ([], [])
    assert len(moved) > 10
    expected = {key: ["value", count] for key, count in written.items()}
    wait_for(lambda: reader.get_many(counters) == expected == writer.get_many(counters), "the last writes stand")


def test_a_primary_joins(own_cluster, make):
    """Slots that a new node takes over are heard from it: nothing that is written there is missed."""
    reader, writer = make(own_cluster), make(own_cluster)
    writer.set_many(HOT)
    fresh = own_cluster.add()
    own_cluster.meet(own_cluster.servers[0], fresh)
    wait_for(lambda: own_cluster.client(own_cluster.servers[0]).cluster("INFO")["cluster_known_nodes"] == "7", "met")
    wait_for(lambda: own_cluster.client(fresh).cluster("INFO")["cluster_state"] == "ok", "it knows the cluster")
    source = own_cluster.owner(0)
    slots = sorted({slot_of(name.encode()) for name in own_cluster.client(source).keys("*:hot*")})
    for slot in slots:
        own_cluster.move(slot, fresh)
    values = {}
    for round_ in range(3):
        values = {key: ["value", round_] for key in HOT}
        writer.set_many(values)
        wait_for(lambda: reader.get_many(HOT) == values, "the writes are heard")  # noqa: B023 - called in this round
    wait_for(lambda: settled((reader, writer)), "all is settled")
    assert fresh.port in {node.port for node in reader._namespace.topology.members.primaries()}


def test_a_forked_child_has_connections_of_its_own(cluster, make):
    """Parent and child go on using the cluster, each by itself."""
    cache = make(cluster)
    cache.set_many(HOT)
    child = os.fork()
    if not child:
        status = 1
        try:
            cache.set("hot0", "the child's")
            status = 0 if cache.get_many(HOT)["hot1"] == HOT["hot1"] and cache.get("hot0") == "the child's" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    wait_for(lambda: cache.get("hot0") == "the child's", "the parent has heard of it")
    assert cache.get_many(HOT)["hot2"] == HOT["hot2"]


def test_nobody_answers(namespace):
    """With no node up, reads are misses and writes are journaled, without waiting once that is known."""
    with Cache("redis+cluster://127.0.0.1:1,127.0.0.1:2", namespace=namespace) as cache:
        assert cache.get("key") is None
        cache.set("key", "value")
        assert cache.get("key") == "value"
        wait_for(lambda: cache._namespace.topology.members.silent, "that nobody answers is known")
        began = time.monotonic()
        for _ in range(100):
            cache.get("other")
        assert time.monotonic() - began < 2
        cache.clear()
        assert cache.get("key") is None

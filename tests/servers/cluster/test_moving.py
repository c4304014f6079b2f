"""Slots on the move, those of generations among them, under writes and clears."""

import itertools
import threading

import pytest
from waiting import PATIENCE, PATIENT, wait_for

from twotier.coherence import cluster_listener
from twotier.core.namespace.cluster_generations import GROUP_SLOTS
from twotier.remote.hash_slots import slot_of, tag_of
from twotier.testing import assert_coherent

GROUP = 100
SLOT = GROUP * GROUP_SLOTS
"""The slot of a generation."""
KEY = tag_of(SLOT).decode() + "key"
"""A key in the same slot."""
NEIGHBOUR = tag_of(SLOT + 1).decode() + "key"
"""A key in another slot of the same group."""


def generation(cluster, server, cache):
    """Return the generation of the group, as it stands at one node; None where it doesn't."""
    name = cache._namespace.generations.keys[GROUP].decode()
    return name if name in cluster.client(server).keys(f"{cache.options.namespace}:gen*") else None


@pytest.fixture
def ends(own_cluster):
    """The node that has the slot, and the one that gets it."""
    source = own_cluster.owner(SLOT)
    return source, next(server for server in own_cluster.primaries().values() if server is not source)


def names_in(cluster, server, slot):
    """Return the names that a node has in a slot."""
    return [name for name in cluster.client(server).keys("*") if slot_of(name.encode()) == slot]


def used_in_turn(first, second):
    """Write by two processes in turn, and have both read it; nothing may enter the journal."""
    for number, cache in enumerate((first, second) * 3):
        cache.set(NEIGHBOUR, number)
        cache.set("{a}" + NEIGHBOUR, number)
        assert cache.delete("{a}" + NEIGHBOUR)
        wait_for(lambda number=number: first.get(NEIGHBOUR) == second.get(NEIGHBOUR) == number, "both see it")
    assert not first._namespace.journal
    assert not second._namespace.journal


def test_a_generation_that_is_still_to_be_moved_is_not_made_anew(own_cluster, make, ends):
    """The new node, which lacks it, isn't asked for it as long as the old one has it: writes go on under it."""
    first = make(own_cluster, **PATIENT)
    first.set_many({KEY: "old", NEIGHBOUR: "old"})
    stands = generation(own_cluster, ends[0], first)
    own_cluster.begin_move(SLOT, *ends)
    own_cluster.carry(*ends, *(name for name in names_in(own_cluster, ends[0], SLOT) if name != stands))
    second = make(own_cluster, **PATIENT)
    used_in_turn(first, second)
    assert first.get(KEY) == second.get(KEY) == "old"
    assert second.touch(KEY, ttl=60)  # at the new node, by a write that looks at what is at the old one
    assert not second.touch(KEY + "missing", ttl=60)
    assert generation(own_cluster, ends[0], first) == stands
    assert generation(own_cluster, ends[1], first) is None
    own_cluster.carry(*ends, stands)
    own_cluster.end_move(SLOT, *ends)
    used_in_turn(first, second)
    assert first.get(KEY) == second.get(KEY) == "old"
    assert_coherent(first, second, patience=PATIENCE)


def test_a_generation_that_was_moved_first_is_found(own_cluster, make, ends):
    """What the old node hasn't any more is at the new one: nobody makes another there, and clears change that one."""
    first = make(own_cluster, **PATIENT)
    first.set_many({KEY: "old", NEIGHBOUR: "old"})
    stands = generation(own_cluster, ends[0], first)
    own_cluster.begin_move(SLOT, *ends)
    own_cluster.carry(*ends, stands)
    second = make(own_cluster, **PATIENT)
    assert second.get(KEY) == "old"
    assert second.touch(KEY, ttl=60)  # at the old node, by a write that looks at what is at the new one
    used_in_turn(first, second)
    second.clear()
    assert second.get_many([KEY, NEIGHBOUR]) == {}
    wait_for(lambda: first.get_many([KEY, NEIGHBOUR]) == {}, "it is cleared")
    used_in_turn(first, second)
    assert generation(own_cluster, ends[0], first) is None
    assert generation(own_cluster, ends[1], first) == stands
    own_cluster.carry(*ends, *names_in(own_cluster, ends[0], SLOT))
    own_cluster.end_move(SLOT, *ends)
    used_in_turn(first, second)
    assert first.get(KEY) is second.get(KEY) is None
    assert_coherent(first, second, patience=PATIENCE)


def test_the_link_lives_while_a_generation_is_moved(own_cluster, make, ends, monkeypatch):
    """The key by which a node is to prove its lease may be on its way to another node: then another one will do."""
    first = make(own_cluster, **PATIENT)
    first.set(NEIGHBOUR, "old")
    key = first._namespace.generations.keys[GROUP], GROUP
    stands = generation(own_cluster, ends[0], first)
    own_cluster.begin_move(SLOT, *ends)
    own_cluster.carry(*ends, stands)
    chosen = []

    def choose(probes):
        chosen.append(key if key in probes and key not in chosen else probes[-1])
        return chosen[-1]

    monkeypatch.setattr(cluster_listener.random, "choice", choose)
    second = make(own_cluster, **PATIENT)
    assert key in chosen
    used_in_turn(first, second)


def test_clears_and_writes_while_slots_move(own_cluster, make):
    """What is written after a clear stands, what was written before it is gone, wherever keys and generations are."""
    clearer, writer = make(own_cluster, **PATIENT), make(own_cluster, **PATIENT)
    groups = range(GROUP, GROUP + 4)
    slots = [group * GROUP_SLOTS + at for group in groups for at in (0, 1, 2)]
    keys = [tag_of(slot).decode() + name for slot in slots for name in ("a", "b")]
    stop = threading.Event()
    wrong, rounds = [], []

    def failures():
        return writer.stats().remote_errors + clearer.stats().remote_errors + bool(clearer._namespace.journal)

    def use():
        for number in itertools.count():
            if stop.is_set():
                return
            errors = failures()
            writer.set_many({key: ["old", number] for key in keys})
            clearer.clear()
            for key in keys[number % 3 :: 3]:
                writer.set(key, ["new", number])
            found = writer.get_many(keys)
            wrong.extend(value for value in found.values() if value[0] != "new")
            if failures() == errors:  # what was journaled may be gone again
                wrong.extend(key for key in keys[number % 3 :: 3] if found.get(key) != ["new", number])
            rounds.append(failures() == errors)

    thread = threading.Thread(target=use)
    thread.start()
    source = own_cluster.owner(slots[0])
    targets = [server for server in own_cluster.primaries().values() if server is not source]

    def go_round():
        for target in (*targets, source):
            for slot in slots:
                own_cluster.move(slot, target)
        return wrong or rounds.count(True) > 10

    try:
        wait_for(go_round, "enough was written meanwhile")
    finally:
        stop.set()
        thread.join()
    assert wrong == []
    wait_for(lambda: not writer._namespace.journal and not clearer._namespace.journal, "nothing is in doubt")
    clearer.clear()
    wait_for(lambda: writer.get_many(keys) == clearer.get_many(keys) == {}, "all is gone")
    writer.set_many({key: ["last", key] for key in keys})
    wait_for(lambda: clearer.get_many(keys) == {key: ["last", key] for key in keys}, "all is there")
    assert_coherent(clearer, writer, patience=PATIENCE)


def test_clears_race_writes(cluster, make):
    """A write that begins after a clear elsewhere has ended is read there, and one from before it isn't."""
    clearer, writer, other = (make(cluster, **PATIENT) for _ in range(3))
    keys = [f"key{number}" for number in range(64)]
    stop = threading.Event()

    def write():
        for number in itertools.count():
            if stop.is_set():
                return
            other.set_many({f"other{key}": number for key in keys})

    thread = threading.Thread(target=write)
    thread.start()
    for round_ in range(60):
        writer.set_many({key: [round_, "old"] for key in keys})
        clearer.clear()
        key = keys[round_ % len(keys)]
        writer.set(key, [round_, "new"])
        assert clearer.get(key) == [round_, "new"]
        assert clearer.get_many(keys) == {key: [round_, "new"]}
    stop.set()
    thread.join()
    clearer.clear()
    wait_for(lambda: other.get_many([f"other{key}" for key in keys]) == {}, "all is gone")

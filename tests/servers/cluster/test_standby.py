"""Reads from replicas, taken by hand: whom they go to, and what becomes of redirections."""

import time

import pytest

from twotier.errors import RemoteUnavailable
from twotier.remote.cluster.batch import NodeBatch
from twotier.remote.cluster.replica_reads import ReadOnly, route_to_replicas
from twotier.remote.commands.base import Fetch, Fetched, FetchMany
from twotier.remote.commands.batch import Batch
from twotier.remote.commands.replicas import OnReplica
from twotier.remote.commands.slot_map import Node
from twotier.remote.hash_slots import SLOTS, slot_of
from twotier.remote.io.errors import RedirectionError, StaleConnectionError
from twotier.resp import ErrorReply, pack

LOW, HIGH, ONE, OTHER = Node("low", 1), Node("high", 2), Node("one", 3), Node("other", 4)


class Resting:
    """A node as a replica."""

    def __init__(self, rests):
        self.rests = rests


class Halves:
    """Two primaries, each with half of the slots; the first has two replicas, of which `resting` rest."""

    def __init__(self, *resting):
        self._resting = resting

    def owner(self, slot):
        return LOW if slot < SLOTS // 2 else HIGH

    def replicas(self, primary):
        return (ONE, OTHER) if primary is LOW else ()

    def member(self, node):
        return Resting(node in self._resting)


LOWS = [key for key in (b"key%d" % number for number in range(40)) if slot_of(key) < SLOTS // 2][:10]
HIGHS = [key for key in (b"key%d" % number for number in range(40)) if slot_of(key) >= SLOTS // 2][:2]


def begin(members, command):
    """Return a route, and its first round."""
    rounds = route_to_replicas(members, command, time.monotonic() + 9)
    return rounds, next(rounds)


def outcome(rounds, *answers):
    """Return what a route comes to with these answers to its round."""
    with pytest.raises(StopIteration) as ended:
        rounds.send(list(answers))
    return ended.value.value


def test_one_replica_gets_all_of_one_call():
    """All of a primary's slots go to one of its replicas, in one trip."""
    for _ in range(20):
        rounds, step = begin(Halves(), FetchMany(LOWS))
        (trip,) = step.trips
        assert trip.node in (ONE, OTHER)
        assert trip.command == OnReplica(ReadOnly(NodeBatch([Fetch(key) for key in LOWS])))
        assert outcome(rounds, [Fetched(key, -1) for key in LOWS]) == [Fetched(key, -1) for key in LOWS]


def test_a_replica_that_rests_is_not_chosen():
    """The one that has failed a moment ago is asked only where all have."""
    assert {begin(Halves(ONE), Fetch(LOWS[0]))[1].trips[0].node for _ in range(20)} == {OTHER}
    assert {begin(Halves(ONE, OTHER), Fetch(LOWS[0]))[1].trips[0].node for _ in range(50)} == {ONE, OTHER}


def test_without_a_replica_a_part_fails_for_itself():
    """The primary isn't asked in its stead."""
    rounds, step = begin(Halves(), Batch([FetchMany(HIGHS), Fetch(LOWS[0])]))
    assert len(step.trips) == 1
    failed, found = outcome(rounds, Fetched(b"value", 9))
    assert isinstance(failed, RemoteUnavailable)
    assert found == Fetched(b"value", 9)


@pytest.mark.parametrize("asking", [False, True])
def test_redirections_are_not_followed(asking):
    """A replica that doesn't have the slot any more would send us to a primary: that is an outage."""
    sent_on = RedirectionError(slot_of(LOWS[0]), "low", 1, asking=asking)
    rounds, _ = begin(Halves(), Fetch(LOWS[0]))
    with pytest.raises(RemoteUnavailable, match="slot"):
        rounds.send([sent_on])
    rounds, _ = begin(Halves(), Batch([Fetch(LOWS[0]), Fetch(LOWS[1])]))
    failed, found = outcome(rounds, [sent_on, Fetched(b"value", 9)])
    assert isinstance(failed, RemoteUnavailable)
    assert found == Fetched(b"value", 9)


def test_each_trip_says_that_it_reads_and_takes_it_back():
    """A connection that may have stayed read-only isn't used again."""
    command = ReadOnly(Fetch(b"key"))
    assert command.wire == pack(b"READONLY") + Fetch(b"key").wire + pack(b"READWRITE")
    assert command.parse([b"OK", b"value", 7, b"OK"]) == Fetched(b"value", 7)
    assert command.replies == 4
    with pytest.raises(StaleConnectionError, match="NOPERM"):
        command.parse([b"OK", b"value", 7, ErrorReply("NOPERM no")])
    with pytest.raises(RedirectionError):
        command.parse([b"OK", ErrorReply("MOVED 5 low:1"), 7, b"OK"])

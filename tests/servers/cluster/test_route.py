"""Routes, taken by hand: which trips a command makes, and where it goes when nodes send it on."""

import time

import pytest

from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.cluster.batch import NodeBatch
from twotier.remote.cluster.redirects import AskRedirect, AskRedirectConditional
from twotier.remote.cluster.route import Round, Trip, route
from twotier.remote.commands.base import Fetch, Fetched, FetchMany, Ping, Put, PutMany, Remove
from twotier.remote.commands.batch import Batch, PartialResult, PerKey
from twotier.remote.commands.conditional import IfEqual, Removal
from twotier.remote.commands.generations import UnderGeneration, WithGeneration
from twotier.remote.commands.replicas import Acknowledged, Replicated
from twotier.remote.commands.slot_map import Node
from twotier.remote.commands.streams import Backlog, ReadBacklog
from twotier.remote.hash_slots import SLOTS, slot_of
from twotier.remote.io.errors import MovingError, RedirectionError
from twotier.resp import ErrorReply, pack

LOW, HIGH, NEW = Node("low", 1), Node("high", 2), Node("new", 3)


class Halves:
    """Two primaries, each with half of the slots."""

    def __init__(self):
        self.owners = [LOW] * (SLOTS // 2) + [HIGH] * (SLOTS // 2)

    def owner(self, slot):
        return self.owners[slot]

    def primaries(self):
        return [LOW, HIGH]

    def moved(self, slot, node):
        self.owners[slot] = node


def key_at(node, number=0):
    """Return a key of that half."""
    return next(
        key
        for key in (b"key%d" % (1000 * number + tried) for tried in range(1000))
        if Halves().owner(slot_of(key)) is node
    )


def put(key):
    """Return a write."""
    return Put(key, b"1", None, absent=False, publication=None)


def fenced(key, generation):
    """Return a write that looks at a generation."""
    return WithGeneration(put(key), generation)


def steps(command, answers, atlas=None):
    """Take a route to its end; return its rounds and its result."""
    rounds, way = [], route(atlas or Halves(), command, time.monotonic() + 60)
    try:
        rounds.append(next(way))
        for answer in answers:
            rounds.append(way.send(answer))  # noqa: PERF401 - which may end the route
    except StopIteration as done:
        return rounds, done.value
    raise AssertionError(f"the route goes on: {rounds[-1]}")


def test_keys_are_asked_for_where_they_are():
    """One trip a node; results come back in the order of the keys."""
    keys = [key_at(LOW), key_at(HIGH), key_at(LOW, 1)]
    found = [Fetched(b"%d" % number, -1) for number in range(3)]
    rounds, result = steps(FetchMany(keys), [[[found[0], found[2]], found[1]]])
    (trips,) = [each.trips for each in rounds]
    assert trips == [Trip(LOW, NodeBatch([Fetch(keys[0]), Fetch(keys[2])])), Trip(HIGH, Fetch(keys[1]))]
    assert result == found


def test_a_slot_that_has_moved_is_followed_and_remembered():
    """MOVED sends the part to the new owner, and later ones as well."""
    atlas, key = Halves(), key_at(LOW)
    moved = RedirectionError(slot_of(key), "new", 3, asking=False)
    rounds, result = steps(Fetch(key), [[moved], [Fetched(None, -2)]], atlas)
    assert [trip.node for each in rounds for trip in each.trips] == [LOW, NEW]
    assert result == Fetched(None, -2)
    assert atlas.owner(slot_of(key)) == NEW


def test_a_slot_that_is_moving_is_asked_for_once():
    """ASK sends this part on with ASKING, and the map stays."""
    atlas, key = Halves(), key_at(LOW)
    ask = RedirectionError(slot_of(key), "", 9, asking=True)
    rounds, _ = steps(Fetch(key), [[ask], [Fetched(None, -2)]], atlas)
    assert rounds[1] == Round([Trip(Node("low", 9), AskRedirect(Fetch(key)))])
    assert atlas.owner(slot_of(key)) == LOW


def test_two_steps_are_asked_for_in_both():
    """A conditional command that is sent on says ASKING in both its trips, and once for a whole transaction."""
    key = key_at(LOW)
    ask = RedirectionError(slot_of(key), "new", 3, asking=True)
    rounds, _ = steps(IfEqual(key, b"token", Removal([key])), [[ask], [True]])
    (trip,) = rounds[1].trips
    assert isinstance(trip.command, AskRedirectConditional)
    asking = pack(b"ASKING")
    assert trip.command.wire == asking + pack(b"WATCH", key) + asking + pack(b"MGET", key)
    second = trip.command.decide([b"OK", b"OK", b"OK", [b"token"]])
    assert second.wire == asking + Removal([key]).wire
    assert second.parse([b"OK", b"OK", b"QUEUED", [1]])


def test_keys_that_are_on_two_nodes_are_tried_again():
    """TRYAGAIN is answered by another try after a pause, and only for the part concerned."""
    first, second = key_at(LOW), key_at(HIGH)
    rounds, result = steps(Remove([first, second], None), [[MovingError("moving"), 1], [1]])
    assert rounds[1].pause > 0
    assert [trip.node for trip in rounds[1].trips] == [LOW]
    assert result == 2


def test_a_failure_of_one_node_leaves_the_others_parts_be():
    """Every part is tried, and the first failure raised."""
    first, second = key_at(LOW), key_at(HIGH)
    lost = RemoteTimeout("no answer")
    write = PutMany([(first, b"1", None), (second, b"2", None)], None)
    moved = RedirectionError(slot_of(second), "new", 3, asking=False)
    way = route(Halves(), write, time.monotonic() + 60)
    next(way)
    again = way.send([lost, moved])
    assert [trip.node for trip in again.trips] == [NEW]
    with pytest.raises(RemoteTimeout):
        way.send([True])


def test_a_write_looks_at_the_generation_afterwards():
    """The generation is read once the write has taken place, wherever each of them is."""
    key, generation = key_at(LOW), key_at(HIGH)
    put = Put(key, b"1", None, absent=False, publication=None)
    rounds, result = steps(WithGeneration(put, generation), [[True], [b"name"]])
    assert [trip.node for each in rounds for trip in each.trips] == [LOW, HIGH]
    assert result == UnderGeneration(True, b"name")


def test_a_look_goes_along_where_all_is_on_one_node():
    """One trip, the look behind the write on its connection."""
    key, generation = key_at(LOW), key_at(LOW, 1)
    rounds, result = steps(fenced(key, generation), [[[True, b"name"]]])
    ((trip,),) = [each.trips for each in rounds]
    assert trip.node is LOW
    assert trip.command.wire == put(key).wire + pack(b"GET", generation)
    assert result == UnderGeneration(True, b"name")


@pytest.mark.parametrize("seen", [b"before", None, RemoteError("refused")], ids=repr)
def test_a_look_that_a_redirected_write_has_left_behind_does_not_count(seen):
    """It was made before the write: it is made again, after it, whatever it saw."""
    key, generation = key_at(LOW), key_at(LOW, 1)
    for asking, last in ((False, LOW), (True, LOW)):
        sent_on = RedirectionError(slot_of(key), "new", 3, asking=asking)
        rounds, result = steps(fenced(key, generation), [[[sent_on, seen]], [True], [b"after"]])
        assert [trip.node for each in rounds for trip in each.trips] == [LOW, NEW, last]
        assert result == UnderGeneration(True, b"after")


def test_a_look_is_never_sent_on_with_a_write():
    """With ASKING the new node would answer for a generation that the old one still has: nil, as if there were none."""
    key = b"{7}key"
    generation = b"gen{7}"  # in the same slot, which is being moved
    home = Halves().owner(slot_of(key))
    ask = RedirectionError(slot_of(key), "new", 3, asking=True)
    rounds, result = steps(fenced(key, generation), [[[ask, b"before"]], [True], [b"name"]])
    assert [trip.node for each in rounds for trip in each.trips] == [home, NEW, home]
    (asking,) = rounds[1].trips
    assert asking.command == AskRedirect(put(key))
    assert result == UnderGeneration(True, b"name")


def test_a_look_follows_its_own_slot():
    """A generation that has moved is looked for where its own slot's node says, with ASKING for this once."""
    key, generation = key_at(LOW), key_at(LOW, 1)
    ask = RedirectionError(slot_of(generation), "new", 3, asking=True)
    rounds, result = steps(fenced(key, generation), [[[True, ask]], [b"name"]])
    assert [trip.node for each in rounds for trip in each.trips] == [LOW, NEW]
    assert rounds[1].trips[0].command.wire == pack(b"ASKING") + pack(b"GET", generation)
    atlas = Halves()
    moved = RedirectionError(slot_of(generation), "new", 3, asking=False)
    rounds, result = steps(fenced(key, generation), [[[True, moved]], [b"name"]], atlas)
    assert result == UnderGeneration(True, b"name")
    assert atlas.owner(slot_of(generation)) == NEW


def test_a_look_that_fails_fails_the_write():
    """Whether the write counts isn't known then."""
    with pytest.raises(RemoteTimeout):
        steps(fenced(key_at(LOW), key_at(HIGH)), [[True], [RemoteTimeout("no answer")]])


def test_a_look_is_made_past_the_deadline(monkeypatch):
    """A node that took its time with its part of a call doesn't leave the others' writes unproven."""
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 120)
    write = Batch([fenced(key_at(LOW), key_at(HIGH)), put(key_at(HIGH, 1)), fenced(key_at(LOW, 1), key_at(HIGH))])
    way = route(Halves(), write, now + 60)
    next(way)
    moved = RedirectionError(0, "new", 3, asking=False)
    looks = way.send([[True, moved], RemoteTimeout("no answer")])
    assert [trip.node for trip in looks.trips] == [HIGH]
    with pytest.raises(StopIteration) as done:
        way.send([b"name"])
    assert [type(outcome) for outcome in done.value.value] == [UnderGeneration, RemoteTimeout, RemoteUnavailable]


def test_apart_each_key_fails_for_itself():
    """Those that were read come back in their order, and the others' errors by their place."""
    keys = [key_at(LOW), key_at(HIGH), key_at(LOW, 1), key_at(HIGH, 1)]
    lost = RemoteTimeout("no answer")
    found = [Fetched(b"one", -1), Fetched(b"three", -1)]
    assert steps(PerKey(FetchMany(keys)), [[found, lost]])[1] == PartialResult(found, {1: lost, 3: lost})
    assert steps(PerKey(IfEqual(keys[0], b"token", Removal(keys[:1]))), [[lost]])[1] == PartialResult(None, {0: lost})
    atlas = Halves()
    atlas.owners[slot_of(keys[0])] = None
    result = steps(PerKey(FetchMany(keys[:2])), [[found[1]]], atlas)[1]
    assert result.result == found[1:]
    assert [(at, type(error)) for at, error in result.failed.items()] == [(0, RemoteUnavailable)]


def test_severally_each_has_an_outcome_of_its_own():
    """What goes to one node goes in one trip, each look behind its write; a node that fails fails its own alone."""
    low, also_low, high = key_at(LOW), key_at(LOW, 1), key_at(HIGH)
    lost = RemoteTimeout("no answer")
    write = Batch([fenced(low, key_at(LOW, 2)), fenced(high, key_at(HIGH, 1)), fenced(also_low, key_at(LOW, 3))])
    rounds, result = steps(write, [[[True, b"one", True, b"two"], lost]])
    assert [trip.node for each in rounds for trip in each.trips] == [LOW, HIGH]
    assert result == [UnderGeneration(True, b"one"), lost, UnderGeneration(True, b"two")]
    assert rounds[0].trips[0].command.wire == b"".join(
        [put(low).wire, pack(b"GET", key_at(LOW, 2)), put(also_low).wire, pack(b"GET", key_at(LOW, 3))]
    )


def test_a_backlog_is_looked_at_name_by_name():
    """Of a slot that is being moved some may be elsewhere; each backlog has an outcome of its own."""
    low, high = key_at(LOW), key_at(HIGH)
    lost, sent_on = RemoteTimeout("no answer"), RedirectionError(slot_of(low), "new", 3, asking=True)
    looks = Batch([ReadBacklog(low, low), ReadBacklog(high, high)])
    rounds, result = steps(looks, [[[2, sent_on, []], lost], [1]])
    assert [[trip.node for trip in each.trips] for each in rounds] == [[LOW, HIGH], [NEW]]
    assert result == [Backlog(2, 1, None), lost]


def test_severally_written_waits_for_replicas_once_a_node():
    """The whole has as many replicas as the node that has the fewest, of those that have it."""
    low, high = key_at(LOW), key_at(HIGH)
    writes = Batch([fenced(low, key_at(LOW, 1)), fenced(high, key_at(HIGH, 1))])
    answers = [[Acknowledged([True, b"one"], 2), Acknowledged([True, b"two"], 1)]]
    rounds, result = steps(Replicated(writes, 2, 100), answers)
    assert [trip.command.wire.count(b"WAIT") for trip in rounds[0].trips] == [1, 1]
    assert result == Acknowledged([UnderGeneration(True, b"one"), UnderGeneration(True, b"two")], 1)
    lost = RemoteTimeout("no answer")
    assert steps(Replicated(writes, 2, 100), [[lost, lost]])[1] == Acknowledged([lost, lost], 2)


def test_one_wait_for_replicas_a_node():
    """Writes that go together wait for replicas once, and the whole has as many as the node that has the fewest."""
    low, also_low, high = key_at(LOW), key_at(LOW, 1), key_at(HIGH)
    write = Replicated(
        WithGeneration(PutMany([(key, b"1", None) for key in (low, also_low, high)], None), high), 2, 100
    )
    answers = [[Acknowledged([True, True], 2), Acknowledged(True, 1)], [b"name"]]
    rounds, result = steps(write, answers)
    assert [trip.command.wire.count(b"WAIT") for trip in rounds[0].trips] == [1, 1]
    assert result == Acknowledged(UnderGeneration(None, b"name"), 1)


def test_nobody_serves_the_slot():
    """That is an outage of the slot's keys alone."""
    atlas = Halves()
    atlas.owners[slot_of(b"lost")] = None
    with pytest.raises(RemoteUnavailable, match="no node"):
        steps(Fetch(b"lost"), [], atlas)


def test_going_round_in_circles_ends():
    """Nodes that send a part to each other for ever are given up on."""
    key = key_at(LOW)
    there = RedirectionError(slot_of(key), "high", 2, asking=False)
    with pytest.raises(RemoteUnavailable, match="from node to node"):
        steps(Fetch(key), [[there]] * 100)


def test_a_ping_is_every_primarys():
    """The cluster is usable when all its primaries are."""
    rounds, _ = steps(Ping(), [[None, None]])
    assert [trip.node for trip in rounds[0].trips] == [LOW, HIGH]
    with pytest.raises(RemoteError):
        steps(Ping(), [[None, RemoteError("full")]])


def test_together_each_has_a_result_of_its_own():
    """A part that is refused doesn't spoil the others'; if all are refused as by a node that is away, it is away."""
    both = NodeBatch([Fetch(b"a"), Fetch(b"b")])
    results = both.parse([ErrorReply("MOVED 7 host:1"), 3, b"value", -1])
    assert isinstance(results[0], RedirectionError)
    assert results[1] == Fetched(b"value", -1)
    down = ErrorReply("CLUSTERDOWN Hash slot not served")
    with pytest.raises(RemoteUnavailable):
        both.parse([down, down, down, down])

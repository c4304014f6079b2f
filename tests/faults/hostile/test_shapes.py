"""Replies of any shape to every command: its result, or a RemoteError."""

import contextlib
import math
import random

import pytest

from twotier.errors import RemoteError
from twotier.remote.commands import (
    base,
    conditional,
    conditional_writes,
    counters,
    direct_removal,
    load_locks,
    name_copies,
    streams,
    sweep,
    tags,
    write_markers,
)
from twotier.remote.commands.base import Publication, Put
from twotier.remote.commands.generations import WithGeneration
from twotier.remote.commands.replicas import ReadGeneration, Replicated
from twotier.remote.commands.slot_map import AskSlots, Node
from twotier.remote.commands.write_through_locks import PutLocked, TakeWriteLocks
from twotier.remote.execute.round_trip import RoundTrip
from twotier.resp import ErrorReply

TOLD = Publication(b"channel", b"payload")
PUT = Put(b"k", b"v", 1000, False, TOLD)
PLAIN = [
    base.Fetch(b"k"),
    base.FetchMany([b"k", b"l"]),
    PUT,
    base.Put(b"k", b"v", None, True, None),
    base.PutMany([(b"k", b"v", None), (b"l", b"v", 1)], TOLD),
    base.Remove([b"k", b"l"], TOLD, [b"m"]),
    base.Expire(b"k", 1, TOLD),
    counters.Increment(b"k", 1, None, True, TOLD),
    counters.Increment(b"k", 1, None, False, TOLD),
    base.TimeLeft(b"k"),
    base.Generation(b"k", b"v"),
    name_copies.ReadName(b"k"),
    name_copies.WriteName((b"k", b"l"), b"v"),
    base.SetGeneration(b"k", b"v", TOLD),
    base.Ping(),
    WithGeneration(PUT, b"gen"),
    Replicated(PUT, 1, 100),
    ReadGeneration(b"gen"),
    TakeWriteLocks([b"l"], b"t", 1000),
    load_locks.TakeLoadLocks([(b"k", b"l")], b"t", 1000),
    load_locks.PutAbsence(b"l", b"a", 1000, TOLD),
    conditional_writes.Add(b"k", b"v", 1000, TOLD),
    conditional_writes.ExpireIfLive(b"k", 1000, TOLD),
    direct_removal.RemoveDirectly([b"k"], TOLD),
    tags.ReadVersions([b"k", b"l"]),
    tags.MakeVersions([b"k"], [b"v"], 1000),
    tags.ExtendVersions([b"k"], 1000),
    write_markers.EndLoads([b"l"], [b"m"], [b"p"]),
    streams.Append([(b"k", b"v", 1)], [b"r"], b"s", b"d", [[b"a", b"b"]], [(b"m", 1)], b"t", TOLD),
    streams.Settle(b"s", b"d", [b"1-1"], buried=[[b"a", b"b"]]),
    streams.Discard(b"s", [b"1-1"]),
    streams.BeginDrain(b"l", b"t", 1000, b"s"),
    streams.ReadGroup(b"s", streams.NEW, 5),
    streams.Deliveries(b"s", b"-", 5),
    streams.Range(b"s"),
    streams.ReadBacklog(b"s", b"d"),
    AskSlots(Node("host", 1)),
    sweep.AddNames(b"r", [b"name"]),
    sweep.ReadRecord(b"r", b"gen"),
    sweep.Scan(b"0", b"ns:", 10),
    sweep.RemoveEach([[b"k"], [b"l"]]),
]
IN_TWO_STEPS = [
    conditional.PutUnchanged(b"k", 7, PUT),
    conditional.IfEqual(b"k", b"v", PUT),
    name_copies.RestoreName(b"k", b"v", lambda _: True),
    streams.RenewDrainLock(b"l", b"t", 1000),
    load_locks.SettleLoadLocks([b"l"], b"t", [PUT], TOLD),
    PutLocked([b"l"], b"t", [(b"k", b"v", 1)], TOLD, b"gen"),
    sweep.KeepNames(b"r", bool),
    sweep.RemoveEnded(b"gen", frozenset((b"name",)), [b"k", b"l"]),
    sweep.FindDenied("ns", sweep.needed("ns")),
    write_markers.RemoveContradiction(b"m", b"p", b"l", write_markers.FinishedWrite(bytes(16), b"v"), TOLD),
]

TRIES = 300
ERRORS = (
    "ERR x",
    "MOVED 1 h:1",
    "MOVED x",
    "ASK 1 :0",
    "WRONGTYPE x",
    "OOM x",
    "BUSYGROUP x",
    "LOADING x",
    "",
    "A" * 500,
)
NUMBERS = (0, 1, -1, -2, 16383, 2**63 - 1, -(2**63), 2**70)
TEXTS = (b"OK", b"QUEUED", b"PONG", b"7", b"1-1", b"99999999999999999999-1", b"", b"t", b"v", bytes(40), b"\xff")


def reply(draw, depth=0):
    """Return a reply of any shape."""
    match draw.randrange(8 if depth < 4 else 5):
        case 0:
            return draw.choice((None, True, False, math.nan, math.inf, 1.5))
        case 1:
            return draw.choice(NUMBERS)
        case 2 | 3:
            return draw.choice(TEXTS)
        case 4:
            return ErrorReply(draw.choice(ERRORS))
        case 5:
            return {draw.choice(TEXTS): reply(draw, depth + 1) for _ in range(draw.randrange(3))}
    return [reply(draw, depth + 1) for _ in range(draw.choice((0, 1, 1, 2, 2, 2, 3, 4, 5)))]


def replies(command, draw):
    """Return as many as `command` has."""
    return [reply(draw) for _ in range(command.replies)]


def name(command):
    return type(command).__name__


@pytest.mark.parametrize("command", PLAIN, ids=name)
def test_any_reply(command):
    """Parsing gives a result or a RemoteError, without the net that `RoundTrip.result` is."""
    draw = random.Random(5)
    for _ in range(TRIES):
        with contextlib.suppress(RemoteError):
            command.parse(replies(command, draw))


@pytest.mark.parametrize("command", IN_TWO_STEPS, ids=name)
def test_any_reply_to_the_first_step(command):
    """So does the decision on a second step, and its parsing."""
    draw = random.Random(5)
    for _ in range(TRIES):
        with contextlib.suppress(RemoteError):
            second = command.decide([b"OK", *replies(command, draw)[1:]])
            second.parse(replies(second, draw))


def test_what_nobody_thought_of_is_an_error_of_the_server():
    """Should looking at a reply fail all the same, callers hear of a server whose replies don't fit."""

    class Careless:
        wire, replies = b"*1\r\n$1\r\nX\r\n", 1

        def parse(self, given):
            return given[0][7]

        decide = parse

    call = RoundTrip.__new__(RoundTrip)
    for look in (call.result, call.decide):
        with pytest.raises(RemoteError, match="doesn't fit Careless"):
            look(Careless(), [b"x"])

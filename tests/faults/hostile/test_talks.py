"""Links, sentinels and the map of a cluster, told anything: what isn't understood ends the talk, and nothing else."""

import contextlib
import logging
import random
import resource
import time

import pytest
from fake_server import FakeServer
from waiting import wait_for
from wires import always, garbled

from twotier import Cache
from twotier.clock import ManualClock
from twotier.coherence.link import Link
from twotier.coherence.subscriber import Subscriber
from twotier.errors import RemoteError
from twotier.remote.commands.slot_map import AskSlots, Node, SlotMap
from twotier.remote.io.errors import OutOfStepError, RedirectionError, refusal, shown
from twotier.remote.sentinel.votes import SentinelView, Vote
from twotier.resp import ErrorReply, ProtocolError

SLOTS = 16_384


class Silent(Subscriber):
    """Takes every news."""

    channel, generation_key = b"t:inv:v1", b"t:gen"

    def __init__(self, channel=b"t:inv:v1"):
        self.channel = channel

    def received(self, payloads):
        assert all(type(payload) is bytes for payload in payloads)

    def confirmed(self):
        pass

    def renewed(self, lease_until, generation):
        pass

    def lost(self, reason):
        assert reason.isprintable()


@pytest.mark.parametrize(("protocol", "tracking"), [(3, False), (2, False), (3, True)])
def test_a_link_told_anything(protocol, tracking):
    """Whatever is garbled, the link gives events, and none of its reasons could break a log."""
    for seed in range(300):
        draw, server, clock = random.Random(seed), FakeServer(protocol), ManualClock()
        link = Link(clock, max_staleness=2.0, protocol=protocol, tracking=tracking)
        link.attach(Silent(b"t:" if tracking else b"t:inv:v1"))
        for _ in range(12):
            if not link.up:
                server.reconnect()
                link.connected()
            link.tick()
            server.take(link.outgoing())
            server.publish(b"t:inv:v1", b"payload")
            server.invalidate(b"t:key")
            out, server.out = server.out, b""
            for event in link.receive(garbled(out, draw) if out and draw.random() < 0.4 else out or b":1\r\n"):
                assert getattr(event, "reason", "").isprintable()
            clock.advance(0.3)
        assert link.reason.isprintable()


PLACE = b"*2\r\n$9\r\n127.0.0.1\r\n$4\r\n6379\r\n"
REPLICA = b"*1\r\n%3\r\n$2\r\nip\r\n$9\r\n127.0.0.1\r\n$4\r\nport\r\n$4\r\n6380\r\n$5\r\nflags\r\n$5\r\nslave\r\n"


def test_a_sentinel_says_anything():
    """A sentinel's garbled answers are votes, none, or a ProtocolError; places have the form of places."""
    for seed in range(1000):
        draw, ear = random.Random(seed), SentinelView("orders", hears=True)
        with contextlib.suppress(ProtocolError):
            for _ in range(3):
                ear.ask(1, replicas=True)
                heard = ear.receive(garbled(PLACE + REPLICA, draw))
                places = [vote.place for vote in heard.votes if vote.place] + list(heard.replicas or ())
                assert all(place.host.isprintable() and 0 < place.port < 65536 for place in places)


@pytest.mark.parametrize(
    "wire",
    [
        b"*2\r\n$3\r\na b\r\n$4\r\n6379\r\n",
        b"*2\r\n$5\r\na\x1b[2J\r\n$4\r\n6379\r\n",
        b"*2\r\n$1\r\na\r\n$5\r\n65536\r\n",
        b"*2\r\n$1\r\na\r\n$1\r\n0\r\n",
        b"*2\r\n$1\r\na\r\n$5000\r\n" + b"9" * 5000 + b"\r\n",
    ],
)
def test_a_sentinel_names_no_place(wire):
    """What can't be a host and a port is a vote for nobody."""
    ear = SentinelView("orders", hears=False)
    ear.ask(1)
    assert ear.receive(wire).votes == [Vote(None, 1)]


@pytest.mark.parametrize(
    "replica", [b":1\r\n", b"*2\r\n*0\r\n:1\r\n", b"%1\r\n$2\r\nip\r\n:5\r\n", b"$1\r\nx\r\n", b"_\r\n"]
)
def test_replicas_of_other_forms_are_left_out(replica):
    """What isn't the description of a replica is none."""
    ear = SentinelView("orders", hears=False)
    ear.ask(1, replicas=True)
    assert ear.receive(PLACE + b"*1\r\n" + replica).replicas == []


def test_the_map_of_a_cluster():
    """A map is taken as far as it names slots that are there, each once, and nodes that can be."""
    asked = Node("seed", 7000)

    def read(*ranges):
        return AskSlots(asked).parse([list(ranges)])

    good = read([0, 5, [b"10.0.0.1", 7001, b"id"], [b"", 0]], [6, SLOTS - 1, [None, 7002, b"id", [b"hostname", b"x"]]])
    assert isinstance(good, SlotMap)
    assert good.owners[5:7] == (Node("10.0.0.1", 7001), Node("seed", 7002))
    assert good.replicas[Node("10.0.0.1", 7001)] == (asked,)
    member = [b"10.0.0.1", 7001]
    for bad in (
        [0, 300_000_000, member],
        [0, SLOTS, member],
        [-1, 5, member],
        [5, 4, member],
        [True, 4, member],
        [0, 1],
        [0, 1, [5, 7001]],
        [0, 1, [b"a b", 7001]],
        [0, 1, [b"a", 70010]],
        [0, 1, [b"a", b"7001x"]],
        [0, 1, b"a"],
        [0, 1, [b"\xff", 1]],
        5,
        [],
    ):
        with pytest.raises(OutOfStepError):
            read(bad)
    with pytest.raises(OutOfStepError):
        read([0, SLOTS - 1, member], [0, SLOTS - 1, member])
    with pytest.raises(OutOfStepError):
        read([0, 1, *([b"10.0.0.1", port] for port in range(1, 3000))])


def test_hostile_maps_cost_nothing():
    """Many ranges, and far ones, are refused before anything is made of them."""
    begun, before = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for ranges in ([[0, 2**62, [b"a", 1]]], [[0, SLOTS - 1, [b"a", 1]]] * 300_000, 5, b"x", {}, None):
        with pytest.raises(RemoteError):
            AskSlots(Node("seed", 1)).parse([ranges])
    assert time.monotonic() - begun < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


NOWHERE = [
    *("MOVED", "MOVED 1", "MOVED x h:1", "MOVED 16384 h:1", "MOVED -1 h:1", "MOVED 1 h", "MOVED 1 h\x1b:1"),
    *("ASK 1 h:0", "ASK 1 h:x", "ASK 1 h h:1", "ASK 1 h:99999", "ASK \u0661 h:1", "ASK 1 h:\u0661"),
]


@pytest.mark.parametrize("text", NOWHERE)
def test_redirections_to_nowhere(text):
    """A redirection whose slot, host or port can't be is a reply that doesn't fit."""
    assert isinstance(refusal(ErrorReply(text)), OutOfStepError)


def test_redirections():
    """One that can be is taken, also without a host and with an IPv6 address."""
    for text, expected in (
        ("MOVED 1 h:1", (1, "h", 1, False)),
        ("ASK 16383 ::1:7000", (16383, "::1", 7000, True)),
        ("MOVED 0 :7000", (0, "", 7000, False)),
    ):
        error = refusal(ErrorReply(text))
        assert isinstance(error, RedirectionError)
        assert (error.slot, error.host, error.port, error.asking) == expected


ODD = ["A" * 60_000 + " x", "ERR\x1b[31m x", "ERR\nnext line", "\u00c9 x", "A1 x", "lower x", "ERR " + "\x1b[2J" * 1000]


@pytest.mark.parametrize("text", ODD)
def test_errors_are_shown_in_one_short_line(text):
    """No text of a server reaches a log or an error as it is: a code of capitals, the rest quoted and cut."""
    for line in (shown(ErrorReply(text)), str(refusal(ErrorReply(text)))):
        assert line.isprintable()
        assert len(line) < 900
        assert "A" * 33 not in str(refusal(ErrorReply(text)))


@pytest.mark.parametrize(
    "wire", [b"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n:5\r\n:7\r\n", b"*1\r\n:1\r\n", b"%1\r\n+a\r\n+b\r\n"]
)
def test_a_cluster_whose_map_is_none(scripted, wire, caplog):
    """A node that tells nonsense is a node that doesn't tell: no traceback, and calls as in an outage."""
    server = scripted(always(wire), wrap=lambda connection: connection)
    with caplog.at_level(logging.DEBUG, "twotier"):
        with Cache(f"redis+cluster://127.0.0.1:{server.port}", namespace="t") as cache:
            assert cache.get("key", "none") == "none"
            wait_for(lambda: len(server.commands) > 5, "a second look")
        assert not [record for record in caplog.records if record.exc_info]


def test_sentinels_that_say_nonsense(scripted, caplog):
    """A sentinel that names no place is one that doesn't answer."""
    server = scripted(always(b"*2\r\n:1\r\n:2\r\n"), wrap=lambda connection: connection)
    with caplog.at_level(logging.DEBUG, "twotier"):
        with Cache(f"redis+sentinel://127.0.0.1:{server.port}/orders", namespace="t") as cache:
            assert cache.get("key", "none") == "none"
            with pytest.raises(RemoteError, match="name no primary"):
                cache.incr("count")
        assert not [record for record in caplog.records if record.exc_info]

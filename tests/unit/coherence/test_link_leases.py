"""The link's state machine: leases, their questions and answers, and time."""

import pytest
from fake_server import MASTER, SLAVE, push
from wired import STALENESS, Wired, only

from twotier.clock import SECOND
from twotier.coherence.events import Lost, Received, Renewed


def test_a_lease_runs_from_the_time_of_asking(ear, protocol):
    """However late the answer, the lease is counted from the question."""
    wired = Wired(ear, protocol=protocol).connect()
    wired.clock.advance(1.0)
    asked_at = wired.clock.now()
    wired.link.tick()
    question = wired.link.outgoing()
    wired.clock.advance(0.9)
    wired.server.take(question)
    assert wired.link.receive(wired.server.out)[-1].lease_until == asked_at + STALENESS


def test_answers_belong_to_the_oldest_question(ear, protocol):
    """With two exchanges under way, the first answer renews by the first question only."""
    wired = Wired(ear, protocol=protocol, max_staleness=1.0).connect()
    wired.clock.advance(0.4)
    first = wired.clock.now()
    wired.link.tick()
    one = wired.link.outgoing()
    wired.clock.advance(0.4)
    second = wired.clock.now()
    wired.link.tick()
    two = wired.link.outgoing()
    wired.server.take(one)
    answer, wired.server.out = wired.server.out, b""
    assert [event.lease_until for event in wired.link.receive(answer)] == [first + SECOND]
    wired.server.take(two)
    assert [event.lease_until for event in wired.link.receive(wired.server.out)] == [second + SECOND]


def test_exchanges_repeat(ear, protocol):
    """There is an exchange every 2/5 of max_staleness, and `wake_at` names it."""
    wired = Wired(ear, protocol=protocol).connect()
    start = wired.clock.now()
    assert wired.link.wake_at() == start + SECOND
    wired.clock.advance(0.999)
    assert wired.settle() == []
    wired.clock.advance(0.001)
    assert only(wired.settle(), Renewed)[0].lease_until == start + SECOND + STALENESS
    assert wired.link.wake_at() == start + 2 * SECOND


def test_a_missed_deadline(ear, protocol):
    """A second without an answer ends the connection, and every lease with it."""
    wired = Wired(ear, protocol=protocol).connect()
    wired.server.silent = True
    wired.clock.advance(1.0)
    assert wired.settle() == []
    wired.clock.advance(0.999)
    assert wired.settle() == []
    wired.clock.advance(0.001)
    (lost,) = wired.settle()
    assert lost == Lost(ear, f"no answer to {'ROLE' if protocol == 3 else 'PING'} within 1 s")
    assert wired.link.state(ear) == "down"
    assert wired.link.wake_at() is None


def test_messages_are_no_answer(ear, protocol):
    """A server that goes on sending messages but doesn't answer proves nothing."""
    wired = Wired(ear, protocol=protocol).connect()
    wired.server.silent = True
    wired.clock.advance(1.0)
    wired.settle()
    wired.clock.advance(1.0)
    events = wired.feed(push(protocol, b"message", ear.channel, b"x"))
    assert [type(event) for event in events] == [Received, Lost]


@pytest.mark.parametrize("stage", ["ROLE", "SUBSCRIBE"])
def test_deadlines_hold_while_connecting(ear, stage):
    """A server that stops answering before the link is live is given up; nobody is lost who wasn't confirmed."""
    wired = Wired(ear)
    wired.link.connected()
    if stage == "SUBSCRIBE":
        wired.link.receive(MASTER)
    wired.clock.advance(1.0)
    assert wired.link.tick() == []
    assert wired.link.reason == f"no answer to {stage} within 1 s"


def test_a_short_bound_shortens_the_deadline(ear):
    """The deadline is at most half of max_staleness, so that a loss is seen before the lease is over."""
    wired = Wired(ear, max_staleness=0.5).connect()
    lease_until = wired.events[-1].lease_until
    wired.server.silent = True
    while not only(wired.settle(), Lost):
        wired.clock.advance(0.01)
    assert wired.clock.now() < lease_until


def test_a_clock_that_jumps_while_nothing_is_asked(ear, protocol):
    """After a suspend the lease is over at once, and the next exchange, on the same connection, brings it back."""
    wired = Wired(ear, protocol=protocol).connect()
    wired.clock.advance(3600)
    assert wired.link.state(ear) == "sync"
    events = wired.settle()
    assert [type(event) for event in events] == [Renewed]
    assert events[0].lease_until == wired.clock.now() + STALENESS


def test_a_clock_that_jumps_under_a_question(ear):
    """An answer that had arrived during a suspend is taken, and its lease is over already; no answer is a loss."""
    wired = Wired(ear).connect()
    wired.clock.advance(1.0)
    wired.link.tick()
    wired.server.take(wired.link.outgoing())
    wired.clock.advance(3600)
    (renewed,) = wired.link.receive(wired.server.out)
    assert renewed.lease_until < wired.clock.now()
    assert wired.link.state(ear) == "sync"
    assert wired.link.tick() == []
    wired.clock.advance(3600)
    assert only(wired.link.tick(), Lost)


def test_a_master_that_becomes_a_replica(ear):
    """On RESP3 a demotion is seen at the next exchange."""
    wired = Wired(ear).connect()
    wired.server.role = SLAVE
    wired.clock.advance(1.0)
    assert wired.settle() == [Lost(ear, "the server is no master: its role is slave")]
    assert not wired.link.up


@pytest.mark.parametrize(
    "answer", [b"+PONG\r\n", b"$1\r\n7\r\n", b"*2\r\n$4\r\npong\r\n$1\r\n7\r\n", b"-ERR no\r\n", b"*1\r\n:1\r\n:2\r\n"]
)
def test_a_wrong_nonce(ear, answer):
    """Only the nonce that was sent renews a lease on RESP2."""
    wired = Wired(ear, protocol=2).connect()
    wired.server.silent = True
    wired.clock.advance(1.0)
    wired.settle()
    assert [type(event) for event in wired.feed(answer)] == [Lost]

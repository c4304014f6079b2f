"""The link's state machine with tracking: the server says which keys have changed."""

import pytest
from fake_server import push
from recording_subscriber import RecordingSubscriber
from wired import STALENESS, Wired, only

from twotier.coherence.events import Confirmed, Lost, Received, Refused, Renewed
from twotier.coherence.subscriber import EVERYTHING


class KeyEar(RecordingSubscriber):
    """A subscriber that wants the keys of its namespace."""

    def __init__(self, namespace="shop"):
        super().__init__(namespace)
        self.channel = f"{namespace}:".encode()


@pytest.fixture
def one():
    return KeyEar("one")


@pytest.fixture
def two():
    return KeyEar("two")


def track(ear):
    """Return the command that asks for an ear's keys."""
    return [b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", ear.channel]


def test_each_prefix_is_tracked_then_confirmed_then_renewed(one, two):
    """The prefixes follow ROLE, one command each; leases run from the asking of the exchange's own ROLE."""
    wired = Wired(one, two, tracking=True).connect()
    assert wired.sent() == [
        [b"ROLE"], track(one), track(two), [b"ROLE"], [b"GET", one.generation_key], [b"GET", two.generation_key],
    ]  # fmt: skip
    until = wired.clock.now() + STALENESS
    assert wired.events == [Confirmed(one), Confirmed(two), Renewed(one, until, None), Renewed(two, until, None)]


def test_keys_go_to_the_subscribers_of_their_prefix(one, two):
    """Keys are handed to every subscriber of their namespace, in order; an emptied server concerns all."""
    twin = KeyEar("two")
    wired = Wired(one, two, twin, tracking=True).connect()
    wired.server.invalidate(b"one:g:a", b"two:g:b", b"one:g:c:d")
    assert wired.settle() == [
        Received(one, [b"one:g:a", b"one:g:c:d"]), Received(two, [b"two:g:b"]), Received(twin, [b"two:g:b"]),
    ]  # fmt: skip
    wired.server.invalidate()
    assert wired.settle() == [Received(ear, [EVERYTHING]) for ear in (one, two, twin)]


def test_an_answer_to_the_first_question_proves_nothing_yet(one):
    """What a round of the server changed may be sent after the answer to ROLE of that round, but before the next."""
    wired = Wired(one, tracking=True).connect()
    wired.clock.advance(1.0)
    asked_at = wired.clock.now()
    wired.link.tick()
    wired.server.take(wired.link.outgoing())
    role, wired.server.out = wired.server.out, b""
    assert only(wired.link.receive(role), Renewed) == []
    wired.server.invalidate(b"one:g:key")
    wired.clock.advance(0.1)
    events = wired.settle()
    assert events == [Received(one, [b"one:g:key"]), Renewed(one, asked_at + STALENESS, None)]


def test_both_questions_share_one_deadline(one):
    """An answer to ROLE doesn't buy the generations more time."""
    wired = Wired(one, tracking=True).connect()
    wired.clock.advance(1.0)
    wired.link.tick()
    wired.server.take(wired.link.outgoing())
    role, wired.server.out = wired.server.out, b""
    wired.clock.advance(0.9)
    wired.link.receive(role)
    wired.server.silent = True
    assert wired.settle() == []
    wired.clock.advance(0.2)
    assert only(wired.settle(), Lost) == [Lost(one, "no answer to GET within 1 s")]


def test_a_prefix_is_asked_for_once_a_connection(one):
    """A subscriber that leaves and comes back goes on with the tracking there is: the server would refuse another."""
    wired = Wired(one, tracking=True).connect()
    wired.sent()
    wired.link.detach(one)
    wired.server.invalidate(b"one:g:key")
    assert wired.settle() == []
    again = KeyEar("one")
    wired.link.attach(again)
    events = wired.settle()
    assert [type(event) for event in events] == [Confirmed, Renewed]
    assert [command for command in wired.sent() if command[0] == b"CLIENT"] == []
    wired.server.invalidate(b"one:g:key")
    assert wired.settle() == [Received(again, [b"one:g:key"])]


def test_coming_back_while_the_prefix_is_asked_for(one):
    """Leaving and returning before the answer asks nothing twice, and the answer is the newcomer's."""
    wired = Wired(one, tracking=True).subscribing()
    wired.link.detach(one)
    again = KeyEar("one")
    wired.link.attach(again)
    assert [event.subscriber for event in only(wired.settle(), Renewed)] == [again]
    assert [command for command in wired.sent() if command[0] == b"CLIENT"] == [track(one)]


def test_a_new_connection_tracks_anew(one):
    """After a loss nothing is tracked until it was asked for again."""
    wired = Wired(one, tracking=True).connect()
    assert wired.link.receive(b"") == [Lost(one, "the server closed the connection")]
    wired.sent()
    wired.connect()
    assert wired.sent()[1] == track(one)
    assert [type(event) for event in wired.events] == [Confirmed, Renewed] * 2


def test_a_refused_prefix_is_tried_again(one):
    """A server that doesn't allow tracking costs nothing but the lease, and is asked a second later."""
    wired = Wired(one, tracking=True)
    wired.server.errors[tuple(track(one))] = b"NOPERM no permission"
    wired.connect()
    assert [type(event) for event in wired.events] == [Refused]
    assert wired.link.state(one) == "sync"
    del wired.server.errors[tuple(track(one))]
    wired.clock.advance(1.0)
    assert only(wired.settle(), Renewed) == [Renewed(one, wired.clock.now() + STALENESS, None)]


def test_messages_and_unknown_pushes_are_ignored(one):
    """What else a server pushes changes nothing."""
    wired = Wired(one, tracking=True).connect()
    assert wired.feed(push(3, b"tracking-redir-broken", 7)) == []
    assert wired.feed(push(3, b"message", b"other", b"x")) == []
    assert wired.link.up

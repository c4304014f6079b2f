"""The link's state machine: subscribers that come, go, share a channel, and fail alone."""

import pytest
from fake_server import push
from recording_subscriber import RecordingSubscriber
from wired import STALENESS, Wired, only

from twotier.clock import SECOND
from twotier.coherence.events import Confirmed, Lost, Received, Refused, Renewed
from twotier.coherence.subscriber import NOT_ASKED
from twotier.remote.io.errors import shown
from twotier.resp import ErrorReply, pack


def test_attach_while_live(ear, protocol):
    """A subscriber that comes later is subscribed, confirmed and live without waiting for the next exchange."""
    late = RecordingSubscriber("late")
    wired = Wired(ear, protocol=protocol).connect()
    wired.sent()
    wired.clock.advance(0.1)
    wired.link.attach(late)
    wired.link.attach(late)
    events = wired.settle()
    assert wired.sent()[0] == [b"SUBSCRIBE", late.channel]
    assert [event for event in events if event.subscriber is late] == [
        Confirmed(late),
        Renewed(late, wired.clock.now() + STALENESS, None if protocol == 3 else NOT_ASKED),
    ]
    assert not [event for event in events if event.subscriber is ear and not isinstance(event, Renewed)]


def test_an_exchange_under_way_does_not_renew_the_newcomer(protocol):
    """A subscriber is renewed only by questions asked after its confirmation."""
    first, late = RecordingSubscriber("shop"), RecordingSubscriber("shop")
    wired = Wired(first, protocol=protocol).connect()
    wired.clock.advance(1.0)
    wired.link.tick()
    question = wired.link.outgoing()
    wired.link.attach(late)
    wired.server.take(question)
    answer, wired.server.out = wired.server.out, b""
    assert [event.subscriber for event in wired.link.receive(answer)] == [first]
    assert [type(event) for event in wired.settle() if event.subscriber is late] == [Confirmed, Renewed]


def test_two_subscribers_of_one_channel(protocol):
    """Two caches with one namespace share the subscription; both hear everything, and the last one ends it."""
    one, two = RecordingSubscriber(), RecordingSubscriber()
    wired = Wired(one, two, protocol=protocol).connect()
    assert [command for command in wired.sent() if command[0] in {b"SUBSCRIBE", b"GET"}] == [
        [b"SUBSCRIBE", one.channel],
        *([[b"GET", one.generation_key]] if protocol == 3 else []),
    ]
    message = push(protocol, b"message", one.channel, b"x")
    assert wired.feed(message) == [Received(one, [b"x"]), Received(two, [b"x"])]
    wired.link.detach(one)
    assert wired.feed(message) == [Received(two, [b"x"])]
    assert wired.sent() == []
    wired.link.detach(two)
    wired.link.detach(two)
    wired.settle()
    assert wired.sent() == [[b"UNSUBSCRIBE", two.channel]]
    assert wired.feed(message) == []


def test_detach_while_an_exchange_is_under_way(ear, protocol):
    """A subscriber that has left hears no more, whatever is still to be answered."""
    wired = Wired(ear, protocol=protocol).connect()
    wired.clock.advance(1.0)
    wired.link.tick()
    wired.server.take(wired.link.outgoing())
    wired.link.detach(ear)
    assert wired.settle() == []
    assert wired.link.up
    assert wired.link.state(ear) == "down"


def test_detach_before_the_confirmation_and_back_again(ear, protocol):
    """SUBSCRIBE, UNSUBSCRIBE, SUBSCRIBE under way at once: only the last confirmation counts."""
    link = Wired(ear, protocol=protocol).subscribing().link
    link.detach(ear)
    link.attach(ear)
    assert link.outgoing() == b"".join(pack(word, ear.channel) for word in (b"SUBSCRIBE", b"UNSUBSCRIBE", b"SUBSCRIBE"))
    link.receive(push(protocol, b"subscribe", ear.channel, 1))
    assert link.tick() == []
    link.receive(push(protocol, b"unsubscribe", ear.channel, 0))
    assert link.tick() == []
    link.receive(push(protocol, b"subscribe", ear.channel, 1))
    assert link.tick() == [Confirmed(ear)]


def test_the_link_lives_without_subscribers(ear, protocol):
    """With nobody left the connection stays, is still proven, and takes the next subscriber."""
    wired = Wired(ear, protocol=protocol).connect()
    wired.link.detach(ear)
    for _ in range(5):
        wired.clock.advance(1.0)
        assert wired.settle() == []
    assert wired.link.up
    wired.link.attach(ear)
    assert [type(event) for event in wired.settle()] == [Confirmed, Renewed]


def test_attach_while_down(ear):
    """Subscribers that come and go while there is no connection are all that the next one serves."""
    wired = Wired(ear)
    other = RecordingSubscriber("other")
    wired.link.attach(other)
    wired.link.detach(ear)
    wired.connect()
    assert [event.subscriber for event in wired.events] == [other, other]
    assert [b"SUBSCRIBE", ear.channel] not in wired.sent()


def test_the_server_ends_a_subscription(ear, protocol):
    """An UNSUBSCRIBE confirmation that nobody asked for means that messages go missing from now on."""
    wired = Wired(ear, protocol=protocol).connect()
    events = wired.feed(push(protocol, b"unsubscribe", ear.channel, 0))
    assert events == [Lost(ear, "the server ended a subscription")]


def test_no_permission_for_one_channel(protocol):
    """A refused subscription leaves the others live, and is tried again with each exchange."""
    good, bad = RecordingSubscriber("good"), RecordingSubscriber("bad")
    wired = Wired(bad, good, protocol=protocol)
    wired.server.errors[b"SUBSCRIBE", bad.channel] = b"NOPERM no permissions to access a channel"
    wired.connect()
    reason = "the subscription was refused: NOPERM: 'no permissions to access a channel'"
    assert only(wired.events, Refused) == [Refused(bad, reason)]
    assert wired.link.state(good) == "live"
    assert wired.link.state(bad) == "sync"
    wired.clock.advance(1.0)
    assert [type(event) for event in wired.settle()] == [Refused, Renewed]
    wired.server.errors.clear()
    wired.clock.advance(1.0)
    wired.settle()
    assert wired.link.state(good) == wired.link.state(bad) == "live"


def test_a_refusal_after_the_subscriber_left(ear):
    """A refusal that nobody waits for any more is nobody's news."""
    wired = Wired(ear).subscribing()
    wired.server.errors[b"SUBSCRIBE",] = b"NOPERM no"
    wired.link.detach(ear)
    assert wired.settle() == []
    assert wired.link.up


@pytest.mark.parametrize("error", ["WRONGTYPE not a string", "NOPERM no permissions", "LOADING the dataset"])
def test_a_generation_that_can_not_be_read(error):
    """It costs the one namespace its lease, until the generation can be read again."""
    good, bad = RecordingSubscriber("good"), RecordingSubscriber("bad")
    wired = Wired(good, bad).connect()
    wired.server.errors[b"GET", bad.generation_key] = error.encode()
    wired.clock.advance(1.0)
    events = wired.settle()
    assert only(events, Lost) == [Lost(bad, f"the generation can't be read: {shown(ErrorReply(error))}")]
    assert only(events, Renewed)[0].subscriber is good
    wired.server.errors.clear()
    wired.clock.advance(1.0)
    assert [type(event) for event in wired.settle() if event.subscriber is bad] == [Confirmed, Renewed]


def test_distrust(ear, protocol):
    """A distrusted subscriber loses its lease at once, isn't renewed by old questions, and is confirmed anew."""
    other = RecordingSubscriber("other")
    wired = Wired(ear, other, protocol=protocol).connect()
    wired.clock.advance(1.0)
    wired.link.tick()
    wired.server.take(wired.link.outgoing())
    assert wired.link.distrust(ear, "it failed") == [Lost(ear, "it failed")]
    assert wired.link.distrust(ear, "it failed") == wired.link.distrust(RecordingSubscriber(), "a stranger") == []
    assert wired.link.state(ear) == "sync"
    assert [event.subscriber for event in wired.settle()] == [other]
    wired.clock.advance(1.0)
    assert [type(event) for event in wired.settle() if event.subscriber is ear] == [Confirmed, Renewed]


def test_a_distrusted_subscriber_is_not_renewed_by_a_question_from_before():
    """Confirmed anew while the question of before its loss is open, it is renewed by the later question only."""
    ear = RecordingSubscriber()
    wired = Wired(ear, max_staleness=1.0).connect()
    wired.clock.advance(0.4)
    wired.link.tick()
    old = wired.link.outgoing()
    wired.link.distrust(ear, "it failed")
    wired.clock.advance(0.4)
    assert wired.link.tick() == [Confirmed(ear)]
    confirmed_at = wired.clock.now()
    wired.server.take(old)
    answer, wired.server.out = wired.server.out, b""
    assert wired.link.receive(answer) == []
    wired.server.take(wired.link.outgoing())
    assert [event.lease_until for event in wired.link.receive(wired.server.out)] == [confirmed_at + SECOND]

"""The link's state machine: connecting, breaking, and what arrives."""

import pytest
from fake_server import MASTER, SLAVE, bulk, push
from recording_subscriber import RecordingSubscriber
from wired import STALENESS, Wired

from twotier.coherence.events import Confirmed, Lost, Received, Renewed
from twotier.coherence.subscriber import NOT_ASKED
from twotier.remote.io.errors import shown
from twotier.resp import ErrorReply, pack


def test_the_order_of_connecting(ear):
    """ROLE, then SUBSCRIBE, then the confirmation, then the first exchange; nothing is live before its answer."""
    wired = Wired(ear)
    link, clock = wired.link, wired.clock
    assert link.state(ear) == "down"
    link.connected()
    assert link.state(ear) == "sync"
    assert link.outgoing() == pack(b"ROLE")
    assert link.receive(MASTER) == link.tick() == []
    assert link.outgoing() == pack(b"SUBSCRIBE", ear.channel)
    assert link.receive(push(3, b"subscribe", ear.channel, 1)) == []
    assert link.tick() == [Confirmed(ear)]
    assert link.outgoing() == pack(b"ROLE") + pack(b"GET", ear.generation_key)
    asked_at = clock.now()
    clock.advance(0.4)
    assert link.receive(MASTER) == []
    assert link.state(ear) == "sync"
    assert link.receive(bulk(b"gen1")) == [Renewed(ear, asked_at + STALENESS, b"gen1")]
    assert link.state(ear) == "live"


def test_the_order_of_connecting_on_resp2(ear):
    """On RESP2 the exchange is a PING with a nonce, and the generation isn't asked for."""
    wired = Wired(ear, protocol=2).connect()
    assert wired.sent() == [[b"ROLE"], [b"SUBSCRIBE", ear.channel], [b"PING", b"1"]]
    assert wired.events == [Confirmed(ear), Renewed(ear, wired.clock.now() + STALENESS, NOT_ASKED)]


def test_a_replica_is_refused(ear, protocol):
    """A server that is no master is never subscribed to."""
    wired = Wired(ear, protocol=protocol)
    wired.server.role = SLAVE
    wired.connect()
    assert not wired.link.up
    assert wired.link.reason == "the server is no master: its role is slave"
    assert wired.sent() == [[b"ROLE"]]
    assert wired.events == []


@pytest.mark.parametrize("answer", [b"+OK\r\n", b"*0\r\n", b"$-1\r\n", b":1\r\n"])
def test_nonsense_for_a_role(ear, answer):
    """Whatever isn't a role ends the connection."""
    wired = Wired(ear)
    wired.link.connected()
    wired.link.receive(answer)
    assert "ROLE was answered with" in wired.link.reason


@pytest.mark.parametrize("error", ["NOPERM no permissions", "LOADING the dataset", "NOAUTH Authentication required."])
def test_role_refused(ear, protocol, error):
    """Without an answer to ROLE there is no lease: the connection ends, and the reason says why."""
    wired = Wired(ear, protocol=protocol)
    wired.server.errors[b"ROLE",] = error.encode()
    wired.connect()
    assert wired.link.reason == f"ROLE was answered with {shown(ErrorReply(error))}"


def test_messages_before_the_confirmation(ear):
    """A message that comes early is handed on: an invalidation too many does no harm."""
    wired = Wired(ear)
    wired.link.connected()
    wired.link.receive(MASTER)
    assert wired.link.receive(push(3, b"message", ear.channel, b"early")) == [Received(ear, [b"early"])]


def test_confirmations_out_of_order(protocol):
    """Each channel is confirmed by its own confirmation, in whichever order they come."""
    ears = [RecordingSubscriber("a"), RecordingSubscriber("b"), RecordingSubscriber("c")]
    wired = Wired(*ears, protocol=protocol)
    link = wired.link
    link.connected()
    link.receive(MASTER)
    for ear in (ears[2], ears[0]):
        link.receive(push(protocol, b"subscribe", ear.channel, 1))
    assert link.tick() == [Confirmed(ears[0]), Confirmed(ears[2])]
    link.receive(push(protocol, b"subscribe", ears[1].channel, 1))
    assert link.tick() == [Confirmed(ears[1])]


def test_an_answer_without_a_question(ear, protocol):
    """An answer too many means that answers and questions no longer match."""
    wired = Wired(ear, protocol=protocol).connect()
    assert [type(event) for event in wired.feed(b"+OK\r\n")] == [Lost]
    assert "without a question" in wired.link.reason


def test_the_end_of_the_stream(ear):
    """EOF is a loss for everybody confirmed, once."""
    other = RecordingSubscriber("other")
    wired = Wired(ear, other).connect()
    assert wired.link.receive(b"") == [Lost(each, "the server closed the connection") for each in (ear, other)]
    assert wired.link.receive(b"") == wired.link.disconnect("again") == wired.link.tick() == []


def test_what_is_not_resp(ear, protocol):
    """A protocol error ends the connection."""
    wired = Wired(ear, protocol=protocol).connect()
    assert [type(event) for event in wired.feed(b"HTTP/1.1 200 OK\r\n")] == [Lost]
    assert wired.link.reason.startswith("protocol error: ")


def test_reconnecting(ear, protocol):
    """After a loss everything begins anew: ROLE, SUBSCRIBE, confirmation, exchange."""
    wired = Wired(ear, protocol=protocol).connect()
    wired.sent()
    wired.clock.advance(1.0)
    wired.link.tick()  # questions that the old connection leaves open
    wired.link.receive(b">3\r\n$7\r\nmess")  # and half a message
    wired.events += wired.link.disconnect("broken")
    wired.connect()
    assert [command[0] for command in wired.sent()][:2] == [b"ROLE", b"SUBSCRIBE"]
    assert [type(event) for event in wired.events] == [Confirmed, Renewed, Lost, Confirmed, Renewed]


def test_nobody_is_confirmed_by_the_subscription_of_an_old_connection(ear, namespace, protocol):
    """After a loss a channel counts as subscribed only with the new connection's confirmation."""
    wired = Wired(ear, protocol=protocol).connect()
    wired.events += wired.link.disconnect("broken")
    wired.server.reconnect()
    wired.subscribing()
    twin = RecordingSubscriber(namespace)
    wired.link.attach(twin)
    assert wired.link.tick() == []
    assert [type(event) for event in wired.settle()] == [Confirmed, Confirmed, Renewed, Renewed]


def test_messages_of_one_chunk_come_as_one_list(protocol):
    """Each subscriber gets what arrived together as one list, in order, and nothing of other channels."""
    a, b = RecordingSubscriber("a"), RecordingSubscriber("b")
    wired = Wired(a, b, protocol=protocol).connect()
    names = [b"a", b"b", b"a", b"c", b"a"]
    chunk = b"".join(push(protocol, b"message", name + b":inv:v1", b"%d" % n) for n, name in enumerate(names))
    assert wired.feed(chunk) == [Received(a, [b"0", b"2", b"4"]), Received(b, [b"1"])]


def test_messages_come_before_the_renewal_of_their_chunk(ear):
    """What precedes an answer is handed on before the lease is renewed by it."""
    wired = Wired(ear).connect()
    wired.clock.advance(1.0)
    wired.link.tick()
    chunk = [push(3, b"message", ear.channel, b"1"), MASTER, push(3, b"message", ear.channel, b"2"), bulk(None)]
    events = wired.link.receive(b"".join(chunk))
    assert [type(event) for event in events] == [Received, Renewed]
    assert events[0].payloads == [b"1", b"2"]


def test_pushes_of_other_kinds(ear):
    """Pushes that nobody asked for change nothing."""
    wired = Wired(ear).connect()
    assert wired.feed(push(3, b"invalidate", b"key") + push(3, b"moving", 1, 2) + b">0\r\n" + b">1\r\n:1\r\n") == []
    assert wired.link.state(ear) == "live"

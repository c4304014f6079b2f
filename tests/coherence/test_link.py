"""The link's state machine, on a manual clock and bytes alone."""

import itertools

import pytest
from ears import Ear
from fake_server import MASTER, SLAVE, FakeServer, bulk, push
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from twotier.clock import SECOND, ManualClock
from twotier.coherence.link import Confirmed, Event, Link, Lost, Received, Refused, Renewed
from twotier.coherence.resp import Reader, pack
from twotier.coherence.subscriber import NOT_ASKED

STALENESS = 5 * SECOND // 2


class Wired:
    """A link, the server at its other end, and what came of it."""

    def __init__(self, *ears: Ear, protocol: int = 3, max_staleness: float = 2.5) -> None:
        self.clock = ManualClock()
        self.link = Link(self.clock, max_staleness=max_staleness, protocol=protocol)
        self.server = FakeServer(protocol)
        self.events: list[Event] = []
        for ear in ears:
            self.link.attach(ear)

    def connect(self) -> "Wired":
        """Connect, and let both ends talk until neither has more to say."""
        self.server.reconnect()
        self.link.connected()
        self.settle()
        return self

    def settle(self) -> list[Event]:
        """Let both ends talk until neither has more to say; return the events."""
        return self.feed(b"")

    def feed(self, data: bytes) -> list[Event]:
        """Hand `data` to the link, then let both ends talk; return the events."""
        before = len(self.events)
        self.server.out += data
        while True:
            self.server.take(self.link.outgoing())
            answers, self.server.out = self.server.out, b""
            if answers:
                self.events += self.link.receive(answers)
            self.events += self.link.tick()
            questions = self.link.outgoing()
            self.server.take(questions)
            if not questions and not self.server.out:
                return self.events[before:]

    def subscribing(self) -> "Wired":
        """Connect as far as to the questions for the subscriptions, which haven't been sent."""
        self.link.connected()
        self.server.take(self.link.outgoing())
        answers, self.server.out = self.server.out, b""
        self.link.receive(answers)
        return self

    def sent(self) -> list[list[bytes]]:
        """Return the commands that the server has got, and forget them."""
        commands, self.server.commands = self.server.commands, []
        return commands


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def protocol(request):
    """Both protocols."""
    return request.param


@pytest.fixture
def ear():
    """A subscriber."""
    return Ear()


def only(events, kind):
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]


# Connecting


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
    assert wired.link.reason == f"ROLE was answered with {error}"


def test_messages_before_the_confirmation(ear):
    """A message that comes early is handed on: an invalidation too many does no harm."""
    wired = Wired(ear)
    wired.link.connected()
    wired.link.receive(MASTER)
    assert wired.link.receive(push(3, b"message", ear.channel, b"early")) == [Received(ear, [b"early"])]


def test_confirmations_out_of_order(protocol):
    """Each channel is confirmed by its own confirmation, in whichever order they come."""
    ears = [Ear("a"), Ear("b"), Ear("c")]
    wired = Wired(*ears, protocol=protocol)
    link = wired.link
    link.connected()
    link.receive(MASTER)
    for ear in (ears[2], ears[0]):
        link.receive(push(protocol, b"subscribe", ear.channel, 1))
    assert link.tick() == [Confirmed(ears[0]), Confirmed(ears[2])]
    link.receive(push(protocol, b"subscribe", ears[1].channel, 1))
    assert link.tick() == [Confirmed(ears[1])]


# Leases


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


def test_an_answer_without_a_question(ear, protocol):
    """An answer too many means that answers and questions no longer match."""
    wired = Wired(ear, protocol=protocol).connect()
    assert [type(event) for event in wired.feed(b"+OK\r\n")] == [Lost]
    assert "without a question" in wired.link.reason


def test_the_end_of_the_stream(ear):
    """EOF is a loss for everybody confirmed, once."""
    other = Ear("other")
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


# Messages


def test_messages_of_one_chunk_come_as_one_list(protocol):
    """Each subscriber gets what arrived together as one list, in order, and nothing of other channels."""
    a, b = Ear("a"), Ear("b")
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


# Subscribers that come and go


def test_attach_while_live(ear, protocol):
    """A subscriber that comes later is subscribed, confirmed and live without waiting for the next exchange."""
    late = Ear("late")
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
    first, late = Ear("shop"), Ear("shop")
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
    one, two = Ear(), Ear()
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
    other = Ear("other")
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


# Trouble of one subscriber


def test_no_permission_for_one_channel(protocol):
    """A refused subscription leaves the others live, and is tried again with each exchange."""
    good, bad = Ear("good"), Ear("bad")
    wired = Wired(bad, good, protocol=protocol)
    wired.server.errors[b"SUBSCRIBE", bad.channel] = b"NOPERM no permissions to access a channel"
    wired.connect()
    reason = "the subscription was refused: NOPERM no permissions to access a channel"
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
    good, bad = Ear("good"), Ear("bad")
    wired = Wired(good, bad).connect()
    wired.server.errors[b"GET", bad.generation_key] = error.encode()
    wired.clock.advance(1.0)
    events = wired.settle()
    assert only(events, Lost) == [Lost(bad, f"the generation can't be read: {error}")]
    assert only(events, Renewed)[0].subscriber is good
    wired.server.errors.clear()
    wired.clock.advance(1.0)
    assert [type(event) for event in wired.settle() if event.subscriber is bad] == [Confirmed, Renewed]


def test_distrust(ear, protocol):
    """A distrusted subscriber loses its lease at once, isn't renewed by old questions, and is confirmed anew."""
    other = Ear("other")
    wired = Wired(ear, other, protocol=protocol).connect()
    wired.clock.advance(1.0)
    wired.link.tick()
    wired.server.take(wired.link.outgoing())
    assert wired.link.distrust(ear, "it failed") == [Lost(ear, "it failed")]
    assert wired.link.distrust(ear, "it failed") == wired.link.distrust(Ear(), "a stranger") == []
    assert wired.link.state(ear) == "sync"
    assert [event.subscriber for event in wired.settle()] == [other]
    wired.clock.advance(1.0)
    assert [type(event) for event in wired.settle() if event.subscriber is ear] == [Confirmed, Renewed]


def test_a_distrusted_subscriber_is_not_renewed_by_a_question_from_before():
    """Confirmed anew while the question of before its loss is open, it is renewed by the later question only."""
    ear = Ear()
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


# Any order of things


@given(protocol=st.sampled_from([2, 3]), cuts=st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_any_slicing_of_a_whole_life(protocol, cuts):
    """However the server's bytes are cut, the same messages, confirmations and renewals come of them."""
    ears = [Ear("a"), Ear("b")]
    wired = Wired(*ears, protocol=protocol)
    sizes = itertools.cycle(cuts)

    def pump():
        while True:
            wired.server.take(wired.link.outgoing())
            data, wired.server.out = wired.server.out, b""
            if not data:
                return
            while data:
                size = next(sizes)
                wired.events += wired.link.receive(data[:size]) + wired.link.tick()
                data = data[size:]

    wired.link.connected()
    pump()
    published = {ear: [] for ear in ears}
    for number in range(3):
        wired.clock.advance(1.0)
        wired.events += wired.link.tick()
        for ear in ears:
            for payload in (b"%d" % number, b"\r\n>3\r\n$7"):
                published[ear].append(payload)
                wired.server.publish(ear.channel, payload)
                wired.server.take(wired.link.outgoing())
        pump()
    for ear in ears:
        events = [event for event in wired.events if event.subscriber is ear]
        assert [payload for event in only(events, Received) for payload in event.payloads] == published[ear]
        assert events[0] == Confirmed(ear)
        assert {type(event) for event in events[1:]} == {Received, Renewed}
        assert only(events, Renewed)[-1].lease_until == wired.clock.now() + STALENESS


class Proof(RuleBasedStateMachine):
    """Whatever is published, delayed, cut, attached or broken: who is renewed has received everything it should.

    A renewal until T says that each message published before T - max_staleness, since the confirmation, has come.
    """

    @initialize(protocol=st.sampled_from([2, 3]))
    def begin(self, protocol):
        self.ears = [Ear("a"), Ear("b"), Ear("a")]
        wired = Wired(protocol=protocol)
        self.link, self.server, self.clock = wired.link, wired.server, wired.clock
        self.published: list[tuple[int, bytes, bytes]] = []
        self.received: dict[Ear, set[bytes]] = {ear: set() for ear in self.ears}
        self.confirmed: dict[Ear, int] = {}
        self.congested = False
        for ear in self.ears[:2]:
            self.link.attach(ear)
        self.connect()
        self.talk()

    @rule(number=st.integers(0, 1), times=st.integers(1, 3))
    def publish(self, number, times):
        for _ in range(times):
            channel, payload = self.ears[number].channel, b"%d" % len(self.published)
            self.published.append((self.clock.now(), channel, payload))
            self.server.publish(channel, payload)

    @rule(seconds=st.sampled_from([0.05, 0.4, 0.9, 1.1]))
    def advance(self, seconds):
        self.clock.advance(seconds)

    @rule(size=st.sampled_from([1, 7, 40]))
    def deliver_bytes(self, size):
        data, self.server.out = self.server.out[:size], self.server.out[size:]
        if data:
            self.boundaries.feed(data)
            self.take(self.link.receive(data))

    @rule(count=st.integers(1, 5))
    def deliver_answers(self, count):
        out, end = self.server.out, 0
        while end < len(out) and count > 0:
            end += 1
            count -= len(self.boundaries.feed(out[end - 1 : end]))
        self.server.out = out[end:]
        if end:
            self.take(self.link.receive(out[:end]))

    @rule(what=st.sampled_from(["attach", "detach", "distrust", "break", "congest", "talk"]), number=st.integers(0, 2))
    def disturb(self, what, number):
        ear = self.ears[number]
        match what:
            case "attach":
                self.link.attach(ear)
            case "detach":
                self.link.detach(ear)
                self.confirmed.pop(ear, None)
            case "distrust":
                self.take(self.link.distrust(ear, "told to"))
            case "break":
                self.take(self.link.disconnect("told to"))
            case "congest":
                self.congested = not self.congested
            case "talk":
                self.talk()

    def talk(self):
        self.congested = False
        for _ in range(4):
            self.look_at_the_clock()
            self.deliver_bytes(1 << 20)

    @invariant()
    def look_at_the_clock(self):
        self.take(self.link.tick())
        if not self.link.up:
            assert not self.confirmed
            self.connect()
        if not self.congested:
            self.server.take(self.link.outgoing())

    def connect(self):
        self.server.reconnect()
        self.boundaries = Reader()
        self.link.connected()

    def take(self, events):
        for event in events:
            ear = event.subscriber
            match event:
                case Received(_, payloads):
                    self.received[ear].update(payloads)
                case Confirmed():
                    assert ear not in self.confirmed
                    self.confirmed[ear] = len(self.published)
                case Lost():
                    del self.confirmed[ear]
                case Renewed(_, lease_until, _):
                    self.check(ear, lease_until - STALENESS)

    def check(self, ear, until):
        for at, channel, payload in self.published[self.confirmed[ear] :]:
            if channel == ear.channel and at < until:
                assert payload in self.received[ear]

    def teardown(self):
        self.talk()
        for ear in self.ears:
            if self.link.state(ear) == "live":
                self.check(ear, self.clock.now() + 1)


TestProof = Proof.TestCase
TestProof.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


@given(noise=st.binary(max_size=300), protocol=st.sampled_from([2, 3]))
def test_noise_after_the_handshake(noise, protocol):
    """Whatever a server sends, the link either bears it or goes down; nothing is raised."""
    wired = Wired(Ear(), protocol=protocol).connect()
    wired.link.receive(noise)
    wired.link.tick()

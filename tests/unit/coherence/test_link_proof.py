"""The link's state machine under any order of things: a lease is a proof."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from recording_subscriber import RecordingSubscriber
from wired import STALENESS, Wired, only

from twotier.coherence.events import Confirmed, Lost, Received, Renewed
from twotier.replies import Reader


@given(protocol=st.sampled_from([2, 3]), cuts=st.lists(st.integers(1, 50), min_size=1, max_size=30))
def test_any_slicing_of_a_whole_life(protocol, cuts):
    """However the server's bytes are cut, the same messages, confirmations and renewals come of them."""
    ears = [RecordingSubscriber("a"), RecordingSubscriber("b")]
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
        self.ears = [RecordingSubscriber("a"), RecordingSubscriber("b"), RecordingSubscriber("a")]
        wired = Wired(protocol=protocol)
        self.link, self.server, self.clock = wired.link, wired.server, wired.clock
        self.published: list[tuple[int, bytes, bytes]] = []
        self.received: dict[RecordingSubscriber, set[bytes]] = {ear: set() for ear in self.ears}
        self.confirmed: dict[RecordingSubscriber, int] = {}
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
    wired = Wired(RecordingSubscriber(), protocol=protocol).connect()
    wired.link.receive(noise)
    wired.link.tick()

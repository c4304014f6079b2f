"""A link and the server at its other end, without I/O."""

from fake_server import FakeServer
from recording_subscriber import RecordingSubscriber

from twotier.clock import SECOND, ManualClock
from twotier.coherence.events import Event
from twotier.coherence.link import Link

STALENESS = 5 * SECOND // 2
"""The default bound on staleness (ns)."""


class Wired:
    """A link, the server at its other end, and what came of it."""

    def __init__(
        self, *ears: RecordingSubscriber, protocol: int = 3, max_staleness: float = 2.5, tracking: bool = False
    ) -> None:
        self.clock = ManualClock()
        self.link = Link(self.clock, max_staleness=max_staleness, protocol=protocol, tracking=tracking)
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


def only(events, kind):
    """Return the events of one kind."""
    return [event for event in events if isinstance(event, kind)]

"""State that the link keeps for its subscribers, channels and pending requests."""

from typing import Literal, NamedTuple

from twotier.coherence.subscriber import Subscriber

Command = Literal[b"ROLE", b"GET", b"PING", b"SUBSCRIBE", b"UNSUBSCRIBE", b"TRACKING"]


class Channel:
    """A wanted channel, and the subscribers that want it."""

    __slots__ = ("asked", "members", "retry_at", "subscribed")

    def __init__(self) -> None:
        self.members: list[Attached] = []
        self.asked = False
        """Whether SUBSCRIBE is under way."""
        self.subscribed = False
        self.retry_at = 0
        """Instant of the next attempt after a refusal (ns)."""


class Attached:
    """One subscriber, for as long as it is attached."""

    __slots__ = ("confirmed_at", "lease_until", "subscriber")

    def __init__(self, subscriber: Subscriber) -> None:
        self.subscriber = subscriber
        self.confirmed_at: int | None = None
        self.lease_until = 0


class PendingReply(NamedTuple):
    """A request that waits for its reply."""

    command: Command
    name: bytes
    """The key, nonce or channel."""
    asked_at: int
    members: list[Attached]
    """Subscribers that the reply renews."""
    channel: Channel | None = None

"""Events of the link, which the listener passes on to the subscribers."""

from typing import NamedTuple

from twotier.coherence.subscriber import NotAsked, Subscriber


class Received(NamedTuple):
    """Messages of the subscriber's channel, in order."""

    subscriber: Subscriber
    payloads: list[bytes]


class Confirmed(NamedTuple):
    """From here on the subscriber misses no message."""

    subscriber: Subscriber


class Renewed(NamedTuple):
    """The subscriber is live until `lease_until` (ns)."""

    subscriber: Subscriber
    lease_until: int
    generation: bytes | NotAsked | None


class Lost(NamedTuple):
    """The subscriber may be missing messages."""

    subscriber: Subscriber
    reason: str


class Refused(NamedTuple):
    """The server refuses the subscription; the link tries again."""

    subscriber: Subscriber
    reason: str


Event = Received | Confirmed | Renewed | Lost | Refused

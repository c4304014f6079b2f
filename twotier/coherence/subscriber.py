"""Interface of the subscribers, which the listener calls: one for each namespace."""

import enum
from collections.abc import Sequence
from typing import Final, Protocol


class NotAsked(enum.Enum):
    """The type of `NOT_ASKED`."""

    NOT_ASKED = "not asked"


NOT_ASKED: Final = NotAsked.NOT_ASKED
"""In place of a generation, on RESP2: there a subscribed connection can't read keys."""


EVERYTHING: Final = b""
"""In place of a key, with tracking: the server was emptied (FLUSHALL, FLUSHDB)."""


class Subscriber(Protocol):
    """One namespace's subscriber of the link. Only the listener's thread calls its methods.

    In each life of the link the calls are `confirmed`, then `renewed` again and again, then `lost`; `received`
    comes at any time. An exception out of any of them is logged and ends the subscriber's lease: the
    subscriber is lost, and confirmed anew.
    """

    @property
    def channel(self) -> bytes:
        """The channel of the namespace's messages; with tracking, the keys' prefix up to the first colon."""

    @property
    def generation_key(self) -> bytes:
        """The remote key that holds the namespace's generation."""

    def received(self, payloads: list[bytes]) -> None:
        """Process the messages that arrived together, in order; with tracking, the changed keys."""

    def confirmed(self) -> None:
        """Make every entry suspect: messages published before this moment may have been missed, none after it."""

    def renewed(self, lease_until: int, generation: bytes | NotAsked | None) -> None:
        """Extend the lease: every message published `max_staleness` before `lease_until` (ns) has been received.

        `generation` is the content of the generation key at a moment after that; None if the key is missing.
        """

    def lost(self, reason: str) -> None:
        """Make every entry suspect at once: the link is gone."""


class ShardedSubscriber(Subscriber, Protocol):
    """A subscriber in a cluster, whose namespace has several generations, each on the node of its key's slot."""

    @property
    def generation_keys(self) -> Sequence[bytes]:
        """The remote keys that hold the generations."""

    def renewed(self, lease_until: int, generation: bytes | NotAsked | None, group: int = 0) -> None:
        """Extend the lease; `generation` is the content of the generation key of number `group`."""

"""What the listener calls: one subscriber a namespace."""

import enum
from collections.abc import Sequence
from typing import Final, Protocol


class NotAsked(enum.Enum):
    """The type of `NOT_ASKED`."""

    NOT_ASKED = "not asked"


NOT_ASKED: Final = NotAsked.NOT_ASKED
"""In place of a generation, on RESP2: a subscribed connection can't read keys there."""


EVERYTHING: Final = b""
"""In place of a key, with tracking: the server was emptied (FLUSHALL, FLUSHDB)."""


class Subscriber(Protocol):
    """One namespace's ear on the link, called on the listener's thread only.

    In each life of the link: `confirmed`, then `renewed` again and again, then `lost`; `received` at any time. An
    exception out of any of them is logged and ends the subscriber's lease: it is lost, and confirmed anew.
    """

    @property
    def channel(self) -> bytes:
        """The channel whose messages it wants; with tracking, the prefix of the keys: all up to the first colon."""

    @property
    def generation_key(self) -> bytes:
        """The remote key that holds the namespace's generation."""

    def received(self, payloads: list[bytes]) -> None:
        """Take the messages that arrived together, in order; with tracking, the keys that were changed."""

    def confirmed(self) -> None:
        """Put everything in doubt: what was published before this moment may have been missed, nothing after it."""

    def renewed(self, lease_until: int, generation: bytes | NotAsked | None) -> None:
        """Every message published `max_staleness` before `lease_until` (ns) has been received.

        `generation` is what the generation key held at a moment after that; None without one.
        """

    def lost(self, reason: str) -> None:
        """Put everything in doubt, at once: the link is gone."""


class ShardedSubscriber(Subscriber, Protocol):
    """A subscriber in a cluster, whose namespace has several generations, each on the node of its key's slot."""

    @property
    def generation_keys(self) -> Sequence[bytes]:
        """The remote keys that hold the generations."""

    def renewed(self, lease_until: int, generation: bytes | NotAsked | None, group: int = 0) -> None:
        """Take a lease; `generation` is what the key of number `group` held."""

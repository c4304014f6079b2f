"""The faults of a proxy for the connections of one kind."""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["link", "data"]
"""The connection that invalidations arrive on, and those that commands go over."""

Direction = Literal["to_server", "to_client"]
BOTH_WAYS: frozenset[Direction] = frozenset({"to_server", "to_client"})


@dataclass(slots=True)
class Faults:
    """Faults of one kind of connection, new ones included; change them at any time, from any thread.

    >>> Faults().latency
    0.0
    """

    latency: float = 0.0
    """Seconds that bytes are under way, each way."""
    silent: Collection[Direction] = field(default_factory=frozenset)
    """Directions in which no data arrives and no connection closes; sent data arrives after `heal`."""
    slice_bytes: int = 0
    """Most bytes delivered together; 0 for no limit."""
    bandwidth: int = 0
    """Bytes a second in each direction; 0 for no bound."""
    reset_after: int | None = None
    """Bytes to the client after which its connection is reset, in the middle of a reply if need be."""
    refuse: bool = False
    """Reset every connection as soon as its kind is known."""

    def heal(self) -> None:
        """Remove all faults."""
        self.latency, self.silent, self.slice_bytes, self.bandwidth = 0.0, frozenset(), 0, 0
        self.reset_after, self.refuse = None, False

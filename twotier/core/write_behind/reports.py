"""What a write-behind tells about itself."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBehindStats:
    """How far the source is behind, and what this process has done about it since its `WriteBehind` was made."""

    depth: int | None
    """Entries on the server that are not at the source yet, dead letters apart; None while the server is away.

    In a cluster also those whose key's node is lost; and it is None while a stream's node is."""
    dead: int | None
    """Dead letters; None while the server is away."""
    lag: float | None
    """Age of the oldest of the entries by the server's clock and ours (s), 0.0 without any; None as above."""
    draining: bool
    """Whether this process is the one that drains; in a cluster, whether it drains any of the streams."""
    appended: int
    """Keys that this process has appended."""
    written: int
    """Keys that this process's drainer has written to the source, or deleted there."""
    coalesced: int
    """Entries among what it wrote that a later one of the same key stood for."""
    retried: int
    """Calls of the writer that failed."""
    dead_lettered: int
    """Entries that it has given up."""
    replayed: int
    """Entries that it dropped because they had reached the source: replayed by someone, or the server was set back."""
    lost: int
    """Acknowledged writes of this process that the server has lost, as far as `flush` has noticed."""
    streams_lost: int
    """How often this process's drainer found a stream gone, with all that waited in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A write that the source doesn't take, or an entry of the stream that isn't ours."""

    id: str
    """Its id among the dead letters."""
    key: str | None
    """The key; None where the entry isn't ours, was damaged, or signed with another secret or by an older version."""
    value: Any
    """What was to be written; None for a delete, and without a key."""
    deleted: bool
    """Whether the key was to be deleted."""
    error: str
    """What the writer raised at last."""
    attempts: int
    """Number of attempts at this key alone; attempts as part of a batch don't count."""


class DrainCounters:
    """The counters of one process. Plain attributes, as in `core/namespace/counters.py`."""

    __slots__ = ("appended", "coalesced", "dead_lettered", "lost", "replayed", "retried", "streams_lost", "written")

    def __init__(self) -> None:
        self.appended = self.coalesced = self.dead_lettered = self.retried = self.written = 0
        self.lost = self.replayed = self.streams_lost = 0

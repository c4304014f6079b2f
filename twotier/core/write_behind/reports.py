"""The reports of a write-behind: its statistics and its dead letters."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBehindStats:
    """The source's lag, and the counters of this process since its `WriteBehind` was created."""

    depth: int | None
    """Entries on the server that haven't reached the source, dead letters apart; None while the server is away.

    In a cluster, entries of keys on a lost node count, too; None while the node of a stream is lost."""
    dead: int | None
    """Dead letters; None while the server is away."""
    lag: float | None
    """Age of the oldest entry (s), by the server's clock and ours; 0.0 without entries, None as for `depth`."""
    draining: bool
    """Whether this process drains; in a cluster, whether it drains any of the streams."""
    appended: int
    """Keys that this process has appended."""
    written: int
    """Keys that this process's drainer has written to the source, or deleted there."""
    coalesced: int
    """Entries that this process's drainer didn't write because a later entry of the key replaced them."""
    retried: int
    """Calls of the writer that failed."""
    dead_lettered: int
    """Entries that this process's drainer has turned into dead letters."""
    replayed: int
    """Entries dropped because they had reached the source: someone replayed them, or the server was set back."""
    lost: int
    """Acknowledged writes of this process that the server has lost, as far as `flush` has noticed."""
    streams_lost: int
    """How often this process's drainer found a stream gone, with all entries that waited in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A write that the source refuses, or an entry of the stream that isn't ours."""

    id: str
    """The letter's id among the dead letters."""
    key: str | None
    """The key; None where the entry isn't ours, was damaged, or signed with another secret or by an older version."""
    value: Any
    """The value to write; None for a delete, and without a key."""
    deleted: bool
    """Whether the key was to be deleted."""
    error: str
    """The writer's last error."""
    attempts: int
    """Number of attempts at this key alone; attempts as part of a batch don't count."""


class DrainCounters:
    """The counters of one process. Plain attributes, as in `core/namespace/counters.py`."""

    __slots__ = ("appended", "coalesced", "dead_lettered", "lost", "replayed", "retried", "streams_lost", "written")

    def __init__(self) -> None:
        self.appended = self.coalesced = self.dead_lettered = self.retried = self.written = 0
        self.lost = self.replayed = self.streams_lost = 0

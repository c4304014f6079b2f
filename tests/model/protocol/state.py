"""The model's state: hashable, and free of every count that nothing depends on, so that equal situations are equal.

Epochs and gens are kept as differences: an entry or a token knows whether its epoch is the current one, and a token how
often its key has been voided since (2 stands for more). A write's op id is its number, fixed by the place it has in
the scenario's programs. A set of written values is an int of bits, see `bit`.
"""

from typing import Final, NamedTuple

GONE: Final = -1
"""The version and data of nothing, where it is there by expiry, replay or the loss of all data: not by a write."""
NO_GENERATION: Final = -1
FIRST_GENERATION: Final = 0
WIDTH: Final = 32
"""Bits a key has in a set of values: the lower half for values, the upper half for nothings."""
NOTHING_BY: Final = 16
"""What is there after the removal by a write `op` has the data `NOTHING_BY + op`."""
NONE_HELD: Final = 0
"""The holder of a lease that nobody holds."""


NO_OP: Final = 0
"""The op id of raw integers, and of invalidations that come from the server itself."""


class Value(NamedTuple):
    """What stands under a key on the server."""

    version: int
    """The write that changed it last, be it only its life."""
    data: int
    """The write that made the value; for a loaded value, the change of the source that it shows."""
    op: int | None
    """The op id in its envelope: 0 for a raw integer, None where nothing stands."""


NOTHING: Final = Value(GONE, GONE, None)


def nothing_by(op: int) -> Value:
    """Return what is there after the removal by `op`."""
    return Value(op, NOTHING_BY + op, None)


class Entry(NamedTuple):
    """What a local tier holds of a key."""

    version: int
    data: int
    op: int
    current: bool
    """Whether it has the current epoch."""
    expired: bool
    age: int = 0
    """Ticks since the server's value became another."""


class Token(NamedTuple):
    """A fill token, as it stands now."""

    key: int
    current: bool
    voids: int


class TierState(NamedTuple):
    """A local tier."""

    entries: tuple[Entry | None, ...]
    tokens: tuple[Token | None, ...]
    """Outstanding tokens, one a thread at most."""
    last_ops: tuple[int, ...]
    """Of each key; 0 where no token's fate depends on it."""
    lease: int
    """Ticks for which the tier is live; without a clock, 1 or 0."""
    marks: int
    """Keys with a placeholder, for the rule of that name."""
    asking: int
    """Threads that have asked for the generation in the current epoch."""


class Item(NamedTuple):
    """What comes over a link: "inv", "clear", "confirmed" or "lease"."""

    kind: str
    op: int = 0
    """Of an invalidation; of a lease, the generation."""
    keys: tuple[int, ...] = ()
    age: int = 0
    """Of a lease: ticks since it was asked for."""


class Task(NamedTuple):
    """Where a thread is in its program."""

    step: int
    do: str = ""
    key: int = 0
    at: str = ""
    held: Value | None = None
    """The reply that has been received."""
    prefix: int = 0
    """The generation under which it acts."""
    mask: int = 0
    """Of a read: what it mustn't return; of a write: the values that it supersedes."""
    told: int = 0
    """The generation that stood when its write took place."""
    done: bool = False
    """Whether the server did what was asked: the value was put, the lease taken."""
    doubt: int = 0
    """The journaled write that it saw when it began."""
    seen: int = 0
    """The op id of the entry that the write dropped; of a load, who has the lease."""


class Doubt(NamedTuple):
    """A journaled write."""

    op: int
    seen: int
    kind: str


class Replay(NamedTuple):
    """Where the recovery is."""

    at: str = ""
    prefix: int = 0
    key: int = 0
    doubt: Doubt | None = None
    note: int = 0


class ProcessState(NamedTuple):
    """One process."""

    tier: TierState
    link: str
    """ "up", "cut" (dead, unnoticed), "down", "inherited" (a parent's), or "unborn" for a process yet to be forked."""
    queue: tuple[Item, ...]
    asked: int
    """Ticks since a lease was asked for that the server hasn't answered yet; -1 without."""
    known: int
    """The generation known for the current epoch."""
    tasks: tuple[Task, ...]
    journal: tuple[Doubt | None, ...]
    overflows: int
    away: bool
    replay: Replay
    floor: int
    """Values that this process's own writes have superseded."""
    owed: int
    """Values that its failed writes were to supersede."""


class ServerState(NamedTuple):
    """The server."""

    rows: tuple[tuple[Value, ...], ...]
    """What stands, by generation and key."""
    leases: tuple[tuple[int, ...], ...]
    """Who has the lease on loading, by generation and key."""
    generation: int
    """The generation that the name says; NO_GENERATION without a name."""
    copy: int
    """The generation that the copy of the name says; NO_GENERATION without one."""
    past: int
    """Values that were superseded by writes."""
    expired: int
    """Versions that have expired, as bits."""
    source: tuple[int, ...]
    """What the source of truth has, by key."""


class Request(NamedTuple):
    """A write that its caller has given up, and that may still arrive."""

    process: int
    task: Task
    op: int


class Budget(NamedTuple):
    """How often things may still happen that happen by themselves."""

    cuts: int = 0
    expiries: int = 0
    local_expiries: int = 0
    flushes: int = 0
    evictions: int = 0
    """Of the generation's name alone, or of its copy alone."""
    restarts: int = 0
    failures: int = 0
    late: int = 0
    forks: int = 0
    duplicates: int = 0
    overflows: int = 0


class State(NamedTuple):
    """Everything."""

    server: ServerState
    processes: tuple[ProcessState, ...]
    network: tuple[Request, ...]
    budget: Budget
    broken: str
    """An invariant that the last move broke."""


def bit(key: int, data: int) -> int:
    """Return the set that has one value of `key`; GONE is in none."""
    return 0 if data == GONE else 1 << (key * WIDTH + data)


def somethings(values: int, keys: int) -> int:
    """Return `values` without the nothings: a removal supersedes them too, but that makes no difference to a reader."""
    low = (1 << NOTHING_BY) - 1
    return values & sum(low << (key * WIDTH) for key in range(keys))

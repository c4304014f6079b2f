"""The settings of a write-behind, checked once."""

from dataclasses import dataclass
from typing import TypedDict

from twotier.checking import is_seconds
from twotier.clock import SECOND
from twotier.errors import ConfigurationError


class WriteBehindOptionsDict(TypedDict, total=False):
    """The fields of `WriteBehindOptions` as keyword arguments (a test holds the two equal)."""

    batch_size: int
    max_attempts: int
    first_backoff: float
    max_backoff: float
    max_backlog: int
    max_wait: float
    drain_lease: float
    drain: bool
    trust_server: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBehindOptions:
    """Settings of a `WriteBehind`; seconds throughout. A bad one raises ConfigurationError and is named.

    >>> WriteBehindOptions(batch_size=0)
    Traceback (most recent call last):
    twotier.errors.ConfigurationError: batch_size must be an int >= 1, got 0
    """

    batch_size: int = 100
    """Most keys in one call of the writer."""

    max_attempts: int = 16
    """How often a key that fails alone is tried before its write becomes a dead letter."""

    first_backoff: float = 0.1
    """Pause before the second attempt (s); doubled with every further one, and cut by up to half at random."""

    max_backoff: float = 30.0
    """Longest pause between two attempts (s)."""

    max_backlog: int = 100_000
    """Most entries that wait on the server, dead letters included; writers over it wait. Each writing thread may go
    beyond it by one call."""

    max_wait: float = 5.0
    """Longest that a writer waits for room before BacklogFull is raised (s)."""

    drain_lease: float = 10.0
    """Life of the drain lock (s): another process takes over at most this long after the holder was killed."""

    drain: bool = True
    """Whether this process drains when no other does; False: this process only appends."""

    trust_server: bool = False
    """True: accept a cache without a `secret`; then anybody that can write to its server can write to the source."""

    def __post_init__(self) -> None:
        """Check every field."""
        for name in ("batch_size", "max_attempts", "max_backlog"):
            given = getattr(self, name)
            if not isinstance(given, int) or isinstance(given, bool) or given < 1:
                raise ConfigurationError(f"{name} must be an int >= 1, got {given!r}")
        for name, least in (("first_backoff", 0.001), ("max_backoff", 0.001), ("max_wait", 0), ("drain_lease", 0.1)):
            given = getattr(self, name)
            if not is_seconds(given, least):
                raise ConfigurationError(f"{name} must be seconds >= {least}, up to 100 years, got {given!r}")
        for name in ("drain", "trust_server"):
            if not isinstance(given := getattr(self, name), bool):
                raise ConfigurationError(f"{name} must be True or False, got {given!r}")

    @property
    def lease_ns(self) -> int:
        """`drain_lease` in nanoseconds."""
        return round(self.drain_lease * SECOND)

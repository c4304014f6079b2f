"""Replicas: writes that wait for them, and reads from one of them while the primary is away."""

import random
import time
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, TypeVar

from redis.connection import AbstractConnection, Connection, SSLConnection

from twotier.errors import RemoteUnavailable
from twotier.remote.allowed_hosts import ensure_allowed
from twotier.remote.breaker import State
from twotier.remote.commands import Command
from twotier.remote.primary_watch import PrimaryWatch
from twotier.resp import pack

R = TypeVar("R")

REST: Final = 1.0
"""Seconds for which no replica is asked after one has failed: a miss may cost one deadline then, not each."""


class Acknowledged(NamedTuple, Generic[R]):
    """What a write gave, and how many replicas have it."""

    result: R
    replicas: int


@dataclass(frozen=True, slots=True)
class Replicated(Generic[R]):
    """A write, and in the same trip WAIT for `wanted` replicas to have it, for up to `patience` ms."""

    write: Command[R]
    wanted: int
    patience: int

    @property
    def replies(self) -> int:
        """The write's, and one for WAIT."""
        return self.write.replies + 1

    @property
    def wire(self) -> bytes:
        """The write, and WAIT."""
        return self.write.wire + pack(b"WAIT", b"%d" % self.wanted, b"%d" % self.patience)

    def parse(self, replies: list[Any]) -> Acknowledged[R]:
        """Return the write's outcome, or raise it; a WAIT that was refused has seen no replica."""
        result = self.write.parse(replies[:-1])
        return Acknowledged(result, replies[-1] if type(replies[-1]) is int else 0)


@dataclass(frozen=True, slots=True)
class OnReplica(Generic[R]):
    """A read that goes to a replica, wherever the primary is; RemoteUnavailable where there is none."""

    read: Command[R]


@dataclass(frozen=True, slots=True)
class ReadGeneration:
    """Read a namespace's generation (None: there is none), without making one, which a replica can't."""

    key: bytes
    replies: int = 1

    @property
    def wire(self) -> bytes:
        """GET."""
        return pack(b"GET", self.key)

    def parse(self, replies: list[Any]) -> bytes | None:
        """Return what stands; anything else than a name counts as none."""
        return replies[0] if type(replies[0]) is bytes else None


class Rest:
    """Stands where a circuit breaker does: after a failure nobody is asked for `REST` seconds."""

    def __init__(self) -> None:
        self._until = 0.0

    @property
    def state(self) -> State:
        """Open while at rest, as a breaker."""
        return "open" if time.monotonic() < self._until else "closed"

    def check(self) -> None:
        """Raise RemoteUnavailable while at rest."""
        if self.state == "open":
            raise RemoteUnavailable("a replica has failed a moment ago")

    def failed(self) -> None:
        """Begin to rest."""
        self._until = time.monotonic() + REST

    def succeeded(self) -> None:
        """Do nothing: failures aren't counted."""


class ToReplica(Connection):
    """A TCP connection to one of the replicas that `watch` knows of, chosen at random when it is opened."""

    def __init__(self, *, watch: PrimaryWatch, **arguments: Any) -> None:
        super().__init__(**arguments)  # type: ignore[no-untyped-call]
        self._watch = watch

    def connect(self) -> None:
        """Open the connection; RemoteUnavailable where no replica is known."""
        self._watch.ensure_started()
        known = self._watch.replicas
        if not known:
            raise RemoteUnavailable("no replica is known")
        self.host, self.port = random.choice(known)  # noqa: S311 - spreads load, guards nothing
        ensure_allowed(self.host, self._watch.allowed_hosts)
        super().connect()  # type: ignore[no-untyped-call]


class ToReplicaOverTLS(ToReplica, SSLConnection):
    """The same over TLS."""


def to_replica(kind: type[AbstractConnection]) -> type[ToReplica]:
    """Return the class of connections of `kind` to replicas."""
    return ToReplicaOverTLS if issubclass(kind, SSLConnection) else ToReplica

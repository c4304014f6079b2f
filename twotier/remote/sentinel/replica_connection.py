"""Connections that lead to a replica of the primary that the sentinels name."""

import random
from typing import Any

from redis.connection import AbstractConnection, Connection, SSLConnection

from twotier.errors import RemoteUnavailable
from twotier.remote.deploy.allowed_hosts import ensure_allowed
from twotier.remote.sentinel.primary_watch import PrimaryWatch


class ReplicaConnection(Connection):
    """A TCP connection to one of the replicas that `watch` knows of, chosen at random when it is opened."""

    def __init__(self, *, watch: PrimaryWatch, **arguments: Any) -> None:
        super().__init__(**arguments)  # type: ignore[no-untyped-call]
        self._watch = watch

    def connect(self) -> None:
        """Open the connection; raise RemoteUnavailable if no replica is known."""
        self._watch.ensure_started()
        known = self._watch.replicas
        if not known:
            raise RemoteUnavailable("no replica is known")
        self.host, self.port = random.choice(known)  # noqa: S311 - spreads load, guards nothing
        ensure_allowed(self.host, self._watch.allowed_hosts)
        super().connect()  # type: ignore[no-untyped-call]


class ReplicaTLSConnection(ReplicaConnection, SSLConnection):
    """The same over TLS."""


def replica_connection(kind: type[AbstractConnection]) -> type[ReplicaConnection]:
    """Return the class of connections of `kind` to replicas."""
    return ReplicaTLSConnection if issubclass(kind, SSLConnection) else ReplicaConnection

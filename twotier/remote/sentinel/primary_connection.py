"""Connections to the current primary, verified by ROLE and run id before any use.

A connection is made for one term of the watch. If the term is over, or the server reports that it isn't a
primary, the connection isn't opened.
"""

import functools
from typing import Any

import redis.exceptions
from redis.connection import AbstractConnection, Connection, SSLConnection

from twotier.remote.deploy.allowed_hosts import ensure_allowed
from twotier.remote.sentinel.primary_watch import Primary, PrimaryWatch


class PrimaryConnection(Connection):
    """A TCP connection to the primary that `watch` names when it is opened."""

    def __init__(self, *, watch: PrimaryWatch, **arguments: Any) -> None:
        super().__init__(**arguments)  # type: ignore[no-untyped-call]
        self._watch = watch
        self.primary: Primary | None = None

    def connect(self) -> None:
        """Open the connection, and verify the server."""
        primary = self._watch.primary()
        ensure_allowed(primary.place.host, self._watch.allowed_hosts)
        self.host, self.port = primary.place
        super().connect()  # type: ignore[no-untyped-call]
        try:
            self._verify(primary)
        except BaseException:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise
        self.primary = primary

    def _verify(self, primary: Primary) -> None:
        """Raise redis-py's ConnectionError unless the server is the primary of the current term."""
        for question in (("INFO", "server"), ("ROLE",)):
            self.send_command(*question)  # type: ignore[no-untyped-call]
        run_id = self._run_id()
        role = self.read_response()
        if not isinstance(role, list) or role[:1] != [b"master"]:
            self._watch.distrust()
            raise redis.exceptions.ConnectionError(f"{primary.place} is named as the primary, but isn't one")
        if not self._watch.verified(primary, run_id):
            raise redis.exceptions.ConnectionError(f"{primary.place} is no longer the primary")

    def _run_id(self) -> bytes | None:
        """Return the run id; None if our user may not read it."""
        try:
            info = self.read_response()
        except redis.exceptions.ResponseError:
            return None
        lines = info.split(b"\r\n") if isinstance(info, bytes) else []
        return next((line.partition(b":")[2] for line in lines if line.startswith(b"run_id:")), None)


class PrimaryTLSConnection(PrimaryConnection, SSLConnection):
    """The same over TLS; the certificate must be for the host that the sentinels name."""


def primary_connection(kind: type[AbstractConnection], watch: PrimaryWatch) -> functools.partial[PrimaryConnection]:
    """Return a factory of connections of `kind` to the primary that `watch` names."""
    return functools.partial(
        PrimaryTLSConnection if issubclass(kind, SSLConnection) else PrimaryConnection, watch=watch
    )

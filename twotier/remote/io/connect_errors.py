"""Mapping of failures to connect to RemoteErrors.

Only texts that can't hold a secret are kept: servers quote words that they don't know.
"""

import socket
import ssl
from typing import Any, Final

import redis.exceptions
from redis.connection import AbstractConnection

from twotier.errors import AccessDenied, RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.io.errors import NotServingError, RefusedCredentialsError, one_line
from twotier.remote.io.handshake import ClosedError
from twotier.remote.io.transport_probe import transport_hint
from twotier.resp import ProtocolError

_UNSPOKEN: Final = (ProtocolError, ClosedError, redis.exceptions.TimeoutError, TimeoutError)
"""Errors of a handshake over the wrong transport, beside those of the socket."""
_OTHER_REASONS: Final = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)
"""Errors of the socket that don't point to the wrong transport."""


class NotADataServerError(RemoteError):
    """The server that was to serve data is a sentinel."""


def ensure_data_server(connection: AbstractConnection, where: str) -> None:
    """Raise NotADataServerError if the server, by its reply to HELLO, is a sentinel, which holds no data."""
    if mode_of(connection) == b"sentinel":
        raise NotADataServerError(
            f"{where} is a sentinel, which holds no data: write redis+sentinel://host:port/service"
        )


def mode_of(connection: AbstractConnection) -> bytes | None:
    """Return the mode in HELLO's reply: b"standalone", b"cluster" or b"sentinel"; None if it is unknown (RESP2)."""
    told: Any = connection.handshake_metadata
    mode = told.get(b"mode") if isinstance(told, dict) else None
    return mode if isinstance(mode, bytes) else None


def connect_failure(where: str, error: BaseException, connection: AbstractConnection | None = None) -> RemoteError:
    """Return the RemoteError for an `error` raised while connecting to `where`.

    With `connection`, which has failed, the server may be probed for TLS: this takes up to the timeout of the
    connection, once a minute.
    """
    cause = error.__context__
    if isinstance(error, _UNSPOKEN) or (isinstance(cause, OSError) and not isinstance(cause, _OTHER_REASONS)):
        hint = transport_hint(connection)
        if hint:
            return RemoteUnavailable(hint)
    return _meaning(where, error)


def _meaning(where: str, error: BaseException) -> RemoteError:  # noqa: PLR0911 - one case a kind
    match error:
        case RemoteError():
            return error
        case redis.exceptions.BusyLoadingError():
            return NotServingError(f"{where} is loading its data")
        case redis.exceptions.AuthenticationError() | redis.exceptions.AuthorizationError():
            return RefusedCredentialsError(f"{where} refuses the user name or password")
        case redis.exceptions.NoPermissionError():
            return AccessDenied(f"{where} denies our user the handshake (ACL)")
        case redis.exceptions.ResponseError():
            return RemoteError(f"{where} refuses the handshake: is the database there, and RESP3 (else protocol=2)?")
        case ProtocolError():
            return RemoteUnavailable(f"the server at {where} doesn't speak the Redis protocol")
        case redis.exceptions.TimeoutError() | TimeoutError():
            return RemoteTimeout(f"no connection to {where} within its deadline")
        case redis.exceptions.ConnectionError():
            return RemoteUnavailable(f"can't connect to {where}: {one_line(str(error))}")
        case _:
            return RemoteUnavailable(f"can't connect to {where}: {type(error).__name__}")

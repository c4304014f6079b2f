"""What a failure to connect means. Only texts that can't hold a secret are kept: servers quote what they don't know."""

from typing import Any

import redis.exceptions
from redis.connection import AbstractConnection

from twotier.errors import AccessDenied, RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.refusals import NotServingError, RefusedCredentialsError, one_line
from twotier.resp import ProtocolError


def ensure_data_server(connection: AbstractConnection, where: str) -> None:
    """Raise RemoteError if HELLO was answered by a sentinel, which holds no data."""
    told: Any = connection.handshake_metadata
    if isinstance(told, dict) and told.get(b"mode") == b"sentinel":
        raise RemoteError(f"{where} is a sentinel, which holds no data: write redis+sentinel://host:port/service")


def connect_failure(where: str, error: BaseException) -> RemoteError:  # noqa: PLR0911 - one case a kind
    """Return what it means that connecting to `where` raised `error`."""
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

"""What a failure to connect means. Only texts that can't hold a secret are kept: servers quote what they don't know."""

import redis.exceptions

from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.refusals import NotServingError, StaleConnectionError
from twotier.resp import ProtocolError


def connect_failure(where: str, error: BaseException) -> RemoteError:  # noqa: PLR0911 - one case a kind
    """Return what it means that connecting to `where` raised `error`."""
    match error:
        case RemoteError():
            return error
        case redis.exceptions.BusyLoadingError():
            return NotServingError(f"{where} is loading its data")
        case redis.exceptions.AuthenticationError() | redis.exceptions.AuthorizationError():
            return StaleConnectionError(f"{where} refuses the user name or password")
        case redis.exceptions.NoPermissionError():
            return StaleConnectionError(f"{where} denies our user the handshake (ACL)")
        case redis.exceptions.ResponseError():
            return RemoteError(f"{where} refuses the handshake: is the database there, and RESP3 (else protocol=2)?")
        case ProtocolError():
            return RemoteUnavailable(f"what answers at {where} doesn't speak as Redis servers do")
        case redis.exceptions.TimeoutError() | TimeoutError():
            return RemoteTimeout(f"no connection to {where} within its deadline")
        case redis.exceptions.ConnectionError():
            return RemoteUnavailable(f"can't connect to {where}: {error}")
        case _:
            return RemoteUnavailable(f"can't connect to {where}: {type(error).__name__}")

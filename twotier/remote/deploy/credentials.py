"""Credentials, which a source supplies anew for each connection, so that they can be rotated."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import redis

from twotier.errors import ConfigurationError, RemoteUnavailable
from twotier.options import CredentialSource, Options

_ALL: Final = ("username", "password", "credential_provider")


class CredentialsError(RemoteUnavailable):
    """The source of credentials failed; the message omits the source's own text, which may hold a part of them."""


class AskedCredentials(redis.CredentialProvider):
    """Calls `source` for each connection, on the thread that opens the connection."""

    def __init__(self, source: CredentialSource) -> None:
        self._ask: Callable[[], Any] = source if callable(source) else source.get_credentials
        self._source = source

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the password, or user name and password. Raises CredentialsError."""
        try:
            given = self._ask()
        except Exception as error:  # noqa: BLE001 - it is the user's, and may raise anything
            raise CredentialsError(f"the source of credentials raised {type(error).__name__}") from None
        found = (given,) if isinstance(given, str) else given
        match found:
            case (str(),) | (str(), str()):
                return found
        raise CredentialsError(
            "the source of credentials must give a password, or user name and password, as str; "
            f"it gave a {type(given).__name__}"
        )

    async def get_credentials_async(self) -> tuple[str] | tuple[str, str]:
        """Return the credentials as `get_credentials` does."""
        return self.get_credentials()

    def __repr__(self) -> str:
        """Distinguish sources without showing their contents, which may be secret."""
        return f"<credentials from {type(self._source).__qualname__} at {id(self._source):#x}>"


def with_credentials(arguments: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Return a connection's `arguments` with the credentials of `options`; ConfigurationError if both give one."""
    found = dict(arguments)
    ours = {
        "username": options.username,
        "password": options.password,
        "credential_provider": options.credentials,
    }
    for name, value in ours.items():
        if value is None:
            continue
        shown = "credentials" if name == "credential_provider" else name
        given = [other for other in _ALL if found.get(other)]
        if name in given or "credential_provider" in given or (given and name == "credential_provider"):
            raise ConfigurationError(f"{shown} is given twice: by the URL or client, and by the options; give it once")
        found[name] = value
    if (source := found.get("credential_provider")) is not None:
        found["credential_provider"] = AskedCredentials(source)
    return found

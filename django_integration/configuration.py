"""What an entry of CACHES asks for, as the target and the `Options` of the cache behind it."""

from collections.abc import Mapping
from typing import Any, Final

from django import conf
from django.core.cache import InvalidCacheBackendError
from django.utils.crypto import salted_hmac

from twotier.errors import ConfigurationError
from twotier.options import Options, OptionsDict

NAMESPACE: Final = "django"
"""Namespace of a backend whose OPTIONS name none. A plain `Cache` has another: it lacks the key that signs here."""

_PURPOSE: Final = "twotier.django"
"""Keeps the signing key apart from everything else that is derived from SECRET_KEY."""


def target_of(location: object) -> str | None:
    """Return LOCATION as `Cache` takes it: a URL, or None for the local tier alone.

    >>> target_of("redis://127.0.0.1:6379/0"), target_of("")
    ('redis://127.0.0.1:6379/0', None)
    """
    if not isinstance(location, str):
        raise InvalidCacheBackendError(
            f"LOCATION must be one URL, or '' for the local tier alone, got a {type(location).__name__}"
        )
    return location or None


def options_of(params: Mapping[str, Any]) -> Options:
    """Return OPTIONS as an `Options`, signed with keys derived from SECRET_KEY unless a secret is given."""
    given: dict[str, Any] = {"namespace": NAMESPACE, **(params.get("OPTIONS") or {})}
    if "ttl" in given:
        raise InvalidCacheBackendError("OPTIONS['ttl'] must be left out: TIMEOUT says how long entries live")
    known = OptionsDict.__annotations__.keys() - {"ttl"}
    if unknown := given.keys() - known:
        raise InvalidCacheBackendError(
            f"OPTIONS may hold {', '.join(sorted(known))}; got {', '.join(map(repr, sorted(unknown)))}"
        )
    if "secret" not in given:
        given["secret"] = tuple(map(_derived, (conf.settings.SECRET_KEY, *conf.settings.SECRET_KEY_FALLBACKS)))
    for name in ("allow", "secret"):  # hashable, so that equal configurations are found equal
        if isinstance(given.get(name), list | set):
            given[name] = tuple(given[name])
    try:
        return Options(**given)
    except ConfigurationError as error:
        raise InvalidCacheBackendError(f"OPTIONS: {error}") from error


def _derived(secret: str | bytes) -> bytes:
    return salted_hmac(_PURPOSE, b"", secret, algorithm="sha256").digest()

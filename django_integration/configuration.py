"""Translate an entry of CACHES into the target and the `Options` of its cache."""

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
        given["secret"] = tuple(map(_derived, _site_keys()))
    for name, kinds in (("allow", list | set), ("secret", list)):  # hashable, so that equal configurations are equal
        if isinstance(given.get(name), kinds):
            given[name] = tuple(given[name])
    try:
        return Options(**given)
    except ConfigurationError as error:
        raise InvalidCacheBackendError(f"OPTIONS: {error}") from error


def _site_keys() -> tuple[str | bytes, ...]:
    """Return SECRET_KEY and its fallbacks, none of them empty: an empty one would let anyone sign a pickle.

    They may be short, as Django allows that: `manage.py check --deploy` warns of it.
    """
    fallbacks = conf.settings.SECRET_KEY_FALLBACKS
    if not isinstance(fallbacks, list | tuple):
        raise InvalidCacheBackendError(
            f"SECRET_KEY_FALLBACKS must be a list of keys, got a value of type {type(fallbacks).__name__}"
        )
    named = [("SECRET_KEY", conf.settings.SECRET_KEY)]
    named += [(f"SECRET_KEY_FALLBACKS[{at}]", key) for at, key in enumerate(fallbacks)]
    for name, key in named:
        if not isinstance(key, str | bytes) or not key:
            shown = f"an empty {type(key).__name__}" if isinstance(key, str | bytes) else f"a {type(key).__name__}"
            raise InvalidCacheBackendError(f"{name} must be a str or bytes, and not empty, got {shown}")
    return tuple(key for _, key in named)


def _derived(secret: str | bytes) -> bytes:
    return salted_hmac(_PURPOSE, b"", secret, algorithm="sha256").digest()

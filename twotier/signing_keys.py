"""Signing keys: the values of the option `secret`, checked element by element before anything is signed.

An empty or guessable key lets anyone who can write to the server sign a pickle, which runs code. So a key has at least
16 bytes, and each key of a rotation list is checked, as every one of them verifies. No error shows a key.
"""

from collections.abc import Sequence
from typing import Final

from twotier.checking import expect
from twotier.errors import ConfigurationError

MIN_KEY_BYTES: Final = 16

Secret = str | bytes | Sequence[str | bytes] | None
"""The type of `Options.secret`: a key, or a list or tuple of keys, the one that signs first; None signs nothing."""

_MAKE_ONE: Final = 'make one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'


def signing_keys(secret: Secret) -> tuple[bytes, ...]:
    """Return the keys that `secret` holds as bytes; ConfigurationError unless each is a str or bytes of >= 16 bytes.

    >>> signing_keys(["a key of 16 bytes or more", b"0123456789abcdef"])
    (b'a key of 16 bytes or more', b'0123456789abcdef')
    >>> signing_keys([7])
    Traceback (most recent call last):
    twotier.errors.ConfigurationError: secret[0] must be a str or bytes, got a value of type int
    """
    if secret is None:
        return ()
    if isinstance(secret, str | bytes):
        return (_key("secret", secret),)
    expect(
        isinstance(secret, list | tuple) and bool(secret),
        "secret", _Kind(secret), "None, a str or bytes, or a non-empty list or tuple of these (the first one signs)",
    )  # fmt: skip
    return tuple([_key(f"secret[{at}]", each) for at, each in enumerate(secret)])


class _Kind:
    """Shows a value's type and size, and nothing of the value."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        value = self._value
        name = type(value).__name__
        if not isinstance(value, str | bytes | bytearray | list | tuple | set | frozenset | dict):
            return f"a value of type {name}"
        return f"a {name} of length {len(value)}" if value else f"an empty {name}"


def _key(name: str, given: object) -> bytes:
    if not isinstance(given, str | bytes):
        raise ConfigurationError(f"{name} must be a str or bytes, got {_Kind(given)!r}")
    try:
        key = given.encode() if isinstance(given, str) else bytes(given)
    except UnicodeEncodeError:
        raise ConfigurationError(f"{name} must be a str that UTF-8 can hold, got lone surrogates") from None
    expect(len(key) >= MIN_KEY_BYTES, name, _Kind(given), f"at least {MIN_KEY_BYTES} bytes ({_MAKE_ONE})")
    return key

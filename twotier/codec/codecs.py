"""Codecs: values to bytes and back, exact in type and value.

`PlainCodec` is the default: a format of plain data, of value types of the standard library, and of the types of an
allow-list. Anyone who can write to the server can plant values, but can't run code, nor take more memory and time
than the planted bytes account for. `Pickle` takes any picklable object and trusts its input, so it is only used with a
secret, after the signature has been checked.
"""

import pickle
from collections.abc import Iterable
from typing import Any, ClassVar, Final, Protocol

from twotier.codec.allow_list import AllowedTypes
from twotier.codec.plain import PlainFormat
from twotier.errors import SerializationError

_PROTOCOL: Final = 5
_LONGEST: Final = 1 << 30


class Codec(Protocol):
    """Encodes and decodes values."""

    flag: ClassVar[int]
    """Identifies the codec of the payload in the envelope; 1 to 31."""

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`; SerializationError if the codec can't encode it."""
        ...

    def decode(self, payload: bytes) -> Any:
        """Return the value of `payload`; SerializationError if it isn't one."""
        ...


class PlainCodec:
    """Plain data, value types of the standard library, and the types of `allow`; refuses all else both ways.

    >>> codec = PlainCodec()
    >>> codec.decode(codec.encode({"a": (1, 2.5, None)}))
    {'a': (1, 2.5, None)}
    >>> codec.encode(object())
    Traceback (most recent call last):
    twotier.errors.SerializationError: a value of type builtins.object can't be stored: add it to allow=, or set secret=
    """

    flag: ClassVar[int] = 3

    def __init__(self, allow: Iterable[type] = (), longest: int = _LONGEST) -> None:
        self._format = PlainFormat(AllowedTypes(allow), longest)

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`; SerializationError, naming the type, if it holds one that isn't allowed."""
        return self._format.encode(value)

    def decode(self, payload: bytes) -> Any:
        """Return the value of `payload`; SerializationError if it is damaged, or holds a forbidden type."""
        return self._format.decode(payload)


class Pickle:
    """Encodes any picklable object. Decoding can run any code, so decode only bytes whose signature was checked."""

    flag: ClassVar[int] = 2

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`; SerializationError if it can't be pickled."""
        try:
            return pickle.dumps(value, _PROTOCOL)
        except Exception as error:
            kind = type(value)
            raise SerializationError(
                f"a value of type {kind.__module__}.{kind.__qualname__} can't be pickled: {error}"
            ) from error

    def decode(self, payload: bytes) -> Any:
        """Return the value of `payload`; SerializationError if it can't be unpickled here."""
        try:
            return pickle.loads(payload)
        except Exception as error:
            raise SerializationError(f"the payload can't be unpickled ({type(error).__name__})") from error

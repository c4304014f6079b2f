"""Codecs: values to bytes and back, exact in type and value.

`RestrictedPickle` is the default: pickle protocol 5 (fast, in C) for plain data and for an allow-list of value types;
whoever can write to the server can plant values, but not run code. `Pickle` takes any picklable object and trusts what
it reads, so it is only used behind a secret, whose signature is checked before.
"""

import io
import pickle
from collections.abc import Iterable
from typing import Any, ClassVar, Final, Protocol

from twotier.errors import SerializationError
from twotier.remote import rebuild
from twotier.remote.allowed import AllowedTypes
from twotier.remote.opcodes import check
from twotier.remote.reduce import REDUCERS

_PROTOCOL: Final = 5
_MODULE: Final = rebuild.__name__
_PLAIN: Final = frozenset({str, bytes, float, bool, int, type(None)})


class Codec(Protocol):
    """Encodes and decodes values."""

    flag: ClassVar[int]
    """Says in the envelope which codec wrote the payload; 1 to 127."""

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`; SerializationError if it can't be taken."""
        ...

    def decode(self, payload: bytes) -> Any:
        """Return the value of `payload`; SerializationError if it isn't one."""
        ...


class RestrictedPickle:
    """Plain data, value types of the standard library, and the types of `allow`; refuses all else both ways.

    >>> codec = RestrictedPickle()
    >>> codec.decode(codec.encode({"a": (1, 2.5, None)}))
    {'a': (1, 2.5, None)}
    >>> codec.encode(object())
    Traceback (most recent call last):
    twotier.errors.SerializationError: a value of type builtins.object can't be stored: add it to allow=, or set secret=
    """

    flag: ClassVar[int] = 1

    def __init__(self, allow: Iterable[type] = ()) -> None:
        self._allowed = AllowedTypes(allow)
        self._builders = rebuild.BUILDERS | self._allowed.builders()

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`; SerializationError, naming the type, if it holds one that isn't allowed."""
        if type(value) in _PLAIN:
            return pickle.dumps(value, _PROTOCOL)
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, _PROTOCOL, buffer_callback=_refuse)
        pickler.allowed = self._allowed
        try:
            pickler.dump(value)
        except SerializationError:
            raise
        except RecursionError:
            raise SerializationError(f"a value of type {_named(value)} can't be stored: it nests too deeply") from None
        except Exception as error:
            raise SerializationError(f"a value of type {_named(value)} can't be stored: {error}") from error
        return buffer.getvalue()

    def decode(self, payload: bytes) -> Any:
        """Return the value of `payload`; SerializationError if it is damaged, or holds what isn't allowed."""
        try:
            if not check(payload):
                return pickle.loads(payload)
            unpickler = _Unpickler(io.BytesIO(payload))
            unpickler.builders = self._builders
            return unpickler.load()
        except SerializationError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever damaged bytes lead to
            raise SerializationError(f"the payload can't be decoded ({type(error).__name__})") from None


class Pickle:
    """Any picklable object. Decoding runs whatever the bytes ask for: only for bytes whose signature was checked."""

    flag: ClassVar[int] = 2

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`; SerializationError if it can't be pickled."""
        try:
            return pickle.dumps(value, _PROTOCOL)
        except Exception as error:
            raise SerializationError(f"a value of type {_named(value)} can't be pickled: {error}") from error

    def decode(self, payload: bytes) -> Any:
        """Return the value of `payload`; SerializationError if it can't be unpickled here."""
        try:
            return pickle.loads(payload)
        except Exception as error:
            raise SerializationError(f"the payload can't be unpickled ({type(error).__name__})") from error


class _Pickler(pickle.Pickler):
    """Takes apart by our own rules what isn't plain data; pickle asks it about nothing else."""

    allowed: AllowedTypes

    def reducer_override(self, value: Any) -> Any:
        kind = type(value)
        reduce = REDUCERS.get(kind)
        if reduce is not None:
            return reduce(value)
        if kind in self.allowed:
            return self.allowed.reduce(value)
        raise _refusal(value)


class _Unpickler(pickle.Unpickler):
    """Resolves builders and nothing else."""

    builders: dict[str, rebuild.Builder]

    def find_class(self, module: str, name: str) -> Any:
        builder = self.builders.get(name) if module == _MODULE else None
        if builder is None:
            raise SerializationError("the payload names what isn't allowed")
        return builder


def _refusal(value: object) -> SerializationError:
    return SerializationError(f"a value of type {_named(value)} can't be stored: add it to allow=, or set secret=")


def _refuse(value: object) -> None:
    raise _refusal(value)


def _named(value: object) -> str:
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}"

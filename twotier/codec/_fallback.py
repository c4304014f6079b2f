"""The Python twin of the compiled plain format: the same bytes, the same refusals, about twenty times the time."""

from typing import Any, final

from twotier.codec._decode import decoded
from twotier.codec._encode import encoded
from twotier.codec.allow_list import AllowedTypes
from twotier.errors import SerializationError


@final
class PlainFormat:
    """Plain data as bytes and back. Threads may share it."""

    def __init__(self, allowed: AllowedTypes, longest: int) -> None:
        self._allowed = allowed
        self._longest = longest

    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`."""
        try:
            return encoded(value, self._allowed, self._longest)
        except SerializationError:
            raise
        except Exception as error:
            kind = type(value)
            raise SerializationError(
                f"a value of type {kind.__module__}.{kind.__qualname__} can't be stored: {error}"
            ) from error

    def decode(self, payload: bytes) -> Any:
        """Return the value of `payload`."""
        try:
            return decoded(payload, self._allowed)
        except SerializationError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever damaged bytes lead to
            raise SerializationError(f"the payload can't be decoded ({type(error).__name__})") from None

"""Keys: the checks of a caller's keys, and each key's name on the server: `{namespace}:{generation}:{key}`."""

from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final

from twotier.core.flow.turns import Turns, parts
from twotier.options import MAX_KEY_BYTES

INT64: Final = range(-(1 << 63), 1 << 63)
"""The integers that a key may have for its value and count up or down."""

_SAFE_LENGTH: Final = MAX_KEY_BYTES // 4


def checked(key: str) -> str:
    """Return `key` as an exact str, or raise TypeError (not a str) or ValueError (empty, or over 64 KiB in UTF-8).

    >>> checked("user:7")
    'user:7'
    """
    if type(key) is not str:
        if not isinstance(key, str):
            raise TypeError(f"key must be a str, got {type(key).__name__}: {key!r:.100}")
        key = str.__str__(key)
    if not key:
        raise ValueError("key must not be empty")
    if len(key) > _SAFE_LENGTH and (size := len(as_bytes(key))) > MAX_KEY_BYTES:
        raise ValueError(f"key must be at most {MAX_KEY_BYTES} bytes in UTF-8, got {size}: {key[:40]!r}...")
    return key


def checked_many(keys: Iterable[str]) -> list[str]:
    """Return the distinct keys in the order given, each checked; a lone str is a TypeError, being its letters."""
    if isinstance(keys, str | bytes):
        raise TypeError(f"keys must be an iterable of str, got one {type(keys).__name__}: {keys[:100]!r}")
    try:
        each = iter(keys)
    except TypeError:
        raise TypeError(f"keys must be an iterable of str, got {type(keys).__name__}: {keys!r:.100}") from None
    return list(dict.fromkeys([checked(key) for key in each]))


def checked_in_turns(keys: Iterable[str]) -> Generator[Any, Any, list[str]]:
    """Return the same as `checked_many`, as a flow that lets other tasks run."""
    if isinstance(keys, str | bytes):
        return checked_many(keys)
    try:
        given = list(keys)
    except TypeError:
        return checked_many(keys)
    turns, found = Turns(), []
    for part in parts(given):
        found += [checked(key) for key in part]
        yield from turns.give(len(part))
    return list(dict.fromkeys(found))


def checked_mapping(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `values`, or raise TypeError if it is no mapping; its keys are for `checked`."""
    if type(values) is not dict and not isinstance(values, Mapping):
        raise TypeError(f"values must be a mapping of str to values, got {type(values).__name__}: {values!r:.100}")
    return values


def encoded_many(
    encode: Callable[[Any], bytes], values: Mapping[str, Any]
) -> Generator[Any, Any, tuple[list[str], list[Any], list[bytes]]]:
    """Return the checked keys, the values, and the values' payloads, in the order of `values`.

    Three lists, not a tuple for each entry: 50,000 tuples make the garbage collector scan the whole process.
    """
    given, kept = [], []
    for key, value in values.items():  # at once, as the caller may change it while others run
        given.append(key)
        kept.append(value)
    turns, keys, payloads = Turns(), [], []
    for part in parts(zip(given, kept, strict=True)):
        for key, value in part:
            keys.append(checked(key))
            payloads.append(encode(value))
        yield from turns.give(len(part))
    return keys, kept, payloads


def as_bytes(key: str) -> bytes:
    """Return `key` in UTF-8; lone surrogates pass, since a str may hold them."""
    return key.encode("utf-8", "surrogatepass")


def name_beside(place: bytes, sign: bytes) -> bytes:
    """Return the name of a companion of the key at `place`, in the same slot; `sign` has no colon.

    >>> name_beside(b"shop:generation:user:7", b"!")
    b'shop:generation!user:7'
    """
    namespace, generation, key = place.split(b":", 2)
    return b"%b:%b%b%b" % (namespace, generation, sign, key)

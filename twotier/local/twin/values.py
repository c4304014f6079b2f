"""How the twin keeps a value, hands it out, and weighs it."""

import pickle
from collections.abc import Callable
from typing import Any

from twotier.errors import ConfigurationError
from twotier.local.twin.copies import BY_REFERENCE, ENCODED, TREE, copied, taken
from twotier.local.twin.eviction import Entry
from twotier.local.twin.mutation_check import Watch, Watched

Weigher = Callable[[Any, Any], int]


def pickled(value: object) -> bytes:
    """Encode by pickle, for stores that were given no codec of their own."""
    return pickle.dumps(value, protocol=5)


class Values:
    """The copy rule and the weights, under one store's options."""

    __slots__ = ("_copy", "_decode", "_encode", "_max_bytes", "_watch", "_weigher")

    def __init__(
        self,
        copy: str,
        encode: Callable[[Any], bytes] | None,
        decode: Callable[[bytes], Any] | None,
        max_bytes: int | None,
        weigher: Weigher | None,
    ) -> None:
        if copy not in ("auto", "never", "check"):
            raise ConfigurationError(f"copy must be 'auto', 'never' or 'check', got {copy!r}")
        if max_bytes is not None and (type(max_bytes) is not int or not 1 <= max_bytes <= 1 << 62):
            raise ConfigurationError(f"max_bytes must be None or an int from 1 to 2**62, got {max_bytes!r}")
        self._copy = copy
        self._encode = pickled if encode is None else encode
        self._decode = pickle.loads if decode is None else decode
        self._max_bytes = max_bytes
        self._weigher = weigher
        self._watch = Watch()

    def fill(self, entry: Entry, value: Any, encoded: bytes | None) -> None:
        """Classify, copy, encode and weigh the value that `entry` is to hold. Runs foreign Python code."""
        entry.kind, entry.value = (BY_REFERENCE, value) if self._copy == "never" else taken(value)
        if entry.kind != BY_REFERENCE and self._copy == "check":
            entry.kind = ENCODED
            entry.value = Watched(value)
        elif entry.kind == ENCODED:
            entry.value = encoded = self._encode(value) if encoded is None else encoded
        if self._max_bytes is not None:
            entry.weight = self._weigh(entry.key, value, encoded)

    def handed_out(self, entry: Entry) -> Any:
        """Return the value for a caller. Errors of the codec pass through."""
        if entry.kind == TREE:
            return copied(entry.value)
        return self.left(entry)

    def left(self, entry: Entry) -> Any:
        """Return the value for a removal listener, without a copy: no other caller can reach the value any more."""
        if entry.kind == ENCODED:
            return self._watch.value(entry.value) if self._copy == "check" else self._decode(entry.value)
        return entry.value

    def over(self, weight: int) -> bool:
        """Return True if `weight` exceeds `max_bytes`."""
        return self._max_bytes is not None and weight > self._max_bytes

    def _weigh(self, key: Any, value: Any, encoded: bytes | None) -> int:
        if self._weigher is None:
            return len(self._encode(value) if encoded is None else encoded)
        weight = self._weigher(key, value)
        if type(weight) is not int or not 0 <= weight < 1 << 62:
            raise ValueError(f"weigher must return an int >= 0, got {weight!r} for {key!r}")
        return weight

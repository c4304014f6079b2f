"""Op ids: the name of one write, unique across processes, 16 bytes: the writer's random id and its counter.

Remote values and invalidation messages carry the whole id. The local tier keeps `op_tag` of it, 8 bytes: ids are only
ever compared for equality, and two different ids share a tag once in 2**64 pairs. Tag 0 means "no op id".
"""

import itertools
import os
from typing import Final

OP_ID_BYTES: Final = 16
NO_OP: Final = 0
"""The tag of an entry that no op id is known for (raw integers)."""

_MASK: Final = (1 << 64) - 1


class OpIds:
    """One process's source of op ids. Threads may share it; a forked child makes its own.

    >>> ids = OpIds()
    >>> ids.next() != ids.next()
    True
    """

    __slots__ = ("_counter", "_src")

    def __init__(self) -> None:
        self._src = os.urandom(8)
        self._counter = itertools.count(1)

    def next(self) -> bytes:
        """Return an id that no other write has (16 bytes)."""
        return self._src + next(self._counter).to_bytes(8, "big")

    def made(self, op_id: bytes) -> bool:
        """Return True if an id is of this process.

        >>> ids = OpIds()
        >>> ids.made(ids.next()), ids.made(OpIds().next())
        (True, False)
        """
        return op_id.startswith(self._src)


def is_earlier(op_id: bytes, *, than: bytes) -> bool:
    """Return True if both ids are of one process, which made `op_id` first.

    >>> ids = OpIds()
    >>> first, second = ids.next(), ids.next()
    >>> is_earlier(first, than=second), is_earlier(second, than=first), is_earlier(first, than=OpIds().next())
    (True, False, False)
    """
    return op_id[:8] == than[:8] and op_id < than


def op_tag(op_id: bytes | None) -> int:
    """Return the 64-bit tag of `op_id`; NO_OP (0) for None.

    >>> op_tag(None), op_tag(bytes(15) + b"1") != op_tag(bytes(15) + b"2")
    (0, True)
    """
    if op_id is None:
        return NO_OP
    src, count = int.from_bytes(op_id[:8], "big"), int.from_bytes(op_id[8:], "big")
    # An odd multiplier is a bijection of the counter: one writer's tags never meet.
    return (src ^ (count * 0x9E3779B97F4A7C15)) & _MASK or 1

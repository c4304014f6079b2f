"""The copy rule of the twin: which values a cache hands out by reference, which it copies, and which it rebuilds.

- *By reference*: exact immutable built-ins, and tuples and frozensets of them.
- *Tree*: exact list, dict and set (and tuples that hold such), copied structurally on the way in and out. Sharing and
  cycles inside one value stay as they are. A subclass of a container is no tree: it may carry more than its items.
- *Encoded*: anything else; its bytes are kept, and every hit rebuilds it.

A value is classified and copied in one walk when it comes in. Another thread may change a caller's container
meanwhile, so the walk never visits that container: it copies each container whole, by one call that runs no Python
code half-way, and visits the copy.
"""

import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import re
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, Final

BY_REFERENCE: Final = 0
TREE: Final = 1
ENCODED: Final = 2

IMMUTABLE_TYPES: Final[frozenset[type]] = frozenset(
    {
        type(None), type(...), type(NotImplemented),
        bool, int, float, complex, str, bytes, range,
        dt.date, dt.datetime, dt.time, dt.timedelta, dt.timezone, zoneinfo.ZoneInfo,
        decimal.Decimal, fractions.Fraction, uuid.UUID, re.Pattern,
        ipaddress.IPv4Address, ipaddress.IPv4Network, ipaddress.IPv4Interface,
        ipaddress.IPv6Address, ipaddress.IPv6Network, ipaddress.IPv6Interface,
        pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath,
    }
)  # fmt: skip
"""Types whose instances can't change; members of enums count as immutable, too."""

MOST_DEPTH: Final = 300
"""Most levels of containers; deeper nesting raises RecursionError."""


def taken(value: Any) -> tuple[int, Any]:
    """Return the kind of an incoming value, and the value or its copy to keep (meaningless for ENCODED).

    >>> taken((1, "a")), taken({"a": [1]}), taken(object())[0]
    ((0, (1, 'a')), (1, {'a': [1]}), 2)
    """
    return _Walk().take(value, 0)


def copied(tree: Any) -> Any:
    """Return a copy of a TREE: new containers, the same leaves.

    >>> inner = [1]
    >>> copy = copied([inner, inner])
    >>> copy, copy[0] is copy[1], copy[0] is inner
    ([[1], [1]], True, False)
    """
    return _Walk().take(tree, 0)[1]


class _Walk:
    """One walk through a value, which finds for each part its kind and the object to keep."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, Any, Any]] = {}
        """By address, each container seen: its result, and the container, so that no other object takes its address."""

    def take(self, value: Any, depth: int) -> tuple[int, Any]:
        kind = type(value)
        if kind in IMMUTABLE_TYPES or issubclass(type(kind), enum.EnumMeta):
            return BY_REFERENCE, value
        step = _STEPS.get(kind)
        if step is None:
            return ENCODED, value
        if id(value) in self._seen:
            return self._seen[id(value)][:2]
        if depth > MOST_DEPTH:
            raise RecursionError(f"a value is nested more than {MOST_DEPTH} deep")
        return step(self, value, depth + 1)

    def _dict(self, value: dict[Any, Any], depth: int) -> tuple[int, Any]:
        own = dict(value)
        self._seen[id(value)] = TREE, own, value
        for key, item in list(own.items()):
            found, kept = self.take(item, depth)
            if found == ENCODED or self.take(key, depth)[0] != BY_REFERENCE:
                return ENCODED, value
            if kept is not item:
                own[key] = kept
        return TREE, own

    def _list(self, value: list[Any], depth: int) -> tuple[int, Any]:
        own = list(value)
        self._seen[id(value)] = TREE, own, value
        for at, item in enumerate(own):
            found, own[at] = self.take(item, depth)
            if found == ENCODED:
                return ENCODED, value
        return TREE, own

    def _tuple(self, value: tuple[Any, ...], depth: int) -> tuple[int, Any]:
        most, items = BY_REFERENCE, []
        for item in value:
            found, kept = self.take(item, depth)
            if found == ENCODED:
                return ENCODED, value
            most = max(most, found)
            items.append(kept)
        if id(value) in self._seen:  # a cycle led back here and has made it
            return self._seen[id(value)][:2]
        own = value if all(kept is item for item, kept in zip(value, items, strict=True)) else tuple(items)
        self._seen[id(value)] = most, own, value
        return most, own

    def _set(self, value: Any, depth: int) -> tuple[int, Any]:
        most, own = (TREE, set(value)) if type(value) is set else (BY_REFERENCE, value)
        self._seen[id(value)] = most, own, value
        for item in list(own):
            if self.take(item, depth)[0] != BY_REFERENCE:
                return ENCODED, value
        return most, own


_STEPS: Final[dict[type, Callable[[_Walk, Any, int], tuple[int, Any]]]] = {
    dict: _Walk._dict,  # noqa: SLF001 - the class's own steps
    list: _Walk._list,  # noqa: SLF001
    tuple: _Walk._tuple,  # noqa: SLF001
    set: _Walk._set,  # noqa: SLF001
    frozenset: _Walk._set,  # noqa: SLF001
}

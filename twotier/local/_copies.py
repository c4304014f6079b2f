"""The copy rule, as the twin runs it: what a cache may hand out by reference, what it copies, what it rebuilds.

- *By reference*: exact immutable built-ins, and tuples and frozensets of them.
- *Tree*: exact list, dict and set (and tuples that hold such), copied structurally on the way in and out. Sharing and
  cycles inside one value stay as they are. A subclass of a container is no tree: it may carry more than its items.
- *Encoded*: anything else; its bytes are kept, and every hit rebuilds it.
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
"""Types whose instances can't change; members of enums are taken as well."""


def kind_of(value: object) -> int:
    """Return how `value` may be kept: BY_REFERENCE, TREE or ENCODED.

    >>> kind_of((1, "a")), kind_of({"a": [1]}), kind_of(object())
    (0, 1, 2)
    """
    return _scan(value, set())


def copied(tree: Any) -> Any:
    """Return a copy of a TREE: new containers, the same leaves.

    >>> inner = [1]
    >>> copy = copied([inner, inner])
    >>> copy, copy[0] is copy[1], copy[0] is inner
    ([[1], [1]], True, False)
    """
    return _copy(tree, {})


def _scan(value: Any, seen: set[int]) -> int:
    kind = type(value)
    if kind in IMMUTABLE_TYPES or issubclass(type(kind), enum.EnumMeta):
        return BY_REFERENCE
    if kind not in (tuple, frozenset, list, dict, set):
        return ENCODED
    if id(value) in seen:
        return BY_REFERENCE  # where it was seen first, it was judged
    seen.add(id(value))
    most = BY_REFERENCE if kind in (tuple, frozenset) else TREE
    items = [*value.keys(), *value.values()] if kind is dict else value
    for item in items:
        most = max(most, _scan(item, seen))
        if most == ENCODED:
            break
    return most


def _copy(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    if kind not in (tuple, list, dict, set):
        return value
    if id(value) in memo:
        return memo[id(value)]
    result: Any
    if kind is tuple:
        items = [_copy(item, memo) for item in value]
        if id(value) in memo:  # a cycle led back here and has made it
            return memo[id(value)]
        result = value if all(a is b for a, b in zip(items, value, strict=True)) else tuple(items)
        memo[id(value)] = result
    elif kind is list:
        result = memo[id(value)] = []
        result.extend(_copy(item, memo) for item in value)
    elif kind is dict:
        result = memo[id(value)] = {}
        for key, item in value.items():
            result[key] = _copy(item, memo)
    else:
        result = memo[id(value)] = set(value)
    return result

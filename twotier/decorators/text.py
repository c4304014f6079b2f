"""The stable text of an argument: equal in every process and run, and different for different values.

Stable keys can't use `repr` or `hash`: for most objects these contain addresses, for sets they depend on the seed of
the process, and for str on Python's version of Unicode. This module therefore accepts only types whose text it
defines: None, bool, int, float, str, bytes, Decimal, UUID, date, time, datetime, timedelta, members of enums, classes,
and tuples, lists, sets, frozensets and dicts of these. It refuses their subclasses, which may mean something else.

The text distinguishes types (1, 1.0, True and '1' have four texts), and is injective: strings are quoted, and
containers are in brackets. Lists and tuples differ; the order of sets and dicts doesn't count.
"""

import enum
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID
from zoneinfo import ZoneInfo

_MOST_BITS: Final = 2048
"""Of an int that is written in decimal: 617 digits, which `sys.set_int_max_str_digits` can't forbid."""


class UnstableError(TypeError):
    """A value has no stable text. The message describes the value; a caller that knows its name adds that."""


def stable_text(value: Any) -> str:
    r"""Return the text that distinguishes `value` from every other value; UnstableError if it has none.

    >>> stable_text((1, True, "it's", {"b": None, "a": 2.0}))
    "(1,True,'it\\'s',{'a':2.0,'b':None})"
    """
    write = _WRITERS.get(type(value))
    if write is not None:
        return write(value)
    if isinstance(value, enum.Enum):
        return f"{_qualified(type(value))}.{_member(value)}"
    if isinstance(value, type):
        return _qualified(value)
    raise UnstableError(f"a value of type {_named(type(value))}, which has no stable text")


def plain_text(value: Any) -> str:
    """Return the text of `value` as a person would write it in a key; UnstableError if it has none.

    A str is its own text, and a member of an enum has its name. Types aren't distinguished: 7 and "7" have one text.

    >>> plain_text("ada"), plain_text(7), plain_text(None)
    ('ada', '7', 'None')
    """
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is int:
        return _integer(value)
    if kind in _PLAIN:
        return _PLAIN[kind](value)
    if isinstance(value, enum.Enum):
        return _member(value)
    return stable_text(value)


def _integer(value: int) -> str:
    # Beyond so many digits Python may refuse the conversion, depending on a setting of the process.
    return int.__repr__(value) if value.bit_length() <= _MOST_BITS else hex(value)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _series(opening: str, closing: str) -> Callable[[Any], str]:
    return lambda values: f"{opening}{','.join([stable_text(value) for value in values])}{closing}"


def _unordered(name: str) -> Callable[[Any], str]:
    return lambda values: f"{name}({','.join(sorted([stable_text(value) for value in values]))})"


def _dict(values: dict[Any, Any]) -> str:
    return f"{{{','.join(sorted([f'{stable_text(key)}:{stable_text(value)}' for key, value in values.items()]))}}}"


def _decimal(value: Decimal) -> str:
    # The thread's decimal context decides whether the exponent's E is a capital.
    return str(value).upper()


def _instant(value: datetime) -> str:
    zone = value.tzinfo.key if type(value.tzinfo) is ZoneInfo else None
    return f"{value.isoformat()}{f'[{zone}]' if zone else ''}{' fold' if value.fold else ''}"


def _time(value: time) -> str:
    if value.tzinfo is not None:
        raise UnstableError(f"a {_named(time)} with a time zone, which has no stable text")
    return f"{value.isoformat()}{' fold' if value.fold else ''}"


def _member(member: enum.Enum) -> str:
    # A combination of flags may have no name.
    return _integer(int(member.value)) if isinstance(member, enum.Flag) else member.name


def _qualified(kind: type) -> str:
    if "<locals>" in kind.__qualname__:
        raise UnstableError(
            f"the class {_named(kind)}, or a member of it, which has no stable text: it is made in a function"
        )
    return _named(kind)


def _named(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


_PLAIN: Final[dict[type, Callable[[Any], str]]] = {
    bytes: bytes.hex,
    Decimal: _decimal,
    UUID: str,
    date: date.isoformat,
    time: _time,
    datetime: _instant,
}
"""Functions that write the plain text of a value, by type; the text doesn't show the type."""

_WRITERS: Final[dict[type, Callable[[Any], str]]] = {
    type(None): repr,
    bool: repr,
    int: _integer,
    float: repr,
    str: _quoted,
    bytes: lambda value: f"b'{value.hex()}'",
    Decimal: lambda value: f"Decimal({_decimal(value)})",
    UUID: lambda value: f"UUID({value})",
    date: lambda value: f"date({value.isoformat()})",
    time: lambda value: f"time({_time(value)})",
    datetime: lambda value: f"datetime({_instant(value)})",
    timedelta: lambda value: f"timedelta({value.days},{value.seconds},{value.microseconds})",
    tuple: _series("(", ")"),
    list: _series("[", "]"),
    set: _unordered("set"),
    frozenset: _unordered("frozenset"),
    dict: _dict,
}

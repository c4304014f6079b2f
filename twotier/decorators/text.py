"""The stable text of an argument: the same in every process, on every run, and another for every other value.

Stable keys can't rest on `repr` or `hash`: those of most objects name addresses, those of sets follow the seed of the
process, and those of str follow Python's version of Unicode. So only types are taken whose text is told here: None,
bool, int, float, str, bytes, Decimal, UUID, date, time, datetime, timedelta, members of enums, classes, and tuples,
lists, sets, frozensets and dicts of these. Subclasses of them aren't: they may mean something else.

The text tells types apart (1, 1.0, True and '1' are four), and is injective: str is quoted, what holds others is in
brackets. Lists and tuples differ; the order of sets and dicts doesn't count.
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
    """A value has no stable text; the argument is what it is, for the message of whoever knows its name."""


def stable_text(value: Any) -> str:
    r"""Return the text of `value` that tells it from every other value; UnstableError if it has none.

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
    """Return the text of `value` as people write it in keys; UnstableError if it has none.

    A str is itself, a member of an enum its name; the type isn't told: 7 and "7" have the same text.

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
    # Of more digits Python may refuse to tell, as the process is set.
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
    # The thread's context says whether the exponent's E is a capital.
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
"""Types whose plain text doesn't tell what they are."""

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

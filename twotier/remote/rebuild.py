"""What a restricted payload may name: builders of value types, each of which checks its arguments.

The unpickler is never given a class. It is given a `Builder`, which takes plain data, checks it, and makes the one
value that it stands for; so no constructor is called with arguments that it wasn't meant for (`deque(range(10**12))`,
`Fraction("1e999999999")`), and no class is within reach of what sets attributes. The names here are the wire format.
"""

import datetime as dt
import decimal
import fractions
import ipaddress
import pathlib
import re
import uuid as uuids
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, Final

from twotier.errors import SerializationError

_ZONE: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
_LONGEST_ZONE: Final = 64
MOST_BITS: Final = 1 << 16
"""Of a fraction's numerator or denominator: reducing longer ones takes long."""

FACTORIES: Final[dict[str, Callable[[], Any] | None]] = {
    "None": None, "list": list, "dict": dict, "set": set, "int": int, "float": float, "str": str, "bool": bool,
    "tuple": tuple, "bytes": bytes,
}  # fmt: skip
"""What a defaultdict may make its values with."""
ADDRESSES: Final[dict[str, type[Any]]] = {
    kind.__name__: kind
    for kind in (
        ipaddress.IPv4Address,
        ipaddress.IPv6Address,
        ipaddress.IPv4Network,
        ipaddress.IPv6Network,
        ipaddress.IPv4Interface,
        ipaddress.IPv6Interface,
    )
}
PATHS: Final[dict[str, type[pathlib.PurePath]]] = {
    kind.__name__: kind
    for kind in (pathlib.PurePosixPath, pathlib.PureWindowsPath, pathlib.PosixPath, pathlib.WindowsPath)
}


class Builder:
    """Makes values of one type from plain data; `name` is what payloads call it by."""

    __slots__ = ("_make", "name")

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        self.name = name
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        """Make the value; SerializationError, ValueError or the like if the arguments aren't its own."""
        return self._make(*arguments)

    def __setstate__(self, state: object) -> None:
        raise SerializationError("a payload tried to alter a builder")


def _data(*arguments: object, of: tuple[type, ...] | type) -> None:
    """Check that every argument is plain data of exactly the types `of`."""
    kinds = of if isinstance(of, tuple) else (of,)
    for argument in arguments:
        if type(argument) not in kinds:
            raise SerializationError(f"a payload gives a builder a {type(argument).__name__}")


def _zone_info(tz: object) -> dt.tzinfo | None:
    if tz is not None and type(tz) not in (dt.timezone, zoneinfo.ZoneInfo):
        raise SerializationError(f"a payload gives a {type(tz).__name__} for a time zone")
    return tz  # type: ignore[return-value]


def _date(*ymd: int) -> dt.date:
    _data(*ymd, of=int)
    return dt.date(*ymd)


def _time(hour: int, minute: int, second: int, micro: int, tz: object, fold: int) -> dt.time:
    _data(hour, minute, second, micro, fold, of=int)
    return dt.time(hour, minute, second, micro, _zone_info(tz), fold=fold)


def _datetime(  # noqa: PLR0913, PLR0917 - a moment has these fields
    year: int, month: int, day: int, hour: int, minute: int, second: int, micro: int, tz: object, fold: int
) -> dt.datetime:
    _data(year, month, day, hour, minute, second, micro, fold, of=int)
    return dt.datetime(year, month, day, hour, minute, second, micro, _zone_info(tz), fold=fold)


def _timedelta(days: int, seconds: int, micros: int) -> dt.timedelta:
    _data(days, seconds, micros, of=int)
    return dt.timedelta(days, seconds, micros)


def _timezone(offset: dt.timedelta, *name: str) -> dt.timezone:
    _data(offset, of=dt.timedelta)
    _data(*name, of=str)
    return dt.timezone(offset, *name)


def _zone(key: str) -> zoneinfo.ZoneInfo:
    _data(key, of=str)
    if len(key) > _LONGEST_ZONE or _ZONE.fullmatch(key) is None:
        raise SerializationError("a payload names a time zone that can't be one")
    return zoneinfo.ZoneInfo(key)


def _decimal(text: str) -> decimal.Decimal:
    _data(text, of=str)
    return decimal.Decimal(text)


def _fraction(numerator: int, denominator: int) -> fractions.Fraction:
    _data(numerator, denominator, of=int)
    if max(numerator.bit_length(), denominator.bit_length()) > MOST_BITS:
        raise SerializationError("a payload holds a fraction of absurd size")
    return fractions.Fraction(numerator, denominator)


def _uuid(number: int, *safety: int | None) -> uuids.UUID:
    _data(number, of=int)
    _data(*safety, of=(int, type(None)))
    return uuids.UUID(int=number, is_safe=uuids.SafeUUID(*safety) if safety else uuids.SafeUUID.unknown)


def _complex(real: float, imaginary: float) -> complex:
    _data(real, imaginary, of=float)
    return complex(real, imaginary)


def _range(start: int, stop: int, step: int) -> range:
    _data(start, stop, step, of=int)
    return range(start, stop, step)


def _deque(most: int | None) -> deque[Any]:
    _data(most, of=(int, type(None)))
    return deque(maxlen=most)


def _ordered() -> OrderedDict[Any, Any]:
    return OrderedDict()


def _counter() -> Counter[Any]:
    return Counter()


def _defaultdict(factory: str) -> defaultdict[Any, Any]:
    _data(factory, of=str)
    return defaultdict(FACTORIES[factory])


def _address(kind: str, text: str) -> Any:
    _data(kind, text, of=str)
    return ADDRESSES[kind](text)


def _path(kind: str, text: str) -> pathlib.PurePath:
    _data(kind, text, of=str)
    return PATHS[kind](text)


def _not_allowed(*_: object) -> None:
    raise SerializationError("a payload holds a type that isn't allowed here")


date: Final = Builder("date", _date)
time: Final = Builder("time", _time)
datetime: Final = Builder("datetime", _datetime)
timedelta: Final = Builder("timedelta", _timedelta)
timezone: Final = Builder("timezone", _timezone)
zone: Final = Builder("zone", _zone)
decimal_: Final = Builder("decimal_", _decimal)
fraction: Final = Builder("fraction", _fraction)
uuid: Final = Builder("uuid", _uuid)
complex_: Final = Builder("complex_", _complex)
range_: Final = Builder("range_", _range)
slice_: Final = Builder("slice_", slice)
ordered: Final = Builder("ordered", _ordered)
counter: Final = Builder("counter", _counter)
deque_: Final = Builder("deque_", _deque)
default: Final = Builder("default", _defaultdict)
address: Final = Builder("address", _address)
path: Final = Builder("path", _path)
# Stand-ins for what a codec with allowed types brings of its own (see `allowed`).
instance: Final = Builder("instance", _not_allowed)
member: Final = Builder("member", _not_allowed)
state: Final = Builder("state", _not_allowed)

BUILDERS: Final = {
    builder.name: builder
    for builder in (
        *(date, time, datetime, timedelta, timezone, zone, decimal_, fraction, uuid, complex_, range_, slice_),
        *(ordered, counter, deque_, default, address, path, instance, member, state),
    )
}

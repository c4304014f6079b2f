"""The builders of value types that a payload of the former format names, each of which checks its arguments."""

import datetime as dt
import decimal
import uuid as uuids
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, Final

from twotier.codec import weights
from twotier.codec._decode import LONGEST_ZONE, ZONE_NAME
from twotier.codec.builders import BY_TYPE, FACTORIES, Builder
from twotier.errors import SerializationError

_FACTORIES: Final = {"None" if kind is None else kind.__name__: kind for kind in FACTORIES}
_BY_NAME: Final = {kind.__name__: builder for kind, builder in BY_TYPE.items()}


def _data(*arguments: object, of: tuple[type, ...] | type) -> None:
    """Check that every argument is plain data of exactly the types `of`."""
    kinds = of if isinstance(of, tuple) else (of,)
    for argument in arguments:
        if type(argument) not in kinds:
            raise SerializationError(f"the payload gives a builder a {type(argument).__name__}")


def _zone_info(tz: object) -> dt.tzinfo | None:
    if tz is not None and type(tz) not in (dt.timezone, zoneinfo.ZoneInfo):
        raise SerializationError(f"the payload gives a {type(tz).__name__} for a time zone")
    return tz  # type: ignore[return-value]


def _date(*ymd: int) -> dt.date:
    _data(*ymd, of=int)
    return dt.date(*ymd)


def _time(hour: int, minute: int, second: int, micro: int, tz: object, fold: int) -> dt.time:
    _data(hour, minute, second, micro, fold, of=int)
    return dt.time(hour, minute, second, micro, _zone_info(tz), fold=fold)


def _datetime(*fields: Any) -> dt.datetime:
    year, month, day, hour, minute, second, micro, tz, fold = fields
    _data(*fields[:7], fold, of=int)
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
    if len(key) > LONGEST_ZONE or ZONE_NAME.fullmatch(key) is None:
        raise SerializationError("the payload names an invalid time zone")
    return zoneinfo.ZoneInfo(key)


def _decimal(text: str) -> decimal.Decimal:
    _data(text, of=str)
    return decimal.Decimal(text)


def _uuid(number: int, *safety: int | None) -> uuids.UUID:
    _data(number, of=int)
    _data(*safety, of=(int, type(None)))
    return uuids.UUID(int=number, is_safe=uuids.SafeUUID(*safety) if safety else uuids.SafeUUID.unknown)


def _complex(real: float, imaginary: float) -> complex:
    _data(real, imaginary, of=float)
    return complex(real, imaginary)


def _deque(most: int | None) -> deque[Any]:
    _data(most, of=(int, type(None)))
    return deque(maxlen=most)


def _ordered() -> OrderedDict[Any, Any]:
    return OrderedDict()


def _counter() -> Counter[Any]:
    return Counter()


def _defaultdict(factory: str) -> defaultdict[Any, Any]:
    _data(factory, of=str)
    return defaultdict(_FACTORIES[factory])


def _of_type(kind: str, text: str) -> Any:
    _data(kind, text, of=str)
    builder = _BY_NAME.get(kind)
    if builder is None or builder.takes != 1:
        raise SerializationError("the payload names a type that isn't known")
    return builder.make(text)


def _of_builder(name: str) -> Callable[..., Any]:
    builder: Builder = _BY_NAME[name]
    return builder.make


OLD_BUILDERS: Final[dict[str, tuple[Callable[..., Any], int]]] = {
    "date": (_date, weights.DATE),
    "time": (_time, weights.TIME),
    "datetime": (_datetime, weights.DATETIME),
    "timedelta": (_timedelta, weights.TIMEDELTA),
    "timezone": (_timezone, weights.OFFSET),
    "zone": (_zone, weights.ZONE),
    "decimal_": (_decimal, weights.DECIMAL),
    "fraction": (_of_builder("Fraction"), 1000),
    "uuid": (_uuid, weights.UUID),
    "complex_": (_complex, weights.COMPLEX),
    "range_": (_of_builder("range"), 240),
    "slice_": (slice, weights.SLICE),
    "ordered": (_ordered, weights.of_ordered(0)),
    "counter": (_counter, weights.of_counter(0)),
    "deque_": (_deque, weights.of_deque(0)),
    "default": (_defaultdict, weights.of_counter(0)),
    "address": (_of_type, 6000),
    "path": (_of_type, 1200),
}
"""Maps a name to the function that makes the value, and to its weight."""

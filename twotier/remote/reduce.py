"""What each value type is taken apart into: a builder and plain data. The other half of `rebuild`."""

import datetime as dt
import decimal
import fractions
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable
from typing import Any, Final

from twotier.errors import SerializationError
from twotier.remote import rebuild

Reduced = tuple[Any, ...]
"""As `object.__reduce__` returns it: callable, arguments, [state, list items, dict items, state setter]."""


def _datetime(value: dt.datetime) -> Reduced:
    date = (value.year, value.month, value.day)
    time = (value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold)
    return rebuild.datetime, date + time


def _time(value: dt.time) -> Reduced:
    fields = (value.hour, value.minute, value.second, value.microsecond, value.tzinfo, value.fold)
    return rebuild.time, fields


def _zone(value: zoneinfo.ZoneInfo) -> Reduced:
    if value.key is None:
        raise SerializationError("a ZoneInfo without a key can't be stored: it was read from a file")
    return rebuild.zone, (value.key,)


def _fraction(value: fractions.Fraction) -> Reduced:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > rebuild.MOST_BITS:
        raise SerializationError(f"a Fraction of more than {rebuild.MOST_BITS} bits can't be stored")
    return rebuild.fraction, (value.numerator, value.denominator)


def _uuid(value: uuid.UUID) -> Reduced:
    safety = () if value.is_safe is uuid.SafeUUID.unknown else (value.is_safe.value,)
    return rebuild.uuid, (value.int, *safety)


def _default(value: defaultdict[Any, Any]) -> Reduced:
    for name, factory in rebuild.FACTORIES.items():
        if value.default_factory is factory:
            return rebuild.default, (name,), None, None, iter(value.items())
    raise SerializationError(
        f"a defaultdict can be stored with one of the factories {', '.join(rebuild.FACTORIES)}, "
        f"this one has {value.default_factory!r}"
    )


REDUCERS: Final[dict[type, Callable[[Any], Reduced | str]]] = {
    dt.date: lambda value: (rebuild.date, (value.year, value.month, value.day)),
    dt.time: _time,
    dt.datetime: _datetime,
    dt.timedelta: lambda value: (rebuild.timedelta, (value.days, value.seconds, value.microseconds)),
    dt.timezone: lambda value: (rebuild.timezone, value.__getinitargs__()),
    zoneinfo.ZoneInfo: _zone,
    decimal.Decimal: lambda value: (rebuild.decimal_, (str(value),)),
    fractions.Fraction: _fraction,
    uuid.UUID: _uuid,
    complex: lambda value: (rebuild.complex_, (value.real, value.imag)),
    range: lambda value: (rebuild.range_, (value.start, value.stop, value.step)),
    slice: lambda value: (rebuild.slice_, (value.start, value.stop, value.step)),
    OrderedDict: lambda value: (rebuild.ordered, (), None, None, iter(value.items())),
    Counter: lambda value: (rebuild.counter, (), None, None, iter(value.items())),
    deque: lambda value: (rebuild.deque_, (value.maxlen,), None, iter(value)),
    defaultdict: _default,
    **dict.fromkeys(rebuild.ADDRESSES.values(), lambda value: (rebuild.address, (type(value).__name__, str(value)))),
    **dict.fromkeys(rebuild.PATHS.values(), lambda value: (rebuild.path, (type(value).__name__, str(value)))),
    rebuild.Builder: lambda value: value.name,
}
"""By exact type: a subclass is another type, and isn't mistaken for its base."""

"""Encode the plain format in Python; `_speedups/codec_encode.pxi` writes the same bytes.

One pass over the value, depth first. The encoder finds a mutable value that occurs twice by its identity; only then
does it make a second pass, which marks the first occurrence as shared and refers to it from the others. Immutable
values, and everything inside a key or an item of a set, are written each time: hashed values share no parts, so the
bytes bound the cost of hashing. Other threads may change containers meanwhile, so each is walked as a snapshot.
"""

import datetime as dt
import decimal
import enum
import struct
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from twotier.codec import type_tags, weights
from twotier.codec.allow_list import AllowedTypes, Reduced
from twotier.codec.builders import BY_TYPE, FACTORIES, Builder
from twotier.errors import SerializationError

_INTS: Final = (
    (1, type_tags.INT1, weights.INT),
    (2, type_tags.INT2, weights.INT),
    (4, type_tags.INT4, weights.INT),
    (8, type_tags.INT8, weights.LONG_INT),
)
_SEEN, _COMES_AGAIN = -1, -2
_MICROSECOND: Final = dt.timedelta(microseconds=1)


class _Fixed(NamedTuple):
    """The parts of an instance, with its iterators read out."""

    reduced: Reduced
    items: list[Any] | None
    pairs: dict[Any, Any] | None


def encoded(value: Any, allowed: AllowedTypes, longest: int) -> bytes:
    """Return the bytes of `value`; SerializationError if a type isn't allowed, or it takes over `longest` bytes."""
    first = _Encoding(allowed, longest, {}, {})
    first.value(value)
    if _COMES_AGAIN not in first.places.values():
        return first.padded()
    again = {number: place for number, place in first.places.items() if place == _COMES_AGAIN}
    second = _Encoding(allowed, longest, again, first.reduced)
    second.value(value)
    return second.padded()


class _Encoding:
    """One pass."""

    def __init__(
        self, allowed: AllowedTypes, longest: int, places: dict[int, int], reduced: dict[int, tuple[Any, _Fixed]]
    ) -> None:
        self._allowed = allowed
        self._longest = longest
        self.places = places
        """Maps the id of a mutable value to its state in this pass, or to its number as a shared value."""
        self.reduced = reduced
        """Maps the id of an instance to the instance and its parts."""
        self._second = bool(places)
        self._out = bytearray()
        self._weight = 0
        self._depth = 0
        self._hashed = 0
        self._numbers = 0
        self._keys: dict[str, int] = {}
        self._zones: dict[str, int] = {}
        self._kept: list[Any] = []  # keeps the values whose ids are in `places` alive

    def padded(self) -> bytes:
        """Return the bytes, padded to the length that their weight requires."""
        size = weights.padded(len(self._out), self._weight)
        if size > self._longest:
            raise SerializationError(f"the value takes {size} bytes encoded, and max_value_bytes is {self._longest}")
        return bytes(self._out.ljust(size, b"\0"))

    def value(self, value: Any) -> None:
        """Write a value."""
        kind = type(value)
        write = _ATOMS.get(kind)
        if write is not None:
            write(self, value)
            return
        walk = _CONTAINERS.get(kind)
        if walk is None:
            builder = BY_TYPE.get(kind)
            if builder is not None:
                self._extension(builder, value)
                return
            if kind not in self._allowed:
                raise SerializationError(
                    f"a value of type {kind.__module__}.{kind.__qualname__} can't be stored: "
                    "add it to allow=, or set secret="
                )
            walk = _Encoding._object
        if not self._hashed and kind not in _IMMUTABLE and not isinstance(value, enum.Enum) and self._is_known(value):
            return
        if self._depth == type_tags.MOST_DEPTH:
            raise SerializationError(f"a value that nests more than {type_tags.MOST_DEPTH} levels deep can't be stored")
        if len(self._out) > self._longest:
            raise SerializationError(f"the encoded value is larger than max_value_bytes, which is {self._longest}")
        self._depth += 1
        walk(self, value)
        self._depth -= 1

    def _is_known(self, value: Any) -> bool:
        """Return True if a reference to `value` was written; mark it if it is shared and new."""
        place = self.places.get(id(value))
        if place is None:
            if not self._second:
                self.places[id(value)] = _SEEN
                self._kept.append(value)
            return False
        if not self._second:
            self.places[id(value)] = _COMES_AGAIN
            return True
        if place == _COMES_AGAIN:
            self.places[id(value)] = self._numbers
            self._numbers += 1
            self._out.append(type_tags.SHARED)
            self._weight += weights.SHARED
            return False
        self._head(type_tags.REFERENCE, place)
        return True

    def _head(self, tag: int, number: int) -> None:
        """Write a tag and a number."""
        out = self._out
        out.append(tag)
        while number > 0x7F:
            out.append(number & 0x7F | 0x80)
            number >>= 7
        out.append(number)

    def _none(self, _: None) -> None:
        self._out.append(type_tags.NONE)

    def _bool(self, value: bool) -> None:
        self._out.append(type_tags.TRUE if value else type_tags.FALSE)

    def _int(self, value: int) -> None:
        if 0 <= value < 64:
            self._out.append(type_tags.SMALL_INT + value)
            return
        for size, tag, weight in _INTS:
            if -(1 << size * 8 - 1) <= value < 1 << size * 8 - 1:
                self._out.append(tag)
                self._out += value.to_bytes(size, "little", signed=True)
                self._weight += weight
                return
        size = (value if value >= 0 else ~value).bit_length() // 8 + 1
        self._head(type_tags.BIG, size)
        self._out += value.to_bytes(size, "little", signed=True)
        self._weight += weights.of_big(size)

    def _float(self, value: float) -> None:
        self._out.append(type_tags.FLOAT)
        self._out += struct.pack("<d", value)
        self._weight += weights.FLOAT

    def _complex(self, value: complex) -> None:
        self._out.append(type_tags.COMPLEX)
        self._out += struct.pack("<dd", value.real, value.imag)
        self._weight += weights.COMPLEX

    def _text(self, value: str, short: int = type_tags.SMALL_TEXT, long: int = type_tags.TEXT) -> None:
        try:
            data = value.encode()
        except UnicodeEncodeError:
            data = value.encode("utf-32-le", "surrogatepass")
            self._head(type_tags.WIDE, len(data))
            self._weight += 96 + len(data)
        else:
            size = len(data)
            if size < 32:
                self._out.append(short + size)
            else:
                self._head(long, size)
            self._weight += weights.of_text(size, is_ascii=size == len(value))
        self._out += data

    def _bytes(self, value: bytes) -> None:
        self._head(type_tags.BYTES, len(value))
        self._out += value
        self._weight += weights.of_bytes(len(value))

    def _date(self, value: dt.date) -> None:
        self._out.append(type_tags.DATE)
        self._out += struct.pack("<HBB", value.year, value.month, value.day)
        self._weight += weights.DATE

    def _time(self, value: dt.time) -> None:
        self._out.append(type_tags.TIME if value.tzinfo is None else type_tags.ZONED_TIME)
        self._clock(value)
        self._weight += weights.TIME
        if value.tzinfo is not None:
            self._zone_info(value.tzinfo)

    def _datetime(self, value: dt.datetime) -> None:
        self._out.append(type_tags.DATETIME if value.tzinfo is None else type_tags.ZONED_DATETIME)
        self._out += struct.pack("<HBB", value.year, value.month, value.day)
        self._clock(value)
        self._weight += weights.DATETIME
        if value.tzinfo is not None:
            self._zone_info(value.tzinfo)

    def _clock(self, value: dt.time | dt.datetime) -> None:
        micro = value.microsecond
        self._out += struct.pack(
            "<BBBHB", value.hour + 128 * value.fold, value.minute, value.second, micro & 0xFFFF, micro >> 16
        )

    def _zone_info(self, value: dt.tzinfo) -> None:
        write = _ZONES.get(type(value))
        if write is None:
            raise SerializationError(
                f"a value of type {type(value).__module__}.{type(value).__qualname__} can't be stored as a time zone"
            )
        write(self, value)

    def _timedelta(self, value: dt.timedelta) -> None:
        self._out.append(type_tags.TIMEDELTA)
        self._out += struct.pack("<iII", value.days, value.seconds, value.microseconds)
        self._weight += weights.TIMEDELTA

    def _timezone(self, value: dt.timezone) -> None:
        if value is dt.UTC:
            self._out.append(type_tags.UTC)
            return
        offset, *name = value.__getinitargs__()  # type: ignore[attr-defined]
        self._out.append(type_tags.OFFSET)
        self._out += struct.pack("<q", offset // _MICROSECOND)
        self._weight += weights.OFFSET
        if name:
            self._text(name[0])
        else:
            self._out.append(type_tags.NONE)

    def _zone(self, value: zoneinfo.ZoneInfo) -> None:
        key = value.key
        if key is None:
            raise SerializationError("a ZoneInfo without a key can't be stored: it was read from a file")
        number = self._zones.get(key)
        if number is not None:
            self._head(type_tags.ZONE_AGAIN, number)
            return
        self._zones[key] = len(self._zones)
        data = key.encode()
        self._head(type_tags.ZONE, len(data))
        self._out += data
        self._weight += weights.ZONE

    def _decimal(self, value: decimal.Decimal) -> None:
        data = str(value).encode()
        self._head(type_tags.DECIMAL, len(data))
        self._out += data
        self._weight += (weights.HASHED_DECIMAL if self._hashed else weights.DECIMAL) + len(data)

    def _uuid(self, value: uuid.UUID) -> None:
        safety = value.is_safe
        self._out.append(type_tags.UUID if safety is uuid.SafeUUID.unknown else type_tags.UUID_SAFETY)
        self._out += value.int.to_bytes(16, "little")
        if safety is not uuid.SafeUUID.unknown:
            self._out += struct.pack("<b", safety.value)
        self._weight += weights.UUID

    def _extension(self, builder: Builder, value: Any) -> None:
        self._out += bytes((type_tags.EXTENSION, builder.number))
        arguments = builder.take_apart(value)
        for argument in arguments:
            self.value(argument)
        self._weight += builder.weigh(*arguments)

    def _bytearray(self, value: bytearray) -> None:
        self._head(type_tags.BYTEARRAY, len(value))
        self._out += value
        self._weight += weights.of_bytearray(len(value))

    def _slice(self, value: slice) -> None:
        self._out.append(type_tags.SLICE)
        self._weight += weights.SLICE
        for item in (value.start, value.stop, value.step):
            self.value(item)

    def _list(self, value: list[Any]) -> None:
        items = list(value)
        self._sized(type_tags.LIST, type_tags.SMALL_LIST, 8, len(items), weights.of_list(len(items)))
        for item in items:
            self.value(item)

    def _tuple(self, value: tuple[Any, ...]) -> None:
        self._sized(type_tags.TUPLE, type_tags.SMALL_TUPLE, 8, len(value), weights.of_tuple(len(value)))
        for item in value:
            self.value(item)

    def _sized(self, tag: int, small: int, below: int, count: int, weight: int) -> None:
        if count < below:
            self._out.append(small + count)
        else:
            self._head(tag, count)
        self._weight += weight

    def _dict(self, value: dict[Any, Any]) -> None:
        pairs = value.copy()
        if any(type(key) is not str for key in pairs):
            self._head(type_tags.MAPPING, len(pairs))
            self._weight += weights.of_mapping(len(pairs))
            self._mapping(pairs)
            return
        self._sized(type_tags.DICT, type_tags.SMALL_DICT, 16, len(pairs), weights.of_dict(len(pairs)))
        for key, item in pairs.items():
            self._key(key)
            self.value(item)

    def _mapping(self, pairs: dict[Any, Any]) -> None:
        self._hashables(pairs)
        for item in pairs.values():
            self.value(item)

    def _hashables(self, keys: Iterable[Any]) -> None:
        self._hashed += 1
        for key in keys:
            if type(key) is str:
                self._key(key)
            else:
                self.value(key)
        self._hashed -= 1

    def _key(self, key: str) -> None:
        number = self._keys.get(key)
        if number is not None:
            if number < 32:
                self._out.append(type_tags.SMALL_KEY_AGAIN + number)
            else:
                self._head(type_tags.KEY_AGAIN, number)
            return
        if len(key) <= type_tags.LONGEST_KEY and len(self._keys) < type_tags.MOST_KEYS and _fits(key):
            self._keys[key] = len(self._keys)
            self._weight += 16
            self._text(key, type_tags.SMALL_KEY, type_tags.KEY)
            return
        self._text(key)

    def _set(self, value: set[Any] | frozenset[Any]) -> None:
        items = tuple(value)
        self._head(type_tags.SET if type(value) is set else type_tags.FROZENSET, len(items))
        self._weight += weights.of_set(len(items))
        self._hashables(items)

    def _deque(self, value: deque[Any]) -> None:
        items = tuple(value)
        self._head(type_tags.DEQUE, 0 if value.maxlen is None else value.maxlen + 1)
        self._number(len(items))
        self._weight += weights.of_deque(len(items))
        for item in items:
            self.value(item)

    def _ordered(self, value: OrderedDict[Any, Any]) -> None:
        pairs = dict(value.items())
        self._head(type_tags.ORDERED, len(pairs))
        self._weight += weights.of_ordered(len(pairs))
        self._mapping(pairs)

    def _counter(self, value: Counter[Any]) -> None:
        pairs = dict(value)
        self._head(type_tags.COUNTER, len(pairs))
        self._weight += weights.of_counter(len(pairs))
        self._mapping(pairs)

    def _default(self, value: defaultdict[Any, Any]) -> None:
        factory = value.default_factory
        number = next((number for number, known in enumerate(FACTORIES) if known is factory), None)
        if number is None:
            known = ", ".join(kind.__name__ if isinstance(kind, type) else "None" for kind in FACTORIES)
            raise SerializationError(
                f"a defaultdict can be stored with one of the factories {known}, this one has {factory!r}"
            )
        pairs = dict(value)
        self._head(type_tags.DEFAULT, number)
        self._number(len(pairs))
        self._weight += weights.of_counter(len(pairs))
        self._mapping(pairs)

    def _number(self, number: int) -> None:
        while number > 0x7F:
            self._out.append(number & 0x7F | 0x80)
            number >>= 7
        self._out.append(number)

    def _object(self, value: Any) -> None:
        known = self.reduced.get(id(value))
        if known is None:
            known = self.reduced[id(value)] = value, _fixed(self._allowed.reduce(value))
        reduced, items, pairs = known[1]
        if reduced.form is None:
            self._out.append(type_tags.MEMBER)
            self._weight += weights.MEMBER
            self._key(reduced.name)
            self.value(reduced.arguments)
            return
        state = reduced.state
        self._out.append(type_tags.INSTANCE)
        self._out.append(
            reduced.form
            + (0 if items is None else type_tags.HAS_ITEMS)
            + (0 if pairs is None else type_tags.HAS_PAIRS)
            + (0 if state is None else type_tags.HAS_STATE)
        )
        self._weight += weights.INSTANCE
        self._key(reduced.name)
        self.value(reduced.arguments)
        if reduced.form == type_tags.NEW_KEYWORDS:
            self.value(reduced.keywords)
        if items is not None:
            self._number(len(items))
            self._weight += weights.of_list(len(items))
            for item in items:
                self.value(item)
        if pairs is not None:
            self._number(len(pairs))
            self._weight += weights.of_mapping(len(pairs))
            self._mapping(pairs)
        if state is not None:
            self.value(state)


def _fits(key: str) -> bool:
    """Return True if `key` is short enough for a number, and has no lone surrogates."""
    try:
        return len(key.encode()) <= type_tags.LONGEST_KEY
    except UnicodeEncodeError:
        return False


def _fixed(reduced: Reduced) -> _Fixed:
    """Return `reduced` with its iterators read out."""
    items = None if reduced.items is None else list(reduced.items)
    return _Fixed(reduced, items, None if reduced.pairs is None else dict(reduced.pairs))


_Write = Callable[[_Encoding, Any], None]
_ZONES: Final[dict[type, _Write]] = {dt.timezone: _Encoding._timezone, zoneinfo.ZoneInfo: _Encoding._zone}
_ATOMS: Final[dict[type, _Write]] = {
    type(None): _Encoding._none,
    bool: _Encoding._bool,
    int: _Encoding._int,
    float: _Encoding._float,
    complex: _Encoding._complex,
    str: _Encoding._text,
    bytes: _Encoding._bytes,
    dt.date: _Encoding._date,
    dt.time: _Encoding._time,
    dt.datetime: _Encoding._datetime,
    dt.timedelta: _Encoding._timedelta,
    decimal.Decimal: _Encoding._decimal,
    uuid.UUID: _Encoding._uuid,
    **_ZONES,
}
_CONTAINERS: Final[dict[type, _Write]] = {
    bytearray: _Encoding._bytearray,
    list: _Encoding._list,
    tuple: _Encoding._tuple,
    dict: _Encoding._dict,
    set: _Encoding._set,
    frozenset: _Encoding._set,
    slice: _Encoding._slice,
    deque: _Encoding._deque,
    OrderedDict: _Encoding._ordered,
    Counter: _Encoding._counter,
    defaultdict: _Encoding._default,
}
_IMMUTABLE: Final = frozenset({tuple, frozenset, slice})

"""Decode the plain format in Python; `_speedups/codec_decode.pxi` accepts and refuses the same bytes.

One pass, with a position and an end. Before the decoder makes a value, it compares every length, count and number with
the rest of the payload, and subtracts the value's weight from the payload's budget. Keys and items of sets share no
parts.
"""

import datetime as dt
import decimal
import re
import struct
import uuid
import zoneinfo
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from twotier.codec import hash_collisions, type_tags, weights
from twotier.codec.allow_list import AllowedTypes
from twotier.codec.builders import BUILDERS, FACTORIES
from twotier.errors import SerializationError

ZONE_NAME: Final = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
LONGEST_ZONE: Final = 64
_DECIMAL: Final = re.compile(rb"[-+.0-9A-Za-z]+")
_LONGEST_VARINT: Final = 9
_DAY: Final = 86_400
_MILLION: Final = 1_000_000
_INTS: Final = {type_tags.INT1: 1, type_tags.INT2: 2, type_tags.INT4: 4, type_tags.INT8: 8}


def decoded(payload: bytes, allowed: AllowedTypes) -> Any:
    """Return the value of `payload`; raise SerializationError or a constructor's own error if it is invalid."""
    decoding = _Decoding(payload, allowed)
    value = decoding.value()
    decoding.finish()
    return value


class _Decoding:
    def __init__(self, payload: bytes, allowed: AllowedTypes) -> None:
        self._payload = payload
        self._allowed = allowed
        self._at = 0
        self._budget = self._left = weights.FREE + weights.PER_BYTE * len(payload)
        self._depth = 0
        self._hashed = 0
        self._slow = 0
        """Values so far whose hash or comparison runs Python code."""
        self._keys: list[str] = []
        self._zones: list[dt.tzinfo] = []
        self._shared: list[Any] = []

    def finish(self) -> None:
        """Check that only the zeros that pad the payload to its weight follow."""
        rest = self._payload[self._at :]
        if rest.count(0) != len(rest) or len(self._payload) != weights.padded(self._at, self._budget - self._left):
            raise SerializationError("the payload has data after its end")

    def value(self) -> Any:
        """Read a value."""
        tag = self._byte()
        marked = False
        if tag == type_tags.SHARED:
            if self._hashed:
                raise SerializationError("the payload marks a value as shared where sharing isn't allowed")
            self._weigh(weights.SHARED)
            tag, marked = self._byte(), True
        if not marked:
            if type_tags.SMALL_INT <= tag < type_tags.SMALL_KEY:
                return tag - type_tags.SMALL_INT
            if type_tags.SMALL_TEXT <= tag < type_tags.SMALL_INT:
                return self._text(tag - type_tags.SMALL_TEXT)
            read = _READ.get(tag)
            if read is not None:
                return read(self)
        # A level takes two or three of Python's frames: this one, and the container's.
        walk, count = self._container(tag)
        if self._depth == type_tags.MOST_DEPTH:
            raise SerializationError(f"the payload nests more than {type_tags.MOST_DEPTH} levels deep")
        self._depth += 1
        value = walk(self, marked) if count is None else walk(self, marked, count)
        self._depth -= 1
        return value

    def _container(self, tag: int) -> tuple[Callable[..., Any], int | None]:
        """Return the method that reads a container, and the container's count if the method takes one."""
        if tag >= type_tags.SMALL_TUPLE:
            return _Decoding._tuple, tag - type_tags.SMALL_TUPLE
        if tag >= type_tags.SMALL_LIST:
            return _Decoding._list, tag - type_tags.SMALL_LIST
        if tag >= type_tags.SMALL_DICT:
            return _Decoding._dict, tag - type_tags.SMALL_DICT
        counted = _COUNTED.get(tag)
        if counted is not None:
            walk, least = counted
            count = self._number()
            if count < least:
                raise SerializationError("the payload has a count in a longer form than it needs")
            return walk, count
        nested = _NESTED.get(tag)
        if nested is None:
            raise SerializationError("the payload holds a tag that this codec never writes")
        return nested, None

    def _byte(self) -> int:
        try:
            byte = self._payload[self._at]
        except IndexError:
            raise SerializationError("the payload is cut short") from None
        self._at += 1
        return byte

    def _number(self) -> int:
        number = shift = 0
        while True:
            byte = self._byte()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift == 7 * _LONGEST_VARINT:
                raise SerializationError("the payload holds a number of absurd size")
        if byte == 0 and shift:
            raise SerializationError("the payload has a number in a longer form than it needs")
        return number

    def _take(self, size: int) -> bytes:
        data = self._payload[self._at : self._at + size]
        if len(data) != size:
            raise SerializationError("the payload is cut short")
        self._at += size
        return data

    def _weigh(self, weight: int) -> None:
        self._left -= weight
        if self._left < 0:
            raise SerializationError("the payload holds more than its length allows for")

    def _counted(self, count: int, each: int = 1) -> int:
        if count * each > len(self._payload) - self._at:
            raise SerializationError("the payload is cut short")
        return count

    def _register(self, marked: bool, value: Any) -> Any:
        if marked:
            self._shared.append(value)
        return value

    def _unmarked(self, marked: bool) -> None:
        if marked:
            raise SerializationError("the payload marks an immutable value as shared")

    # Atoms

    def _none(self) -> None:
        return None

    def _false(self) -> bool:
        return False

    def _true(self) -> bool:
        return True

    def _int(self) -> int:
        size = _INTS[self._payload[self._at - 1]]
        self._weigh(weights.INT if size < 8 else weights.LONG_INT)
        number = int.from_bytes(self._take(size), "little", signed=True)
        half = 1 << size * 4 - 1
        if (0 <= number < 64) if size == 1 else -half <= number < half:
            raise SerializationError("the payload has an integer in a longer form than it needs")
        return number

    def _big(self) -> int:
        size = self._number()
        self._weigh(weights.of_big(size))
        data = self._take(size)
        if size <= 8 or (data[-1] in (0, 0xFF) and data[-2] >> 7 == data[-1] >> 7):
            raise SerializationError("the payload has an integer in a longer form than it needs")
        return int.from_bytes(data, "little", signed=True)

    def _float(self) -> float:
        self._weigh(weights.FLOAT)
        (number,) = struct.unpack("<d", self._take(8))
        return float(number)

    def _complex(self) -> complex:
        self._weigh(weights.COMPLEX)
        return complex(*struct.unpack("<dd", self._take(16)))

    def _text(self, size: int) -> str:
        text = str(self._take(size), "utf-8")
        self._weigh(weights.of_text(size, is_ascii=size == len(text)))
        return text

    def _long_text(self) -> str:
        size = self._number()
        if size < 32:
            raise SerializationError("the payload has a text in a longer form than it needs")
        return self._text(size)

    def _wide(self) -> str:
        size = self._number()
        self._weigh(96 + size)
        text = str(self._take(size), "utf-32-le", "surrogatepass")
        if not any("\ud800" <= character <= "\udfff" for character in text):
            raise SerializationError("the payload has a text in a longer form than it needs")
        return text

    def _bytes(self) -> bytes:
        size = self._number()
        self._weigh(weights.of_bytes(size))
        return self._take(size)

    def _bytearray(self, marked: bool) -> bytearray:
        size = self._number()
        self._weigh(weights.of_bytearray(size))
        return self._register(marked, bytearray(self._take(size)))  # type: ignore[no-any-return]

    def _date(self) -> dt.date:
        self._weigh(weights.DATE)
        return dt.date(*struct.unpack("<HBB", self._take(4)))

    def _time(self) -> dt.time:
        self._weigh(weights.TIME)
        return self._clock(None)

    def _zoned_time(self) -> dt.time:
        self._weigh(weights.TIME)
        clock = self._clock(None)
        self._slow += 1
        return clock.replace(tzinfo=self._zone_info())

    def _clock(self, zone: dt.tzinfo | None) -> dt.time:
        hour, minute, second, low, high = struct.unpack("<BBBHB", self._take(6))
        return dt.time(hour & 0x7F, minute, second, low | high << 16, zone, fold=hour >> 7)

    def _datetime(self) -> dt.datetime:
        self._weigh(weights.DATETIME)
        date = dt.date(*struct.unpack("<HBB", self._take(4)))
        return dt.datetime.combine(date, self._clock(None))

    def _zoned_datetime(self) -> dt.datetime:
        moment = self._datetime()
        self._slow += 1
        return moment.replace(tzinfo=self._zone_info())

    def _zone_info(self) -> dt.tzinfo:
        read = _ZONES.get(self._byte())
        if read is None:
            raise SerializationError("the payload has no time zone where one belongs")
        return read(self)

    def _timedelta(self) -> dt.timedelta:
        self._weigh(weights.TIMEDELTA)
        days, seconds, micros = struct.unpack("<iII", self._take(12))
        if seconds >= _DAY or micros >= _MILLION:
            raise SerializationError("the payload holds a timedelta that isn't in its usual form")
        return dt.timedelta(days, seconds, micros)

    def _utc(self) -> dt.tzinfo:
        return dt.UTC

    def _offset(self) -> dt.tzinfo:
        self._weigh(weights.OFFSET)
        (micros,) = struct.unpack("<q", self._take(8))
        if not -_DAY * _MILLION < micros < _DAY * _MILLION:
            raise SerializationError("the payload holds an offset of more than a day")
        offset = dt.timedelta(microseconds=micros)
        name = self._leaf()
        if name is None and offset:
            return dt.timezone(offset)
        if type(name) is not str:
            raise SerializationError("the payload names a time zone with a value that isn't text")
        return dt.timezone(offset, name)

    def _zone(self) -> dt.tzinfo:
        size = self._number()
        self._weigh(weights.ZONE)
        name = str(self._take(size), "ascii")
        if size > LONGEST_ZONE or ZONE_NAME.fullmatch(name) is None:
            raise SerializationError("the payload names an invalid time zone")
        self._zones.append(zone := zoneinfo.ZoneInfo(name))
        return zone

    def _zone_again(self) -> dt.tzinfo:
        number = self._number()
        if number >= len(self._zones):
            raise SerializationError("the payload refers to a time zone that it doesn't have")
        return self._zones[number]

    def _decimal(self) -> decimal.Decimal:
        size = self._number()
        self._weigh((weights.HASHED_DECIMAL if self._hashed else weights.DECIMAL) + size)
        data = self._take(size)
        if _DECIMAL.fullmatch(data) is None:
            raise SerializationError("the payload holds an invalid Decimal")
        self._slow += 1
        return decimal.Decimal(data.decode())

    def _uuid(self) -> uuid.UUID:
        self._weigh(weights.UUID)
        number = int.from_bytes(self._take(16), "little")
        self._slow += 1
        return uuid.UUID(int=number)

    def _uuid_safety(self) -> uuid.UUID:
        made = self._uuid()
        (safety,) = struct.unpack("<b", self._take(1))
        if safety not in (0, -1):
            raise SerializationError("the payload holds a UUID with an unknown is_safe")
        return uuid.UUID(int=made.int, is_safe=uuid.SafeUUID(safety))

    def _extension(self) -> Any:
        number = self._byte()
        if number >= len(BUILDERS):
            raise SerializationError("the payload holds a type that this release doesn't know")
        builder = BUILDERS[number]
        arguments = [self._leaf() for _ in range(builder.takes)]
        self._weigh(builder.weigh(*arguments))
        self._slow += 1
        return builder.make(*arguments)

    def _leaf(self) -> Any:
        """Read None, an int or a str. Nothing else is valid here: a value that holds others must count as a level."""
        if self._payload[self._at : self._at + 1] not in _LEAVES:
            raise SerializationError("the payload builds a value from unsuitable arguments")
        return self.value()

    def _reference(self) -> Any:
        number = self._number()
        if self._hashed or number >= len(self._shared):
            raise SerializationError("the payload holds a reference to a missing value")
        return self._shared[number]

    # Containers; a flag says whether each is shared

    def _slice(self, marked: bool) -> slice:
        self._unmarked(marked)
        self._weigh(weights.SLICE)
        return slice(self.value(), self.value(), self.value())

    def _list(self, marked: bool, count: int) -> list[Any]:
        self._weigh(weights.of_list(self._counted(count)))
        items: list[Any] = self._register(marked, [])
        for _ in range(count):
            items.append(self.value())  # noqa: PERF401 - the list may be shared: it fills in place
        return items

    def _tuple(self, marked: bool, count: int) -> tuple[Any, ...]:
        self._unmarked(marked)
        self._weigh(weights.of_tuple(self._counted(count)))
        items = []
        for _ in range(count):
            items.append(self.value())  # noqa: PERF401 - a comprehension is one more frame a level
        return tuple(items)

    def _dict(self, marked: bool, count: int) -> dict[str, Any]:
        self._weigh(weights.of_dict(self._counted(count, 2)))
        pairs: dict[str, Any] = self._register(marked, {})
        for number in range(count):
            key = self._name()
            pairs[key] = self.value()
            if len(pairs) != number + 1:
                raise SerializationError("the payload holds a key twice")
        return pairs

    def _key(self) -> str:
        """Read a key that has a number, or takes one."""
        tag = self._byte()
        if tag < type_tags.SMALL_TEXT:
            if tag >= type_tags.SMALL_KEY_AGAIN:
                return self._known_key(tag - type_tags.SMALL_KEY_AGAIN)
            number = self._number()
            if tag == type_tags.KEY:
                if not 32 <= number <= type_tags.LONGEST_KEY:
                    raise SerializationError("the payload has a key in another form than it needs")
                return self._new_key(number)
            if number < 32:
                raise SerializationError("the payload has a key in a longer form than it needs")
            return self._known_key(number)
        return self._new_key(tag - type_tags.SMALL_KEY)

    def _new_key(self, size: int) -> str:
        if len(self._keys) == type_tags.MOST_KEYS:
            raise SerializationError("the payload numbers more keys than it may")
        self._weigh(16)
        self._keys.append(key := self._text(size))
        return key

    def _known_key(self, number: int) -> str:
        if number >= len(self._keys):
            raise SerializationError("the payload refers to a key that it doesn't have")
        return self._keys[number]

    def _hashables(self, count: int, *, in_set: bool) -> list[Any]:
        slow = self._slow
        self._hashed += 1
        keys = []
        for _ in range(count):
            tag = self._payload[self._at : self._at + 1]
            keys.append(self._key() if tag in _KEYS else self.value())
        self._hashed -= 1
        if any(type(key) is not str for key in keys):
            hash_collisions.check(keys, in_set=in_set, slow=self._slow != slow)
        return keys

    def _filled(self, pairs: Any, keys: Sequence[Any]) -> Any:
        """Return a container whose values were put into it, once all are there."""
        if len(pairs) != len(keys):
            raise SerializationError("the payload holds a key twice")
        return pairs

    def _mapping(self, marked: bool, count: int) -> Any:
        self._weigh(weights.of_mapping(self._counted(count, 2)))
        keys = self._hashables(count, in_set=False)
        if all(type(key) is str for key in keys):
            raise SerializationError("the payload has a dict in another form than it needs")
        pairs: dict[Any, Any] = self._register(marked, {})
        for key in keys:
            pairs[key] = self.value()
        return self._filled(pairs, keys)

    def _ordered(self, marked: bool, count: int) -> Any:
        self._weigh(weights.of_ordered(self._counted(count, 2)))
        keys = self._hashables(count, in_set=False)
        pairs: OrderedDict[Any, Any] = self._register(marked, OrderedDict())
        for key in keys:
            pairs[key] = self.value()
        return self._filled(pairs, keys)

    def _counter(self, marked: bool, count: int) -> Any:
        self._weigh(weights.of_counter(self._counted(count, 2)))
        keys = self._hashables(count, in_set=False)
        pairs: Counter[Any] = self._register(marked, Counter())
        for key in keys:
            pairs[key] = self.value()
        return self._filled(pairs, keys)

    def _default(self, marked: bool, factory: int) -> Any:
        if factory >= len(FACTORIES):
            raise SerializationError("the payload holds a defaultdict with an unknown factory")
        count = self._counted(self._number(), 2)
        self._weigh(weights.of_counter(count))
        keys = self._hashables(count, in_set=False)
        pairs: defaultdict[Any, Any] = self._register(marked, defaultdict(FACTORIES[factory]))
        for key in keys:
            pairs[key] = self.value()
        return self._filled(pairs, keys)

    def _set(self, marked: bool, count: int) -> set[Any]:
        items = self._set_items(count)
        made = set(items)
        if len(made) != count:
            raise SerializationError("the payload holds an item of a set twice")
        return self._register(marked, made)  # type: ignore[no-any-return]

    def _frozenset(self, marked: bool, count: int) -> frozenset[Any]:
        self._unmarked(marked)
        made = frozenset(self._set_items(count))
        if len(made) != count:
            raise SerializationError("the payload holds an item of a set twice")
        return made

    def _set_items(self, count: int) -> list[Any]:
        self._weigh(weights.of_set(self._counted(count)))
        return self._hashables(count, in_set=True)

    def _deque(self, marked: bool, room: int) -> deque[Any]:
        count = self._counted(self._number())
        if room and count >= room:
            raise SerializationError("the payload holds a deque with more items than its maxlen")
        self._weigh(weights.of_deque(count))
        items: deque[Any] = self._register(marked, deque(maxlen=room - 1 if room else None))
        for _ in range(count):
            items.append(self.value())
        return items

    # Allowed types

    def _name(self) -> str:
        """Read a key that must be a str."""
        name = self._key() if self._payload[self._at : self._at + 1] in _KEYS else self.value()
        if type(name) is not str:
            raise SerializationError("the payload has something else where a str belongs")
        return name

    def _member(self, marked: bool) -> Any:
        self._unmarked(marked)
        self._weigh(weights.MEMBER)
        name = self._name()
        self._slow += 1
        return self._allowed.member(name, self.value())

    def _instance(self, marked: bool) -> Any:
        form = self._byte()
        how, has = form & 3, form & ~3
        if how > type_tags.NEW_KEYWORDS or has > type_tags.HAS_ITEMS + type_tags.HAS_PAIRS + type_tags.HAS_STATE:
            raise SerializationError("the payload builds an instance in an unknown way")
        self._weigh(weights.INSTANCE)
        name = self._name()
        arguments = self.value()
        keywords = self.value() if how == type_tags.NEW_KEYWORDS else None
        if type(arguments) is not tuple or (how == type_tags.NEW_KEYWORDS and type(keywords) is not dict):
            raise SerializationError("the payload builds an instance in an unknown way")
        self._slow += 1
        made = self._register(marked, self._allowed.make(name, how, arguments, keywords))
        if has & type_tags.HAS_ITEMS:
            self._allowed.extend(made, self._list(False, self._number()))
        if has & type_tags.HAS_PAIRS:
            count = self._counted(self._number(), 2)
            self._weigh(weights.of_mapping(count))
            for key in self._hashables(count, in_set=False):
                made[key] = self.value()
        if has & type_tags.HAS_STATE:
            self._allowed.set_state(made, self.value())
        return made


_KEYS: Final = frozenset(
    bytes([tag])
    for tag in (
        *(type_tags.KEY, type_tags.KEY_AGAIN),
        *range(type_tags.SMALL_KEY_AGAIN, type_tags.SMALL_TEXT),
        *range(type_tags.SMALL_KEY, type_tags.SMALL_DICT),
    )
)
"""The first byte of a key that has a number."""
_LEAVES: Final = frozenset(
    bytes([tag])
    for tag in (
        *(
            type_tags.NONE,
            type_tags.INT1,
            type_tags.INT2,
            type_tags.INT4,
            type_tags.INT8,
            type_tags.BIG,
            type_tags.TEXT,
            type_tags.WIDE,
        ),
        *range(type_tags.SMALL_TEXT, type_tags.SMALL_KEY),
    )
)
"""The first byte of None, an int and a str."""
_ZONES: Final[dict[int, Callable[[_Decoding], dt.tzinfo]]] = {
    type_tags.UTC: _Decoding._utc,
    type_tags.OFFSET: _Decoding._offset,
    type_tags.ZONE: _Decoding._zone,
    type_tags.ZONE_AGAIN: _Decoding._zone_again,
}
_READ: Final[dict[int, Callable[[_Decoding], Any]]] = {
    type_tags.NONE: _Decoding._none,
    type_tags.FALSE: _Decoding._false,
    type_tags.TRUE: _Decoding._true,
    **dict.fromkeys(_INTS, _Decoding._int),
    type_tags.BIG: _Decoding._big,
    type_tags.FLOAT: _Decoding._float,
    type_tags.TEXT: _Decoding._long_text,
    type_tags.WIDE: _Decoding._wide,
    type_tags.BYTES: _Decoding._bytes,
    type_tags.REFERENCE: _Decoding._reference,
    type_tags.DATE: _Decoding._date,
    type_tags.TIME: _Decoding._time,
    type_tags.ZONED_TIME: _Decoding._zoned_time,
    type_tags.DATETIME: _Decoding._datetime,
    type_tags.ZONED_DATETIME: _Decoding._zoned_datetime,
    type_tags.TIMEDELTA: _Decoding._timedelta,
    **_ZONES,
    type_tags.DECIMAL: _Decoding._decimal,
    type_tags.UUID: _Decoding._uuid,
    type_tags.UUID_SAFETY: _Decoding._uuid_safety,
    type_tags.COMPLEX: _Decoding._complex,
    type_tags.EXTENSION: _Decoding._extension,
}
_COUNTED: Final[dict[int, tuple[Callable[..., Any], int]]] = {
    type_tags.LIST: (_Decoding._list, 8),
    type_tags.TUPLE: (_Decoding._tuple, 8),
    type_tags.DICT: (_Decoding._dict, 16),
    type_tags.MAPPING: (_Decoding._mapping, 0),
    type_tags.SET: (_Decoding._set, 0),
    type_tags.FROZENSET: (_Decoding._frozenset, 0),
    type_tags.DEQUE: (_Decoding._deque, 0),
    type_tags.ORDERED: (_Decoding._ordered, 0),
    type_tags.COUNTER: (_Decoding._counter, 0),
    type_tags.DEFAULT: (_Decoding._default, 0),
}
_NESTED: Final[dict[int, Callable[..., Any]]] = {
    type_tags.BYTEARRAY: _Decoding._bytearray,
    type_tags.SLICE: _Decoding._slice,
    type_tags.MEMBER: _Decoding._member,
    type_tags.INSTANCE: _Decoding._instance,
}

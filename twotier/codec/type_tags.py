"""The tags of the plain format: each value is one byte that names its type, and the fields of that type's layout.

Numbers are little-endian; `n` and every length, count and index are unsigned LEB128 of the shortest form. An
integer or a length takes the shortest tag that holds it. No tag is 0, a sign or a digit: zeros pad a payload, and the
first byte distinguishes raw integers. `_speedups/codec_tags.pxi` has the same list.
"""

from typing import Final

NONE: Final = 0x01
FALSE: Final = 0x02
TRUE: Final = 0x03
INT1: Final = 0x04  # signed, in 1, 2, 4, 8 bytes
INT2: Final = 0x05
INT4: Final = 0x06
INT8: Final = 0x07
BIG: Final = 0x08  # n, two's complement in n bytes
FLOAT: Final = 0x09  # 8 bytes
TEXT: Final = 0x0A  # n, UTF-8
WIDE: Final = 0x0B  # n, UTF-32: text with lone surrogates
BYTES: Final = 0x0C  # n, bytes
BYTEARRAY: Final = 0x0D
KEY: Final = 0x0E  # n, UTF-8: a dict's key, which takes the next number
KEY_AGAIN: Final = 0x0F  # number of a key
LIST: Final = 0x10  # n, items
TUPLE: Final = 0x11
DICT: Final = 0x12  # n, then key and value in turn; every key is a str
MAPPING: Final = 0x13  # n, keys, values
SET: Final = 0x14
FROZENSET: Final = 0x15
DEQUE: Final = 0x16  # maxlen + 1 or 0, n, items
ORDERED: Final = 0x17  # n, keys, values
COUNTER: Final = 0x18
DEFAULT: Final = 0x19  # number of the factory, n, keys, values
SHARED: Final = 0x1A  # before a mutable value that comes again: it takes the next number
REFERENCE: Final = 0x1B  # number of a shared value
DATE: Final = 0x1C  # year (2 bytes), month, day
TIME: Final = 0x1D  # hour (+ 128: fold), minute, second, microsecond (3 bytes)
ZONED_TIME: Final = 0x1E  # the same, zone
DATETIME: Final = 0x1F  # date, time
ZONED_DATETIME: Final = 0x20
TIMEDELTA: Final = 0x21  # days, seconds, microseconds (4 bytes each)
UTC: Final = 0x22
OFFSET: Final = 0x23  # microseconds (8 bytes), name or None
ZONE: Final = 0x24  # n, name: takes the next number
ZONE_AGAIN: Final = 0x25  # number of a zone
DECIMAL: Final = 0x26  # n, its text
UUID: Final = 0x27  # 16 bytes
UUID_SAFETY: Final = 0x28  # 16 bytes, signed byte
COMPLEX: Final = 0x29  # two floats
SLICE: Final = 0x2A  # three values
EXTENSION: Final = 0x2B  # number of the type, its arguments
MEMBER: Final = 0x2C  # name of the enum as a key, value
INSTANCE: Final = 0x3A  # form, name of the type as a key, tuple of arguments, and the parts that the form requires

SMALL_KEY_AGAIN: Final = 0x40  # + number below 32
SMALL_TEXT: Final = 0x60  # + length below 32
SMALL_INT: Final = 0x80  # + integer below 64
SMALL_KEY: Final = 0xC0  # + length below 32
SMALL_DICT: Final = 0xE0  # + count below 16
SMALL_LIST: Final = 0xF0  # + count below 8
SMALL_TUPLE: Final = 0xF8

CALL, NEW, NEW_KEYWORDS = 0, 1, 2
"""How an instance is made: by its type, its type's __new__, or that with keyword arguments (a dict that follows)."""
HAS_ITEMS, HAS_PAIRS, HAS_STATE = 4, 8, 16
"""Added to the form: (n, items), (n, keys, values), and a state follow in this order."""

MOST_DEPTH: Final = 200
"""Containers in containers: hashing, comparing and freeing them recurse in C."""
MOST_KEYS: Final = 4096
"""Keys of a payload that have a number; later ones are written as text."""
LONGEST_KEY: Final = 64
"""Bytes of a key that has a number."""

"""Payloads that are built to take more than their bytes account for: each maker gets a size."""

import collections
import decimal
import fractions
import ipaddress
import pickle
import struct
import uuid
import zoneinfo

from twin_codecs import plain_codec

from twotier.codec import type_tags, weights

PRIME = (1 << 61) - 1
"""What Python's hash of a number is taken modulo."""
CODEC = plain_codec("compiled")


def varint(number):
    """Return a number as lengths are written."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def head(tag, number):
    """Return a tag and a number."""
    return bytes([tag]) + varint(number)


def bare(value):
    """Return the bytes of a small value, without a container's padding."""
    return CODEC.encode(value)


def padded(body, weight):
    """Return the body with the zeros that its weight asks for."""
    return body.ljust(weights.padded(len(body), weight), b"\0")


def set_of(elements, weight=32):
    """Return a set of these encoded elements, padded for elements of such a weight."""
    body = head(type_tags.SET, len(elements)) + b"".join(elements)
    return padded(body, weights.of_set(len(elements)) + weight * len(elements))


def dict_of(keys, weight=32):
    """Return a dict of these encoded keys, each with None, padded likewise."""
    body = head(type_tags.MAPPING, len(keys)) + b"".join(keys) + bytes([type_tags.NONE]) * len(keys)
    return padded(body, weights.of_mapping(len(keys)) + weight * len(keys))


def walk(count):
    """Return ints that fill a dict's table along its own order of probing, and ints that then walk along it."""
    slots = 16
    while slots * 2 // 3 < count:
        slots *= 2
    order, slot = [], 0
    for _ in range(count // 2):
        order.append(slot)
        slot = (slot * 5 + 1) % slots
    return order + [order[0] + slots * number * 32**11 % PRIME for number in range(1, count - len(order) + 1)]


def equal_tuples(count):
    """Return pairs of one hash, each of two ints of one hash."""
    return [(number * PRIME, PRIME * (count - number)) for number in range(count)]


def fractions_of_one_hash(count):
    """Return fractions of one hash."""
    return [fractions.Fraction(number * PRIME + 1, 1) + PRIME for number in range(count)]


def big(number):
    """Return an integer of any size, encoded."""
    return head(type_tags.BIG, size := number.bit_length() // 8 + 1) + number.to_bytes(size, "little", signed=True)


def bomb(tag_bytes):
    """Return a maker of a list of many of one thing."""
    return lambda size: head(type_tags.LIST, size) + tag_bytes * size


def zeros_after(make):
    """Return a maker of the same, with the zeros of an honest heavy value behind it."""
    return lambda size: make(size) + bytes(10 * size)


def nested(prefix, suffix=b"\x01"):
    """Return a maker of as many levels as may be, or more."""
    return lambda size: prefix * (200 if size < 1000 else size) + suffix


SMALL = [
    bytes([tag, 0])
    for tag in (
        type_tags.SET,
        type_tags.FROZENSET,
        type_tags.MAPPING,
        type_tags.ORDERED,
        type_tags.COUNTER,
        type_tags.BYTEARRAY,
    )
]
SMALL += [
    b"\xf0",
    b"\xe0",
    bytes([type_tags.DEQUE, 0, 0]),
    bytes([type_tags.DEFAULT, 1, 0]),
    b"\xf1\xf0",
    b"\xe1\xc0\xe0",
    b"\xf9\xf9\x01",
]

HOSTILE = [
    *(bomb(small) for small in SMALL),
    *(zeros_after(bomb(small)) for small in SMALL),
    lambda size: b"".join(head(type_tags.LIST, 10 * size) for _ in range(190)) + b"\x01" * 10 * size,
    lambda size: b"".join(head(type_tags.TUPLE, 10 * size) for _ in range(190)) + b"\x01" * 10 * size,
    lambda size: b"".join(head(type_tags.SET, 10 * size) for _ in range(190)) + b"\x01" * 10 * size,
    lambda size: head(type_tags.LIST, 1 << 60) + b"\x01" * size,
    lambda size: head(type_tags.BYTES, 1 << 60) + b"\x01" * size,
    lambda size: head(type_tags.DEQUE, 1 << 60) + varint(1 << 50) + b"\x01" * size,
    *(
        nested(prefix)
        for prefix in (b"\xf1", b"\xf9", b"\xe1\xc0", bytes([type_tags.SET, 1]), bytes([type_tags.DEQUE, 0, 1]))
    ),
    *(
        nested(prefix)
        for prefix in (
            bytes([type_tags.DEFAULT, 1, 1, 0x80]),
            bytes([type_tags.SLICE, 1, 1]),
            bytes([type_tags.SHARED, 0xF1]),
        )
    ),
    *(
        nested(prefix)
        for prefix in (
            bytes([type_tags.FROZENSET, 1]),
            bytes([type_tags.MAPPING, 1]),
            bytes([type_tags.INSTANCE, 0, 0xC0]),
        )
    ),
    lambda size: set_of([bare(number * PRIME) for number in range(1, size)], 80),
    lambda size: dict_of([bare(number * PRIME) for number in range(1, size)], 80),
    lambda size: dict_of([bare(number) for number in walk(size)], 48),
    lambda size: set_of([bare(number) for number in walk(size)], 48),
    lambda size: dict_of([bare(number << 40) for number in range(size)], 80),
    lambda size: set_of([bare(number << 40) for number in range(size)], 80),
    lambda size: dict_of([bare(number / 1024) for number in range(size)]),
    lambda size: dict_of([bare(pair) for pair in equal_tuples(size)], 300),
    lambda size: set_of([bare(pair) for pair in equal_tuples(size)], 300),
    lambda size: dict_of([bare((-1 - number % 2, -1 - number // 2 % 2, number // 4)) for number in range(size)], 300),
    lambda size: head(type_tags.LIST, size) + set_of([bare(number * PRIME) for number in range(1, 17)], 80) * size,
    lambda size: (
        head(type_tags.LIST, size // 8) + dict_of([bare(n) for n in fractions_of_one_hash(4)], 1100) * (size // 8)
    ),
    lambda size: dict_of([bare(number) for number in fractions_of_one_hash(size // 4)], 1100),
    lambda size: dict_of([bare(decimal.Decimal(number * PRIME)) for number in range(size // 2)], 1300),
    lambda size: dict_of([bare(uuid.UUID(int=number * PRIME)) for number in range(size // 2)], 300),
    lambda size: bare({(((1 << 8 * size) + 1, number),) for number in range(9)}),
    lambda size: head(type_tags.LIST, size // 4) + bare(fractions.Fraction(1, 3)) * (size // 4),
    lambda size: bare([fractions.Fraction((1 << min(65_535, 8 * size)) + 1, (1 << min(65_535, 8 * size)) - 1)]),
    lambda size: bare(fractions.Fraction(fibonacci(min(90_000, 11 * size)), fibonacci(min(90_000, 11 * size) - 2))),
    lambda size: bytes([type_tags.EXTENSION, 1, 0x80]) + big(7 << 2400 * size) + big(3 << 1200 * size),
    lambda size: bare(decimal.Decimal("1" * 40 * size)),
    lambda size: bare([decimal.Decimal(f"1E+{10**17 + number}") for number in range(size // 8)]),
    lambda size: bare({decimal.Decimal(f"1E+{10**17 + number}") for number in range(size // 8)}),
    lambda size: bare("\ud800" * size * 4),
    lambda size: bytes([type_tags.TEXT]) + varint(size * 3) + b"\xed\xa0\x80" * size,
    lambda size: bytes([type_tags.TEXT]) + varint(size * 3) + b"\xff\xff\xff" * size,
    lambda size: bare(["é" + "x" * 30] * size + ["日"] * size + ["😀" + "x" * 1000] * 9),
    lambda size: bare([ipaddress.ip_network("::1/128")] * (size // 40)),
    lambda size: bare([ipaddress.ip_interface("::1/64")] * (size // 40)),
    lambda size: bare(ipaddress.ip_address("fe80::1%" + "x" * size * 9)),
    lambda size: extension(8, "/".join("a" * size * 3)),
    lambda size: extension(8, "/" * size * 9),
    lambda size: extension(9, "\\".join("b" * size * 3)),
    lambda size: extension(3, ":".join("0" * size)),
    lambda size: extension(2, ".".join("1" * size)),
    lambda size: extension(4, "0" * size + "/" + "1" * size),
    lambda size: bare([zoneinfo.ZoneInfo(name) for name in sorted(zoneinfo.available_timezones())[: size // 40]]),
    lambda size: head(type_tags.LIST, size) + b"\x24\x0aNo/Such_%d" * size,
    lambda size: bare([{f"key {number}": 1 for number in range(size)}] * 2),
    lambda size: bare([collections.Counter() for _ in range(size // 4)]),
    lambda size: bare([collections.OrderedDict(a=1) for _ in range(size // 4)]),
    lambda size: bare([collections.deque(range(40)) for _ in range(size // 8)]),
    lambda size: bare([{number: None} for number in range(size)]),
    lambda size: bare(dict.fromkeys(range(size))),
    lambda size: bare({str(number): None for number in range(size)}),
    lambda size: bare(set(range(size))),
    lambda size: bare([frozenset(range(number, number + 5)) for number in range(size // 4)]),
    lambda size: bare([uuid.UUID(int=number) for number in range(size)]),
    lambda size: bare([[1.5, 300, 1 << 40, (None,)] for number in range(size)]),
    lambda size: head(type_tags.LIST, size + 1) + b"\x1a\xf1\x01" + b"\x1b\x00" * size,
    lambda size: b"\x1a" * size + b"\xf0",
]


def fibonacci(bits):
    """Return a Fibonacci number of about so many bits: neighbours take gcd the most steps."""
    one, other = 0, 1
    for _ in range(int(bits / 1.4405)):
        one, other = other, one + other
    return other


def extension(number, text):
    """Return a value of an extension type, of any text."""
    data = text.encode()
    value = bytes([type_tags.EXTENSION, number]) + (
        bytes([type_tags.SMALL_TEXT + len(data)]) if len(data) < 32 else head(type_tags.TEXT, len(data)) + b""
    )
    return value + data + bytes(len(data) * 8)


def named(name):
    """Return the opcodes that name an old builder."""
    module = b"twotier.remote.rebuild"
    return b"\x8c" + bytes([len(module)]) + module + b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93"


def old(body):
    """Return an old payload."""
    return b"\x80\x05" + body + b"."


def long_int(number):
    """Return the opcodes of a long integer."""
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


OLD_HOSTILE = [
    lambda size: old(b"\x8f)\x94" + b"".join(b"h%c" % n + b"h%c" % n + b"\x86\x94" for n in range(100)) + b"\x90"),
    lambda size: old(
        b"}\x94)\x94" + b"".join(b"h%c" % n + b"h%c" % n + b"\x86\x94" for n in range(1, 100)) + b"K\x01s"
    ),
    lambda size: old(b"](" + long_int(1 << 8 * size) + b"\x94" + b"(h\x00\x91" * size + b"e"),
    lambda size: old(
        b"](X"
        + struct.pack("<I", size * 9)
        + b"1" * size * 9
        + b"\x94"
        + (named("decimal_") + b"h\x00\x85R") * size
        + b"e"
    ),
    lambda size: old(
        b"](X"
        + struct.pack("<I", size * 9)
        + b"1" * size * 9
        + b"\x94\x8c\x0dPurePosixPath\x94"
        + (named("path") + b"h\x01h\x00\x86R") * size
        + b"e"
    ),
    lambda size: old(b")" + b"\x85" * size * 40),
    lambda size: old(b"(" * size * 9 + b"t" * size * 9),
    lambda size: old(b"](" + b")\x85" * size + b"e"),
    lambda size: old(b"](" + b"\x8f" * size * 3 + b"e"),
    lambda size: old(b"](" + b"]" * size * 3 + b"e"),
    lambda size: old(b"](" + b"}" * size * 3 + b"e"),
    lambda size: old(b"](" + (named("deque_") + b"N\x85R") * size + b"e"),
    lambda size: old((named("deque_") + b"N\x85R(") * size + b"N" + b"e" * size),
    lambda size: old((named("default") + b"\x8c\x04list\x85R(K\x01") * size + b"N" + b"u" * size),
    lambda size: old(b"](" * size + b"N" + b"e" * size),
    lambda size: old(b"]\x94" + b"".join(b"]\x94h" + bytes([n]) + b"a" for n in range(200))),
    lambda size: old(b"]\x94" + b"".join(b"0]\x94(h" + bytes([n]) + b"e" for n in range(250))),
    lambda size: old(b"}(" + b"".join(long_int(n * PRIME) + b"N" for n in range(1, size)) + b"u"),
    lambda size: old(b"\x8f(" + b"".join(long_int(n * PRIME) for n in range(1, size)) + b"\x90"),
    lambda size: old(b"}(" + b"".join(long_int(n) + b"N" for n in walk(size)) + b"u"),
    lambda size: old(b"}" + b"".join(long_int(n * PRIME) + b"Ns" for n in range(1, size))),
    lambda size: old(
        named("fraction")
        + long_int(fibonacci(min(90_000, 11 * size)))
        + long_int(fibonacci(min(90_000, 11 * size) - 2))
        + b"\x86R"
    ),
    lambda size: pickle.dumps(list(range(size)), 5),
    lambda size: pickle.dumps([(n, str(n)) for n in range(size)], 5),
    lambda size: pickle.dumps([{"a": n, "b": str(n), "c": None} for n in range(size)], 5),
    lambda size: old(b"N" * size * 9),
    lambda size: old(b"]" + b"\x94" * size * 9),
]

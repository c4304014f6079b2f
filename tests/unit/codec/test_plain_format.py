"""The plain format: its bytes, pinned, and what is refused, on both implementations."""

import collections
import contextlib
import datetime as dt
import decimal
import fractions
import gc
import os
import subprocess
import sys
import threading
import uuid
import zoneinfo

import pytest
from fuzzing import ALLOWING, GIVEN_TAGS, Findings, check_plain, run, run_on_small_stack
from hostile import CODEC, HOSTILE, PRIME, bare, dict_of, head, set_of
from twin_codecs import CODECS, FORMATS, plain_codec
from user_types import TYPES, Bag, Colour, Point

from twotier.codec import type_tags
from twotier.errors import SerializationError

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")

SHARED = [1]
GOLDEN = [
    (None, "01"),
    (False, "02"),
    (True, "03"),
    (0, "80"),
    (63, "bf"),
    (64, "0440"),
    (-1, "04ff"),
    (-129, "057fff"),
    (70_000, "0670110100"),
    (1 << 40, "070000000000010000"),
    (-(1 << 63) - 1, "0809ffffffffffffff7fff"),
    (1.5, "09000000000000f83f"),
    ("", "60"),
    ("é", "62c3a9"),
    ("x" * 32, "0a20" + "78" * 32),
    ("\ud800", "0b0400d80000"),
    (b"ab", "0c026162"),
    (bytearray(b"ab"), "0d026162"),
    ([], "f0"),
    ([1] * 8, "1008" + "81" * 8),
    ((1, (2,)), "fa81f982"),
    ((1,) * 8, "1108" + "81" * 8),
    ({}, "e0"),
    ([{"id": 1}, {"id": 2}], "f2 e1 c26964 81 e1 40 82"),
    ({"k" * 32: 1}, "e1 0e20" + "6b" * 32 + "81"),
    ({"k" * 65: 1}, "e1 0a41" + "6b" * 65 + "81"),
    ({1: "a", "b": 2}, "1302 81c162 616182"),
    ({7}, "140187"),
    (frozenset({7}), "150187"),
    (collections.deque([1], 5), "16060181"),
    (collections.OrderedDict(a=1), "1701c16181"),
    (collections.Counter("a"), "1801c16181"),
    (collections.defaultdict(list, a=1), "190101c16181"),
    (dt.date(2024, 2, 29), "1ce807021d"),
    (dt.time(1, 2, 3, 70_000, fold=1), "1d810203701101"),
    (dt.time(1, tzinfo=dt.UTC), "1e01000000000022"),
    (dt.datetime(2024, 2, 29, 1, 2, 3, 4), "1fe807021d010203040000"),  # noqa: DTZ001 - naive ones are values, too
    (dt.datetime(2024, 2, 29, tzinfo=BERLIN), "20e807021d000000000000240d" + b"Europe/Berlin".hex()),
    ([BERLIN, BERLIN], "f2240d" + b"Europe/Berlin".hex() + "2500"),
    (dt.timezone(dt.timedelta(hours=1), "x"), "2300a493d600000000" + "6178"),
    (dt.timezone(dt.timedelta(hours=-1)), "23005c6c29ffffffff" + "01"),
    (dt.timedelta(-1, 2, 3), "21ffffffff0200000003000000"),
    (decimal.Decimal("1.10"), "2604312e3130"),
    (uuid.UUID(int=1), "2701" + "00" * 15),
    (uuid.UUID(int=1, is_safe=uuid.SafeUUID.unsafe), "2801" + "00" * 15 + "ff"),
    (1 + 2j, "29000000000000f03f0000000000000040"),
    (slice(1, None, "x"), "2a81016178"),
    (fractions.Fraction(1, 3), "2b008183"),
    (range(1, 9, 2), "2b01818982"),
    (Colour.RED, "2cd1" + b"user_types:Colour".hex() + "81"),
    (Bag([1]), "3a05ce" + b"user_types:Bag".hex() + "f80181"),
    (Point(1, []), "3a11d0" + b"user_types:Point".hex() + "f8e2c17881c7667269656e6473f0"),
    ([SHARED, SHARED], "f2 1a f181 1b00"),
]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(("value", "expected"), GOLDEN, ids=[expected[:12] for _, expected in GOLDEN])
def test_golden_bytes(name, value, expected):
    """Each tag has the very bytes that other processes expect, and is read from them."""
    codec, payload = ALLOWING[name], bytes.fromhex(expected)
    assert codec.encode(value).hex() == payload.hex()
    back = codec.decode(payload)
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_no_payload_begins_like_an_integer():
    """No tag is 0, a sign or a digit, so that a raw integer is told apart by its first byte."""
    known = set(GIVEN_TAGS)
    assert len(known) > 50
    assert not known & {0, *b"-0123456789"}
    for byte in {0, *b"-0123456789"}:
        for codec in CODECS.values():
            with pytest.raises(SerializationError):
                codec.decode(bytes([byte]) + b"\x81")


REFUSED = {
    "nothing": b"",
    "cut short": b"\x05\x00",
    "an unknown tag": b"\x2f",
    "bytes after the end": b"\x81\x81",
    "zeros that no weight asks for": b"\x81\x00",
    "a long form of a small int": b"\x04\x05",
    "a long form of an int": b"\x05\x7f\x00",
    "a big integer that fits": b"\x08\x08" + bytes(7) + b"\x01",
    "a big integer with a byte too many": b"\x08\x0a" + bytes(8) + b"\x01\x00",
    "a long form of a text": b"\x0a\x01x",
    "a long form of a list": b"\x10\x01\x81",
    "a long form of a length": b"\x0c\x81\x00x",
    "a length without end": b"\x0c" + b"\xff" * 9,
    "text that isn't UTF-8": b"\x61\xff",
    "surrogates as UTF-8": b"\x63\xed\xa0\x80",
    "wide text without surrogates": b"\x0b\x04x\x00\x00\x00",
    "wide text beyond Unicode": b"\x0b\x08\x00\x00\x11\x00\x00\xd8\x00\x00",
    "a key in a value's place": b"\xc1x",
    "a key that isn't there": b"\xe1\x45\x81",
    "a key twice": b"\xe2\xc1a\x81\xc1a\x82",
    "a key twice in a mapping": b"\x13\x02\x81\x81\x01\x01",
    "equal keys of two types": b"\x13\x02\x81\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x01\x01",
    "a mapping of str": b"\x13\x01\xc1a\x81",
    "a dict of other keys": b"\xe1\x81\x81",
    "an item of a set twice": b"\x14\x02\x81\x81",
    "a list as a key": b"\x13\x01\xf0\x81",
    "a reference to nothing": b"\x1b\x00",
    "a shared atom": b"\x1a\x81",
    "a shared tuple": b"\x1a\xf9\x81",
    "shared twice": b"\x1a\x1a\xf0",
    "a reference in a key": b"\xf2\x1a\xf0\x13\x01\xf9\x1b\x00\x81",
    "a shared value in a key": b"\x13\x01\xf9\x1a\xf0\x81",
    "no such day": b"\x1c\xe8\x07\x02\x1e",
    "no such hour": b"\x1d\x18\x00\x00\x00\x00\x00",
    "a zone that is none": b"\x1e\x01\x00\x00\x00\x00\x00\x01",
    "a path for a zone": b"\x24\x0b/etc/passwd",
    "a way up for a zone": b"\x24\x09../../etc",
    "an offset of a day": b"\x23\x00\x60\xd7\x1d\x14\x00\x00\x00\x01",
    "a timedelta of 90,000 seconds": b"\x21\x00\x00\x00\x00\x90\x5f\x01\x00\x00\x00\x00\x00",
    "a Decimal with spaces": b"\x26\x02 1",
    "a Decimal that is none": b"\x26\x04what",
    "a UUID of unknown safety": b"\x28" + bytes(16) + b"\x05",
    "a deque of too many": b"\x16\x01\x01\x81",
    "a factory that isn't known": b"\x19\x0a\x00",
    "a type that isn't known": b"\x2b\x0c\x81",
    "a fraction of text": b"\x2b\x00\x611\x613",
    "a fraction by zero": b"\x2b\x00\x81\x80",
    "a fraction that isn't reduced": b"\x2b\x00\x82\x84",
    "an address of an int": b"\x2b\x02\x81",
    "an address that is none": b"\x2b\x02\x611",
    "a type that isn't allowed": b"\x3a\x00\xc3a:b\xf8",
    "a form that isn't known": b"\x3a\x03\xce" + b"user_types:Bag\xf8",
    "an instance of no tuple": b"\x3a\x00\xce" + b"user_types:Bag\xf0",
    "a member that is none": b"\x2c\xd1" + b"user_types:Colour\x89",
    "a class for an enum": b"\x2c\xce" + b"user_types:Bag\x81",
    "an enum made anew": b"\x3a\x00\xd1" + b"user_types:Colour\xf9\x81",
    "a list of a range": b"\x3a\x00\xce" + b"user_types:Bag\xf9\x2b\x01\x80\x07" + bytes(6) + b"\x01\x00\x81",
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("payload", REFUSED.values(), ids=REFUSED)
def test_refusals(name, payload):
    """What the encoder wouldn't write is a SerializationError, also inside another value."""
    for body in (payload, b"\xf1" + payload, b"\xe1\xc1k" + payload):
        with pytest.raises(SerializationError):
            ALLOWING[name].decode(body)


@pytest.mark.parametrize("size", [30, 3000])
@pytest.mark.parametrize("make", range(len(HOSTILE)))
def test_amplifiers(make, size):
    """What is built to take more than its bytes account for stays in the budgets, also on a small stack."""
    payload = HOSTILE[make](size)
    findings = Findings()
    run_on_small_stack(check_plain, findings, payload, ALLOWING, memory=True)
    assert findings.tries == 2
    assert not findings.failures


@pytest.mark.parametrize(
    "prefix",
    [bytes([type_tags.EXTENSION, 0]), bytes([type_tags.EXTENSION, 8]), bytes([type_tags.OFFSET, 1]) + bytes(7)],
    ids=["fraction", "path", "offset"],
)
@pytest.mark.parametrize("name", FORMATS)
def test_what_takes_only_text_and_numbers_nests_nothing(name, prefix):
    """Parts of fractions, paths and offsets that begin one again, half a million deep, are refused at once."""
    code = f"""
from twotier.codec.codecs import PlainCodec
from twotier.errors import SerializationError
try:
    PlainCodec().decode({prefix!r} * 500_000 + bytes(10_000_000))
except SerializationError as error:
    assert "unsuitable arguments" in str(error), error
else:
    raise AssertionError
"""
    environment = {**os.environ, "TWOTIER_IMPL": name}
    subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], check=True, timeout=100, env=environment)


HONEST_KEYS = {
    "ids": range(5000),
    "negative": range(-2500, 2500),
    "every thousandth": range(0, 5_000_000, 1000),
    "powers of two": [1 << number for number in range(60)],
    "multiples of 2 ** 40": [number << 40 for number in range(5000)],
    "binary fractions": [number / 1024 for number in range(5000)],
    "decimal fractions": [number / 1000 for number in range(5000)],
    "snowflakes": [number << 22 | number * 7919 % 4096 for number in range(5000)],
    "a grid": [(x, y) for x in range(-35, 35) for y in range(-35, 35)],
    "a cube around 0": [(x, y, z) for x in range(-3, 3) for y in range(-3, 3) for z in range(-3, 3)],
    "the smallest cube": [(x, y, z) for x in (-1, -2) for y in (-1, -2) for z in (-1, -2)],
    "dates": [dt.date.fromordinal(700_000 + number) for number in range(3000)],
    "moments": [dt.datetime(2024, 1, 1, tzinfo=dt.UTC) + dt.timedelta(hours=number) for number in range(2000)],
    "decimals": [decimal.Decimal(number) / 100 for number in range(2000)],
    "fractions": [fractions.Fraction(number, 7) for number in range(1000)],
    "uuids": [uuid.UUID(int=number) for number in range(2000)],
    "mixed": [*range(100), *map(str, range(100)), *(number + 0.5 for number in range(100)), None],
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("keys", HONEST_KEYS.values(), ids=HONEST_KEYS)
def test_honest_keys_are_let_through(name, keys):
    """Keys that people use never count as crowding, in dicts and in sets."""
    codec = CODECS[name]
    pairs = dict.fromkeys(keys, 1)
    assert codec.decode(codec.encode(pairs)) == pairs
    assert codec.decode(codec.encode(set(keys))) == set(keys)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("make", [set_of, dict_of])
def test_crowding_keys_are_refused(name, make):
    """Integers of one hash, chosen by the thousand, are refused before they are put together."""
    for count in (40, 2000):
        with pytest.raises(SerializationError, match="keys"):
            CODECS[name].decode(make([bare(number * PRIME) for number in range(1, count)], 80))


def test_threads_that_change_what_is_encoded():
    """A value that other threads change while it is encoded gives a payload or a SerializationError, and no crash."""
    code = """
import random, sys, threading, uuid, pathlib
from twotier.codec.codecs import PlainCodec
from twotier.errors import SerializationError
sys.setswitchinterval(1e-6)
codec, rows, done = PlainCodec(), [], threading.Event()
def change():
    while not done.is_set():
        rows[:] = [{uuid.uuid4(): [pathlib.Path("/a"), {"k": [1]}], "deep": {1: set(range(9))}} for _ in range(20)]
        for row in rows[::2]:
            row["k"] = [row]
            row.popitem()
        rows.clear()
thread = threading.Thread(target=change)
thread.start()
for _ in range(300):
    try:
        codec.decode(codec.encode(rows))
    except SerializationError:
        pass
done.set()
thread.join()
"""
    subprocess.run([sys.executable, "-X", "faulthandler", "-c", code], check=True, timeout=100, env=os.environ)


def test_half_made_values_are_not_seen():
    """A type's own code that runs meanwhile sees no list with holes, and may change what is being filled."""
    seen = []

    class Nosy:
        def __init__(self, held):
            self.held = held

        def __setstate__(self, state):
            seen.append(repr(state["held"]))
            state["held"].clear()

    for name in FORMATS:
        codec = plain_codec(name, [Nosy])
        outer = [1, 2]
        outer.insert(1, Nosy(outer))
        payload = codec.encode(outer)
        try:
            codec.decode(payload)
        except SerializationError:
            assert name == "compiled"  # the list is shorter than it was
        assert seen


WRAPS = {
    "list": lambda inner: [inner],
    "tuple": lambda inner: (inner,),
    "dict": lambda inner: {"k": inner},
    "mapping": lambda inner: {1: inner},
    "deque": lambda inner: collections.deque([inner]),
    "defaultdict": lambda inner: collections.defaultdict(list, {1: inner}),
    "OrderedDict": lambda inner: collections.OrderedDict({1: inner}),
    "slice": slice,
    "instance": Point,
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_two_hundred_levels_on_a_small_stack(name, wrap):
    """Each container nests as deep as it may, and is written, read and freed on a stack of 512 kB; no deeper."""
    value = None
    for _ in range(99 if wrap is WRAPS["instance"] else 200):
        value = wrap(value)

    def there_and_back():
        codec = ALLOWING[name]
        payload = codec.encode(value)
        assert type(codec.decode(payload)) is type(value)
        for deeper in (wrap(wrap(value)), [value] * 2):
            with pytest.raises(SerializationError, match="nests"):
                codec.encode([deeper] if wrap is WRAPS["instance"] else deeper)

    if wrap is not WRAPS["instance"]:
        run_on_small_stack(there_and_back)
    else:
        payload = ALLOWING[name].encode(value)
        run_on_small_stack(ALLOWING[name].decode, payload)


def test_nothing_leaks():
    """Decoding and encoding, refused or not, leaves nothing behind."""
    payloads = [bytes.fromhex(expected) for _, expected in GOLDEN] + list(REFUSED.values())
    codec = plain_codec("compiled", TYPES)

    def once():
        for payload in payloads:
            with contextlib.suppress(SerializationError):
                codec.encode(codec.decode(payload))

    for _ in range(3):
        once()
    gc.collect()  # empties the lists of free tuples, too
    before = sys.getallocatedblocks()
    for _ in range(20):
        once()
    gc.collect()
    assert sys.getallocatedblocks() - before < 20


def test_threads_share_a_codec():
    """Threads that use one codec at once don't mix their values."""
    wrong = []

    def work(number):
        value = [{"id": number, "at": dt.datetime(2024, 1, 1, tzinfo=BERLIN)}, {number: fractions.Fraction(number, 7)}]
        wrong.extend(1 for _ in range(200) if CODEC.decode(CODEC.encode(value)) != value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_weights_are_one_budget():
    """A payload of many small values is refused where its length doesn't allow for them, and taken where it does."""
    for name in FORMATS:
        body = head(type_tags.LIST, 5000) + b"\x14\x00" * 5000
        with pytest.raises(SerializationError, match="length"):
            CODECS[name].decode(body)
        assert len(CODECS[name].decode(CODECS[name].encode([set() for _ in range(5000)]))) == 5000


def test_fuzzing():
    """Some seconds of the fuzzer find nothing; `make fuzz` goes on for minutes."""
    findings = run(seed=20, rounds=60, hostile=False)
    assert findings.tries > 200
    assert findings.values > 30
    assert not findings.failures

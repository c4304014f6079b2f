"""Honest values at random, of every type that the plain format takes."""

import collections
import datetime as dt
import decimal
import fractions
import ipaddress
import pathlib
import uuid
import zoneinfo

from user_types import Bag, Colour, Frozen, Point, Table

ZONES = [
    dt.UTC,
    dt.timezone(dt.timedelta(hours=5)),
    dt.timezone(dt.timedelta(0), "x"),
    zoneinfo.ZoneInfo("Europe/Berlin"),
]

ATOMS = (
    lambda rng: None,
    lambda rng: rng.random() < 0.5,
    lambda rng: rng.randrange(-70, 70),
    lambda rng: rng.randrange(-(1 << 40), 1 << 40),
    lambda rng: rng.getrandbits(rng.randrange(1, 400)) * rng.choice((1, -1)),
    lambda rng: rng.choice((0.0, -0.0, 1.5, float("inf"), rng.random())),
    lambda rng: complex(rng.random(), 2),
    lambda rng: "".join(rng.choice("abcé日\ud800😀") for _ in range(rng.randrange(6))),
    lambda rng: "key" * rng.randrange(20),
    lambda rng: rng.randbytes(rng.randrange(40)),
    lambda rng: dt.date(rng.randrange(1, 9999), 2, 3),
    lambda rng: dt.time(rng.randrange(24), 5, 6, 7, rng.choice([None, *ZONES]), fold=rng.randrange(2)),
    lambda rng: dt.datetime(2024, rng.randrange(1, 13), 3, 4, 5, 6, 7, rng.choice([None, *ZONES])),
    lambda rng: dt.timedelta(rng.randrange(-99, 99), 5, 6),
    lambda rng: rng.choice(ZONES),
    lambda rng: decimal.Decimal(rng.choice(("1.10", "-5E+9", "NaN", "0"))),
    lambda rng: fractions.Fraction(rng.randrange(99), 7),
    lambda rng: uuid.UUID(int=rng.getrandbits(128)),
    lambda rng: range(rng.randrange(9)),
    lambda rng: ipaddress.ip_address(rng.choice(("1.2.3.4", "::1", "fe80::1%eth0"))),
    lambda rng: ipaddress.ip_network("10.0.0.0/8"),
    lambda rng: pathlib.PurePosixPath("/a/b"),
    lambda rng: Colour.RED,
)


def random_value(rng, depth=4):
    """Return a value that may hold others."""
    if depth == 0 or rng.random() < 0.4:
        return rng.choice(ATOMS)(rng)
    items = [random_value(rng, depth - 1) for _ in range(rng.randrange(rng.choice((2, 5, 20))))]
    if items and rng.random() < 0.2:
        items.append(items[0])
    keys = [random_key(rng) for _ in items]
    return rng.choice(CONTAINERS)(rng, items, keys)


CONTAINERS = (
    lambda rng, items, keys: items,
    lambda rng, items, keys: [*items, items],
    lambda rng, items, keys: tuple(items),
    lambda rng, items, keys: {rng.choice(("id", "at", "x" * 40, "é")) + str(rng.randrange(9)): item for item in items},
    lambda rng, items, keys: [dict.fromkeys(("id", "name", "at"), item) for item in items],
    lambda rng, items, keys: dict(zip(keys, items, strict=True)),
    lambda rng, items, keys: set(keys),
    lambda rng, items, keys: frozenset(keys),
    lambda rng, items, keys: collections.deque(items, rng.choice((None, len(items), 99))),
    lambda rng, items, keys: collections.OrderedDict(zip(keys, items, strict=True)),
    lambda rng, items, keys: collections.defaultdict(list, zip(keys, items, strict=True)),
    lambda rng, items, keys: collections.Counter(range(5)),
    lambda rng, items, keys: [bytearray(b"abc"), slice(1, None)],
    lambda rng, items, keys: [Point(1, items), Bag(items), Frozen(1, items)],
    lambda rng, items, keys: Table(zip(keys, items, strict=True)),
)


def random_key(rng):
    """Return something hashable."""
    match rng.randrange(6):
        case 0:
            return (rng.randrange(99), rng.choice(ATOMS)(rng))
        case 1:
            return frozenset({rng.randrange(99), "x"})
        case 2:
            return Frozen(rng.randrange(99), Colour.BLUE)
        case _:
            return rng.choice(ATOMS)(rng)

"""The stable text of arguments: the same everywhere, another for every other value."""

import enum
import itertools
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal, localcontext
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier.decorators.text import UnstableError, plain_text, stable_text


class Color(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 1


class Perm(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int


NIGHT = datetime(2026, 10, 25, 2, 30, tzinfo=UTC)

TEXTS = {
    "None": None,
    "True": True,
    "1": 1,
    "1.0": 1.0,
    "-0.0": -0.0,
    "0.0": 0.0,
    "nan": float("nan"),
    "'1'": "1",
    "'None'": "None",
    "'it\\'s'": "it's",
    "'\\\\'": "\\",
    "b'31'": b"1",
    "Decimal(1.0)": Decimal("1.0"),
    "Decimal(1.00)": Decimal("1.00"),
    "UUID(00000000-0000-0000-0000-000000000001)": UUID(int=1),
    "date(2026-01-02)": date(2026, 1, 2),
    "time(01:02:03)": time(1, 2, 3),
    "datetime(2026-10-25T02:30:00)": NIGHT.replace(tzinfo=None),
    "datetime(2026-01-02T00:00:00+00:00)": datetime(2026, 1, 2, tzinfo=UTC),
    "datetime(2026-10-25T02:30:00+02:00[Europe/Berlin])": NIGHT.replace(tzinfo=ZoneInfo("Europe/Berlin")),
    "datetime(2026-10-25T02:30:00+01:00[Europe/Berlin] fold)": NIGHT.replace(tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    "datetime(2026-10-25T02:30:00+02:00)": NIGHT.replace(tzinfo=timezone(timedelta(hours=2))),
    "timedelta(-1,86399,1)": timedelta(seconds=-1, microseconds=1),
    "test_text.Color.RED": Color.RED,
    "test_text.Level.HIGH": Level.HIGH,
    "test_text.Perm.3": Perm.READ | Perm.WRITE,
    "int": int,
    "test_text.Color": Color,
    "()": (),
    "(1)": (1,),
    "('a','b')": ("a", "b"),
    "('a,b')": ("a,b",),
    "((1),(True))": ((1,), (True,)),
    "[1]": [1],
    "set(1,2)": {2, 1},
    "set()": set(),
    "frozenset('a','b')": frozenset("ba"),
    "{'1':None,1:'a'}": {"1": None, 1: "a"},
    "{}": {},
}


@pytest.mark.parametrize("text", TEXTS)
def test_texts(text):
    """Each type has its text, which is part of keys on servers: changing it orphans what was cached."""
    assert stable_text(TEXTS[text]) == text


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.binary(max_size=3)
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.datetimes()
    | st.sampled_from([Color.RED, Level.HIGH, Perm.READ, int, str]),
    lambda inner: st.lists(inner, max_size=3) | st.lists(inner, max_size=3).map(tuple),
    max_leaves=5,
)


def exact(value):
    """Return what distinguishes a value, types included, for Python's equality."""
    if isinstance(value, list | tuple):
        return type(value), tuple(map(exact, value))
    return type(value), repr(value)


@given(VALUES, VALUES)
def test_texts_are_one_to_one(one, other):
    """Two values have the same text exactly if they are of the same types and equal throughout."""
    assert (stable_text(one) == stable_text(other)) == (exact(one) == exact(other))


@given(st.lists(st.text(alphabet="a,'\\()", max_size=3), max_size=3), st.lists(st.text(alphabet="a,'\\()", max_size=3)))
def test_nothing_is_smuggled_through_quotes(one, other):
    """No str can pretend to be several, nor a container."""
    assert (stable_text(one) == stable_text(other)) == (one == other)


def test_order_of_sets_and_dicts_does_not_count():
    """Equal sets and dicts have one text, in whatever order they were made."""
    for order in itertools.permutations(["a", "b", 1, None]):
        assert stable_text(set(order)) == stable_text({"a", "b", 1, None})
        assert stable_text(dict.fromkeys(order)) == stable_text(dict.fromkeys(["a", "b", 1, None]))


def test_the_decimal_context_does_not_count():
    """A Decimal's text doesn't follow the thread's context."""
    with localcontext() as context:
        context.capitals = 0
        assert stable_text(Decimal("1E+5")) == "Decimal(1E+5)"


class Text(str):
    """Not quite a str."""

    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        object(),
        [object()],
        {object(): 1},
        {1: object()},
        Point(1),
        Text("a"),
        lambda: None,
        time(1, tzinfo=UTC),
        range(2),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_types_have_none(value):
    """What has no stable text is refused, wherever it is, and its type is named."""
    with pytest.raises(UnstableError, match="which has no stable text"):
        stable_text(value)
    with pytest.raises(UnstableError, match="which has no stable text"):
        plain_text(value)


def test_classes_made_in_functions_have_none():
    """Several classes may have such a name."""

    class Local(enum.Enum):
        A = 1

    for value in (Local, Local.A):
        with pytest.raises(UnstableError, match="made in a function"):
            stable_text(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("ada's", "ada's"),
        (7, "7"),
        (True, "True"),
        (None, "None"),
        (1.5, "1.5"),
        (b"\x01a", "0161"),
        (Decimal("1.50"), "1.50"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (date(2026, 1, 2), "2026-01-02"),
        (time(1, 2), "01:02:00"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00+00:00"),
        (Color.RED, "RED"),
        (Level.HIGH, "HIGH"),
        (Perm.READ | Perm.WRITE, "3"),
        (("a", 1), "('a',1)"),
        ([], "[]"),
    ],
)
def test_plain_texts(value, text):
    """In templates values are written as people write them."""
    assert plain_text(value) == text


@pytest.mark.parametrize("sign", [1, -1])
def test_large_integers_have_a_text_however_the_process_is_set(sign):
    """An int of more digits than Python tells is written by another base; equal ones alone have equal texts."""
    values = [sign * number for number in (2**2048 - 1, 2**2048, 10**5000, 10**5000 + 1)]
    before = sys.get_int_max_str_digits()
    try:
        texts = []
        for limit in (640, 4300, 0):
            sys.set_int_max_str_digits(limit)
            texts.append([text(value) for value in values for text in (stable_text, plain_text)])
            assert stable_text([values[2]]) == f"[{hex(values[2])}]"
    finally:
        sys.set_int_max_str_digits(before)
    assert texts[0] == texts[1] == texts[2]
    assert len(set(texts[0])) == len(values)


def test_large_flags_have_a_text():
    """Flags may be as large as ints."""
    assert stable_text(enum.Flag("Wide", {"FAR": 1 << 20_000}, module="shop").FAR).endswith(hex(1 << 20_000))

"""The copy rule: what comes out is equal and never shared, whatever goes in; immutables go by reference."""

import collections
import copy
import datetime as dt
import decimal
import enum
import fractions
import uuid

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from twotier import _speedups
from twotier.clock import NEVER
from twotier.local.twin import store as twin_store

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary())
HASHABLE = st.recursive(LEAVES, lambda inner: st.one_of(st.tuples(inner, inner), st.frozensets(inner)), max_leaves=6)
TREES = st.recursive(
    HASHABLE,
    lambda inner: st.one_of(
        st.lists(inner), st.dictionaries(HASHABLE, inner), st.sets(HASHABLE), st.tuples(inner, inner)
    ),
    max_leaves=20,
)


class Colour(enum.Enum):
    RED = "red"


@pytest.fixture
def round_trip(make_store):
    """Put a value and get it back from a store that copies."""
    store = make_store(copy="auto")

    def trip(value):
        store.put("key", value, expires=NEVER)
        return store.get("key")

    return trip


def alike(a, b):
    """Equal in value and in type, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(alike, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(alike(a[key], b[key]) for key in a)
    return a == b


def containers(value):
    """Yield every mutable container inside a value."""
    if isinstance(value, list | dict | set):
        yield value
    if isinstance(value, list | tuple):
        for item in value:
            yield from containers(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from containers(item)


@pytest.mark.parametrize(
    "value",
    [
        None, ..., True, 1, 2.5, 1j, "text", b"bytes", range(3), (), (1, ("a", b"b")), frozenset({1, (2, 3)}),
        dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.timedelta(1), decimal.Decimal("1.50"),
        fractions.Fraction(1, 3), uuid.UUID(int=5), Colour.RED, (Colour.RED, decimal.Decimal(2)),
    ],
)  # fmt: skip
def test_immutables_go_by_reference(round_trip, value):
    """The very object comes out."""
    assert round_trip(value) is value


@settings(max_examples=200, deadline=None)
@given(TREES)
def test_trees_are_copied_on_the_way_in_and_out(tree):
    """Equal in value and type, and no container is shared between caller, store and other callers."""
    for twin in (_speedups, twin_store):
        store = twin.Store(4, copy="auto")
        store.renew(NEVER)
        store.put("key", tree, expires=NEVER)
        first, second = store.get("key"), store.get("key")
        assert alike(first, tree)
        assert alike(second, tree)
        ids = [id(container) for value in (tree, first, second) for container in containers(value)]
        assert len(set(ids)) == len(ids)


def test_changes_stay_with_their_maker(round_trip):
    """Neither what was put nor what came out can change what is held."""
    value = {"list": [1, {2}], "tuple": ([3],)}
    out = round_trip(value)
    value["list"].append("mine")
    out["tuple"][0].append("yours")
    out["list"][1].add("yours")
    assert round_trip({"list": [1, {2}], "tuple": ([3],)}) == {"list": [1, {2}], "tuple": ([3],)}


def test_sharing_inside_a_value_is_kept(round_trip):
    """What was one object twice is one object twice."""
    inner = [1]
    out = round_trip({"a": inner, "b": inner, "c": (inner, inner), "d": [[1], [1]]})
    assert out["a"] is out["b"] is out["c"][0] is out["c"][1]
    assert out["d"][0] is not out["d"][1]
    assert out["a"] is not inner


def test_cycles_inside_a_value_are_kept(round_trip):
    """Lists in themselves, dicts in themselves, and a tuple in a list that it holds."""
    circle = [1]
    circle.append(circle)
    out = round_trip(circle)
    assert out[1] is out
    assert out is not circle
    table = {"x": 1}
    table["self"] = [table]
    out = round_trip(table)
    assert out["self"][0] is out
    held = []
    pair = (held, 2)
    held.append(pair)
    out = round_trip(pair)
    assert out[0][0] is out
    assert out[0] is not held


@pytest.mark.parametrize(
    "value",
    [
        collections.OrderedDict(a=[1]), collections.defaultdict(list, a=[1]), collections.Counter("aab"),
        collections.deque([1, [2]]), bytearray(b"x"), {"deep": [collections.OrderedDict(a=1)]},
    ],
)  # fmt: skip
def test_subclasses_are_no_built_ins(round_trip, value):
    """They go through the codec, and come out as what they are."""
    first, second = round_trip(value), round_trip(value)
    assert alike(first, value)
    assert first is not value
    assert first is not second


def test_a_subclass_keeps_what_a_list_would_lose(round_trip):
    """A list subclass with attributes of its own."""
    value = Tagged([1, 2])
    value.tag = "mine"
    out = round_trip(value)
    assert (type(out), list(out), out.tag) == (Tagged, [1, 2], "mine")


class Tagged(list):
    """A list with more than its items."""


def test_the_callers_bytes_are_used(make_store):
    """With `encoded` the codec isn't asked; a tree is copied all the same."""

    def encode(value):
        raise AssertionError(value)

    store = make_store(copy="auto", encode=encode, decode=lambda data: [data])
    store.put("a", object(), expires=NEVER, encoded=b"given")
    assert store.get("a") == [b"given"]
    store.put("b", [1], expires=NEVER, encoded=b"given")
    assert store.get("b") == [1]


def test_an_encoder_that_fails_changes_nothing(make_store):
    """Its error comes out, and the old value stands."""

    def encode(_):
        raise ZeroDivisionError

    store = make_store(copy="auto", encode=encode)
    store.put("a", 1, expires=NEVER)
    with pytest.raises(ZeroDivisionError):
        store.put("a", object(), expires=NEVER)
    assert store.get("a") == 1


def test_deep_values_raise_or_come_back(round_trip):
    """Nesting beyond Python's limit is a RecursionError, never a crash."""
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(RecursionError):
        round_trip(value)
    while value:
        value = value[0]
    shallow = [[[[1]]]]
    assert round_trip(shallow) == copy.deepcopy(shallow)


def test_never_hands_out_references(make_store):
    """copy="never" is for callers who promise not to mutate."""
    store = make_store()
    value = {"a": [1]}
    store.put("a", value, expires=NEVER)
    assert store.get("a") is value

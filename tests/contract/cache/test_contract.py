"""What every cache does, whichever tier answers."""

import datetime as dt
import decimal
import math
import uuid

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import wait_for

from twotier import Cache, ConfigurationError, Options, SerializationError, TwoTierError

VALUES = [
    None, True, False, 0, 1, -1, 2**63 - 1, -(2**63), 2**63, 10**40, 0.0, 1.5, math.inf, "", "text", "\ud800",
    b"", b"\x00\xff",
    (), (1, "two", (3,)), [], [1, [2, {"three": {4}}]], {}, {"a": [1], 2: (3,)}, set(), {1, 2}, frozenset({1}), 1 + 2j,
    bytearray(b"x"), range(3), decimal.Decimal("1.10"), dt.date(2026, 1, 2), dt.timedelta(1),
    dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC), uuid.UUID(int=7),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_round_trip_is_exact_in_type_and_value(cache, value):
    """What was set comes back equal, and of the same type."""
    cache.set("key", value)
    for _ in range(2):
        found = cache.get("key", "missing")
        assert type(found) is type(value)
        assert found == value


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
trees = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


def same(left, right):
    """Tell whether two trees are equal in value and type throughout."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right and repr(left) == repr(right)


@given(value=trees)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_any_tree_round_trips(cache, value):
    """Trees of built-ins come back the same in type and value, down to the leaves."""
    cache.set("tree", value)
    assert same(cache.get("tree"), value)
    assert same(cache.get("tree"), value)


def test_none_is_a_value(cache):
    """A stored None is a hit."""
    cache.set("key", None)
    assert cache.get("key", "default") is None
    assert "key" in cache


def test_missing_gives_the_default(cache):
    """A key that isn't there gives the default, by position or name."""
    assert cache.get("nothing") is None
    assert cache.get("nothing", 7) == 7
    assert cache.get("nothing", default=7) == 7
    assert "nothing" not in cache


def test_mutating_what_was_handed_out_changes_nothing(cache):
    """A caller's changes to a value stay with that caller: on the way in, and on the way out."""
    given = {"list": [1]}
    cache.set("key", given)
    given["list"].append(2)
    first = cache.get("key")
    first["list"].append(3)
    assert cache.get("key") == {"list": [1]}


def test_many(cache):
    """Bulk calls do what single ones do, in the order asked for, each key once."""
    cache.set_many({"a": 1, "b": [2], "c": None})
    assert list(cache.get_many(["c", "nothing", "a", "b", "a"]).items()) == [("c", None), ("a", 1), ("b", [2])]
    assert cache.delete_many(["a", "nothing", "b"]) == 2
    assert cache.get_many(["a", "b", "c"]) == {"c": None}
    assert cache.get_many([]) == {}
    assert cache.delete_many([]) == 0
    cache.set_many({})


def test_many_past_one_chunk(cache):
    """More keys than go into one trip all arrive."""
    values = {f"key {number}": number for number in range(1203)}
    cache.set_many(values)
    assert cache.get_many(values) == values
    assert cache.delete_many(values) == len(values)


def test_set_many_refuses_all_or_nothing(cache):
    """One value that can't be stored keeps all of its companions out."""
    with pytest.raises(SerializationError):
        cache.set_many({"good": 1, "bad": lambda: None})
    assert "good" not in cache


def test_add_puts_only_where_there_is_nothing(cache):
    """`add` tells whether it put."""
    assert cache.add("key", 1) is True
    assert cache.add("key", 2) is False
    assert cache.get("key") == 1
    cache.delete("key")
    assert cache.add("key", 3) is True
    assert cache.get("key") == 3


def test_delete_tells_whether_it_was_there(cache):
    """`delete` is True once."""
    cache.set("key", 1)
    assert cache.delete("key") is True
    assert cache.delete("key") is False
    assert "key" not in cache


def test_ttl_and_touch(cache):
    """A ttl is what was given, the cache's own, or None; touch changes it; a key that isn't there has 0.0."""
    cache.set("given", 1, ttl=50)
    cache.set("own", 1)
    cache.set("forever", 1, ttl=None)
    assert 49 < cache.ttl("given") <= 50
    assert 299 < cache.ttl("own") <= 300
    assert cache.ttl("forever") is None
    assert cache.ttl("nothing") == 0.0
    assert cache.touch("given", 500) is True
    assert 499 < cache.ttl("given") <= 500
    assert cache.touch("given", None) is True
    assert cache.ttl("given") is None
    assert cache.touch("given", None) is True
    assert cache.touch("given") is True
    assert 299 < cache.ttl("given") <= 300
    assert cache.touch("nothing") is False
    assert cache.get("given") == 1


def test_ttl_of_zero_stores_nothing_and_deletes(cache):
    """A ttl of 0 leaves nothing there, whichever call it comes with."""
    cache.set("key", 1)
    assert cache.add("key", 2, ttl=0) is False
    assert cache.get("key") == 1
    cache.set("key", 2, ttl=0)
    assert "key" not in cache
    assert cache.add("key", 2, ttl=0) is True
    assert "key" not in cache
    cache.set_many({"a": 1, "b": 2})
    cache.set_many({"a": 1}, ttl=0)
    assert cache.touch("b", 0) is True
    assert cache.get_many(["a", "b"]) == {}
    assert cache.get_or_set("loaded", lambda: 5, ttl=0) == 5
    assert "loaded" not in cache


def test_entries_expire(cache):
    """What has outlived its ttl isn't served."""
    cache.set("key", 1, ttl=0.05)
    wait_for(lambda: cache.get("key") is None, "the value has expired")
    assert "key" not in cache
    wait_for(lambda: cache.add("key", 2), "there is room for another")


@pytest.mark.parametrize("ttl", [-1, -0.001, math.nan, -math.inf])
def test_bad_ttl_is_refused(cache, ttl):
    """A negative ttl or NaN is a ValueError that names it, and nothing is changed."""
    cache.set("key", 1)
    for call in (
        lambda: cache.set("key", 2, ttl=ttl),
        lambda: cache.set_many({"key": 2}, ttl=ttl),
        lambda: cache.add("other", 2, ttl=ttl),
        lambda: cache.touch("key", ttl),
        lambda: cache.incr("key", 1, ttl),
        lambda: cache.get_or_set("other", lambda: 1, ttl=ttl),
    ):
        with pytest.raises(ValueError, match="ttl must be >= 0"):
            call()
    assert cache.get("key") == 1
    assert "other" not in cache


@pytest.mark.parametrize("ttl", ["1", True, [1]])
def test_ttl_of_another_type_is_refused(cache, ttl):
    """A ttl that is no number is a TypeError."""
    with pytest.raises(TypeError, match="ttl must be seconds"):
        cache.set("key", 1, ttl=ttl)


def test_huge_ttl_is_taken(cache):
    """An infinite ttl is no expiry; one of a thousand years is stored."""
    cache.set("infinite", 1, ttl=math.inf)
    cache.set("millennium", 2, ttl=1000 * 365 * 86400.0)
    assert cache.get_many(["infinite", "millennium"]) == {"infinite": 1, "millennium": 2}


@pytest.mark.parametrize("key", [1, None, b"bytes", ("a",)])
def test_key_of_another_type_is_refused(cache, key):
    """Keys are str; anything else is a TypeError in every call."""
    for call in (
        lambda: cache.get(key),
        lambda: cache.set(key, 1),
        lambda: cache.add(key, 1),
        lambda: cache.delete(key),
        lambda: cache.touch(key),
        lambda: cache.ttl(key),
        lambda: cache.incr(key),
        lambda: key in cache,
        lambda: cache.get_or_set(key, lambda: 1),
        lambda: cache.get_many([key]),
        lambda: cache.set_many({key: 1}),
        lambda: cache.delete_many([key]),
    ):
        with pytest.raises(TypeError, match="key must be a str"):
            call()


def test_key_of_a_bad_length_is_refused(cache):
    """An empty key, or one over 64 KiB in UTF-8, is a ValueError; the longest allowed works."""
    with pytest.raises(ValueError, match="empty"):
        cache.get("")
    with pytest.raises(ValueError, match="at most 65536 bytes"):
        cache.set("é" * 32769, 1)
    longest = "é" * 32768
    cache.set(longest, 1)
    assert cache.get(longest) == 1


def test_a_lone_str_is_not_keys(cache):
    """Passing one key where several are expected is caught."""
    with pytest.raises(TypeError, match="iterable of str"):
        cache.get_many("key")
    with pytest.raises(TypeError, match="iterable of str"):
        cache.delete_many("key")
    with pytest.raises(TypeError, match="keys must be an iterable of str, got one bytes"):
        cache.get_many(b"key")


@pytest.mark.parametrize("wrong", [None, 5])
def test_what_is_no_iterable_is_not_keys(cache, wrong):
    """The error names the argument and what was given."""
    for call in (cache.get_many, cache.delete_many, cache.invalidate_many):
        with pytest.raises(TypeError, match=f"keys must be an iterable of str, got {type(wrong).__name__}: {wrong}"):
            call(wrong)


@pytest.mark.parametrize("wrong", [None, [("key", 1)], "key"])
def test_what_is_no_mapping_is_not_values(cache, wrong):
    """`set_many` takes a mapping; the error names the argument and what was given."""
    with pytest.raises(TypeError, match=f"values must be a mapping of str to values, got {type(wrong).__name__}"):
        cache.set_many(wrong)


@pytest.mark.parametrize("key", ["a b\n", "é", "\ud800", "a:b", "x" * 10_000])
def test_any_str_is_a_key(cache, key):
    """Spaces, control characters, surrogates and colons are fine."""
    cache.set(key, [key])
    assert cache.get(key) == [key]
    assert cache.get_many([key]) == {key: [key]}
    assert cache.delete(key) is True


def test_subclass_of_str_is_the_same_key(cache):
    """A str subclass names the same entry as its text."""

    class Name(str):
        __slots__ = ()

    cache.set(Name("key"), 1)
    assert cache.get("key") == 1
    assert cache.get(Name("key")) == 1
    assert cache.get_many([Name("key")]) == {"key": 1}
    assert Name("key") in cache


def test_incr_and_decr(cache):
    """Counters start from 0, keep their expiry, and refuse what is no integer."""
    assert cache.incr("count") == 1
    assert cache.incr("count", 41) == 42
    assert cache.decr("count", 2) == 40
    assert cache.get("count") == 40
    assert 299 < cache.ttl("count") <= 300
    cache.set("count", 7, ttl=1000)
    assert cache.incr("count") == 8
    assert cache.ttl("count") > 900
    assert cache.incr("other", 5, ttl=50) == 5
    assert 49 < cache.ttl("other") <= 50
    for value in ("text", 1.5, True, 2**63, [1]):
        cache.set("count", value)
        with pytest.raises(TypeError, match="'count' is no integer"):
            cache.incr("count")
        assert cache.get("count") == value


def test_incr_past_64_bits(cache):
    """A sum that doesn't fit is an OverflowError, and changes nothing; so is such a delta."""
    cache.set("count", 2**63 - 1)
    with pytest.raises(OverflowError):
        cache.incr("count")
    with pytest.raises(OverflowError):
        cache.incr("count", 2**63)
    assert cache.get("count") == 2**63 - 1


def test_incr_of_what_exists_only(cache):
    """With create=False a missing counter is a KeyError, and stays missing."""
    with pytest.raises(KeyError):
        cache.incr("count", create=False)
    assert "count" not in cache
    cache.set("count", 1)
    assert cache.incr("count", create=False) == 2


def test_incr_by_no_int(cache):
    """A delta must be an int of 64 bits; the error tells it as it was given."""
    for call in (cache.incr, cache.decr):
        for delta in (1.5, "1", True, None):
            with pytest.raises(TypeError, match=f"delta must be an int, got {delta!r}"):
                call("count", delta)
        with pytest.raises(OverflowError, match=f"delta must be an int of 64 bits, got {1 << 63}"):
            call("count", 1 << 63)
    with pytest.raises(OverflowError, match=f"an opposite of 64 bits, got {-1 << 63}"):
        cache.decr("count", -1 << 63)
    assert "count" not in cache


def test_clear_leaves_other_namespaces(cache, server):
    """`clear` empties this namespace alone."""
    with Cache(server.url, namespace=f"{cache.options.namespace}.other") as other:
        other.set("key", 1)
        cache.set_many({"a": 1, "b": 2})
        cache.clear()
        assert cache.get_many(["a", "b"]) == {}
        cache.set("a", 3)
        assert cache.get("a") == 3
        assert other.get("key") == 1


def test_value_too_large_is_refused(namespace, server):
    """A value over max_value_bytes is a SerializationError in either mode, and the old one stays."""
    for target in (None, server.url):
        with Cache(target, namespace=namespace, max_value_bytes=1000) as cache:
            cache.set("key", "small")
            for value in ("x" * 2000, b"x" * 2000, ["x" * 2000]):
                with pytest.raises(SerializationError, match="max_value_bytes"):
                    cache.set("key", value)
            assert cache.get("key") == "small"


def test_value_of_an_unknown_type_is_refused(cache):
    """What the codec wouldn't rebuild is refused when it is set, by name."""

    class Mine:
        pass

    with pytest.raises(SerializationError, match="Mine"):
        cache.set("key", [Mine()])
    assert "key" not in cache


def test_closed_cache_says_so(cache):
    """After close, every call is a clear error, and closing again is fine."""
    cache.set("key", 1)
    cache.close()
    cache.close()
    for call in (lambda: cache.get("key"), lambda: cache.set("key", 1), lambda: cache.get_many(["key"])):
        with pytest.raises(TwoTierError, match="closed"):
            call()


def test_stats_count_reads(cache):
    """Hits and misses add up to the reads."""
    cache.set("key", 1)
    cache.get("key")
    cache.get_many(["key", "nothing"])
    cache.get("nothing")
    stats = cache.stats()
    expected = 2 + (1 if cache.options.local_ttl else 0) * 0
    assert stats.hits - stats.stale_served >= expected
    assert stats.hits == stats.local_hits + stats.remote_hits + stats.stale_served
    assert stats.misses >= 2


def test_options_and_settings_exclude_each_other():
    """Giving both leaves open which wins."""
    with pytest.raises(TypeError, match="either options or keyword"):
        Cache(options=Options(), ttl=1)


def test_options_are_an_options():
    """A dict of fields in the place of options is refused, and not looked at later."""
    with pytest.raises(TypeError, match=r"options must be an Options, got dict: \{'ttl': 1\}"):
        Cache(None, {"ttl": 1})


@pytest.mark.parametrize("wrong", [5, [5], iter([int])])
def test_allow_is_a_sequence_of_types(wrong):
    """What is none is named; what can be gone through only once would allow nothing the second time."""
    with pytest.raises(ConfigurationError, match="allow must be a sequence of types"):
        Options(allow=wrong)

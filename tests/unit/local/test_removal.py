"""Removal listeners: who left and why, told after the fact; and the byte bound that makes entries leave."""

import logging

import pytest

from twotier.clock import NEVER, SECOND, ManualClock
from twotier.errors import ConfigurationError


@pytest.fixture
def left():
    """What the listener was told."""
    return []


def test_every_cause_is_told(make_store, clock, left):
    """Explicit, replaced, size, expired, invalidated: each with the key and the value that left."""
    store = make_store(2, on_removal=lambda *told: left.append(told))
    store.put("a", 1, expires=NEVER)
    store.put("a", 2, expires=NEVER)
    store.put("b", 3, expires=clock.now() + SECOND)
    store.get("b")
    store.put("c", 4, expires=NEVER)
    clock.advance(2)
    store.expire()
    store.apply(["c"], 1)
    store.put("d", 5, expires=NEVER)
    store.discard("d")
    store.put("e", 6, expires=NEVER)
    store.clear()
    store.put("f", 7, expires=NEVER)
    store.begin_write("f")
    assert left == [
        ("a", 1, "replaced"),
        ("a", 2, "size"),
        ("b", 3, "expired"),
        ("c", 4, "invalidated"),
        ("d", 5, "explicit"),
        ("e", 6, "explicit"),
        ("f", 7, "explicit"),
    ]


def test_the_listener_sees_a_store_at_rest(make_store, left):
    """It may read, write and delete: the operation that it is told of is over."""

    def listener(key, value, cause):
        store.validate()
        left.append((key, cause))
        if cause == "size" and isinstance(key, int):
            store.put(("again", key), value, expires=NEVER)

    store = make_store(3, on_removal=listener)
    for key in range(4):
        store.put(key, key, expires=NEVER)
    assert left[0] == (0, "size")
    assert len(store) == 3


def test_a_listener_that_always_raises_fills_no_log(make_store, caplog):
    """One line a minute, which cuts the key; every failure is counted."""

    def fail(*_):
        raise ZeroDivisionError

    store = make_store(10, on_removal=fail)
    with caplog.at_level(logging.ERROR, logger="twotier"):
        for number in range(1000):
            store.put(f"{number}" + "x" * 100_000, number, expires=NEVER)
    assert store.counters()["removal_errors"] == 990
    assert len(caplog.records) == 1
    assert len(caplog.records[0].getMessage()) < 300


def test_a_listener_that_raises_is_logged_and_counted(make_store, caplog):
    """Its error reaches nobody, and no state is lost."""

    def listener(*_):
        raise RuntimeError("oops")

    store = make_store(2, on_removal=listener)
    with caplog.at_level(logging.ERROR, logger="twotier"):
        for key in range(5):
            store.put(key, key, expires=NEVER)
    assert (len(store), store.counters()["removal_errors"]) == (2, 3)
    assert "on_removal failed for key 0" in caplog.text


def test_the_listener_gets_values_not_bytes(make_store, left):
    """What is kept encoded is decoded for it."""
    store = make_store(copy="auto", on_removal=lambda *told: left.append(told))
    value = range(3), bytearray(b"x")
    store.put("a", value, expires=NEVER)
    store.discard("a")
    assert left == [("a", value, "explicit")]


@pytest.mark.parametrize("policy", ["lru", "lfu", "adaptive"])
def test_bytes_are_bounded(make_store, policy):
    """Weights never add up to more than the bound, and count as `bytes`."""
    store = make_store(1000, policy=policy, max_bytes=100, weigher=lambda _, value: value)
    for key in range(200):
        store.put(key, key % 30 + 1, expires=NEVER)
        assert store.counters()["bytes"] <= 100
        store.validate()
    assert store.counters()["bytes"] > 60


def test_what_is_over_the_bound_is_refused_alone(make_store, left):
    """Nothing else leaves for it; what was there under its key does."""
    store = make_store(
        policy="lru", max_bytes=100, weigher=lambda _, value: value, on_removal=lambda *told: left.append(told)
    )
    for key in range(5):
        store.put(key, 20, expires=NEVER)
    assert not store.install("big", 101, store.token("big"), expires=NEVER)
    assert len(store) == 5
    store.put(0, 101, expires=NEVER)
    assert sorted(store.keys()) == [1, 2, 3, 4]
    assert left == [(0, 20, "size")]
    store.put(1, 100, expires=NEVER)
    assert store.keys() == [1]


def test_the_default_weight_is_the_encoded_size(make_store):
    """The caller's bytes if there are any, the codec's otherwise."""
    store = make_store(max_bytes=1000, encode=lambda _: b"x" * 70)
    store.put("a", 1, expires=NEVER)
    assert store.counters()["bytes"] == 70
    store.put("b", 1, expires=NEVER, encoded=b"12345")
    assert store.counters()["bytes"] == 75
    store.discard("a")
    assert store.counters()["bytes"] == 5


@pytest.mark.parametrize("bad", [-1, 1.5, None, True, 1 << 62])
def test_a_bad_weight_is_refused(make_store, bad):
    """The put fails, and the store is as it was."""
    store = make_store(max_bytes=1000, weigher=lambda *_: bad)
    with pytest.raises(ValueError, match="weigher must return an int >= 0, got"):
        store.put("a", 1, expires=NEVER)
    assert len(store) == 0


@pytest.mark.parametrize("bad", [0, -5, 2.5, True, "1"])
def test_a_bad_bound_is_named(twin, bad):
    """max_bytes is a whole number of bytes."""
    with pytest.raises(ConfigurationError, match="max_bytes must be None or an int from 1 to 2"):
        twin.Store(10, max_bytes=bad)


@pytest.mark.parametrize("policy", ["lru", "lfu", "adaptive"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupted_listener_leaves_no_more_than_maxsize(make_store, policy, stop):
    """What was to leave has left when the listener is interrupted, early or late; the exception reaches the caller."""
    for at in (0, 60, 149):
        told = []

        def listener(key, _value, _cause, told=told, at=at):
            told.append(key)
            if len(told) > at:
                raise stop

        store = make_store(200, policy=policy, on_removal=listener)
        for key in range(200):
            store.put(key, key, expires=NEVER)
        with pytest.raises(stop):
            store.resize(50)
        assert len(told) == at + 1
        assert len(store) == 50
        assert store.maxsize == 50
        store.validate()


def test_the_listener_of_a_resize_sees_a_store_at_rest(make_store):
    """It may read, write, and resize again, while more is still to leave."""
    told = []

    def listener(key, value, _cause):
        store.validate()
        told.append(key)
        if len(told) == 10:
            store.put("new", value, expires=NEVER)
        if len(told) == 100:
            store.resize(20)

    store = make_store(200, on_removal=listener)
    for key in range(200):
        store.put(key, key, expires=NEVER)
    store.resize(50)
    assert len(store) == store.maxsize == 20
    assert len(told) == len(set(told)) == 181


def test_values_changed_in_place_are_reported(make_store, caplog):
    """copy="check" hands out references, and says once when one was mutated."""
    store = make_store(copy="check")
    store.put("a", {"list": []}, expires=NEVER)
    store.put("b", "text", expires=NEVER)
    first = store.get("a")
    assert store.get("a") is first
    assert not caplog.records
    first["list"].append(1)
    with caplog.at_level(logging.WARNING, logger="twotier"):
        assert store.get("a") is first
        assert store.get("a") is first
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "changed in place" in caplog.text


def test_values_changed_in_place_are_reported_once_a_minute(make_store, monkeypatch, caplog):
    """A hot path that mutates what it reads doesn't fill the log: the others are counted into the next line."""
    clock = ManualClock()
    monkeypatch.setattr("twotier.local.twin.mutation_check.SystemClock", lambda: clock)
    store, other = make_store(copy="check"), make_store(copy="check")
    for each in (store, other):
        each.put("a", [], expires=NEVER)
    with caplog.at_level(logging.WARNING, logger="twotier"):
        for _ in range(500):
            store.get("a").append(1)
        assert len(caplog.records) == 1
        clock.advance(61)
        store.get("a")
        assert len(caplog.records) == 2
        assert "(and 498 like it since the last line)" in caplog.text
        other.get("a").append(1)
        other.get("a")
    assert len(caplog.records) == 3

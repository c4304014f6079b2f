"""The record of what the source has had: against plain sets, within its bounds, and of any bytes."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier.core.write_behind import high_water
from twotier.core.write_behind.high_water import HighWater, Origin
from twotier.core.write_behind.spans import Spans

NUMBERS = st.integers(1, 30)
RANGES = st.tuples(NUMBERS, NUMBERS).map(sorted)


@given(st.lists(st.tuples(st.sampled_from(["add", "remove"]), RANGES), max_size=40))
def test_spans_are_a_set(steps):
    """Adding and removing ranges leaves what a set would have, in as few spans as there can be."""
    spans, expected = Spans(), set()
    for step, (first, last) in steps:
        numbers = set(range(first, last + 1))
        getattr(spans, step)(first, last)
        expected = expected | numbers if step == "add" else expected - numbers
    assert {number for number in range(40) if number in spans} == expected
    assert spans.total == len(expected)
    assert len(spans) == sum(number - 1 not in expected for number in expected)


@given(st.lists(RANGES, max_size=8), st.lists(RANGES, max_size=8))
def test_spans_are_compared_as_sets(one, other):
    """What is common, and what is left without others, is what sets say."""
    mine, theirs = (set().union(*(range(first, last + 1) for first, last in each)) for each in (one, other))
    for spans, expected in (
        (Spans(one).intersection(Spans(other)), mine & theirs),
        (Spans(one).difference(Spans(other)), mine - theirs),
    ):
        assert {number for number in range(40) if number in spans} == expected


STEPS = st.lists(st.tuples(st.sampled_from(["take", "had", "died", "saved", "other"]), st.integers(1, 12)), max_size=40)


@given(STEPS)
def test_what_was_had_stays_had(steps):
    """Whatever comes in whatever order, through bytes and merged with an older record, nothing had is let in again."""
    record, had, dead, taken = HighWater(), set(), set(), set()
    older = record.pack()
    for step, number in steps:
        origin = Origin(b"writer-1", number, number)
        if step == "saved":
            older = record.pack()
        elif step == "other":
            record = HighWater.unpack(record.pack())
            record.merge(HighWater.unpack(older))
            taken.clear()
        elif step == "take" and number not in had | dead | taken:
            record.take(origin)
            taken.add(number)
        elif step == "had":
            record.had([origin])
            had.add(number)
            dead.discard(number)
            taken.discard(number)
        elif step == "died" and number not in had:
            record.died(origin)
            dead.add(number)
            taken.discard(number)
        for each in range(1, 14):
            expected = "had" if each in had else "dead" if each in dead else "waiting" if each in taken else "new"
            assert record.judge(Origin(b"writer-1", each, each)) == expected
        assert record.lacks(b"writer-1", 1, 14, 1) == 14 - len(had | dead)
    assert HighWater.unpack(record.pack()).pack() == record.pack()


def test_writers_are_bounded():
    """The least recent leave; what they had appended before is refused, and what they append later isn't."""
    record = HighWater()
    for number in range(high_water.MOST_WRITERS + 10):
        record.had([Origin(b"%08d" % number, 1, 1000 + number)])
    assert len(record.pack()) < 44 * (high_water.MOST_WRITERS + 1)
    assert record.judge(Origin(b"%08d" % 0, 1, 1000)) == "old"
    assert record.judge(Origin(b"%08d" % 0, 2, 5000)) == "new"
    assert record.judge(Origin(b"%08d" % 10, 1, 1010)) == "had"
    assert record.judge(Origin(b"newcomer", 1, 900)) == "old"
    assert record.lacks(b"%08d" % 0, 1, 1, 1000) == 0


def test_gaps_are_bounded_and_what_waits_or_is_dead_is_never_forgotten():
    """Of numbers that never came the oldest are closed, so that what is late then is taken for what the source had."""
    record = HighWater()
    record.had([Origin(b"writer-1", 1, 1), Origin(b"writer-1", 3, 1)])
    record.take(Origin(b"writer-1", 2, 1))
    record.died(Origin(b"writer-1", 5, 1))
    for number in range(7, 3 * high_water.MOST_GAPS, 2):
        record.had([Origin(b"writer-1", number, 1)])
    expected = {1: "had", 2: "waiting", 3: "had", 4: "had", 5: "dead", 6: "had", 3 * high_water.MOST_GAPS - 2: "new"}
    assert {number: record.judge(Origin(b"writer-1", number, 1)) for number in expected} == expected
    assert len(record.pack()) < 16 * (high_water.MOST_GAPS + 10)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_none(data):
    """What isn't a record is none, however large it says that it is."""
    for each in (data, HighWater().pack()[:9] + data, b"\x01" + bytes(8) + b"\xff" * 4 + data):
        found = HighWater.unpack(each)
        if found is not None:
            found.merge(HighWater())
            assert found.judge(Origin(b"writer-1", 1, 1)) in ("new", "had", "dead", "old")


def test_a_number_of_no_writer_is_refused():
    """Numbers begin at 1, and what is too short is no origin."""
    assert HighWater().judge(Origin(b"writer-1", 0, 1)) == "old"
    assert Origin.unpack(os.urandom(23)) is None


@pytest.mark.parametrize("number", [1, (1 << 64) - 1])
def test_an_origin_has_the_bytes_that_other_processes_expect(number):
    """Writer, number and time, each of 8 bytes."""
    origin = Origin(b"writer-1", number, 2)
    assert origin.pack() == b"writer-1" + number.to_bytes(8, "big") + (2).to_bytes(8, "big")
    assert Origin.unpack(origin.pack() + b"payload") == origin

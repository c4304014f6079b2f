"""Histograms: exact to a quarter, whatever is counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twotier.histogram import BUCKETS, Histogram, Recorder


@given(st.lists(st.integers(0, 4_000_000_000), min_size=1), st.floats(0.01, 1))
def test_quantiles_are_at_most_a_quarter_too_long(durations, share):
    """A quantile is never under the true one, and at most a quarter over it."""
    recorder = Recorder()
    for each in durations:
        recorder.add(each)
    histogram = recorder.histogram()
    assert histogram.count == len(durations)
    rank = next(rank for rank in range(1, len(durations) + 1) if rank >= share * len(durations))
    true = sorted(durations)[rank - 1]
    found = round(histogram.quantile(share) * 1_000_000)
    assert true <= found <= true * 1.25


def test_extremes():
    """What is negative counts as nothing, what is over all buckets falls into the last; nothing at all is 0."""
    recorder = Recorder()
    assert recorder.histogram() == Histogram()
    assert Histogram().p99 == 0.0
    recorder.add(-5)
    assert recorder.histogram() == Histogram((1,))
    recorder.add(1 << 60)
    assert len(recorder.histogram().counts) == BUCKETS
    with pytest.raises(ValueError, match="share"):
        Histogram().quantile(1.5)

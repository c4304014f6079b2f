"""Back-off: pauses double up to the longest, and begin anew after a success."""

import pytest

from twotier.backoff import Backoff


@pytest.mark.parametrize(("first", "longest", "pauses"), [(1, 5, [1, 2, 4, 5, 5]), (0.25, 0.25, [0.25, 0.25])])
def test_pauses_double_up_to_the_longest(first, longest, pauses):
    """Each pause is twice the one before, and none is longer than the longest."""
    backoff = Backoff(first, longest)
    assert [backoff.next() for _ in pauses] == pauses
    backoff.reset()
    assert backoff.next() == first


def test_a_refusal_goes_on_with_the_longest():
    """After `hold` every pause is the longest, until an attempt succeeds."""
    backoff = Backoff(1, 8)
    backoff.hold()
    assert [backoff.next(), backoff.next()] == [8, 8]
    backoff.reset()
    assert backoff.next() == 1

"""What a process may believe of its namespace's generation."""

import pytest

from twotier.clock import NEVER, SystemClock
from twotier.core.namespace.generations import Generations
from twotier.local import Store


@pytest.fixture
def store():
    """A live local tier."""
    store = Store(10)
    store.renew(NEVER)
    return store


@pytest.fixture
def generations(store):
    """What is known of a namespace's generation: nothing yet."""
    return Generations("shop", store, SystemClock(), NEVER)


def asked(generations, answer):
    """Return the prefix, and whether the server was asked for it."""
    flow = generations.prefix()
    try:
        next(flow)
    except StopIteration as known:
        return known.value, False
    with pytest.raises(StopIteration) as done:
        flow.send(answer)
    return done.value.value, True


def test_it_is_asked_for_once_an_epoch(generations, store):
    """An answer holds until something could have changed it unheard."""
    assert asked(generations, b"one-5678") == (b"shop:one-5678:", True)
    assert asked(generations, b"two-5678") == (b"shop:one-5678:", False)
    store.bump_epoch()
    assert asked(generations, b"two-5678") == (b"shop:two-5678:", True)


def test_it_is_asked_for_every_time_without_a_lease(generations, store):
    """While the link isn't live, nothing is believed."""
    store.lose()
    assert asked(generations, b"one-5678") == (b"shop:one-5678:", True)
    assert asked(generations, b"two-5678") == (b"shop:two-5678:", True)


def test_answer_from_before_a_clear_is_not_taken_over(generations, store):
    """A lease exchange that read the generation just before a clear doesn't bring the old one back after it."""
    assert asked(generations, b"old-5678") == (b"shop:old-5678:", True)
    store.clear()
    assert not generations.contradicts(b"old-5678")
    assert asked(generations, b"new-5678") == (b"shop:new-5678:", True)


def test_an_answer_that_spans_a_clear_serves_its_caller_only(generations, store):
    """An answer is believed for the epoch in which it was asked for."""
    flow = generations.prefix()
    next(flow)
    store.clear()
    with pytest.raises(StopIteration) as done:
        flow.send(b"old-5678")
    assert done.value.value == b"shop:old-5678:"
    assert asked(generations, b"new-5678") == (b"shop:new-5678:", True)


def test_contradiction_is_seen(generations):
    """Another generation than the known one, or none, tells that the namespace was cleared or lost unheard."""
    assert not generations.contradicts(b"any-5678")
    asked(generations, b"one-5678")
    assert not generations.contradicts(b"one-5678")
    assert generations.contradicts(b"two-5678")
    assert generations.contradicts(None)

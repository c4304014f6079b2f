"""The circuit breaker: what opens it, who may probe, and what closes it."""

import threading

import pytest

from twotier.clock import ManualClock
from twotier.errors import RemoteUnavailable
from twotier.remote.io.breaker import Breaker


@pytest.fixture
def breaker():
    return Breaker(ManualClock())


def open_(breaker):
    for _ in range(3):
        breaker.failed()
    assert breaker.state == "open"


def test_three_failures_in_a_row_open_it(breaker):
    """A success in between starts the count anew."""
    breaker.failed()
    breaker.failed()
    breaker.succeeded()
    breaker.failed()
    breaker.failed()
    breaker.check()
    breaker.failed()
    with pytest.raises(RemoteUnavailable, match="circuit breaker"):
        breaker.check()


def test_on_open_is_called_once_an_opening_and_may_call_back(breaker):
    """The callback runs outside the lock, once for each time that the breaker goes from closed to open."""
    calls = []
    breaker.on_open = lambda: calls.append(breaker.begin_probe())
    open_half = [breaker.failed() for _ in range(5)]
    assert open_half == [None] * 5
    assert calls == [True]
    breaker.probe_failed()
    breaker.trip()
    assert calls == [True]
    assert breaker.begin_probe()
    breaker.close()
    breaker.trip()
    assert calls == [True, True]


def test_one_prober_at_a_time(breaker):
    """Of many that ask, one may probe; after it failed, one more."""
    assert not breaker.begin_probe()
    open_(breaker)
    granted = []
    threads = [threading.Thread(target=lambda: granted.append(breaker.begin_probe())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(granted) == [False] * 7 + [True]
    with pytest.raises(RemoteUnavailable):
        breaker.check()
    breaker.probe_failed()
    assert breaker.begin_probe()
    breaker.close()
    breaker.check()


def test_late_answers_change_nothing(breaker):
    """Calls that began before the opening neither close the breaker nor disturb a probe."""
    open_(breaker)
    breaker.succeeded()
    breaker.close()
    assert breaker.state == "open"
    assert breaker.begin_probe()
    breaker.succeeded()
    breaker.failed()
    assert breaker.state == "half-open"


def test_a_trip_during_the_probe_wins(breaker):
    """A prober can't close a breaker that was tripped while it probed."""
    open_(breaker)
    assert breaker.begin_probe()
    breaker.trip()
    breaker.close()
    assert breaker.state == "open"


def test_failures_before_a_closing_are_forgotten(breaker):
    """After it closed, it takes as many failures again."""
    open_(breaker)
    assert breaker.begin_probe()
    breaker.failed()
    breaker.close()
    breaker.failed()
    breaker.failed()
    breaker.check()


def test_the_error_tells_for_how_long():
    """The error of an open breaker says how long the remote tier has been away."""
    clock = ManualClock()
    breaker = Breaker(clock, threshold=1)
    breaker.failed()
    clock.advance(2.5)
    breaker.trip()
    with pytest.raises(RemoteUnavailable, match=r"open for 2\.5 s"):
        breaker.check()

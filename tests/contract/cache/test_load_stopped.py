"""Loads whose leader is stopped: nobody else fails or hangs for it."""

import threading

import pytest
from waiting import wait_for

from twotier.core.loading.single_flight import SingleFlight


@pytest.mark.parametrize("face", [lambda cache: cache], ids=["Cache"])
@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_followers_of_a_stopped_leader_take_over(cache, stop, monkeypatch):
    """A leader that is interrupted raises alone; one of those who waited for it loads, the others follow that one."""
    began, results, loads = threading.Event(), [], []
    joined, join = [], SingleFlight.join

    def counted(flights, key, mine):
        flight = join(flights, key, mine)
        if key == "key":
            joined.append(flight)
        return flight

    monkeypatch.setattr(SingleFlight, "join", counted)

    def stopped():
        began.set()
        wait_for(lambda: len(joined) == 5, "all wait for this one")
        raise stop

    def lead():
        with pytest.raises(stop):
            cache.get_or_set("key", stopped)
        results.append("stopped")

    def follow():
        began.wait(30)
        results.append(cache.get_or_set("key", lambda: loads.append(1) or "loaded"))

    threads = [threading.Thread(target=lead), *(threading.Thread(target=follow) for _ in range(4))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(results) == ["loaded"] * 4 + ["stopped"]
    assert loads == [1]
    assert cache.stats().load_errors == 0

"""What an outage leaves in the log and the counters."""

import logging

import pytest
from waiting import live, wait_for

from twotier import Cache
from twotier.clock import ManualClock
from twotier.core.outage import journal
from twotier.remote.io.breaker import Breaker


def test_an_outage_is_logged_when_it_begins_and_ends(own_server, namespace, caplog, monkeypatch):
    """With namespace and server, once each, and counted; so is a journal that overflows."""
    monkeypatch.setattr(journal, "MOST_BYTES", 0)
    with Cache(own_server.url, namespace=namespace, max_journal=5) as cache:
        wait_for(lambda: live(cache), "the link is live")
        assert (cache.stats().outages, cache.stats().journal_overflows) == (0, 0)
        own_server.kill()
        wait_for(lambda: cache.get("?") is None and cache.health().breaker == "open", "the outage is noticed")
        for number in range(6):
            cache.set(f"key:{number}", number)
        own_server.start()
        wait_for(lambda: live(cache) and cache.health().breaker == "closed", "the server is back")
        stats = cache.stats()
    assert (stats.outages, stats.journal_overflows) == (1, 1)
    lines = [record.getMessage() for record in caplog.records if namespace in record.getMessage()]
    label = f"namespace {namespace} on {cache._namespace.label}: "
    told = [line.removeprefix(label) for line in lines if line.startswith(label)]
    assert told[0] == "the circuit breaker is open, as the server doesn't answer (outage 1 of this process)"
    assert told[1] == "more keys are in doubt than the journal takes; what they belong to is cleared instead"
    assert told[2].startswith("the circuit breaker is closed, after an outage of")
    assert len(told) == 3


@pytest.mark.parametrize("seconds", [59, 60])
def test_outages_are_logged_once_a_minute(caplog, seconds):
    """One that follows sooner is counted alone, beginning and end."""
    clock = ManualClock()
    breaker = Breaker(clock, threshold=1, label="it")
    with caplog.at_level(logging.WARNING, "twotier"):
        for _ in range(2):
            breaker.failed()
            breaker.begin_probe()
            breaker.close()
            clock.advance(seconds)
    assert breaker.openings == 2
    assert len(caplog.records) == (4 if seconds == 60 else 2)

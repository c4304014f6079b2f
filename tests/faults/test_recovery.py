"""After an outage the link and the data path come back together, whichever of them notices first."""

import time

import pytest
from waiting import live, wait_for

from twotier import Cache
from twotier.coherence import listener
from twotier.core.outage import recovery


@pytest.mark.parametrize("patient", [listener, recovery], ids=["the link pauses", "recovery pauses"])
def test_who_notices_first_tells_the_other(own_server, namespace, monkeypatch, patient):
    """While one of the two sits out a long pause, the other's success ends it."""
    monkeypatch.setattr(patient, "FIRST_PAUSE", 60.0)
    monkeypatch.setattr(patient, "LONGEST_PAUSE", 60.0)
    with Cache(own_server.url, namespace=namespace) as cache:
        wait_for(lambda: live(cache), "the link is live")
        own_server.kill()
        wait_for(lambda: cache.get("nothing") is None and cache.health().breaker != "closed", "the breaker opens")
        wait_for(lambda: cache.health().link == "down", "the link is lost")
        own_server.start()
        began = time.monotonic()
        wait_for(lambda: cache.health().link == "live" and cache.health().breaker == "closed", "recovered")
        assert time.monotonic() - began < 20  # not the minute of the pause


def test_hurrying_a_live_link_changes_nothing_later(own_server, namespace, monkeypatch):
    """A hurry that came while the link was up doesn't cut the pause after its next loss."""
    with Cache(own_server.url, namespace=namespace) as cache:
        wait_for(lambda: live(cache), "the link is live")
        monkeypatch.setattr(listener, "FIRST_PAUSE", 60.0)
        monkeypatch.setattr(listener, "LONGEST_PAUSE", 60.0)
        cache._namespace.hurry_link()
        own_server.kill()
        own_server.start()
        wait_for(lambda: cache._namespace._listener._connection is None, "the link is lost")
        wait_for(lambda: not cache._namespace._listener._hurried, "the hurry is forgotten")
        assert cache.health().link == "down"

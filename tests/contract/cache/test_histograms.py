"""What a cache measures of itself: how late invalidations are, how old what an outage serves."""

from waiting import live, wait_for

from twotier import Cache


def test_lag_is_measured_for_each_message(make):
    """Every message that is applied adds its lag, which on one machine is short."""
    writer, reader = make(), make()
    for number in range(10):
        writer.set("key", number)
    wait_for(lambda: reader.stats().lag.count == 10, "all were heard")
    assert 0 <= reader.stats().lag.p50 < 5


def test_age_of_what_an_outage_serves(own_server):
    """A suspect that is served adds the time since the last proof."""
    with Cache(own_server.url, max_staleness=1.0) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set("key", 1)
        own_server.kill()
        wait_for(lambda: cache.health().link == "down", "the link is lost")
        assert cache.get("key") == 1
        age = cache.stats().stale_age
        assert age.count == cache.stats().stale_served >= 1
        assert 0 <= age.p50 < 10

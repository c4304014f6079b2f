"""Caches of one process share a link where their leases are counted alike, and only there."""

import redis

from twotier.clock import ManualClock


def test_caches_share_a_link_if_their_leases_are_counted_alike(server, namespace, make):
    """Equal caches share one subscription; another bound on staleness, or another clock, gets a link of its own."""
    channel = f"{namespace}:inv:v1".encode()
    with redis.Redis.from_url(server.url) as client:
        for settings, links in (({}, 1), ({}, 1), ({"max_staleness": 1.0}, 2), ({"clock": ManualClock()}, 3)):
            cache = make(**settings)
            assert client.pubsub_numsub(channel) == [(channel, links)]
            assert cache.health().staleness < settings.get("max_staleness", 2.5)

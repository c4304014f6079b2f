"""Caches in both modes."""

import pytest
from waiting import PATIENT, live, wait_for

from twotier import Cache


@pytest.fixture
def make(server, namespace):
    """Makes caches of one namespace on the shared server, live and closed at the end."""
    caches = []

    def make(**settings) -> Cache:
        cache = Cache(server.url, **{"namespace": namespace, **PATIENT, **settings})
        caches.append(cache)
        wait_for(lambda: live(cache), "the link is live")
        return cache

    yield make
    for cache in caches:
        cache.close()


@pytest.fixture(params=["local-only", "two-tier", "two-tier-cold"])
def cache(request, namespace, make):
    """A cache in each mode; "cold" holds nothing locally, so that every hit is the remote tier's answer."""
    if request.param == "local-only":
        with Cache(namespace=namespace) as cache:
            yield cache
    else:
        yield make(**({"local_ttl": 0.001} if request.param == "two-tier-cold" else {}))


@pytest.fixture
def local():
    """A cache without a remote tier."""
    with Cache() as cache:
        yield cache

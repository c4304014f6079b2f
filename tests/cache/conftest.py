"""Caches in every mode that the contract holds for."""

import pytest
from waiting import PATIENT, live, wait_for

from twotier import Cache


@pytest.fixture
def make(server, namespace):
    """Makes caches of one namespace on the shared server, live and closed at the end."""
    caches = []

    def make(target=None, **settings) -> Cache:
        patient = {} if "max_staleness" in settings else PATIENT
        cache = Cache(target or server.url, **{"namespace": namespace, **patient, **settings})
        caches.append(cache)
        wait_for(lambda: live(cache), "the link is live")
        return cache

    yield make
    for cache in caches:
        cache.close()


@pytest.fixture(params=["local-only", "two-tier", "two-tier-cold"])
def cache(request, namespace, make):
    """A cache in each mode; "cold" holds nothing locally, so that every read is the remote tier's answer."""
    if request.param == "local-only":
        with Cache(namespace=namespace) as cache:
            yield cache
    elif request.param == "two-tier":
        yield make()
    else:
        cache = make(local_ttl=0.001)
        wait_for(lambda: live(cache), "the link is live")
        yield cache

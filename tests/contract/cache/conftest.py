"""Caches in every mode that the contract holds for."""

import pytest
from loops import Awaited
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


@pytest.fixture(params=["Cache", "AsyncCache"])
def face(request):
    """What a cache is called through: gives it as it is, or its asynchronous face, awaited on a loop's thread."""
    if request.param == "Cache":
        return lambda cache: cache
    loop = request.getfixturevalue("asyncio")
    return lambda cache: Awaited(cache.aio, loop)


@pytest.fixture(params=["local-only", "two-tier", "two-tier-cold"])
def cache(request, namespace, make, face):
    """A cache in each mode, through each face; "cold" holds nothing locally: each read is the remote tier's answer."""
    if request.param == "local-only":
        with Cache(namespace=namespace) as cache:
            yield face(cache)
    elif request.param == "two-tier":
        yield face(make())
    else:
        yield face(make(local_ttl=0.001))


@pytest.fixture(params=["local-only", "two-tier"])
def plain(request, namespace, make):
    """A `Cache` in either mode, as it is."""
    if request.param == "two-tier":
        yield make()
    else:
        with Cache(namespace=namespace) as cache:
            yield cache


@pytest.fixture(params=["asyncio", "uvloop"])
def loop(request):
    """A running loop of either kind, on a thread of its own."""
    return request.getfixturevalue(request.param)

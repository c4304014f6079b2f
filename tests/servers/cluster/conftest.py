"""Clusters on loopback, and caches on them."""

import pytest
from fake_source import FakeSource
from loops import Awaited
from private_servers import BINARY
from waiting import PATIENT, live, wait_for

from twotier import Cache
from twotier.testing import EmbeddedCluster


@pytest.fixture
def own_cluster():
    """Six nodes for one test alone, which may kill them and move their slots."""
    with EmbeddedCluster(binary=BINARY) as fresh:
        yield fresh


@pytest.fixture
def make(namespace):
    """Makes caches of one namespace on a cluster, live and closed at the end."""
    caches = []

    def make(cluster: EmbeddedCluster, **settings) -> Cache:
        cache = Cache(cluster.url, namespace=namespace, **settings)
        caches.append(cache)
        wait_for(lambda: live(cache), "the link is live")
        return cache

    yield make
    for cache in caches:
        cache.close()


@pytest.fixture
def source():
    """An empty source."""
    return FakeSource()


@pytest.fixture(params=["Cache", "AsyncCache"])
def pair(request, cluster, make):
    """Two caches of one namespace, as in two processes, through either face."""
    both = make(cluster, **PATIENT), make(cluster, **PATIENT)
    if request.param == "Cache":
        return both
    loop = request.getfixturevalue("asyncio")
    return tuple(Awaited(cache.aio, loop) for cache in both)

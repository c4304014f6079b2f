"""Sources to write to, and caches and write-behinds that write to them."""

import pytest
from fake_source import FakeSource, OffTheLoop
from loops import Awaited
from waiting import PATIENT, live, wait_for

from twotier import AsyncWriteBehind, Cache, WriteBehind


@pytest.fixture
def source():
    """An empty source."""
    return FakeSource()


@pytest.fixture
def make(request, server, namespace):
    """Makes caches of one namespace on the shared server, or cluster, live and closed at the end."""
    caches = []

    def make(target=None, *, cluster=False, **settings) -> Cache:
        if cluster:
            target = request.getfixturevalue("cluster").url
        cache = Cache(target or server.url, **{"namespace": namespace, **PATIENT, **settings})
        caches.append(cache)
        wait_for(lambda: live(cache) or cache.health().link == "none", "the link is live")
        return cache

    yield make
    for cache in caches:
        cache.close()


@pytest.fixture(params=["Cache", "AsyncCache"])
def called(request):
    """What a cache that writes through is called through, and the writer that this takes."""
    if request.param == "Cache":
        return lambda cache: cache, lambda writer: writer
    loop = request.getfixturevalue("asyncio")
    return lambda cache: Awaited(cache.aio, loop), OffTheLoop


@pytest.fixture(params=["local-only", "two-tier", "two-tier-cold"])
def through(request, namespace, make, source, called):
    """A cache that writes through to the source, in each mode and through each face; "cold" holds nothing locally."""
    face, writer = called
    if request.param == "local-only":
        with Cache(namespace=namespace, writer=writer(source)) as cache:
            yield face(cache)
    else:
        cold = {"local_ttl": 0.001} if request.param == "two-tier-cold" else {}
        yield face(make(writer=writer(source), **cold))


@pytest.fixture
def face():
    """The kind of write-behind that `behind` makes; files whose tests hold for both have it by both names."""
    return "WriteBehind"


@pytest.fixture
def behind(request, source, face):
    """Makes write-behinds to the source, closed at the end; their failures are tried again soon."""
    made = []

    def make(cache, writer=source, **settings) -> WriteBehind | Awaited:
        settings = {
            "trust_server": True,
            "first_backoff": 0.002,
            "max_backoff": 0.01,
            "max_attempts": 3,
            "drain_lease": 5.0,
        } | settings
        if face == "WriteBehind":
            one = WriteBehind(cache, writer, **settings)
        else:
            one = Awaited(
                AsyncWriteBehind(cache.aio, OffTheLoop(writer), **settings), request.getfixturevalue("asyncio")
            )
            one.start()
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


@pytest.fixture(
    params=[
        {},
        {"protocol": 2},
        {"coherence": "tracking"},
        {"coherence": "none", "local_ttl": 0.001},
        {"secret": "a key of 16 bytes"},
        {"cluster": True},
        {"cluster": True, "secret": "a key of 16 bytes"},
    ],
    ids=["pubsub", "RESP2", "tracking", "none", "signed", "cluster", "signed-cluster"],
)
def settings(request):
    """Settings of caches that write-behind must work with."""
    return request.param


@pytest.fixture
def cache(make, settings):
    """A cache with each of those settings."""
    return make(**settings)

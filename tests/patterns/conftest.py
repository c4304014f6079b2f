"""Sources to write to, and caches and write-behinds that write to them."""

import threading

import pytest
from waiting import PATIENT, live, wait_for

from twotier import Cache, WriteBehind


class Source:
    """A table in memory that remembers what it was asked; `before` is called first, and may raise."""

    def __init__(self):
        self.rows, self.asked = {}, []
        self.before = lambda: None
        self._lock = threading.Lock()

    def write(self, values):
        """Put rows."""
        self.before()
        with self._lock:
            self.asked.append(("write", dict(values)))
            self.rows.update(values)

    def delete(self, keys):
        """Remove rows."""
        self.before()
        with self._lock:
            self.asked.append(("delete", list(keys)))
            for key in keys:
                self.rows.pop(key, None)


@pytest.fixture
def source():
    """An empty source."""
    return Source()


@pytest.fixture
def make(server, namespace):
    """Makes caches of one namespace on the shared server, live and closed at the end."""
    caches = []

    def make(target=None, **settings) -> Cache:
        cache = Cache(target or server.url, **{"namespace": namespace, **PATIENT, **settings})
        caches.append(cache)
        wait_for(lambda: live(cache) or cache.health().link == "none", "the link is live")
        return cache

    yield make
    for cache in caches:
        cache.close()


@pytest.fixture(params=["local-only", "two-tier", "two-tier-cold"])
def through(request, namespace, make, source):
    """A cache that writes through to the source, in each mode; "cold" holds nothing locally."""
    if request.param == "local-only":
        with Cache(namespace=namespace, writer=source) as cache:
            yield cache
    else:
        yield make(writer=source, **({"local_ttl": 0.001} if request.param == "two-tier-cold" else {}))


@pytest.fixture
def behind(source):
    """Makes write-behinds to the source, closed at the end; their failures are tried again soon."""
    made = []

    def make(cache, writer=source, **settings) -> WriteBehind:
        soon = {"first_backoff": 0.002, "max_backoff": 0.01, "max_attempts": 3, "drain_lease": 5.0}
        one = WriteBehind(cache, writer, **{**soon, **settings})
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()


@pytest.fixture(
    params=[{}, {"protocol": 2}, {"coherence": "tracking"}, {"coherence": "none", "local_ttl": 0.001}, {"secret": "s"}],
    ids=["pubsub", "RESP2", "tracking", "none", "signed"],
)
def settings(request):
    """Settings of caches that write-behind must work with."""
    return request.param


@pytest.fixture
def cache(server, namespace, settings):
    """A cache with each of those settings."""
    with Cache(server.url, namespace=namespace, timeout=2.0, max_staleness=8.0, **settings) as cache:
        wait_for(lambda: live(cache) or cache.health().link == "none", "the link is live")
        yield cache

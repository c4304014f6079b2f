"""Sources to write to, and caches in every mode that write to them."""

import threading

import pytest
from waiting import PATIENT, live, wait_for

from twotier import Cache


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
        wait_for(lambda: live(cache), "the link is live")
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

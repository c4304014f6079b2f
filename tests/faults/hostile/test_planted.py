"""What somebody has planted on the server: a trouble of its own key, and for no longer than it takes to see it."""

import subprocess
import sys
import time

import pytest
import redis

from twotier import Cache

LARGE = 2 << 20
SMALL = {"max_value_bytes": 64 << 10}


@pytest.fixture
def client(server):
    with redis.Redis.from_url(server.url) as made:
        yield made


def place(client, namespace, key):
    """Return the name of `key` on the server."""
    (name,) = [name for name in client.scan_iter(f"{namespace}:*", count=1000) if name.endswith(b":" + key.encode())]
    return name


def test_a_value_that_is_too_large_is_a_miss_of_its_key_alone(client, server, namespace):
    """Read alone, with others, or by a load: a miss that is counted; other keys, breaker and link are well."""
    with Cache(server.url, namespace=namespace, **SMALL) as writer:
        writer.set_many({"large": 1, "good": [2]})
        client.set(place(client, namespace, "large"), bytes(LARGE))
    with Cache(server.url, namespace=namespace, local_ttl=0.001, **SMALL) as cache:
        for _ in range(5):
            assert cache.get("large", "none") == "none"
            assert cache.get_many(["large", "good", "absent"]) == {"good": [2]}
        assert cache.stats().corrupt >= 10
        assert cache.stats().remote_errors == 0
        assert cache.health().breaker == "closed"
        begun = time.monotonic()
        assert cache.get_or_set("large", lambda: [3], ttl=60) == [3]
        assert time.monotonic() - begun < 5
        assert cache.get("large") == [3]
        assert client.strlen(place(client, namespace, "large")) < 1000


def test_a_generation_that_is_too_large_is_replaced(client, server, namespace):
    """A generation of megabytes is none: the first who sees it makes another."""
    with Cache(server.url, namespace=namespace, **SMALL) as cache:
        cache.set("key", [1])
        client.set(f"{namespace}:gen", bytes(LARGE))
    with Cache(server.url, namespace=namespace, **SMALL) as cache:
        assert cache.get("key") is None
        cache.set("key", [2])
        assert client.strlen(f"{namespace}:gen") < 100
        assert cache.get("key") == [2]
        assert cache.health().breaker == "closed"


@pytest.mark.parametrize("plant", ["set", "lpush"], ids=["string", "list"])
@pytest.mark.parametrize("bulk", [False, True], ids=["one", "many"])
def test_a_lease_that_never_ends_is_none(client, server, namespace, bulk, plant):
    """A load takes the place of such a lease, or of a value of another type, at once, and its result is stored."""
    with Cache(server.url, namespace=namespace) as cache:
        cache.set("key", 1)
        lease = place(client, namespace, "key").removesuffix(b":key") + b"!key"
        cache.delete("key")
        getattr(client, plant)(lease, b"somebody")
        begun = time.monotonic()
        if bulk:
            assert cache.get_or_set_many(["key"], lambda keys: {key: [2] for key in keys}) == {"key": [2]}
        else:
            assert cache.get_or_set("key", lambda: [2]) == [2]
        assert time.monotonic() - begun < 5
        assert client.exists(place(client, namespace, "key"))
        assert not client.exists(lease)


CHILD = """
import resource, sys
from twotier import Cache

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

with Cache(sys.argv[1], namespace=sys.argv[2], timeout=2.0, max_staleness=8.0) as cache:
    assert cache.get("good") == [2]
    before = peak()
    assert cache.get("large") is None
    assert cache.get_many(["good", "large"]) == {"good": [2]}
    assert cache.stats().corrupt == 2
    print(peak() - before)
"""


def test_a_value_that_is_too_large_takes_no_memory(client, server, namespace):
    """A value of 100 MiB passes by."""
    with Cache(server.url, namespace=namespace) as cache:
        cache.set_many({"large": 1, "good": [2]})
    client.setrange(place(client, namespace, "large"), 100 << 20, b"x")
    child = subprocess.run(
        [sys.executable, "-c", CHILD, server.url, namespace], capture_output=True, text=True, timeout=60, check=False
    )
    client.delete(place(client, namespace, "large"))
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) < 40

"""What the failover bench compares: twotier and its peers, by how each reads and writes a key."""

import contextlib
import importlib.util
import time
from collections.abc import Callable
from typing import Any

import redis

from twotier import Cache
from twotier.testing import EmbeddedCluster, EmbeddedSentinels
from twotier.testing.sentinels import SERVICE

TIMEOUT = 0.25
TIMEOUTS: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}

Operations = tuple[Callable[[str], Any], Callable[[str, int], bool]]
"""A read, and a write that returns True if it succeeded."""


def twotier(url: str, stack: contextlib.ExitStack) -> Operations:
    """Return twotier's operations."""
    cache = stack.enter_context(Cache(url, namespace="bench", timeout=TIMEOUT))
    while cache.health().link != "live":
        cache.get("is the link up?")
        time.sleep(0.01)

    def write(key: str, value: int) -> bool:
        errors = cache.stats().remote_errors
        cache.set(key, value, ttl=None)
        return cache.stats().remote_errors == errors

    return cache.get, write


def behind_sentinels(deployment: EmbeddedSentinels) -> dict[str, Operations]:
    """Return those of redis-py's Sentinel client, of Django's own backend, which knows of none, and of django-redis."""
    sentinels = [("127.0.0.1", each.port) for each in deployment.sentinels]
    client = redis.Sentinel(sentinels, sentinel_kwargs=TIMEOUTS, **TIMEOUTS).master_for(SERVICE)
    django = {
        "Django RedisCache (one address)": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": f"redis://127.0.0.1:{deployment.nodes[deployment.primary()].port}/1",
            "OPTIONS": TIMEOUTS,
        },
        "django-redis (Sentinel)": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": f"redis://{SERVICE}/2",
            "OPTIONS": {
                "CLIENT_CLASS": "django_redis.client.SentinelClient",
                "CONNECTION_POOL_CLASS": "redis.sentinel.SentinelConnectionPool",
                "SENTINELS": sentinels,
                "SENTINEL_KWARGS": TIMEOUTS,
                "CONNECTION_POOL_KWARGS": TIMEOUTS,
            },
        },
    }
    factory = "django_redis.pool.SentinelConnectionFactory"
    return {"redis-py Sentinel client": _of_client(client), **_django_caches(django, factory)}


def on_a_cluster(cluster: EmbeddedCluster) -> dict[str, Operations]:
    """Return those of redis-py's cluster client, and of Django's two backends with such a client each."""
    port = cluster.servers[0].port
    url = f"redis://127.0.0.1:{port}"
    django = {
        "Django RedisCache (RedisCluster)": {
            "BACKEND": "django_on_cluster.ClusterCache",
            "LOCATION": url,
            "OPTIONS": TIMEOUTS,
        },
        "django-redis (RedisCluster)": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": url,
            "OPTIONS": {"CONNECTION_POOL_KWARGS": TIMEOUTS},
        },
    }
    client = redis.RedisCluster("127.0.0.1", port, **TIMEOUTS)
    return {
        "redis-py RedisCluster": _of_client(client),
        **_django_caches(django, "django_on_cluster.ClusterFactory"),
    }


def _of_client(client: Any) -> Operations:
    return client.get, lambda key, value: bool(client.set(key, value))


def _django_caches(entries: dict[str, dict[str, Any]], factory: str) -> dict[str, Operations]:
    """Return the operations of Django's caches, as far as Django and django-redis are installed."""
    if importlib.util.find_spec("django") is None:
        return {}
    from django.conf import settings  # noqa: PLC0415 - may be missing
    from django.core.cache import caches  # noqa: PLC0415

    if importlib.util.find_spec("django_redis") is None:
        entries = {name: entry for name, entry in entries.items() if "django_redis" not in entry["BACKEND"]}
    settings.configure(
        CACHES={"default": next(iter(entries.values())), **entries},
        DJANGO_REDIS_CONNECTION_FACTORY=factory,
        SECRET_KEY="for the bench alone",  # noqa: S106 - nothing is signed
    )

    def of(name: str) -> Operations:
        def write(key: str, value: int) -> bool:
            caches[name].set(key, value, None)
            return True

        def read(key: str) -> Any:
            return caches[name].get(key)  # a connection of the calling thread

        return read, write

    return {name: of(name) for name in entries}

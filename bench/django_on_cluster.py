"""Django's RedisCache and django-redis on a cluster, for the failover bench.

Neither speaks to a cluster by itself. Both have a place where the client is made, and both get redis-py's cluster
client there: what those do who run them on a cluster. What they do with it stays theirs.
"""

from functools import cached_property
from typing import Any

from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis import RedisCluster


class _Client(RedisCacheClient):
    """Asks a cluster in place of the first server."""

    @cached_property
    def _cluster(self) -> RedisCluster:
        return RedisCluster.from_url(self._servers[0], **self._pool_options)

    def get_client(self, key: str | None = None, *, write: bool = False) -> RedisCluster:  # noqa: ARG002 - Django's
        return self._cluster


class ClusterCache(RedisCache):
    """Django's backend on a cluster."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _Client
        self._options = {"parser_class": None, **self._options}


class ClusterFactory:
    """Gives django-redis a cluster's client, one a process, as its own factory shares a pool."""

    _made: RedisCluster | None = None

    def __init__(self, options: dict[str, Any]) -> None:
        self._settings = options["CONNECTION_POOL_KWARGS"]

    def connect(self, url: str) -> RedisCluster:
        """Return the client."""
        if ClusterFactory._made is None:
            ClusterFactory._made = RedisCluster.from_url(url, **self._settings)
        return ClusterFactory._made

"""Topologies from URLs and ready clients.

Only the address and credentials of a ready client are used; its pool isn't touched.
"""

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import redis

from twotier.errors import ConfigurationError
from twotier.options import Options
from twotier.remote.cluster.topology import ClusterTopology, cluster_from_client, cluster_from_url
from twotier.remote.deploy.address import address_of_client, address_of_url
from twotier.remote.deploy.allowed_hosts import check_allowed_hosts
from twotier.remote.deploy.embedded import EmbeddedServer
from twotier.remote.deploy.masking import masked
from twotier.remote.deploy.single import OneServer, SingleServer
from twotier.remote.sentinel.topology import is_sentinels, sentinel_from_client, sentinel_from_url

Target: TypeAlias = str | redis.Redis | redis.Sentinel | redis.RedisCluster
"""Ways to name a deployment: a URL, or a client that is set up for it."""

Topology: TypeAlias = OneServer | ClusterTopology
"""The kinds of deployment of the remote tier."""


def connect(target: Target, options: Options) -> Topology:
    """Return the topology that `target` names; nothing is connected yet.

    `target`: `redis://`, `rediss://` (TLS, verified), `unix://`, `redis+sentinel://`, `redis+cluster://` (either with
    TLS as `rediss+...`), `embedded://` (starts a server), or a `redis.Redis`, `redis.Sentinel` or `redis.RedisCluster`.
    Raises ConfigurationError with the URL's secrets masked.

    >>> connect("redis://user:secret@localhost:6379/0", Options()).label
    'redis://localhost:6379/0'
    """
    check_allowed_hosts(options.allowed_hosts)
    topology = _topology_of(target, options)
    if options.replica_fallback and not topology.knows_replicas:
        topology.close()
        raise ConfigurationError(
            "replica_fallback must be False without sentinels or a cluster, which know of the replicas; got True"
        )
    return topology


def _topology_of(target: Target, options: Options) -> Topology:
    if is_sentinels(target):
        return sentinel_from_client(target, options)
    if isinstance(target, redis.RedisCluster):
        return cluster_from_client(target, options)
    if isinstance(target, redis.Redis):
        return SingleServer(address_of_client(target, options), options)
    if not isinstance(target, str):
        raise ConfigurationError(
            "target must be a URL, a redis.Redis, a redis.Sentinel or a redis.RedisCluster, got "
            f"{type(target).__module__}.{type(target).__qualname__}"
        )
    scheme = target.partition("://")[0] if "://" in target else ""
    make = _SCHEMES.get(scheme)
    if make is None:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise ConfigurationError(f"the URL must begin with one of {known}; got {masked(target)!r}")
    return make(target, options)


def _from_url(url: str, options: Options) -> Topology:
    return SingleServer(address_of_url(url, options), options)


def _embedded(url: str, options: Options) -> Topology:
    if url != "embedded://":
        raise ConfigurationError("embedded:// takes nothing after it: its server is configured by EmbeddedServer")
    server = EmbeddedServer().start()
    return SingleServer(address_of_url(server.url, options), options, server)


_SCHEMES: Final[Mapping[str, Callable[[str, Options], Topology]]] = {
    "redis": _from_url,
    "rediss": _from_url,
    "unix": _from_url,
    "redis+sentinel": sentinel_from_url,
    "rediss+sentinel": sentinel_from_url,
    "redis+cluster": cluster_from_url,
    "rediss+cluster": cluster_from_url,
    "embedded": _embedded,
}

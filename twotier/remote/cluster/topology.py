"""A cluster as a deployment: `redis+cluster://h1:p,h2:p`, `rediss+cluster://` (TLS), or a ready `redis.RedisCluster`.

The configured nodes only supply the map of the others; all connections use the same credentials and TLS settings.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import redis
from redis.connection import Connection, SSLConnection

from twotier.errors import ConfigurationError, RemoteUnavailable
from twotier.options import Options
from twotier.remote.cluster.executors import AsyncClusterExecutor, ClusterExecutor
from twotier.remote.cluster.nodes import ClusterNodes
from twotier.remote.commands.slot_map import Node
from twotier.remote.deploy.address import Address, access, address_of_url, check_arguments, lent_by, tcp_label
from twotier.remote.deploy.masking import masked
from twotier.remote.deploy.single import SingleServer
from twotier.remote.io.host_and_port import host_in, port_in
from twotier.remote.io.pool import Pool

DEFAULT_PORT: Final = 6379

Remap: TypeAlias = Callable[[tuple[str, int]], tuple[str, int]]
"""redis-py's `address_remap`: returns the address to connect to for a node that announces this host and port."""


class ClusterTopology:
    """A deployment of many nodes: `seeds` are the configured ones, `address` holds the settings of the first.

    `remap` returns the address to connect to for an announced host and port; None: the announced address.
    Seeds aren't remapped.
    """

    slotted = True
    knows_replicas = True

    def __init__(self, seeds: list[Node], address: Address, options: Options, remap: Remap | None = None) -> None:
        self._address = address
        self._remap = remap
        self._seeds = frozenset(seeds)
        self._options = options
        self._named = {seed.host for seed in seeds}
        self.label = f"the cluster of {', '.join(map(str, seeds))}"
        ways = (address.identity, options.protocol, _hosts(options), remap)
        self.identity: Hashable = ("cluster", tuple(sorted(seeds)), *ways)
        self.members = ClusterNodes(seeds, self._server, options)
        self._executor: ClusterExecutor | None = None

    def executors(self) -> tuple[ClusterExecutor, AsyncClusterExecutor]:
        """Return the executors of this process, for threads and for event loops."""
        self._executor = ClusterExecutor(self.members, self._options)
        return self._executor, AsyncClusterExecutor(self.members, self._options)

    def suited(self, options: Options) -> Options:
        """Return `options` with tracking in place of pub/sub: messages between nodes may be lost unnoticed."""
        return replace(options, coherence="tracking") if options.coherence == "pubsub" else options

    def named(self) -> Sequence[Address]:
        """Return the addresses of the seeds."""
        return [self._address.at(seed.host, seed.port) for seed in sorted(self._seeds)]

    def owner(self, slot: int) -> Node | None:
        """Return the known primary of `slot`; None if there is none."""
        return self.members.owner(slot)

    def on_change(self, concerned: Callable[[], None]) -> None:
        """Call `concerned` whenever a survey of the cluster has found other primaries."""
        self.members.on_change(concerned)

    def after_fork(self) -> None:
        """Drop the parent's connections; the next ones are this process's own."""
        self.members.after_fork()

    def close(self) -> None:
        """Close every connection."""
        self.members.close()
        if self._executor is not None:
            self._executor.close()

    def __repr__(self) -> str:
        return f"ClusterTopology({self.label!r})"

    def _server(self, node: Node) -> SingleServer:
        host, port = node.host, node.port
        if self._remap is not None and node not in self._seeds:
            host, port = _remapped(self._remap, node)
        address = self._address.at(host, port)
        return _NodeServer(replace(address, told=host not in self._named), self._options)


def _hosts(options: Options) -> Hashable:
    return None if options.allowed_hosts is None else tuple(options.allowed_hosts)


def _remapped(remap: Remap, node: Node) -> tuple[str, int]:
    """Return the address from the user's function; raise RemoteUnavailable if the address isn't valid."""
    try:
        host, port = remap((node.host, node.port))
        return host_in(host), port_in(b"%d" % port)
    except Exception as error:
        raise RemoteUnavailable(
            f"address_remap must return a host and a port for {node}; it failed: {type(error).__name__}"
        ) from error


class _NodeServer(SingleServer):
    """One node, which may be a primary today and a replica tomorrow."""

    slotted = True

    def replica_pool(self) -> Pool | None:
        """Return the node's own pool if reads go to replicas: each replica read sets READONLY itself."""
        return self.pool() if self._options.replica_fallback else None


def cluster_from_url(url: str, options: Options) -> ClusterTopology:
    """Return the cluster that a redis+cluster:// or rediss+cluster:// URL names.

    >>> cluster_from_url("redis+cluster://localhost:7000,localhost:7001", Options()).label
    'the cluster of localhost:7000, localhost:7001'
    """
    scheme, _, rest = url.partition("://")
    place, mark, after = _cut(rest)
    user, at, hosts = place.rpartition("@")
    addresses = [
        address_of_url(f"{scheme.removesuffix('+cluster')}://{user}{at}{host}{mark}{after}", options)
        for host in hosts.split(",")
    ]
    if any(address.arguments["db"] for address in addresses):
        raise ConfigurationError(f"a cluster has database 0 only, got {masked(url)!r}")
    seeds = [Node(address.arguments["host"], address.arguments["port"]) for address in addresses]
    return ClusterTopology(seeds, addresses[0], options)


def cluster_from_client(client: redis.RedisCluster, options: Options) -> ClusterTopology:
    """Return the cluster that `client` is set up for; the client's own connections aren't touched."""
    given: dict[str, Any] = client.nodes_manager.connection_kwargs
    kind = SSLConnection if given.get("ssl") else Connection
    seeds = [Node(node.host, node.port) for node in client.nodes_manager.startup_nodes.values()]
    lent = lent_by(given) | {"host": seeds[0].host, "port": seeds[0].port, "db": 0}
    address = Address(kind, access(kind, lent, options), tcp_label(kind, lent))
    check_arguments(address, options, f"a client of {address.label}")
    return ClusterTopology(seeds, address, options, client.nodes_manager.address_remap)


def _cut(rest: str) -> tuple[str, str, str]:
    """Split the rest of a URL after its scheme at the end of the hosts."""
    start = rest.rfind("@") + 1
    ends = [at for mark in "/?#" if (at := rest.find(mark, start)) >= 0]
    end = min(ends, default=len(rest))
    return rest[:end], rest[end : end + 1], rest[end + 1 :]

"""The deployments that make a remote tier: what a URL or a ready client leads to.

A ready client only lends its address and credentials; its pool isn't touched. Each kind of deployment is a class with
the surface of `Topology`.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Final, Protocol, TypeAlias

import redis
from redis.connection import AbstractConnection

from twotier.clock import NEVER
from twotier.errors import ConfigurationError
from twotier.options import Options
from twotier.remote.address import Address, address_of_client, address_of_url
from twotier.remote.embedded import EmbeddedServer
from twotier.remote.masking import masked
from twotier.remote.pool import Pool
from twotier.remote.sentinel import is_sentinels, sentinel_from_client, sentinel_from_url

Target: TypeAlias = str | redis.Redis | redis.Sentinel
"""What callers may name a deployment by: a URL, or a client that is set up for it."""


class Topology(Protocol):
    """One deployment of the remote tier."""

    label: str
    """Names the deployment in logs and errors, without secrets."""
    identity: Hashable
    """Equal for two topologies that reach the same deployment in the same way: they may share a link."""

    def pool(self) -> Pool:
        """Return the connections of the data path."""
        ...

    def replica_pool(self) -> Pool | None:
        """Return connections to replicas, for reads; None where they aren't wanted."""
        ...

    def link_connection(self) -> AbstractConnection:
        """Return a fresh connection for the link, not connected yet."""
        ...

    def vouched_at(self, connection: AbstractConnection) -> int:
        """Return the latest instant (ns) at which the link's `connection` was known to be to the right server."""
        ...

    def distrust(self) -> None:
        """Take note that a connection of the data path isn't to a server that takes writes."""
        ...

    def on_change(self, concerned: Callable[[], None]) -> None:
        """Call `concerned` whenever another server is to be used, before any connection to it is."""
        ...

    def after_fork(self) -> None:
        """Let go of the parent's connections; the next ones are this process's own."""
        ...

    def close(self) -> None:
        """Close every connection of the data path, and a server of our own."""
        ...


class SingleServer:
    """A deployment of one server."""

    def __init__(self, address: Address, options: Options, own_server: EmbeddedServer | None = None) -> None:
        self._address = address
        self._options = options
        self._own_server = own_server
        self.label = address.label
        self.identity: Hashable = (address.identity, options.protocol)
        self._pool = Pool(self.link_connection, options, self.label)

    def pool(self) -> Pool:
        """Return the connections of the data path."""
        return self._pool

    def replica_pool(self) -> Pool | None:
        """Return None: there are none that it knows of."""
        return None

    def link_connection(self) -> AbstractConnection:
        """Return a fresh connection for the link, not connected yet."""
        return self._address.connection(self._options)

    def vouched_at(self, connection: AbstractConnection) -> int:  # noqa: ARG002 - there is but one
        """Return NEVER: it is always to the one server there is."""
        return NEVER

    def distrust(self) -> None:
        """Do nothing: there is no other server to turn to."""

    def on_change(self, concerned: Callable[[], None]) -> None:
        """Do nothing: it stays the one server."""

    def after_fork(self) -> None:
        """Let go of the parent's connections; the next ones are this process's own."""
        self._pool.after_fork()

    def close(self) -> None:
        """Close every connection of the data path, and the server if it is our own."""
        self._pool.close()
        if self._own_server is not None:
            self._own_server.close()

    def __repr__(self) -> str:
        return f"SingleServer({self.label!r})"


def connect(target: Target, options: Options) -> Topology:
    """Return the topology that `target` names; nothing is connected yet.

    `target`: `redis://`, `rediss://` (TLS, verified), `unix://`, `redis+sentinel://`, `rediss+sentinel://`, `embedded://`
    (starts a server), a `redis.Redis`, or a `redis.Sentinel`.
    Raises ConfigurationError with the URL's secrets masked.

    >>> connect("redis://user:secret@localhost:6379/0", Options()).label
    'redis://localhost:6379/0'
    """
    topology = _topology_of(target, options)
    if options.replica_fallback and topology.replica_pool() is None:
        topology.close()
        raise ConfigurationError(
            "replica_fallback must be False without sentinels, which know of the replicas; got True"
        )
    return topology


def _topology_of(target: Target, options: Options) -> Topology:
    if is_sentinels(target):
        return sentinel_from_client(target, options)
    if isinstance(target, redis.Redis):
        return SingleServer(address_of_client(target, options), options)
    if not isinstance(target, str):
        raise ConfigurationError(
            "target must be a URL, a redis.Redis or a redis.Sentinel, got "
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
    "embedded": _embedded,
}

"""Interfaces of the deployments of the remote tier, and the simplest deployment: one server."""

from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

from redis.connection import AbstractConnection

from twotier.clock import NEVER
from twotier.options import Options
from twotier.remote.deploy.address import Address
from twotier.remote.deploy.embedded import EmbeddedServer
from twotier.remote.io.pool import Pool


class Deployment(Protocol):
    """One deployment of the remote tier."""

    label: str
    """Name of the deployment in logs and errors, without secrets."""
    identity: Hashable
    """Equal for two topologies that reach the same deployment in the same way: they may share a link."""
    slotted: bool
    """Whether keys are spread over nodes by slot, so that a transaction's must share one."""
    knows_replicas: bool
    """Whether the deployment knows the addresses of replicas."""

    def suited(self, options: Options) -> Options:
        """Return `options`, adapted to this deployment."""
        ...

    def owner(self, slot: int) -> Hashable:
        """Return the known server of `slot`."""
        ...

    def named(self) -> Sequence[Address]:
        """Return the addresses from the user: of the server, the sentinels, or nodes of the cluster."""
        ...

    def on_change(self, concerned: Callable[[], None]) -> None:
        """Call `concerned` whenever the server to use changes."""
        ...

    def after_fork(self) -> None:
        """Drop the parent's connections; the next ones are this process's own."""
        ...

    def close(self) -> None:
        """Close every connection of the data path, and a server of our own."""
        ...


class OneServer(Deployment, Protocol):
    """A deployment that has one server for all keys, at any moment.

    The callbacks of `on_change` run before any connection to another server is used.
    """

    def pool(self) -> Pool:
        """Return the pool of the data path."""
        ...

    def replica_pool(self) -> Pool | None:
        """Return the pool for replica reads; None if they are disabled."""
        ...

    def link_connection(self) -> AbstractConnection:
        """Return a fresh connection for the link, not connected yet."""
        ...

    def vouched_at(self, connection: AbstractConnection) -> int:
        """Return the latest instant (ns) at which the link's `connection` was known to be to the right server."""
        ...

    def distrust(self) -> None:
        """Note that a connection of the data path leads to a server that accepts no writes."""
        ...


class SingleServer:
    """A deployment of one server."""

    slotted = False
    knows_replicas = False

    def __init__(self, address: Address, options: Options, own_server: EmbeddedServer | None = None) -> None:
        self._address = address
        self._options = options
        self._own_server = own_server
        self.label = address.label
        self.identity: Hashable = (address.identity, options.protocol)
        self._pool = Pool(self.link_connection, options, self.label)

    def pool(self) -> Pool:
        """Return the pool of the data path."""
        return self._pool

    def replica_pool(self) -> Pool | None:
        """Return None: no replicas are known."""
        return None

    def link_connection(self) -> AbstractConnection:
        """Return a fresh connection for the link, not connected yet."""
        return self._address.connection(self._options)

    def named(self) -> Sequence[Address]:
        """Return the address of the one server."""
        return (self._address,)

    def owner(self, slot: int) -> Hashable:  # noqa: ARG002 - it serves all
        """Return None, in place of the one server."""
        return None

    def suited(self, options: Options) -> Options:
        """Return `options` as they are."""
        return options

    def vouched_at(self, connection: AbstractConnection) -> int:  # noqa: ARG002 - there is but one
        """Return NEVER: every connection leads to the one server."""
        return NEVER

    def distrust(self) -> None:
        """Do nothing: there is no other server."""

    def on_change(self, concerned: Callable[[], None]) -> None:
        """Do nothing: the server never changes."""

    def after_fork(self) -> None:
        """Drop the parent's connections; the next ones are this process's own."""
        self._pool.after_fork()

    def close(self) -> None:
        """Close every connection of the data path, and the server if it is our own."""
        self._pool.close()
        if self._own_server is not None:
            self._own_server.close()

    def __repr__(self) -> str:
        return f"SingleServer({self.label!r})"

"""What every deployment of the remote tier has in common, and the simplest of them: one server."""

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
    """Names the deployment in logs and errors, without secrets."""
    identity: Hashable
    """Equal for two topologies that reach the same deployment in the same way: they may share a link."""
    slotted: bool
    """Whether keys are spread over nodes by slot, so that a transaction's must share one."""
    knows_replicas: bool
    """Whether it can tell where replicas are."""

    def suited(self, options: Options) -> Options:
        """Return `options` as this deployment needs them."""
        ...

    def owner(self, slot: int) -> Hashable:
        """Return who serves `slot`, as far as is known."""
        ...

    def named(self) -> Sequence[Address]:
        """Return the addresses that the user has named: of the server, the sentinels, or nodes of the cluster."""
        ...

    def on_change(self, concerned: Callable[[], None]) -> None:
        """Call `concerned` whenever another server is to be used."""
        ...

    def after_fork(self) -> None:
        """Let go of the parent's connections; the next ones are this process's own."""
        ...

    def close(self) -> None:
        """Close every connection of the data path, and a server of our own."""
        ...


class OneServer(Deployment, Protocol):
    """A deployment that has one server for all keys, at any moment.

    `on_change` calls before any connection to another one is used.
    """

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
        """Return the connections of the data path."""
        return self._pool

    def replica_pool(self) -> Pool | None:
        """Return None: there are none that it knows of."""
        return None

    def link_connection(self) -> AbstractConnection:
        """Return a fresh connection for the link, not connected yet."""
        return self._address.connection(self._options)

    def named(self) -> Sequence[Address]:
        """Return the address of the one server."""
        return (self._address,)

    def owner(self, slot: int) -> Hashable:  # noqa: ARG002 - it serves all
        """Return None, which stands for the one server."""
        return None

    def suited(self, options: Options) -> Options:
        """Return `options` as they are."""
        return options

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

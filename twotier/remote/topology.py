"""Where the remote tier is: a URL or a ready client, turned into connections of our own.

redis-py makes the connections (TCP, TLS, unix sockets, HELLO, AUTH, SELECT), with its retries, health checks and
maintenance notifications switched off: each of those would break a deadline or leave a reply where the next command
finds it. A ready client only lends its address and credentials; its pool isn't touched. Other deployments (Sentinel,
Cluster) are further classes with the surface of `SingleServer`.
"""

import hashlib
import os
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias
from urllib.parse import parse_qs, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import (
    URL_QUERY_ARGUMENT_PARSERS,
    AbstractConnection,
    BlockingConnectionPool,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.connection import Connection as TCPConnection
from redis.maint_notifications import MaintNotificationsConfig
from redis.retry import Retry

from twotier.errors import ConfigurationError
from twotier.options import Options
from twotier.remote.embedded import EmbeddedServer
from twotier.remote.pool import Pool

_ADDRESS: Final = frozenset(
    {"host", "port", "path", "db", "username", "password", "credential_provider", "client_name", "redis_connect_func"}
    | {"socket_keepalive", "socket_keepalive_options", "socket_type"}
)
"""What a connection is told about its server, beside `ssl_...`; all else is ours to say."""
_URL_OPTIONS: Final = frozenset({"db", "client_name", "username", "password", "socket_keepalive"})

Target: TypeAlias = str | redis.Redis
"""What callers may name a deployment by: a URL, or a client that is set up for it."""

_PROCESS_KEY: Final = os.urandom(16)
"""Keeps credentials from being read, or guessed, off an identity."""


class Topology(Protocol):
    """One deployment of the remote tier."""

    label: str
    """Names the deployment in logs and errors, without secrets."""
    identity: Hashable
    """Equal for two topologies that reach the same deployment in the same way: they may share a link."""

    def pool(self) -> Pool:
        """Return the connections of the data path."""
        ...

    def link_connection(self) -> AbstractConnection:
        """Return a fresh connection for the link, not connected yet."""
        ...

    def after_fork(self) -> None:
        """Let go of the parent's connections; the next ones are this process's own."""
        ...

    def close(self) -> None:
        """Close every connection of the data path, and a server of our own."""
        ...


@dataclass(frozen=True, slots=True)
class Address:
    """How to connect to one server: redis-py's connection class and its arguments. The repr shows no secret."""

    kind: Callable[..., AbstractConnection] = field(repr=False)
    arguments: Mapping[str, Any] = field(repr=False)
    label: str

    @property
    def identity(self) -> Hashable:
        """Equal for addresses that lead to the same place in the same way."""
        parts = repr(sorted((name, repr(value)) for name, value in self.arguments.items()))
        digest = hashlib.blake2b(parts.encode(errors="surrogatepass"), key=_PROCESS_KEY, digest_size=16)
        return (repr(self.kind), self.label, digest.hexdigest())


class SingleServer:
    """A deployment of one server."""

    def __init__(self, address: Address, options: Options, own_server: EmbeddedServer | None = None) -> None:
        self._address = address
        self._options = options
        self._own_server = own_server
        self.label = address.label
        self.identity: Hashable = (address.identity, options.protocol)
        self._pool = Pool(self._connection, options, self.label)

    def pool(self) -> Pool:
        """Return the connections of the data path."""
        return self._pool

    def link_connection(self) -> AbstractConnection:
        """Return a fresh connection for the link, not connected yet."""
        return self._connection()

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

    def _connection(self) -> AbstractConnection:
        options = self._options
        return self._address.kind(
            **self._address.arguments,
            protocol=options.protocol,
            socket_connect_timeout=options.connect_timeout,
            socket_timeout=options.timeout,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            decode_responses=False,
            driver_info=None,  # two more trips before the first command
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )


def connect(target: Target, options: Options) -> Topology:
    """Return the topology that `target` names; nothing is connected yet.

    `target`: `redis://`, `rediss://` (TLS, verified), `unix://`, `embedded://` (starts a server), or a `redis.Redis`.
    Raises ConfigurationError with the URL's secrets masked.

    >>> connect("redis://user:secret@cache.example:6379/0", Options()).label
    'redis://cache.example:6379/0'
    """
    if isinstance(target, redis.Redis):
        return SingleServer(_address_of(target), options)
    if not isinstance(target, str):
        raise ConfigurationError(
            f"target must be a URL or a redis.Redis client, got {type(target).__module__}.{type(target).__qualname__}"
        )
    scheme = target.partition("://")[0] if "://" in target else ""
    make = _SCHEMES.get(scheme)
    if make is None:
        known = ", ".join(f"{name}://" for name in _SCHEMES)
        raise ConfigurationError(f"the URL must begin with one of {known}; got {masked(target)!r}")
    return make(target, options)


def masked(url: str) -> str:
    """Return `url` without user, password and query, however malformed it is.

    >>> masked("redis://user:p@ss/word@host:6379/0?password=secret")
    'redis://***@host:6379/0?***'
    """
    shown = re.sub(r"(?s)://.*@", "://***@", url)
    shown = re.sub(r"(?s)[?#].*", "?***", shown)
    return shown if "://" in shown else "***"


def _from_url(url: str, options: Options) -> Topology:
    return SingleServer(_address(url), options)


def _embedded(url: str, options: Options) -> Topology:
    if url != "embedded://":
        raise ConfigurationError("embedded:// takes nothing after it: its server is configured by EmbeddedServer")
    server = EmbeddedServer().start()
    return SingleServer(_address(server.url), options, server)


_SCHEMES: Final[Mapping[str, Callable[[str, Options], Topology]]] = {
    "redis": _from_url,
    "rediss": _from_url,
    "unix": _from_url,
    "embedded": _embedded,
}


def _address(url: str) -> Address:
    shown = masked(url)
    try:
        given: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # Its texts for options name them and no more; for ports and hosts they quote what may be part of a password.
        reason = str(error) if "connection URL" in str(error) else "the URL's host or port isn't valid"
        raise ConfigurationError(f"{reason}: {shown!r}") from None
    _check_query(parts.query, shown)
    if parts.scheme == "unix":
        if not given.get("path"):
            raise ConfigurationError(f"a unix:// URL must name the socket's path, got {shown!r}")
        del given["connection_class"]
        return Address(UnixDomainSocketConnection, given, f"unix://{given['path']}")
    if not parts.hostname or port == 0 or parts.fragment:
        raise ConfigurationError(
            f"the URL must name a host, a port from 1 to 65535 if any, and have no '#', got {shown!r}"
        )
    database = parts.path.strip("/")
    if database and not (database.isascii() and database.isdigit()):
        raise ConfigurationError(f"the URL's path must be a database number, got {shown!r}")
    kind = given.pop("connection_class", TCPConnection)
    given = {"port": 6379, "db": 0} | given
    return Address(kind, given, _tcp_label(kind, given))


def _check_query(query: str, shown: str) -> None:
    for name in parse_qs(query, keep_blank_values=True):
        if name not in _URL_OPTIONS and not name.startswith("ssl_"):
            # The name is shown where it can't be a part of a password that wasn't percent-encoded.
            which = f"option {name!r}" if name in URL_QUERY_ARGUMENT_PARSERS else "one of its options"
            raise ConfigurationError(f"the URL can't hold {which}; see Options for what is set there: {shown!r}")


def _address_of(client: redis.Redis) -> Address:
    pool: ConnectionPool = client.connection_pool
    kind = pool.connection_class
    if type(pool) not in (ConnectionPool, BlockingConnectionPool) or not issubclass(kind, AbstractConnection):
        raise ConfigurationError(
            "the client must connect to one server, by TCP, TLS or a unix socket; it has a "
            f"{type(pool).__qualname__} of {kind.__qualname__}"
        )
    given = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if value is not None and (name in _ADDRESS or name.startswith("ssl_"))
    }
    if issubclass(kind, UnixDomainSocketConnection):
        return Address(kind, given, f"unix://{given.get('path', '')}")
    given = {"host": "localhost"} | given
    given = {"port": 6379, "db": 0} | given
    return Address(kind, given, _tcp_label(kind, given))


def _tcp_label(kind: type[AbstractConnection], given: Mapping[str, Any]) -> str:
    scheme = "rediss" if issubclass(kind, SSLConnection) else "redis"
    host = f"[{given['host']}]" if ":" in given["host"] else given["host"]
    return f"{scheme}://{host}:{given['port']}/{given.get('db', 0)}"

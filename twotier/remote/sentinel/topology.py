"""A deployment watched by sentinels: one primary at a time, found through them, and its replicas.

The link and the data path share one `PrimaryWatch`, so both always use the same primary; all topologies of
a process that name the same deployment in the same way share the watch, too.
"""

import functools
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final, TypeGuard
from urllib.parse import parse_qs, unquote, urlsplit

import redis
from redis.connection import AbstractConnection, Connection, SSLConnection, parse_url
from redis.sentinel import SentinelConnectionPool

from twotier.clock import SystemClock
from twotier.errors import ConfigurationError
from twotier.options import Options
from twotier.remote.deploy.address import (
    Address,
    access,
    check_arguments,
    check_query,
    lent_by,
    tcp_label,
    warn_of_plaintext,
)
from twotier.remote.deploy.masking import masked
from twotier.remote.io.pool import Pool
from twotier.remote.sentinel.primary_connection import PrimaryConnection, primary_connection
from twotier.remote.sentinel.primary_watch import PrimaryWatch
from twotier.remote.sentinel.replica_connection import replica_connection
from twotier.sharing import Shared

PORT: Final = 26379
"""Port of a sentinel without one in the URL."""
_OWN: Final = frozenset({"sentinel_username", "sentinel_password"})


class SentinelTopology:
    """A deployment behind sentinels."""

    slotted = False
    knows_replicas = True

    def __init__(self, service: str, sentinels: Sequence[Address], primary: Address, options: Options) -> None:
        """Make the topology; `primary` holds the settings for connections to a primary, wherever it is."""
        self._options = options
        scheme = "rediss" if issubclass(_kind_of(primary), SSLConnection) else "redis"
        places = ",".join(each.label.split("://")[1].rpartition("/")[0] for each in sentinels)
        self.label = f"{scheme}+sentinel://{places}/{service}/{primary.arguments.get('db', 0)}"
        self.identity: Hashable = (
            service,
            tuple(each.identity for each in sentinels),
            primary.identity,
            (options.protocol, options.timeout, options.connect_timeout, options.max_staleness, options.clock),
            options.replica_fallback,
            None if options.allowed_hosts is None else tuple(options.allowed_hosts),
        )
        self._sentinels = sentinels
        self._watch = _watches.acquire(
            self.identity,
            lambda: PrimaryWatch(service, sentinels, options, options.clock or SystemClock(), self.label),
        )
        self._primary = Address(primary_connection(_kind_of(primary), self._watch), primary.arguments, self.label)
        self._pool = Pool(self.link_connection, options, self.label)
        self._replica_pool: Pool | None = None
        if options.replica_fallback:
            reader = functools.partial(replica_connection(_kind_of(primary)), watch=self._watch)
            address = Address(reader, primary.arguments, self.label)
            self._replica_pool = Pool(lambda: address.connection(options), options, f"the replicas of {self.label}")
        self._told: list[Callable[[], None]] = []
        for pool in self._pools():
            self.on_change(pool.renew)
        self._closed = False

    def pool(self) -> Pool:
        """Return the pool of the data path."""
        return self._pool

    def named(self) -> Sequence[Address]:
        """Return the addresses of the sentinels."""
        return self._sentinels

    def owner(self, slot: int) -> Hashable:  # noqa: ARG002 - it serves all
        """Return None, in place of the one server."""
        return None

    def suited(self, options: Options) -> Options:
        """Return `options` as they are."""
        return options

    def replica_pool(self) -> Pool | None:
        """Return the pool for replica reads while the primary is away; None unless the options enable them."""
        return self._replica_pool

    def link_connection(self) -> AbstractConnection:
        """Return a fresh connection, which leads to the primary at the time of connecting."""
        return self._primary.connection(self._options)

    def vouched_at(self, connection: AbstractConnection) -> int:
        """Return the latest instant (ns) at which a majority of the sentinels named this connection's server."""
        primary = connection.primary if isinstance(connection, PrimaryConnection) else None
        return 0 if primary is None else self._watch.vouched_at(primary)

    def distrust(self) -> None:
        """Search for the primary anew, and drop all connections: one of them leads to a server that is no primary."""
        self._pool.renew()
        self._watch.distrust()

    def on_change(self, concerned: Callable[[], None]) -> None:
        """Call `concerned` at each change of the primary, before any connection to the new one is made."""
        self._told.append(concerned)
        self._watch.tell(concerned)

    def after_fork(self) -> None:
        """Drop the parent's connections; the next ones are this process's own."""
        self._watch.after_fork()
        for pool in self._pools():
            pool.after_fork()

    def close(self) -> None:
        """Close every connection of the data path; the last topology to be closed ends the watch."""
        if self._closed:
            return
        self._closed = True
        for concerned in self._told:
            self._watch.forget(concerned)
        for pool in self._pools():
            pool.close()
        _watches.release(self._watch)

    def _pools(self) -> list[Pool]:
        return [self._pool] if self._replica_pool is None else [self._pool, self._replica_pool]

    def __repr__(self) -> str:
        return f"SentinelTopology({self.label!r})"


def sentinel_from_url(url: str, options: Options) -> SentinelTopology:
    """Return the topology of `redis+sentinel://[user:password@]host[:port],.../service[/db]`, or `rediss+sentinel://`.

    User and password are the servers'. The query accepts the settings of `redis://`, `sentinel_username` and
    `sentinel_password`.
    """
    shown = masked(url)
    scheme = url.partition("+")[0]
    try:
        parts = urlsplit(url)
        access_part, _, hosts = parts.netloc.rpartition("@")
        # redis-py parses all but the hosts, as it accepts only one.
        user = f"{access_part}@" if access_part else ""
        given: dict[str, Any] = parse_url(f"{scheme}://{user}host/?{parts.query}")  # type: ignore[no-untyped-call]
        places = [_host_and_port(each) for each in hosts.split(",")]
    except ValueError as error:
        reason = str(error) if "connection URL" in str(error) else "one of the URL's hosts or ports isn't valid"
        raise ConfigurationError(f"{reason}: {shown!r}") from None
    check_query(parts.query, shown, _OWN)
    if parts.fragment:
        raise ConfigurationError(f"the URL can't hold a '#', got {shown!r}")
    service, _, database = parts.path.strip("/").partition("/")
    if not service:
        raise ConfigurationError(
            f"the URL must name the service that is watched: {scheme}+sentinel://hosts/service/db, got {shown!r}"
        )
    if database and not (database.isascii() and database.isdigit()):
        raise ConfigurationError(f"the URL's path must be a service and a database number, got {shown!r}")
    kind = given.pop("connection_class", Connection)
    for name in ("host", "port", *_OWN):
        given.pop(name, None)
    given["db"] = int(database or given.get("db", 0))
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    theirs = {name: value for name, value in given.items() if name.startswith("ssl_") or name == "client_name"}
    for name in ("username", "password"):
        if (value := query.get(f"sentinel_{name}")) is not None:
            theirs[name] = value
    return _topology(kind, unquote(service), places, theirs, given, options, shown=shown)


def sentinel_from_client(client: redis.Sentinel | redis.Redis, options: Options) -> SentinelTopology:
    """Return the topology of a `redis.Sentinel` (its service by the option `service`), or of its `master_for(...)`."""
    pool: Any = None if isinstance(client, redis.Sentinel) else client.connection_pool
    manager: Any = client if pool is None else pool.sentinel_manager
    service = options.service if pool is None else pool.service_name
    if service is None:
        raise ConfigurationError(
            "service must name what the sentinels watch, where the target is a redis.Sentinel; got None"
        )
    given = lent_by(manager.connection_kwargs if pool is None else pool.connection_kwargs)
    kind: type[Connection] = Connection
    if (pool is not None and issubclass(pool.connection_class, SSLConnection)) or manager.connection_kwargs.get("ssl"):
        kind = SSLConnection
    lent = [lent_by(sentinel.connection_pool.connection_kwargs) for sentinel in manager.sentinels]
    places = [(str(each.pop("host")), int(each.pop("port", PORT))) for each in lent]
    theirs = {name: value for name, value in lent[0].items() if name not in ("db", "connection_pool")}
    for name in ("host", "port", "connection_pool"):
        given.pop(name, None)
    secure = issubclass(manager.sentinels[0].connection_pool.connection_class, SSLConnection)
    return _topology(kind, str(service), places, theirs, given, options, SSLConnection if secure else Connection)


def is_sentinels(client: object) -> TypeGuard[redis.Sentinel | redis.Redis]:
    """Return True if a client finds its server through sentinels."""
    return isinstance(client, redis.Sentinel) or (
        isinstance(client, redis.Redis) and isinstance(client.connection_pool, SentinelConnectionPool)
    )


def _topology(
    kind: type[Connection],
    service: str,
    places: Sequence[tuple[str, int]],
    theirs: dict[str, Any],
    given: dict[str, Any],
    options: Options,
    their_kind: type[Connection] | None = None,
    shown: str = "a client of sentinels",
) -> SentinelTopology:
    """Make the topology: `theirs` are the arguments of connections to sentinels, `given` those to primaries."""
    their_kind = their_kind or kind
    for name, value in (("username", options.sentinel_username), ("password", options.sentinel_password)):
        if value is None:
            continue
        if theirs.get(name):
            raise ConfigurationError(f"sentinel_{name} is given twice: by the URL or client, and by the options")
        theirs[name] = value
    for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
        if (value := getattr(options, name)) is not None and issubclass(their_kind, SSLConnection):
            theirs.setdefault(name, value)
    sentinels = []
    for host, port in places:
        warn_of_plaintext(their_kind, host)
        arguments = {**theirs, "host": host, "port": port}
        sentinels.append(Address(their_kind, arguments, tcp_label(their_kind, arguments)))
    primary = Address(kind, {"db": 0, **access(kind, given, options)}, service)
    for address in (*sentinels, primary):
        check_arguments(address, options, shown)
    return SentinelTopology(service, sentinels, primary, options)


def _host_and_port(place: str) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    if not parts.hostname or parts.port == 0 or parts.path or parts.username is not None:
        raise ValueError("not a host and a port")
    return parts.hostname, parts.port or PORT


def _kind_of(address: Address) -> type[Connection]:
    kind: Any = address.kind
    return kind  # type: ignore[no-any-return]


_watches: Final = Shared(PrimaryWatch.close)
"""The watches of this process; a forked child goes on with them."""

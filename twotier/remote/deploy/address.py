"""Address of one server: its place, and the settings of connections to it.

redis-py makes the connections (TCP, TLS, unix sockets, HELLO, AUTH, SELECT), with twotier's parser, and
with redis-py's retries, health checks and maintenance notifications switched off: each of those would
break a deadline or leave a reply to be read by the next command.
"""

import hashlib
import ipaddress
import logging
import os
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
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
from twotier.remote.deploy.allowed_hosts import ensure_allowed
from twotier.remote.deploy.credentials import with_credentials
from twotier.remote.deploy.masking import masked
from twotier.remote.io.handshake import HandshakeParser

_ADDRESS: Final = frozenset(
    {"host", "port", "path", "db", "username", "password", "credential_provider", "client_name", "redis_connect_func"}
    | {"socket_keepalive", "socket_keepalive_options", "socket_type"}
)
"""Arguments of a connection that describe its server, beside `ssl_...`; twotier sets all others."""
_URL_OPTIONS: Final = frozenset({"db", "client_name", "username", "password", "socket_keepalive"})
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")

_CONNECTS: Final = (TCPConnection._connect, SSLConnection._connect, UnixDomainSocketConnection._connect)  # noqa: SLF001

_PROCESS_KEY: Final = os.urandom(16)
"""Keeps credentials from being read from, or guessed by, an identity."""

_warned: Final[set[str]] = set()
"""Hosts for which a warning of plaintext connections was logged."""

_log = logging.getLogger("twotier")


@dataclass(frozen=True, slots=True)
class Address:
    """How to connect to one server: redis-py's connection class and its arguments. The repr shows no secret."""

    kind: Callable[..., AbstractConnection] = field(repr=False)
    arguments: Mapping[str, Any] = field(repr=False)
    label: str
    told: bool = False
    """Whether the host was named by a server, not by the user."""

    @property
    def identity(self) -> Hashable:
        """Equal for addresses that lead to the same place in the same way."""
        parts = repr(sorted((name, repr(value)) for name, value in self.arguments.items()))
        digest = hashlib.blake2b(parts.encode(errors="surrogatepass"), key=_PROCESS_KEY, digest_size=16)
        return (repr(self.kind), self.label, digest.hexdigest())

    def at(self, host: str, port: int) -> "Address":
        """Return the address of another TCP server, named by a server, with the same connection settings."""
        kind: Any = self.kind
        warn_of_plaintext(kind, host)
        arguments = {**self.arguments, "host": host, "port": port}
        return Address(kind, arguments, tcp_label(kind, arguments), told=True)

    def connection(self, options: Options) -> AbstractConnection:
        """Return a fresh connection, not connected yet; RemoteUnavailable if the host isn't an allowed one."""
        if self.told:
            ensure_allowed(self.arguments["host"], options.allowed_hosts)
        return self.kind(
            **self.arguments,
            protocol=options.protocol,
            socket_connect_timeout=options.connect_timeout,
            socket_timeout=options.timeout,
            retry=Retry(NoBackoff(), 0),
            health_check_interval=0,
            decode_responses=False,
            parser_class=HandshakeParser,
            driver_info=None,  # two more round trips before the first command
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )


def address_of_url(url: str, options: Options) -> Address:
    """Return the address in a redis://, rediss:// or unix:// URL; raise ConfigurationError if it can't work."""
    shown = masked(url)
    try:
        given: dict[str, Any] = parse_url(url)  # type: ignore[no-untyped-call]
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # redis-py's error for an option only names the option; one for a port or host may quote a part of a password.
        reason = str(error) if "connection URL" in str(error) else "the URL's host or port isn't valid"
        raise ConfigurationError(f"{reason}: {shown!r}") from None
    check_query(parts.query, shown)
    if parts.scheme == "unix":
        if not given.get("path"):
            raise ConfigurationError(f"a unix:// URL must name the socket's path, got {shown!r}")
        del given["connection_class"]
        return _address(UnixDomainSocketConnection, given, options)
    if not parts.hostname or port == 0 or parts.fragment:
        raise ConfigurationError(
            f"the URL must name a host, a port from 1 to 65535 if any, and have no '#', got {shown!r}"
        )
    database = parts.path.strip("/")
    if database and not (database.isascii() and database.isdigit()):
        raise ConfigurationError(f"the URL's path must be a database number, got {shown!r}")
    kind: type[AbstractConnection] = given.pop("connection_class", TCPConnection)
    address = _address(kind, given, options)
    check_arguments(address, options, shown)
    return address


def check_arguments(address: Address, options: Options, shown: str) -> None:
    """Raise ConfigurationError if redis-py rejects these arguments; `shown` is their origin, for the error."""
    try:
        address.connection(options)  # which connects nowhere yet
    except (TypeError, ValueError, redis.RedisError):
        raise ConfigurationError(
            "the ssl_... options must be those of redis-py for TLS (rediss://), with values that it accepts "
            f"(ssl_cert_reqs: none, optional or required), got {shown!r}"
        ) from None


def check_query(query: str, shown: str, more: frozenset[str] = frozenset()) -> None:
    """Raise ConfigurationError for an option in a URL's query that a URL may not set, unless it is in `more`."""
    for name in parse_qs(query, keep_blank_values=True):
        if name not in _URL_OPTIONS and name not in more and not name.startswith("ssl_"):
            # The name is shown only if it can't be a part of a password that wasn't percent-encoded.
            which = f"option {name!r}" if name in URL_QUERY_ARGUMENT_PARSERS else "one of its options"
            raise ConfigurationError(f"the URL can't hold {which}; see Options for what is set there: {shown!r}")


def address_of_client(client: redis.Redis, options: Options) -> Address:
    """Return the address that `client` is set up for; the client's own connections aren't touched."""
    pool: ConnectionPool = client.connection_pool
    kind = pool.connection_class
    if type(pool) not in (ConnectionPool, BlockingConnectionPool) or not issubclass(kind, AbstractConnection):
        raise ConfigurationError(
            "the client must connect to one server, by TCP, TLS or a unix socket; it has a "
            f"{type(pool).__qualname__} of {kind.__qualname__}"
        )
    if kind._connect not in _CONNECTS:  # noqa: SLF001 - what opens the socket
        raise ConfigurationError(
            f"the client must connect to a server by redis-py's own sockets; it has a {kind.__module__}."
            f"{kind.__qualname__}: for tests without a server use Cache(), or embedded://"
        )
    given = lent_by(pool.connection_kwargs)
    if not issubclass(kind, UnixDomainSocketConnection):
        given = {"host": "localhost"} | given
    address = _address(kind, given, options)
    check_arguments(address, options, f"a client of {address.label}")
    return address


def lent_by(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a client's `arguments` that describe its server: address, credentials and TLS settings."""
    return {
        name: value
        for name, value in arguments.items()
        if value is not None and (name in _ADDRESS or name.startswith("ssl_"))
    }


def _address(kind: type[Any], given: Mapping[str, Any], options: Options) -> Address:
    if issubclass(kind, UnixDomainSocketConnection):
        return Address(kind, access(kind, given, options), f"unix://{given.get('path', '')}")
    given = {"port": 6379, "db": 0, **given}
    warn_of_plaintext(kind, given["host"])
    return Address(kind, access(kind, given, options), tcp_label(kind, given))


def access(kind: type[AbstractConnection], given: Mapping[str, Any], options: Options) -> dict[str, Any]:
    """Return a connection's arguments with the credentials and the TLS files of `options`."""
    found = with_credentials(given, options)
    for name in _TLS_FILES:
        value = getattr(options, name)
        if value is None:
            continue
        if not issubclass(kind, SSLConnection):
            raise ConfigurationError(f"{name} must be None without TLS (rediss://), got {value!r}")
        if found.get(name) is not None:
            raise ConfigurationError(f"{name} is given twice: by the URL or client, and by the options; give it once")
        found[name] = value
    return found


def warn_of_plaintext(kind: type[AbstractConnection], host: str) -> None:
    """Log, once for each process and host, that data sent there, passwords included, can be read on the way."""
    if issubclass(kind, SSLConnection) or _is_loopback(host) or host in _warned:
        return
    _warned.add(host)
    _log.warning(
        "connections to %s are not encrypted: anyone on the network path can read and change everything; use TLS", host
    )


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def tcp_label(kind: type[AbstractConnection], given: Mapping[str, Any]) -> str:
    """Return the name of a server for logs and errors."""
    scheme = "rediss" if issubclass(kind, SSLConnection) else "redis"
    host = f"[{given['host']}]" if ":" in given["host"] else given["host"]
    return f"{scheme}://{host}:{given['port']}/{given.get('db', 0)}"

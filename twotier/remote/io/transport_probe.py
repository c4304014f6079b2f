"""Probe of a server that may speak TLS although its URL says plaintext, or the reverse, after a failed connection.

The failure alone doesn't show the reason: a plaintext server takes a TLS handshake for a line and waits
for its end until we give up, and a TLS server closes the connection. So the probe opens a connection of
its own and speaks the other way: "PING", or the first message of a TLS handshake. It sends no name,
password or key. A port is probed once a minute, within the timeout of a connection.
"""

import logging
import socket
import ssl
import time
from typing import Any, Final

from redis.connection import AbstractConnection, Connection, SSLConnection

KEPT: Final = 60.0
"""Seconds for which the result of a probe is kept."""
MOST_KEPT: Final = 256
"""Most ports whose results are kept."""
_RECORD: Final = 5
_TLS_RECORDS: Final = (b"\x15\x03", b"\x16\x03")
"""First bytes of an alert and of a handshake message."""

_log = logging.getLogger("twotier")
_kept: Final[dict[tuple[str, int, bool], tuple[float, str]]] = {}
"""The hint for a host, a port and the use of TLS, and the instant until which the hint is kept."""


def transport_hint(connection: AbstractConnection | None) -> str:
    """Return the hint of `ask_transport`, which is called and logged at most once a minute for each port."""
    if not isinstance(connection, Connection):
        return ""
    asked = _port_of(connection)
    now = time.monotonic()
    until, hint = _kept.get(asked, (0.0, ""))
    if now < until:
        return hint
    if len(_kept) >= MOST_KEPT:
        _kept.clear()
    _kept[asked] = now + KEPT, ""  # others don't ask at the same time
    hint = ask_transport(connection)
    _kept[asked] = now + KEPT, hint
    if hint:
        _log.error("%s (logged once a minute)", hint)
    return hint


def ask_transport(connection: AbstractConnection) -> str:
    """Return advice on the URL's scheme if `connection`, which has failed, needs another one; else ""."""
    if not isinstance(connection, Connection):
        return ""
    host, port, secure = _port_of(connection)
    place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        with socket.create_connection((host, port), connection.socket_timeout) as asked:
            asked.sendall(b"PING\r\n" if secure else _client_hello(host))
            answer = asked.recv(_RECORD)
    except (OSError, ValueError):
        return ""
    if secure and answer[:1] in (b"+", b"-"):
        return f"{place} doesn't speak TLS: write redis in place of rediss (redis://{place})"
    if not secure and answer[:2] in _TLS_RECORDS:
        return f"{place} speaks TLS: write rediss in place of redis (rediss://{place})"
    return ""


def _port_of(connection: Connection) -> tuple[str, int, bool]:
    port: Any = connection.port
    return str(connection.host), int(port), isinstance(connection, SSLConnection)


def _client_hello(host: str) -> bytes:
    """Return the first message of a TLS handshake."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.wrap_bio(incoming, outgoing, server_hostname=host).do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise ValueError("a handshake waits for an answer")

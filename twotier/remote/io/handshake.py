"""Handshakes: redis-py sends the commands (HELLO, AUTH, SELECT), and this module reads the replies, within bounds.

redis-py's own parsers trust the server: they allocate a length before any data has arrived, and each byte that trickles
in renews their timeout. `HandshakeParser` replaces them in every connection that `Address` makes. It uses the reader
of all replies, and one deadline covers the whole handshake.
"""

import time
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import redis.exceptions
from redis.connection import AbstractConnection, DefaultParser

from twotier.replies import Reader
from twotier.resp import ErrorReply, ProtocolError, Push

if TYPE_CHECKING:
    import socket

LARGEST: Final = 64 << 10
"""Most bytes of one reply: HELLO's lists a server's modules, INFO's section takes 1 kB."""
ELEMENTS: Final = 4096
"""Most elements of one reply."""
TIMEOUTS: Final = 4
"""Most time for a whole handshake, as a multiple of `timeout`; each of its replies has `timeout`."""
_CHUNK: Final = 16 << 10


class ClosedError(redis.exceptions.ConnectionError):
    """The server closed the connection instead of replying."""


class HandshakeParser:
    """The reader of a handshake's replies, with the interface that redis-py's connections expect."""

    def __init__(self, socket_read_size: int) -> None:  # noqa: ARG002 - redis-py gives it
        self.on_disconnect()

    def on_connect(self, connection: Any) -> None:
        """Begin on a fresh socket."""
        self._socket: socket.socket | None = connection._sock  # noqa: SLF001 - redis-py's parsers do the same
        self._timeout: float = connection.socket_timeout
        self._deadline = time.monotonic() + TIMEOUTS * self._timeout
        self._reader = Reader(longest=LARGEST, largest=LARGEST, elements=ELEMENTS)
        self._replies: deque[Any] = deque()

    def on_disconnect(self) -> None:
        """Drop the socket."""
        self._socket = None
        self._reader = Reader()
        self._replies = deque()

    def can_read(self, timeout: float = 0) -> bool:  # noqa: ARG002 - nobody waits for it
        """Return True if an unrequested reply, or a part of one, has arrived."""
        return bool(self._replies) or not self._reader.idle

    def read_response(self, **_: Any) -> Any:
        """Return the next reply, an error reply as redis-py's exception.

        Raises TimeoutError, ProtocolError or ConnectionError.
        """
        while not self._replies:
            self._replies += [reply for reply in self._reader.feed(self._received()) if type(reply) is not Push]
        reply = self._replies.popleft()
        if type(reply) is not ErrorReply:
            return reply
        error: Exception = DefaultParser.parse_error(reply.text)  # type: ignore[no-untyped-call]
        if isinstance(error, redis.exceptions.ConnectionError):
            raise error
        return error

    def _received(self) -> bytes:
        """Wait for the next bytes."""
        left = min(self._timeout, self._deadline - time.monotonic())
        if self._socket is None:
            raise redis.exceptions.ConnectionError("the connection is closed")
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        try:
            data = self._socket.recv(_CHUNK)
        finally:
            if self._socket is not None:
                self._socket.settimeout(self._timeout)
        if not data:
            raise ClosedError("the server closed the connection")
        return data


def opened(connection: AbstractConnection) -> "socket.socket":
    """Return the socket of an open connection; raise ProtocolError if the server has sent an unrequested reply."""
    if connection._parser.can_read():  # noqa: SLF001 - no public way to it
        raise ProtocolError("the server answers before it is asked")
    taken: socket.socket | None = connection._sock  # noqa: SLF001 - the same
    if taken is None:
        raise ConnectionError("redis-py opened no socket")
    return taken

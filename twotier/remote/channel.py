"""One connection of the data path: sends a trip, reads its replies, all within a deadline.

redis-py connects and shakes hands; from then on the socket is read and written here, since a deadline must hold over
the whole exchange (a reply that drips in renews redis-py's timeout with each byte), and since its own path costs more
than the server's.

Each trip ends with a PING of a number of its own, and its echo must be the last reply. So replies can't shift from one
command to another unseen: a reply that was left on the connection, by whatever fault, can never be taken for the
answer to a later command.
"""

import os
import select
import ssl
import time
from typing import TYPE_CHECKING, Any, Final

from twotier.remote.reader import NOTHING, PUSH, Reader, make_reader
from twotier.remote.refusals import refusal
from twotier.resp import ErrorReply

if TYPE_CHECKING:
    import socket

_CHUNK: Final = 1 << 16
"""Most bytes read at once; a trip up to this size is sent together with its PING."""
_SLACK: Final = 0.98
"""Share of the usual timeout that must be left for the socket to keep it: telling it the remainder is a system call."""


class Channel:
    """A connected connection; used by one thread or task at a time."""

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_connection",
        "_echo",
        "_patience",
        "_poll",
        "_reader",
        "_replies",
        "_series",
        "_timeout",
        "_trip",
        "_wanted",
        "alive_at",
        "era",
        "socket",
    )

    def __init__(self, connection: Any, timeout: float, era: int = 0) -> None:
        self._connection = connection
        self.era = era
        self.alive_at = time.monotonic()
        """Instant of `time.monotonic` at which the server last answered on it."""
        self.socket: socket.socket = connection._sock  # noqa: SLF001 - redis-py has no public name for it
        self._timeout = self._patience = timeout
        self.socket.settimeout(timeout)
        self._reader: Reader = make_reader()
        self._buffer = bytearray(_CHUNK)
        self._series = os.urandom(6).hex().encode()
        self._trip = 0
        self._echo = b""
        self._replies: list[Any] = []
        self._wanted = 0
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        self._poll = poll.poll

    def quiet(self) -> bool:
        """Tell whether the connection is open and has nothing to read, as it must between trips."""
        return not self._poll(0) or self._only_tls_records()

    def exchange(self, wire: bytes, count: int, deadline: float) -> list[Any]:
        """Send `wire` and return its `count` replies; `deadline` is an instant of `time.monotonic`.

        Raises OSError (TimeoutError past the deadline), and what `receive` does; the channel is of no use then.
        """
        if deadline - time.monotonic() < self._timeout * _SLACK:
            self._be_exact(deadline)
        else:
            self._wait_for(self._timeout)
        for part in self.begin(wire, count):
            sent = self.socket.send(part)
            if sent < len(part):
                self._send_rest(part, sent, deadline)
        while (replies := self.receive()) is None:
            self._be_exact(deadline)
        return replies

    # What a trip is, whoever waits for the socket: `begin` it, send what that returns, and `receive` while it is None.

    def begin(self, wire: bytes, count: int) -> tuple[bytes, ...]:
        """Begin the trip of a command with `count` replies; return what is to be sent, in parts."""
        self._trip += 1
        self._echo = echo = b"%b%08x" % (self._series, self._trip)
        self._wanted = count + 1
        self._replies = []
        ping = b"*2\r\n$4\r\nPING\r\n$20\r\n%b\r\n" % echo
        return (wire + ping,) if len(wire) <= _CHUNK else (wire, ping)

    def receive(self) -> list[Any] | None:
        """Read what has come, once; return the replies when they are complete, None while they aren't.

        Raises OSError, ProtocolError, EchoError, or the RemoteError that the server refuses even the PING with.
        """
        size = self.socket.recv_into(self._buffer)
        if not size:
            raise ConnectionResetError("closed by the server")
        reader, replies = self._reader, self._replies
        reader.feed(self._buffer, 0, size)
        while (reply := reader.gets()) is not NOTHING:
            if type(reply) is not PUSH:
                replies.append(reply)
                if len(replies) == self._wanted:
                    return self._checked(replies)
        return None

    def unblock(self) -> int:
        """Have the socket wait for nothing until the next `exchange`; return its descriptor, for a loop to watch."""
        self._wait_for(0.0)
        return self.socket.fileno()

    def _checked(self, replies: list[Any]) -> list[Any]:
        self._replies = []  # the caller's from here on
        echoed = replies.pop()
        if echoed != self._echo or self._reader.has_data():
            if type(echoed) is ErrorReply:  # a server that takes no commands now
                raise refusal(echoed)
            raise EchoError
        return replies

    def _send_rest(self, wire: bytes, sent: int, deadline: float) -> None:
        with memoryview(wire) as view:
            while sent < len(wire):
                self._be_exact(deadline)
                sent += self.socket.send(view[sent:])

    def _be_exact(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._wait_for(left)

    def _wait_for(self, seconds: float) -> None:
        """Have the socket wait that long for each operation; 0.0: not at all."""
        if seconds != self._patience:
            self._patience = seconds
            self.socket.settimeout(seconds)

    def _only_tls_records(self) -> bool:
        """Tell whether what can be read is TLS's own business (session tickets come after the handshake)."""
        if not isinstance(self.socket, ssl.SSLSocket):
            return False
        self._wait_for(0.0)
        try:
            self.socket.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        else:
            return False

    def close(self) -> None:
        """Close the connection; in a forked child without a word to the server, whose connection is the parent's."""
        self._connection.disconnect()


class EchoError(Exception):
    """The replies of a trip didn't end with its own echo."""

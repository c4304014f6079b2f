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
    """A connected connection; used by one thread at a time."""

    __slots__ = ("_buffer", "_connection", "_exact", "_poll", "_reader", "_series", "_socket", "_timeout", "_trip")

    def __init__(self, connection: Any, timeout: float) -> None:
        self._connection = connection
        self._socket: socket.socket = connection._sock  # noqa: SLF001 - redis-py has no public name for it
        self._timeout = timeout
        self._socket.settimeout(timeout)
        self._reader: Reader = make_reader()
        self._buffer = bytearray(_CHUNK)
        self._series = os.urandom(6).hex().encode()
        self._trip = 0
        self._exact = False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        self._poll = poll.poll

    def quiet(self) -> bool:
        """Tell whether the connection is open and has nothing to read, as it must between trips."""
        return not self._poll(0) or self._only_tls_records()

    def exchange(self, wire: bytes, count: int, deadline: float) -> list[Any]:
        """Send `wire` and return its `count` replies; `deadline` is an instant of `time.monotonic`.

        Raises OSError (TimeoutError past the deadline), ProtocolError, EchoError, or the RemoteError that the server
        refuses even the PING with; the channel is of no use then.
        """
        self._trip += 1
        echo = b"%b%08x" % (self._series, self._trip)
        ping = b"*2\r\n$4\r\nPING\r\n$20\r\n%b\r\n" % echo
        if deadline - time.monotonic() < self._timeout * _SLACK:
            self._be_exact(deadline)
        if len(wire) <= _CHUNK:
            wire += ping
            sent = self._socket.send(wire)
            if sent < len(wire):
                self._send_rest(wire, sent, deadline)
        else:
            self._send_rest(wire, 0, deadline)
            self._send_rest(ping, 0, deadline)
        replies = self._read(count + 1, deadline)
        if self._exact:
            self._socket.settimeout(self._timeout)
            self._exact = False
        echoed = replies.pop()
        if echoed != echo or self._reader.has_data():
            if type(echoed) is ErrorReply:  # a server that takes no commands now
                raise refusal(echoed)
            raise EchoError
        return replies

    def _send_rest(self, wire: bytes, sent: int, deadline: float) -> None:
        with memoryview(wire) as view:
            while sent < len(wire):
                self._be_exact(deadline)
                sent += self._socket.send(view[sent:])

    def _read(self, count: int, deadline: float) -> list[Any]:
        buffer, reader = self._buffer, self._reader
        receive, gets = self._socket.recv_into, reader.gets
        replies: list[Any] = []
        while True:
            size = receive(buffer)
            if not size:
                raise ConnectionResetError("closed by the server")
            reader.feed(buffer, 0, size)
            while (reply := gets()) is not NOTHING:
                if type(reply) is not PUSH:
                    replies.append(reply)
                    if len(replies) == count:
                        return replies
            self._be_exact(deadline)

    def _be_exact(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(left)
        self._exact = True

    def _only_tls_records(self) -> bool:
        """Tell whether what can be read is TLS's own business (session tickets come after the handshake)."""
        if not isinstance(self._socket, ssl.SSLSocket):
            return False
        self._socket.settimeout(0)
        try:
            self._socket.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        else:
            return False
        finally:
            self._socket.settimeout(self._timeout)

    def close(self) -> None:
        """Close the connection; in a forked child without a word to the server, whose connection is the parent's."""
        self._connection.disconnect()


class EchoError(Exception):
    """The replies of a trip didn't end with its own echo."""

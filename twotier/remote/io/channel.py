"""One connection of the data path: sends the request of a round trip and reads its replies within a deadline.

Large values take time that isn't the server's fault, so a round trip has two bounds. Silence: it ends
after `timeout` seconds in which no byte has moved. The whole: its deadline moves by a second for each
`SLOWEST` bytes sent or received, so a reply that drips in gains nothing, and a reply that arrives at a
fair rate has enough time. Sent bytes may wait in buffers on the way: after more than 64 KiB, silence
counts only if the kernel still holds some of them and their number doesn't fall.

redis-py connects and does the handshake; from then on this module reads and writes the socket. A deadline
must hold over the whole exchange (a reply that drips in renews redis-py's timeout with each byte), and
redis-py's own path costs more time than the server.

Each round trip ends with a PING that carries a unique number, and its echo must be the last reply. So
replies can't shift from one command to another unnoticed: a reply that was left on the connection, by
whatever fault, is never taken for the reply to a later command.
"""

import fcntl
import math
import os
import select
import ssl
import sys
import termios
import time
from typing import Any, Final

from twotier.remote.io.errors import refusal
from twotier.remote.io.handshake import opened
from twotier.replies import Reader
from twotier.resp import MAX_BULK, ErrorReply, ProtocolError, Push

SLOWEST: Final = 2 << 20
"""Least rate of a round trip (bytes a second), beside the seconds of its deadline."""
_CHUNK: Final = 1 << 16
"""Most bytes read at once; a request up to this size is sent together with its PING."""
LARGEST: Final = 1 << 30
"""Most bytes of one reply with many values, and of the replies of one round trip."""
MOST_PUSHES: Final = 1000
"""Most unrequested messages in one round trip."""
_ECHO: Final = slice(-22, -2)
"""Place of the text to echo in a PING."""
_LAST_TRIP: Final = 0xFFFFFFFF
"""Highest number of a round trip, in 8 hexadecimal digits; the numbers then begin anew."""
_SLACK: Final = 0.98
"""Least remaining share of the usual timeout at which the socket keeps it: setting another costs a system call."""


class Channel:
    """A connected connection; used by one thread or task at a time."""

    __slots__ = (
        "__weakref__",
        "_buffer",
        "_connection",
        "_deadline",
        "_echo",
        "_moved_at",
        "_noted",
        "_patience",
        "_ping",
        "_poll",
        "_pushes",
        "_queued",
        "_reader",
        "_replies",
        "_timeout",
        "_trip",
        "_wanted",
        "alive_at",
        "era",
        "progress_at",
        "received",
        "sent",
        "socket",
    )

    def __init__(self, connection: Any, timeout: float, era: int = 0, longest: int = MAX_BULK) -> None:
        """Take over `connection`; `longest` is the longest string to read (bytes), longer ones count as empty."""
        self._connection = connection
        self.era = era
        self.alive_at = time.monotonic()
        """Instant of `time.monotonic` of the server's last reply on the connection."""
        self.progress_at = -math.inf
        """Instant of `time.monotonic` at which the server last sent a part of a large reply."""
        self.socket = opened(connection)
        self._timeout = self._patience = timeout
        self.socket.settimeout(timeout)
        self._reader = Reader(longest=longest, largest=LARGEST, skips=True)
        self._buffer = bytearray(_CHUNK)
        self._ping = b"*2\r\n$4\r\nPING\r\n$20\r\n" + os.urandom(6).hex().encode()
        """A PING without the number of the round trip."""
        self._trip = 0
        self._echo = b""
        self._replies: list[Any] = []
        self._wanted = self._pushes = 0
        self._deadline = self._moved_at = 0.0
        self._queued: int | None = None
        """Bytes that the kernel had still to send at the last check."""
        self._noted = 0
        self.sent = self.received = 0
        """Bytes of this round trip so far."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        self._poll = poll.poll

    def quiet(self) -> bool:
        """Return True if the connection is open and has nothing to read, as is required between round trips."""
        return not self._poll(0) or self._only_tls_records()

    def exchange(self, wire: bytes, count: int, deadline: float) -> list[Any]:
        """Send `wire` and return its `count` replies; `deadline` is an instant of `time.monotonic`.

        Raises OSError (TimeoutError past the deadline, which moves with the bytes) and the errors of
        `receive`; the channel is unusable then.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        patience = left if left < self._timeout * _SLACK else self._timeout
        if patience != self._patience:
            self._wait_for(patience)
        for part in self.begin(wire, count, deadline):
            sent = self.socket.send(part)
            self.sent += sent
            if sent < len(part):
                self._send_rest(part, sent)
        while True:
            try:
                replies = self.receive()
            except TimeoutError:
                self._wait_for(self.patience())
                continue
            if replies is not None:
                return replies
            self.note_progress()
            self._wait_for(self.patience())

    # A round trip, for any way of waiting: `begin`, send the parts that it returns, `receive` until it returns replies.

    def begin(self, wire: bytes, count: int, deadline: float) -> tuple[bytes, ...]:
        """Begin the round trip of a command with `count` replies; return the parts to send."""
        self._trip = trip = (self._trip + 1) & _LAST_TRIP
        self._deadline = deadline
        self._queued, self._moved_at, self._noted, self.sent, self.received = None, 0.0, 0, 0, 0
        ping = b"%b%08x\r\n" % (self._ping, trip)
        self._echo = ping[_ECHO]
        self._wanted = count + 1
        self._replies = []
        self._pushes = 0
        return (wire + ping,) if len(wire) <= _CHUNK else (wire, ping)

    def receive(self) -> list[Any] | None:
        """Read from the socket once; return the replies when they are complete, None while they aren't.

        Raises OSError, ProtocolError, EchoError, or the RemoteError with which the server refuses even the PING.
        """
        size = self.socket.recv_into(self._buffer)
        if not size:
            raise ConnectionResetError("closed by the server")
        self.received += size
        came = self._reader.feed(self._buffer, size)
        for reply in came:
            if type(reply) is Push:
                came = self._without_pushes(came)
                break
        if self.received > LARGEST:
            raise ProtocolError("the server sends without end")
        replies = self._replies
        replies += came
        if len(replies) < self._wanted:
            return None
        self._replies = []  # the caller owns the list from here on
        echoed = replies.pop()
        if echoed != self._echo or len(replies) >= self._wanted or not self._reader.idle:
            if type(echoed) is ErrorReply:  # the server accepts no commands now
                raise refusal(echoed)
            raise EchoError
        return replies

    def unblock(self) -> int:
        """Make the socket non-blocking until the next `exchange`; return its descriptor, for a loop to watch."""
        self._wait_for(0.0)
        return self.socket.fileno()

    def note_progress(self) -> None:
        """Note that bytes have moved and the round trip isn't over."""
        self._moved_at = time.monotonic()
        if self.received - self._noted >= _CHUNK:
            self._noted, self.progress_at = self.received, self._moved_at

    def patience(self) -> float:
        """Return the seconds left to wait; raise TimeoutError if the round trip's time is over.

        Raises SlowTripError if bytes of a large round trip are still moving.
        """
        now = time.monotonic()
        moved = self.sent + self.received
        whole = self._deadline + moved / SLOWEST - now
        silence = self._moved_at + self._timeout - now
        if whole <= 0:
            if silence > 0 and moved >= _CHUNK:
                raise SlowTripError(f"{moved} bytes were moved, and there are more")
            raise TimeoutError
        if silence <= 0:
            if self.sent <= _CHUNK or not self._is_being_sent():
                raise TimeoutError
            silence = self._timeout
        return min(whole, silence)

    def _is_being_sent(self) -> bool:
        """Return True if sent bytes may still be on their way: the kernel holds fewer than before, or none."""
        before, self._queued = self._queued, self._unsent()
        return self._queued is not None and (before is None or not self._queued or self._queued < before)

    def _unsent(self) -> int | None:
        """Return the number of bytes that the kernel has still to send; None if it is unknown."""
        left = bytearray(4)
        try:
            fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, left)
        except OSError:
            return None
        return int.from_bytes(left, sys.byteorder)

    def _without_pushes(self, came: list[Any]) -> list[Any]:
        """Return `came` without its pushes; raise ProtocolError if there are too many pushes."""
        replies = [reply for reply in came if type(reply) is not Push]
        self._pushes += len(came) - len(replies)
        if self._pushes > MOST_PUSHES:
            raise ProtocolError("the server sends without end")
        return replies

    def _send_rest(self, wire: bytes, sent: int) -> None:
        with memoryview(wire) as view:
            while sent < len(wire):
                self.note_progress()
                self._queued = self._unsent()
                self._wait_for(self.patience())
                try:
                    count = self.socket.send(view[sent:])
                except TimeoutError:
                    self._wait_for(self.patience())
                    continue
                sent += count
                self.sent += count
        self.note_progress()

    def _wait_for(self, seconds: float) -> None:
        """Set the socket's timeout for each operation; 0.0: don't wait."""
        if seconds != self._patience:
            self._patience = seconds
            self.socket.settimeout(seconds)

    def _only_tls_records(self) -> bool:
        """Return True if only TLS records without data can be read (session tickets come after the handshake)."""
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
        """Close the connection; in a forked child, without sending anything, as the connection is the parent's."""
        self._connection.disconnect()


class SlowTripError(TimeoutError):
    """A round trip took longer than its size allows, although bytes were moving."""


class EchoError(Exception):
    """The replies of a round trip didn't end with its own echo."""

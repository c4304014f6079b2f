"""A non-blocking socket, for the link and for conversations with sentinels.

redis-py opens the socket and does the handshake; then this module reads and writes the socket. redis-py's
own reading isn't used, as it blocks, and reconnects silently.
"""

import math
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from redis.connection import AbstractConnection

from twotier.remote.io.handshake import opened

CHUNK: Final = 256 << 10
"""Most bytes read at once."""
MAX_CHUNKS: Final = 4
"""Most chunks read before the clock is checked again."""

_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Waker:
    """Ends a `wait` of another thread."""

    __slots__ = ("_far", "_near")

    def __init__(self) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setblocking(False)
        self._far.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._near.fileno()

    def wake(self) -> None:
        """End the wait under way, or the next one; does nothing once closed. Any thread may call it."""
        with suppress(OSError):  # full: a wake-up is under way already
            self._far.send(b"\0")

    def clear(self) -> None:
        """Forget the wake-ups so far."""
        with suppress(OSError):
            self._near.recv(4096)

    def close(self) -> None:
        """Close the descriptors."""
        self._near.close()
        self._far.close()


class Transport:
    """One open connection. OSError out of any method means that the connection is broken."""

    __slots__ = ("_drained", "_full", "_socket", "_unsent", "connection")

    def __init__(self, connection: AbstractConnection) -> None:
        """Open `connection`, which blocks for as long as its own timeouts allow, and take its socket."""
        connection.connect()  # type: ignore[no-untyped-call]
        self.connection = connection
        self._socket = taken = opened(connection)
        self._socket.setblocking(False)
        # TLS returns one record at a time, however many have arrived.
        self._full: Final = 0 if isinstance(taken, ssl.SSLSocket) else CHUNK
        self._unsent = b""
        self._drained = True

    @property
    def interest(self) -> tuple[int, int]:
        """The descriptor and the poll events to wait for."""
        return self._socket.fileno(), select.POLLIN | (select.POLLOUT if self._unsent else 0)

    def send(self, data: bytes) -> None:
        """Send `data` after earlier unsent bytes, as far as possible without waiting; `wait` sends the rest."""
        self._unsent += data
        while self._unsent:
            try:
                sent = self._socket.send(self._unsent)
            except _NOT_NOW:
                break
            self._unsent = self._unsent[sent:]

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes that have arrived, chunk by chunk; an empty chunk at the end of the stream."""
        self._drained = False
        for _ in range(MAX_CHUNKS):
            try:
                chunk = self._socket.recv(CHUNK)
            except _NOT_NOW:
                self._drained = True
                return
            yield chunk
            if len(chunk) < self._full:  # nothing is left; bytes that come from now on end the next wait
                self._drained = True
                return
            if not chunk:
                return

    def wait(self, waker: Waker, seconds: float) -> None:
        """Wait until bytes can be read or sent, `waker` is woken, or `seconds` are over."""
        wait(self.interest, waker=waker, seconds=seconds if self._drained else 0.0)
        self.send(b"")

    def close(self) -> None:
        """End the connection."""
        self.connection.disconnect()  # type: ignore[no-untyped-call]


def wait(*watched: tuple[int, int], waker: Waker, seconds: float) -> None:
    """Wait until one of `watched` (descriptor, poll events) is ready, `waker` is woken, or `seconds` are over.

    poll, not epoll: nothing in the kernel outlives the call, so a forked child has nothing to share with its parent.
    """
    poll = select.poll()
    for descriptor, interest in watched:
        poll.register(descriptor, interest)
    poll.register(waker.fileno(), select.POLLIN)
    ready = poll.poll(math.ceil(max(0.0, seconds) * 1000))
    if any(descriptor == waker.fileno() for descriptor, _ in ready):
        waker.clear()


def abandon(connection: AbstractConnection) -> None:
    """In a forked child: close the inherited socket without sending anything; the parent goes on using it."""
    inherited: socket.socket | None = connection._sock  # noqa: SLF001 - disconnect() would take redis-py's locks
    connection._sock = None  # noqa: SLF001
    if inherited is not None:
        inherited.close()

"""Runs commands on the remote tier from event loops; everything but the I/O is in `RoundTrip`, as for threads.

The sockets are the pool's own. This module writes and reads them when the running loop reports that they
are ready: by `add_reader` and `add_writer`, which asyncio's selector loops and uvloop have, TLS included
(a non-blocking SSLSocket). No state of a loop outlives a round trip, so loops come and go, and several may
run at once. A cancelled round trip drops its connection, so its late replies are never read.
"""

import asyncio
import ssl
import time
from typing import Any, Literal, TypeAlias, TypeVar

from twotier.remote.commands.base import Command
from twotier.remote.commands.conditional import Conditional
from twotier.remote.commands.replicas import OnReplica
from twotier.remote.execute.round_trip import Endpoint, RoundTrip
from twotier.remote.io.channel import Channel
from twotier.remote.io.pool import Loan, Pool

R = TypeVar("R")
Event: TypeAlias = Literal["read", "write"]


class AsyncExecutor:
    """The asynchronous executor; tasks of any loops share it."""

    def __init__(self, edge: Endpoint) -> None:
        self._edge = edge

    async def run(self, command: Command[R] | Conditional[R] | OnReplica[R], *, probing: bool = False) -> R:
        """Run `command` and return its result; see `RoundTrip` for `probing` and for the exceptions."""
        edge = self._edge
        if isinstance(command, OnReplica):
            edge, command = edge.of_replicas(), command.read
        call = RoundTrip(edge, probing)
        try:
            with call:
                await _take(edge.pool, call.loan, call.deadline)
                channel = call.loan[0]
                if isinstance(command, Conditional):
                    call.watch()
                    replies = await _exchange(channel, command.wire, command.replies, call.deadline)
                    command = call.decide(command, replies)
                return call.result(command, await _exchange(channel, command.wire, command.replies, call.deadline))
        finally:
            if call.loan:  # the exit of the context was interrupted
                edge.pool.drop(call.loan)


async def _take(pool: Pool, loan: Loan, deadline: float) -> None:
    """Put a channel of the pool into `loan`, as `Pool.take` does for threads."""
    if pool.idle(loan):
        return
    loop, woken = asyncio.get_running_loop(), asyncio.Event()
    with pool.queue(lambda: loop.call_soon_threadsafe(woken.set), deadline) as turn:
        timer = loop.call_later(turn.left(), turn.expire)
        try:
            while not pool.look(turn, loan):
                await woken.wait()
                woken.clear()
        finally:
            timer.cancel()


async def _exchange(channel: Channel, wire: bytes, count: int, deadline: float) -> list[Any]:
    """Send `wire` and return its `count` replies, as `Channel.exchange` does for threads."""
    trip = _Trip(channel, wire, count, deadline)
    try:
        trip.begin()
        return await trip.replies
    finally:
        trip.stop()


class _Trip:
    """One exchange on the running loop: sends and reads whenever the socket is ready, until all replies are here."""

    __slots__ = ("_channel", "_deadline", "_descriptor", "_loop", "_timer", "_unsent", "_watched", "replies")

    def __init__(self, channel: Channel, wire: bytes, count: int, deadline: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._channel = channel
        self._unsent = [memoryview(part) for part in channel.begin(wire, count, deadline)]
        self._descriptor = channel.unblock()
        self._watched: Event | None = None
        self._deadline = deadline
        self._timer: asyncio.TimerHandle | None = None
        self.replies: asyncio.Future[list[Any]] = self._loop.create_future()

    def begin(self) -> None:
        """Send and read as much as possible now, and let the loop do the rest; always call `stop` at the end."""
        self._timer = self._loop.call_later(max(0.0, self._deadline - time.monotonic()), self._late)
        self._go_on()

    def stop(self) -> None:
        """Remove the reader or writer and the timer from the loop."""
        self._watch(None)
        if self._timer is not None:
            self._timer.cancel()

    def _go_on(self) -> None:
        """Send and read as much as possible now, and let the loop call again when the socket is ready."""
        if self.replies.done():
            return
        try:
            self._watch(self._advance())
        except Exception as error:  # noqa: BLE001 - the caller gets it, not the loop
            self.replies.set_exception(error)

    def _advance(self) -> Event | None:
        """Send and read as much as possible without waiting; return the event to wait for, None at the end."""
        channel, unsent = self._channel, self._unsent
        try:
            if unsent:
                while unsent:
                    sent = channel.socket.send(unsent[0])
                    channel.sent += sent
                    if sent < len(unsent[0]):
                        unsent[0] = unsent[0][sent:]
                        channel.note_progress()
                    else:
                        del unsent[0]
                return "read"
            while (replies := channel.receive()) is None:
                channel.note_progress()
        except ssl.SSLWantReadError:
            return "read"
        except ssl.SSLWantWriteError:
            return "write"
        except BlockingIOError:
            return "write" if unsent else "read"
        self.replies.set_result(replies)
        return None

    def _watch(self, event: Event | None) -> None:
        """Make the loop watch for `event` alone."""
        if event == self._watched:
            return
        loop, descriptor = self._loop, self._descriptor
        if self._watched is not None:
            (loop.remove_reader if self._watched == "read" else loop.remove_writer)(descriptor)
        self._watched = event
        if event is not None:
            (loop.add_reader if event == "read" else loop.add_writer)(descriptor, self._go_on)

    def _late(self) -> None:
        if self.replies.done():
            return
        try:
            self._timer = self._loop.call_later(self._channel.patience(), self._late)
        except TimeoutError as error:
            self.replies.set_exception(error)

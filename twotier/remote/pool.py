"""The connections of the data path: as many as are needed at once, up to a bound, the latest used first.

Taking an idle one is a `deque.pop` and a poll that it is still open and quiet. A new one is opened on a thread of its
own, while its caller waits no longer than its deadline: name lookups, TLS and handshakes know no common deadline, and
a connection that comes too late for one caller serves the next. Refused credentials are remembered for a second, so
that callers in a hurry don't hammer the server with them.
"""

import collections
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.options import Options
from twotier.remote.channel import Channel
from twotier.remote.connecting import connect_failure
from twotier.remote.refusals import StaleConnectionError

REFUSAL_MEMORY: Final = 1.0
"""Seconds for which refused credentials aren't tried again."""
_LOG_EVERY: Final = 60.0

_log = logging.getLogger("twotier")


class PoolTimeout(RemoteTimeout):
    """Every connection was in use until the deadline: we are busy, which says nothing of the server."""


class Pool:
    """Up to `options.max_connections` channels, shared by threads."""

    def __init__(self, connection: Callable[[], Any], options: Options, label: str) -> None:
        self._connection = connection
        self._label = label
        self._timeout = options.timeout
        self._most = options.max_connections
        self._closed = False
        self._era = 0
        """Raised when what was connected to so far is of no use any more."""
        self._refused: tuple[float, str] | None = None
        self._next_log = 0.0
        self._reset()

    def _reset(self) -> None:
        # Re-entrant, as the garbage collector may close a caller's abandoned coroutine anywhere, also in here.
        self._lock = threading.RLock()
        self._idle: collections.deque[Channel] = collections.deque()
        self._channels: set[Channel] = set()
        self._opening = 0
        self._turns: set[Turn] = set()
        """Callers who wait."""
        self._asleep: collections.OrderedDict[Turn, None] = collections.OrderedDict()
        """Those of them who are to be woken, the first who came first. What one may go on with wakes one, not all."""

    def take(self, deadline: float) -> Channel:
        """Return a channel that is connected and quiet; `give` it back or `drop` it.

        Raises RemoteTimeout at `deadline`, RemoteUnavailable where none can be opened, RemoteError where the server
        doesn't let us in.
        """
        channel = self.idle()
        if channel is not None:
            return channel
        woken = threading.Event()
        with self.queue(woken.set, deadline) as turn:
            while (channel := self.look(turn)) is None:
                woken.wait(turn.left())
                woken.clear()
            return channel

    def idle(self) -> Channel | None:
        """Return a channel as `take` does, if there is one at once."""
        while True:
            try:
                channel = self._idle.pop()
            except IndexError:
                return None
            if channel.era == self._era and channel.quiet():
                return channel
            self.drop(channel)

    @contextlib.contextmanager
    def queue(self, wake: Callable[[], object], deadline: float) -> Iterator["Turn"]:
        """Wait for a channel: inside the context, `look`, and sleep until woken or out of time, until there is one.

        `wake` is called on any thread.
        """
        turn = Turn(wake, deadline)
        with self._lock:
            self._turns.add(turn)
        try:
            yield turn
        finally:
            with self._lock:
                self._turns.discard(turn)
                self._asleep.pop(turn, None)
                if self._idle or self._may_open():
                    self._wake_one()  # we may have been woken for it, and given up

    def look(self, turn: "Turn") -> Channel | None:
        """Return a channel if there is one now; None: sleep until woken. Raises as `take`, past the deadline too."""
        with self._lock:
            channel = self._free()
            if channel is not None:
                self._turns.discard(turn)  # who looks next is to open none for us
                return channel
            attempt = turn.attempt
            if attempt is not None and attempt.failure is not None:
                raise attempt.failure
            if self._may_open():
                turn.attempt = attempt = self._open(turn)
                if attempt.failure is not None:
                    raise attempt.failure
            if time.monotonic() >= turn.deadline:
                raise self._late(attempt)
            self._asleep[turn] = None
            if turn.woken:
                self._asleep.move_to_end(turn, last=False)  # for nothing: it keeps its place
        return None

    def give(self, channel: Channel) -> None:
        """Take back a channel whose every reply was read."""
        self._idle.append(channel)
        if self._turns or self._closed:
            with self._lock:
                self._wake_one()
            if self._closed:
                self._drain()

    def drop(self, channel: Channel) -> None:
        """Close a channel that may hold leftovers, or whose server may be gone."""
        with self._lock:
            self._channels.discard(channel)
            self._wake_one()
        channel.close()

    def renew(self) -> None:
        """Use nothing any more that was connected to so far: it leads to a server that isn't the one now."""
        with self._lock:
            self._era += 1
            self._refused = None
        self._drain()

    def close(self) -> None:
        """Close every connection: idle ones now, others when they are given back."""
        self._closed = True
        with self._lock:
            self._wake_all()
        self._drain()

    def after_fork(self) -> None:
        """In a forked child: close the inherited sockets, which leaves the parent's connections be, and begin anew."""
        inherited = list(self._channels)
        self._reset()
        for channel in inherited:
            channel.close()

    def _drain(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self.drop(self._idle.pop())

    # The lock is held in what follows.

    def _may_open(self) -> bool:
        """Tell whether to open another channel: what others began to open and no longer need will do as well."""
        return self._opening < len(self._turns) and len(self._channels) + self._opening < self._most

    def _wake_one(self) -> None:
        while self._asleep and not self._woken(next(iter(self._asleep))):
            pass

    def _wake_all(self) -> None:
        for turn in list(self._asleep):
            self._woken(turn)

    def _woken(self, turn: "Turn") -> bool:
        """Wake a caller who sleeps; tell whether anybody heard it."""
        self._asleep.pop(turn, None)  # what the collector closes meanwhile may have taken it out
        turn.woken = True
        try:
            turn.wake()
        except RuntimeError:  # its event loop is closed: nobody comes for it any more
            self._turns.discard(turn)
            return False
        return True

    def _free(self) -> Channel | None:
        """Return an idle channel for a caller whose turn is noted: what is given back from now on wakes it."""
        if self._closed:
            raise RemoteUnavailable(f"the connections to {self._label} are closed")
        while self._idle:
            try:
                channel = self._idle.pop()
            except IndexError:
                break  # `idle` takes without the lock
            if channel.era == self._era and channel.quiet():
                return channel
            self._channels.discard(channel)
            channel.close()
        return None

    def _late(self, attempt: "_Attempt | None") -> RemoteTimeout:
        if attempt is None and not self._opening:
            return PoolTimeout(f"all {self._most} connections to {self._label} were in use for {self._timeout} s")
        return RemoteTimeout(f"no connection to {self._label} within {self._timeout} s")

    def _open(self, turn: "Turn") -> "_Attempt":
        """Begin to open a channel; the lock is held."""
        attempt = _Attempt(turn)
        if self._refused is not None and time.monotonic() < self._refused[0]:
            attempt.failure = StaleConnectionError(self._refused[1])
            return attempt
        opener = threading.Thread(target=self._run, args=(attempt,), name="twotier-connect", daemon=True)
        self._opening += 1
        try:
            opener.start()
        except RuntimeError:
            self._opening -= 1
            attempt.failure = RemoteUnavailable("no thread can be started to connect on")
        return attempt

    def _run(self, attempt: "_Attempt") -> None:
        connection, channel, failure, era = self._connection(), None, None, self._era
        try:
            connection.connect()
            channel = Channel(connection, self._timeout, era)
        except BaseException as error:  # noqa: BLE001 - the caller hears of whatever it was
            failure = connect_failure(self._label, error)
            connection.disconnect()
        with self._lock:
            self._opening -= 1
            attempt.failure = failure
            if channel is not None:
                self._refused = None
                self._channels.add(channel)
                self._idle.append(channel)
            elif isinstance(failure, StaleConnectionError):
                self._refused = (time.monotonic() + REFUSAL_MEMORY, str(failure))
                self._log_refusal(failure)
            if failure is not None and attempt.turn in self._asleep:
                self._woken(attempt.turn)
            self._wake_one()  # for what was opened, or to open another
        if self._closed:
            self._drain()

    def _log_refusal(self, failure: RemoteError) -> None:
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + _LOG_EVERY
            _log.error("%s (said once a minute)", failure)


class _Attempt:
    """One attempt to open a channel, as its caller sees it."""

    __slots__ = ("failure", "turn")

    def __init__(self, turn: "Turn") -> None:
        self.turn = turn
        self.failure: RemoteError | None = None


@dataclass(slots=True, eq=False)
class Turn:
    """A caller's wait for a channel."""

    wake: Callable[[], object]
    """Called when another look is worth it."""
    deadline: float
    woken: bool = False
    attempt: _Attempt | None = None
    """The caller's own attempt to open one."""

    def left(self) -> float:
        """Return the seconds until the deadline."""
        return max(0.0, self.deadline - time.monotonic())

    def expire(self) -> None:
        """Be out of time, and look once more: a timer may go off a moment before the deadline."""
        self.deadline = 0.0
        self.wake()

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
from collections.abc import Callable
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
        self._refused: tuple[float, str] | None = None
        self._next_log = 0.0
        self._reset()

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._idle: collections.deque[Channel] = collections.deque()
        self._channels: set[Channel] = set()
        self._opening = 0
        self._waiting = 0

    def take(self, deadline: float) -> Channel:
        """Return a channel that is connected and quiet; `give` it back or `drop` it.

        Raises RemoteTimeout at `deadline`, RemoteUnavailable where none can be opened, RemoteError where the server
        doesn't let us in.
        """
        while True:
            try:
                channel = self._idle.pop()
            except IndexError:
                channel = None
            if channel is None:
                return self._wait(deadline)
            if channel.quiet():
                return channel
            self.drop(channel)

    def give(self, channel: Channel) -> None:
        """Take back a channel whose every reply was read."""
        self._idle.append(channel)
        if self._waiting or self._closed:
            with self._changed:
                self._changed.notify()
            if self._closed:
                self._drain()

    def drop(self, channel: Channel) -> None:
        """Close a channel that may hold leftovers, or whose server may be gone."""
        with self._changed:
            self._channels.discard(channel)
            self._changed.notify()
        channel.close()

    def close(self) -> None:
        """Close every connection: idle ones now, others when they are given back."""
        self._closed = True
        with self._changed:
            self._changed.notify_all()
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

    def _wait(self, deadline: float) -> Channel:
        """Wait for a channel to become free, or for one of our own to open, whichever comes first."""
        attempt: _Attempt | None = None
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    if self._closed:
                        raise RemoteUnavailable(f"the connections to {self._label} are closed")
                    # Looked at after `_waiting` was raised: what is given back from now on notifies.
                    if self._idle:
                        channel = self._idle.pop()
                        if channel.quiet():
                            return channel
                        self._channels.discard(channel)
                        channel.close()
                        continue
                    if attempt is not None and attempt.failure is not None:
                        raise attempt.failure
                    # What others began to open and no longer need will do as well.
                    if self._opening < self._waiting and len(self._channels) + self._opening < self._most:
                        attempt = self._open()
                        continue
                    left = deadline - time.monotonic()
                    if left <= 0:
                        raise self._late(attempt)
                    self._changed.wait(left)
            finally:
                self._waiting -= 1

    def _late(self, attempt: "_Attempt | None") -> RemoteTimeout:
        if attempt is None and not self._opening:
            return PoolTimeout(f"all {self._most} connections to {self._label} were in use for {self._timeout} s")
        return RemoteTimeout(f"no connection to {self._label} within {self._timeout} s")

    def _open(self) -> "_Attempt":
        """Begin to open a channel; the lock is held."""
        attempt = _Attempt()
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
        connection, channel, failure = self._connection(), None, None
        try:
            connection.connect()
            channel = Channel(connection, self._timeout)
        except BaseException as error:  # noqa: BLE001 - the caller hears of whatever it was
            failure = connect_failure(self._label, error)
            connection.disconnect()
        with self._changed:
            self._opening -= 1
            attempt.done = True
            attempt.failure = failure
            if channel is not None:
                self._refused = None
                self._channels.add(channel)
                self._idle.append(channel)
            elif isinstance(failure, StaleConnectionError):
                self._refused = (time.monotonic() + REFUSAL_MEMORY, str(failure))
                self._log_refusal(failure)
            self._changed.notify_all()
        if self._closed:
            self._drain()

    def _log_refusal(self, failure: RemoteError) -> None:
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + _LOG_EVERY
            _log.error("%s (said once a minute)", failure)


class _Attempt:
    """One attempt to open a channel, as its caller sees it."""

    __slots__ = ("done", "failure")

    def __init__(self) -> None:
        self.done = False
        self.failure: RemoteError | None = None

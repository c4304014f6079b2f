"""The connections of the data path: as many as are needed at once, up to a bound, the latest used first.

Taking an idle connection costs one step and a poll that the connection is open and quiet. A new connection
is opened on a thread of its own, while its caller waits at most until its deadline: name lookups, TLS and
handshakes have no common deadline, and a connection that is too late for one caller serves the next.
Refused credentials are remembered for a second, so that callers in a hurry don't hammer the server.

An idle connection may be dead without any sign. So no connection is used after `MAX_IDLE`; a connection
that has been idle since before a failed call began isn't used any more (`distrust`); and a worker closes
connections that are too old or that the server has closed, whose descriptors would otherwise stay open
(CLOSE_WAIT) until their next use.

An exception may arrive between any two lines (a signal, a greenlet's timeout), so every channel always has
an owner: a channel moves between the idle ones and a caller's `Loan` in one call of C code, which no
exception can interrupt. The pool counts channels, waiting callers and attempts to connect by weak
references: a lost one leaves the count with its last owner, without any Python code that could be
interrupted in turn.
"""

import collections
import contextlib
import logging
import math
import select
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

import redis.exceptions

from twotier.clock import SystemClock
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.options import Options
from twotier.periodic import Periodic
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.io.channel import Channel
from twotier.remote.io.checkout import Checkout, OpenAttempt
from twotier.remote.io.connect_errors import connect_failure, ensure_data_server
from twotier.worker import start_thread

BESIDE_A_VALUE: Final = 128 << 10
"""Bytes that a string may have beside a value of `max_value_bytes`: the envelope with its tags, or a key."""
REFUSAL_MEMORY: Final = 1.0
"""Seconds for which a server that refuses the handshake isn't connected to again."""
MAX_IDLE: Final = 60.0
"""Seconds after which an idle connection isn't used any more: routers on the way to the server may have forgotten the
connection (some do after a few minutes), and then data sent on the connection is lost without a reply."""
TENDED_EVERY: Final = 5.0
"""Seconds between two checks for idle connections that are too old, or that the server has closed."""
_FIRST: Final = (0,)

Loan: TypeAlias = list[Channel]
"""One call's share of a pool: no channel, or one. Whoever makes a loan gives the channel back, or drops it, in a
`finally`."""


class PoolTimeout(RemoteTimeout):
    """Every connection was in use until the deadline: this process is busy, which is no failure of the server."""


class NoThreadError(RemoteUnavailable):
    """No thread could be started to connect on: a failure of this process, not of the server."""


class Pool:
    """Up to `options.max_connections` channels, shared by threads."""

    def __init__(self, connection: Callable[[], Any], options: Options, label: str) -> None:
        self._connection = connection
        self._label = label
        self._timeout = options.timeout
        self._longest = options.max_value_bytes + BESIDE_A_VALUE
        self._most = options.max_connections
        self._closed = False
        self._era = 0
        """Number that grows when the present connections become unusable."""
        self._refused: tuple[float, RemoteError] | None = None
        self._occasional = RateLimitedLog(SystemClock())
        self._reset()

    def _reset(self) -> None:
        # Re-entrant, as the garbage collector may close a caller's abandoned coroutine anywhere, also in here.
        self._lock = threading.RLock()
        self._idle: collections.deque[Channel] = collections.deque()
        self._latest: Iterator[Channel] = iter(self._idle.pop, None)
        """Takes the idle channel that was used last; IndexError if there is none."""
        self._channels: set[weakref.ref[Channel]] = set()
        """Open channels, idle or lent."""
        self._opening: set[weakref.ref[OpenAttempt]] = set()
        self._turns: set[weakref.ref[Checkout]] = set()
        """Waiting callers."""
        self._asleep: collections.OrderedDict[weakref.ref[Checkout], None] = collections.OrderedDict()
        """Waiting callers to wake, first come first. An event that lets one caller go on wakes one, not all."""

    def take(self, loan: Loan, deadline: float) -> None:
        """Put a channel that is connected and quiet into `loan`; the caller must `give` it back or `drop` it.

        Raises RemoteTimeout at `deadline`, RemoteUnavailable if no connection can be opened, RemoteError if
        the server refuses the handshake.
        """
        if self.idle(loan):
            return
        woken = threading.Event()
        with self.queue(woken.set, deadline, connects=True) as turn:
            while not self.look(turn, loan):
                if turn.attempt is not None and turn.attempt.is_callers:
                    turn.attempt.is_callers = False
                    self._run(turn.attempt)
                    continue
                woken.wait(turn.left())
                woken.clear()

    def idle(self, loan: Loan) -> bool:
        """Put an idle channel into `loan`, if there is a good one; return True if there was."""
        while self._idle:
            try:
                next(map(loan.append, self._latest))
            except IndexError:  # another thread was faster
                return False
            channel = loan[0]
            if channel.era == self._era and channel.alive_at > time.monotonic() - MAX_IDLE and channel.quiet():
                return True
            self.drop(loan)
        return False

    @contextlib.contextmanager
    def queue(self, wake: Callable[[], object], deadline: float, *, connects: bool = False) -> Iterator[Checkout]:
        """Queue for a channel: inside the context, call `look` until it succeeds, and sleep until woken in between.

        Any thread may call `wake`. `connects`: the caller itself opens a connection if no thread can be started.
        """
        turn = Checkout(wake, deadline, connects)
        try:
            with self._lock:
                self._turns.add(weakref.ref(turn, self._turns.discard))
            yield turn
        finally:
            with self._lock:
                self._leave(turn)
                if self._idle or self._may_open():
                    self._wake_one()  # this caller may have been woken for it, and given up

    def look(self, turn: Checkout, loan: Loan) -> bool:
        """Take a channel if there is one now; False: sleep until woken. Raises the errors of `take`."""
        with self._lock:
            if self._free(loan):
                self._leave(turn)  # so that the next caller opens no connection for this one
                return True
            attempt = turn.attempt
            if attempt is not None and attempt.failure is not None:
                raise attempt.failure
            if self._may_open():
                turn.attempt = attempt = self._open(turn)
                if attempt.failure is not None:
                    raise attempt.failure
            if time.monotonic() >= turn.deadline:
                raise self._late(attempt)
            me = weakref.ref(turn)
            self._asleep[me] = None
            if turn.woken:
                self._asleep.move_to_end(me, last=False)  # woken for nothing: the caller keeps its place
        return False

    def give(self, loan: Loan) -> None:
        """Take back a channel from which every reply was read."""
        self._idle.extend(map(loan.pop, _FIRST))
        if self._turns or self._closed:
            with self._lock:
                self._wake_one()
            if self._closed:
                self._drain()

    def drop(self, loan: Loan) -> None:
        """Close a channel that may hold leftovers, or whose server may be gone."""
        channel = loan[0]
        with self._lock:
            self._channels.discard(weakref.ref(channel))
            self._wake_one()
        try:
            channel.close()
        finally:
            loan.clear()

    def lent(self) -> list[Channel]:
        """Return the channels that calls are using."""
        idle = set(self._idle)
        return [channel for channel in self.channels() if channel not in idle]

    def channels(self) -> list[Channel]:
        """Return the open channels, idle or lent."""
        with self._lock:
            return [channel for each in list(self._channels) if (channel := each()) is not None]

    def distrust(self, since: float = math.inf) -> None:
        """Close channels idle since before `since` (of `time.monotonic`), when a call began that has failed."""
        self._drop_idle([channel for channel in list(self._idle) if channel.alive_at < since])

    def tend(self) -> bool:
        """Close idle channels that are unusable; return True if channels are left.

        Good channels stay in place: a caller who comes meanwhile finds them.
        """
        idle, poll = list(self._idle), select.poll()
        by_descriptor = {descriptor: each for each in idle if (descriptor := each.socket.fileno()) >= 0}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        readable = [by_descriptor[descriptor] for descriptor, _ in poll.poll(0)]
        oldest = time.monotonic() - MAX_IDLE
        self._drop_idle([each for each in idle if each.alive_at <= oldest])
        self._drop_idle(
            [each for each in readable if each.alive_at > oldest],
            but=lambda channel: channel.era == self._era and channel.quiet(),
        )
        return bool(self._channels)

    def _drop_idle(self, channels: list[Channel], but: Callable[[Channel], bool] = lambda _: False) -> None:
        """Close those of `channels` that nobody has taken meanwhile, except those for which `but` returns True."""
        for channel in channels:
            with contextlib.suppress(ValueError):  # taken
                self._idle.remove(channel)
                loan = [channel]
                try:
                    if but(channel):
                        self.give(loan)
                finally:
                    if loan:
                        self.drop(loan)

    def renew(self) -> None:
        """Stop using all present connections: they lead to a server that isn't the right one any more."""
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
        _tended.forget(self)

    def after_fork(self) -> None:
        """In a forked child: close the inherited sockets, which leaves the parent's connections open; begin anew."""
        inherited = [channel for each in list(self._channels) if (channel := each()) is not None]
        self._reset()
        for channel in inherited:
            channel.close()

    def _drain(self) -> None:
        loan: Loan = []
        try:
            while self._idle:
                with contextlib.suppress(IndexError):
                    next(map(loan.append, self._latest))
                    self.drop(loan)
        finally:
            if loan:
                self.drop(loan)

    # The caller of the following methods holds the lock.

    def _may_open(self) -> bool:
        """Return True if another channel should be opened: each attempt under way serves one waiting caller."""
        opening = len(self._opening)
        return opening < len(self._turns) and len(self._channels) + opening < self._most

    def _leave(self, turn: Checkout) -> None:
        """Remove `turn` from the waiting callers."""
        me = weakref.ref(turn)
        self._turns.discard(me)
        self._asleep.pop(me, None)

    def _wake_one(self) -> None:
        while self._asleep and not self._woken(next(iter(self._asleep))):
            pass

    def _wake_all(self) -> None:
        for sleeper in list(self._asleep):
            self._woken(sleeper)

    def _woken(self, sleeper: weakref.ref[Checkout]) -> bool:
        """Wake a sleeping caller; return True if the caller is still there."""
        turn = sleeper()
        try:
            if turn is None or turn.deadline < time.monotonic():
                return False  # the caller is gone, or has woken at its deadline
            turn.woken = True
            turn.wake()
        except RuntimeError:  # the caller's event loop is closed
            self._turns.discard(sleeper)
            return False
        finally:  # after the wake-up: otherwise an exception in between would let the caller sleep on
            self._asleep.pop(sleeper, None)
        return True

    def _free(self, loan: Loan) -> bool:
        """Take an idle channel for a queued caller; a channel given back later wakes the caller."""
        if self._closed:
            raise RemoteUnavailable(f"the connections to {self._label} are closed")
        return self.idle(loan)

    def _late(self, attempt: OpenAttempt | None) -> RemoteTimeout:
        if attempt is None and not self._opening:
            return PoolTimeout(f"all {self._most} connections to {self._label} were in use for {self._timeout} s")
        return RemoteTimeout(f"no connection to {self._label} within {self._timeout} s")

    def _open(self, turn: Checkout) -> OpenAttempt:
        """Begin to open a channel; the lock is held."""
        attempt = OpenAttempt(turn)
        if self._refused is not None and time.monotonic() < self._refused[0]:
            attempt.failure = type(self._refused[1])(str(self._refused[1]))
            return attempt
        begun = False
        try:
            self._opening.add(weakref.ref(attempt, self._opening.discard))
            begun = start_thread(self._run, "twotier-connect", attempt) is not None
            if not begun and turn.connects:
                attempt.is_callers = begun = True
            elif not begun:
                attempt.failure = NoThreadError("no thread can be started to connect on")
        finally:
            if not begun:  # the thread may start all the same, and then finds its attempt cancelled
                self._opening.discard(weakref.ref(attempt))
        return attempt

    def _run(self, attempt: OpenAttempt) -> None:
        """Connect, on a thread of its own if one could be started."""
        if weakref.ref(attempt) not in self._opening:
            return  # the caller was stopped while it started this thread
        opened: Loan = []
        era = self._era
        failure: RemoteError | None = RemoteUnavailable(f"connecting to {self._label} was stopped")
        connection: Any = None
        try:
            try:
                connection = self._connection()
                try:
                    connection.connect()
                    ensure_data_server(connection, self._label)
                    opened.append(Channel(connection, self._timeout, era, self._longest))
                except redis.exceptions.ResponseError:
                    ensure_data_server(connection, self._label)
                    raise
                finally:
                    if not opened:
                        connection.disconnect()
                failure = None
            except BaseException as error:  # noqa: BLE001 - the caller hears of whatever it was
                failure = connect_failure(self._label, error, connection)
        finally:
            self._settle(attempt, opened, failure)
        if self._closed:
            self._drain()

    def _settle(self, attempt: OpenAttempt, opened: Loan, failure: RemoteError | None) -> None:
        """Record the outcome of an attempt to connect, and wake the callers that can go on."""
        with self._lock:
            self._opening.discard(weakref.ref(attempt))
            attempt.failure = failure
            if opened:
                self._refused = None
                self._channels.add(weakref.ref(opened[0], self._channels.discard))
                self._idle.extend(map(opened.pop, _FIRST))
            elif failure is not None and not isinstance(failure, (RemoteTimeout, RemoteUnavailable)):
                self._refused = (time.monotonic() + REFUSAL_MEMORY, failure)
                self._occasional.log(logging.ERROR, "refusal", "%s (logged once a minute)", failure)
            if failure is not None and (sleeper := attempt.turn) in self._asleep:
                self._woken(sleeper)
            self._wake_one()  # to take the opened channel, or to open another
        if not self._closed:
            _tended.watch(self)


_tended: Final = Periodic(Pool.tend, TENDED_EVERY, "twotier-idle")
"""Looks after the idle connections of all pools of this process."""

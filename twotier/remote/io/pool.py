"""The connections of the data path: as many as are needed at once, up to a bound, the latest used first.

Taking an idle one is one step and a poll that it is still open and quiet. A new one is opened on a thread of its
own, while its caller waits no longer than its deadline: name lookups, TLS and handshakes know no common deadline, and
a connection that comes too late for one caller serves the next. Refused credentials are remembered for a second, so
that callers in a hurry don't hammer the server with them.

An idle connection may be dead without a sign of it. So none is used after `MAX_IDLE`; what has been idle since before a
failed call began isn't used after it (`distrust`); and a worker closes what is too old, or closed by the server, which
would keep its descriptor else (CLOSE_WAIT) until it came to be used.

An exception may arrive between any two lines (a signal, a greenlet's timeout), so nothing is lent that isn't owned: a
channel moves between the idle ones and a caller's `Loan` in one call of C code, which no exception divides. And the
pool counts channels, callers who wait, and attempts to connect by weak references: one that was lost in spite of all
that is gone from the count with its last owner, without any code of ours that could be interrupted in turn.
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
"""Seconds after which an idle connection isn't used any more: routers between us and the server may have forgotten it
(some after a few minutes), and then what is sent on it is lost without an answer."""
TENDED_EVERY: Final = 5.0
"""Seconds between two looks for idle connections that are too old, or that the server has closed."""
_FIRST: Final = (0,)

Loan: TypeAlias = list[Channel]
"""What one call has of a pool: no channel, or one. Whoever makes one gives it back, or drops it, in a `finally`."""


class PoolTimeout(RemoteTimeout):
    """Every connection was in use until the deadline: we are busy, which says nothing of the server."""


class NoThreadError(RemoteUnavailable):
    """There is no thread to connect on: that is our trouble, and says nothing of the server."""


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
        """Raised when what was connected to so far is of no use any more."""
        self._refused: tuple[float, RemoteError] | None = None
        self._occasional = RateLimitedLog(SystemClock())
        self._reset()

    def _reset(self) -> None:
        # Re-entrant, as the garbage collector may close a caller's abandoned coroutine anywhere, also in here.
        self._lock = threading.RLock()
        self._idle: collections.deque[Channel] = collections.deque()
        self._latest: Iterator[Channel] = iter(self._idle.pop, None)
        """Takes the idle channel that was used last; IndexError without one."""
        self._channels: set[weakref.ref[Channel]] = set()
        """Those that are open, idle or lent."""
        self._opening: set[weakref.ref[OpenAttempt]] = set()
        self._turns: set[weakref.ref[Checkout]] = set()
        """Callers who wait."""
        self._asleep: collections.OrderedDict[weakref.ref[Checkout], None] = collections.OrderedDict()
        """Those of them who are to be woken, the first who came first. What one may go on with wakes one, not all."""

    def take(self, loan: Loan, deadline: float) -> None:
        """Put a channel that is connected and quiet into `loan`; `give` it back or `drop` it.

        Raises RemoteTimeout at `deadline`, RemoteUnavailable where none can be opened, RemoteError where the server
        doesn't let us in.
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
        """Take a channel as `take` does, if there is one at once; return whether there was."""
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
        """Wait for a channel: inside the context, `look`, and sleep until woken or out of time, until there is one.

        `wake` is called on any thread. `connects`: the caller opens one itself where no thread can be started for it.
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
                    self._wake_one()  # we may have been woken for it, and given up

    def look(self, turn: Checkout, loan: Loan) -> bool:
        """Take a channel if there is one now; False: sleep until woken. Raises as `take`, past the deadline too."""
        with self._lock:
            if self._free(loan):
                self._leave(turn)  # who looks next is to open none for us
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
                self._asleep.move_to_end(me, last=False)  # for nothing: it keeps its place
        return False

    def give(self, loan: Loan) -> None:
        """Take back a channel whose every reply was read."""
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
        """Return the channels that calls have."""
        idle = set(self._idle)
        return [channel for channel in self.channels() if channel not in idle]

    def channels(self) -> list[Channel]:
        """Return the channels that are open, idle or lent."""
        with self._lock:
            return [channel for each in list(self._channels) if (channel := each()) is not None]

    def distrust(self, since: float = math.inf) -> None:
        """Close what has been idle since before `since` (of `time.monotonic`): a call that began then has failed."""
        self._drop_idle([channel for channel in list(self._idle) if channel.alive_at < since])

    def tend(self) -> bool:
        """Close idle channels that are of no use any more; return whether there are others.

        Good ones stay where they are: a caller who comes meanwhile finds them.
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
        """Close those of `channels` that nobody has taken meanwhile, but for those that prove good."""
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
        _tended.forget(self)

    def after_fork(self) -> None:
        """In a forked child: close the inherited sockets, which leaves the parent's connections be, and begin anew."""
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

    # The lock is held in what follows.

    def _may_open(self) -> bool:
        """Return True if to open another channel: what others began to open and no longer need will do as well."""
        opening = len(self._opening)
        return opening < len(self._turns) and len(self._channels) + opening < self._most

    def _leave(self, turn: Checkout) -> None:
        """Take `turn` out of those who wait."""
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
        """Wake a caller who sleeps; return True if anybody heard it."""
        turn = sleeper()
        try:
            if turn is None or turn.deadline < time.monotonic():
                return False  # it is gone, or up by itself
            turn.woken = True
            turn.wake()
        except RuntimeError:  # its event loop is closed: nobody comes for it any more
            self._turns.discard(sleeper)
            return False
        finally:  # after waking it, or an exception in between would let it sleep on
            self._asleep.pop(sleeper, None)
        return True

    def _free(self, loan: Loan) -> bool:
        """Take an idle channel for a caller whose turn is noted: what is given back from now on wakes it."""
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
            if not begun:  # it may start all the same, and finds itself called off
                self._opening.discard(weakref.ref(attempt))
        return attempt

    def _run(self, attempt: OpenAttempt) -> None:
        """Connect, on a thread of its own if there is one."""
        if weakref.ref(attempt) not in self._opening:
            return  # its caller was stopped while it started this thread
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
        """Take what came of connecting, and wake whoever can go on by it."""
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
            self._wake_one()  # for what was opened, or to open another
        if not self._closed:
            _tended.watch(self)


_tended: Final = Periodic(Pool.tend, TENDED_EVERY, "twotier-idle")
"""Looks after the idle connections of all pools of this process."""

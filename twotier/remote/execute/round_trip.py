"""One round trip without its I/O, shared by the executors of threads and of event loops.

A call has one deadline over the whole of it, and no retries. This module maps the exceptions of redis-py,
the socket and the protocol to twotier's, reports outages to the breaker, and decides if a connection can
be used again: a call that fails in a way that may leave a reply under way drops the connection. Between
two round trips a connection belongs to no thread and no loop, so one pool serves both executors.
"""

import logging
import math
import time
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from twotier.clock import SystemClock
from twotier.errors import AccessDenied, RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.options import Options
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.commands.base import Command
from twotier.remote.commands.conditional import Conditional
from twotier.remote.deploy.single import OneServer
from twotier.remote.io.breaker import Breaker
from twotier.remote.io.channel import SLOWEST, EchoError, SlowTripError
from twotier.remote.io.errors import (
    CrossSlotError,
    IntegerOverflow,
    MovingError,
    NotAnInteger,
    OtherTypeError,
    OutOfStepError,
    RedirectionError,
    RefusedCredentialsError,
    StaleConnectionError,
)
from twotier.remote.io.pool import Loan, NoThreadError, Pool, PoolTimeout
from twotier.remote.io.replica_back_off import ReplicaBackOff
from twotier.resp import ProtocolError

R = TypeVar("R")

_OUTAGE: Final = (RemoteTimeout, RemoteUnavailable)
_NO_NEWS: Final = (NotAnInteger, OtherTypeError, IntegerOverflow, RedirectionError, MovingError)
"""Refusals that aren't logged: the caller reports them, or a cluster's router handles them."""
_UNFIT: Final = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""Exceptions that a reply of an unforeseen shape may raise in `parse` or `decide`."""


class Endpoint:
    """One server as round trips see it: its pool, its breaker, the meaning of its errors. Executors share it.

    Calls report outages and replies to `breaker`; while the breaker isn't closed, calls fail at once.
    """

    def __init__(
        self, topology: OneServer, options: Options, breaker: Breaker | ReplicaBackOff, pool: Pool | None = None
    ) -> None:
        self.pool: Final[Pool] = pool or topology.pool()
        self._replicas: Endpoint | None = None
        if pool is None and (replicas := topology.replica_pool()) is not None:
            self._replicas = Endpoint(topology, options, ReplicaBackOff(), replicas)
        self.breaker: Final = breaker
        self.timeout = options.timeout
        self.answered_at = -math.inf
        """Instant of `time.monotonic` of the last reply to a call."""
        self._topology = topology
        self._label = topology.label
        self._occasional = RateLimitedLog(SystemClock())

    def meaning(self, error: BaseException) -> BaseException:
        """Return the RemoteError for a failure; `error` itself if it isn't a failure of the remote tier."""
        where = self._label
        if isinstance(error, SlowTripError):
            return SlowTrip(f"{where} is answering, but slower than {SLOWEST >> 20} MiB a second: {error}")
        if isinstance(error, TimeoutError):
            return RemoteTimeout(f"{where} didn't answer within {self.timeout} s")
        if isinstance(error, OSError):
            reason = error.strerror or type(error).__name__
            return RemoteUnavailable(f"the connection to {where} was lost: {reason}")
        if isinstance(error, (ProtocolError, EchoError)):
            return RemoteUnavailable(f"{where} sent what isn't a reply to us ({type(error).__name__})")
        if isinstance(error, (RedirectionError, CrossSlotError)) and not self._topology.slotted:
            return RemoteError(
                f"{where} is a node of a cluster, which has other keys elsewhere: write redis+cluster://"
            )
        return error

    def heard_since(self, instant: float) -> bool:
        """Return True if the server has replied to a call, or sent a large part of a reply, after `instant`."""
        return self.answered_at > instant or any(channel.progress_at > instant for channel in self.pool.lent())

    def of_replicas(self) -> "Endpoint":
        """Return the endpoint of the replicas."""
        if self._replicas is None:
            raise RemoteUnavailable(f"{self._label} has no replicas to read from")
        return self._replicas

    def distrust(self) -> None:
        """Make the topology check that the server is still the right one."""
        self._topology.distrust()

    def log_refusal(self, error: RemoteError) -> None:
        """Log at most once a minute a refusal by the server, or a round trip that was too slow."""
        if isinstance(error, (*_OUTAGE, *_NO_NEWS)) and not isinstance(error, SlowTrip):
            return
        self._occasional.log(logging.ERROR, "refusal", "%s: %s (logged once a minute)", self._label, error)


class SlowTrip(RemoteTimeout):
    """A large round trip exceeded its time although bytes were moving: that is no failure of the server."""


class RoundTrip:
    """One call, as a context: within it the caller takes a channel into `loan` and exchanges data on it.

    On exit the channel is given back or dropped, the outcome is reported to the breaker, and an exception is
    mapped: RemoteTimeout (no reply in time), RemoteUnavailable (no connection, a lost connection, or an open
    breaker), RemoteError (refused). After the first two a write may have taken place. `probing` is for
    recovery: the call ignores the breaker's state and doesn't report to it.
    """

    __slots__ = ("_edge", "_probing", "_watching", "began", "deadline", "loan")

    def __init__(self, edge: Endpoint, probing: bool) -> None:
        self._edge = edge
        self._probing = probing
        self._watching = False
        self.loan: Loan = []
        self.began = time.monotonic()
        self.deadline = self.began + edge.timeout
        """Instant of `time.monotonic` of the call's deadline, without the extra time for the bytes that it moves."""

    def __enter__(self) -> Self:
        if not self._probing and (breaker := self._edge.breaker).state != "closed":
            breaker.check()
        return self

    def watch(self) -> None:
        """Note that the connection watches a key, until `decide` has returned the second step."""
        self._watching = True

    def decide(self, command: Conditional[R], replies: list[Any]) -> Command[R]:
        """Return the second step of a conditional command; that step ends the watch."""
        try:
            second = command.decide(replies)
        except _UNFIT as error:
            raise OutOfStepError(type(command).__name__) from error
        channel = self.loan[0]
        self.deadline += (channel.sent + channel.received) / SLOWEST
        self._watching = False
        return second

    def result(self, command: Command[R], replies: list[Any]) -> R:
        """Return the result that `command` parses from its replies; OutOfStepError if they can't be parsed."""
        try:
            return command.parse(replies)
        except _UNFIT as error:
            raise OutOfStepError(type(command).__name__) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        edge = self._edge
        if error is None:
            self.loan[0].alive_at = edge.answered_at = time.monotonic()
            edge.pool.give(self.loan)
            if not self._probing:
                edge.breaker.succeeded()
            return
        meaning = error
        if self.loan:
            meaning = edge.meaning(error)
            self._drop_connection(meaning)
        if not self._probing:
            self._tell_breaker(meaning)
        meaning = _with_reason(meaning)
        if meaning is not error:
            raise meaning from None

    def _drop_connection(self, meaning: BaseException) -> None:
        plain = isinstance(meaning, RemoteError) and not isinstance(meaning, (*_OUTAGE, StaleConnectionError))
        # Between its two steps a connection watches a key: no other command may use that connection.
        if plain and not self._watching:
            self.loan[0].alive_at = time.monotonic()
            self._edge.pool.give(self.loan)
        else:
            self._edge.pool.drop(self.loan)
        if isinstance(meaning, _OUTAGE):  # connections that were idle meanwhile may be dead, too
            self._edge.pool.distrust(self.began)
        if isinstance(meaning, StaleConnectionError):
            self._edge.distrust()
        if isinstance(meaning, RemoteError):
            self._edge.log_refusal(meaning)

    def _tell_breaker(self, meaning: BaseException) -> None:
        edge = self._edge
        if isinstance(meaning, (PoolTimeout, NoThreadError, SlowTrip)):
            return  # this process or the network is busy; the server may be well
        if isinstance(meaning, RemoteTimeout) and edge.heard_since(self.began):
            return  # a timeout is no outage if the server has replied to another call since this one began
        if isinstance(meaning, _OUTAGE):
            edge.breaker.failed()
            if edge.breaker.state != "closed":
                edge.pool.distrust()  # so that the probe uses a fresh connection
        elif isinstance(meaning, RemoteError):
            edge.breaker.succeeded()


def _with_reason(meaning: BaseException) -> BaseException:
    """Return a documented error in place of an internal one about the state of a connection."""
    if isinstance(meaning, RefusedCredentialsError):
        return AccessDenied(str(meaning))
    return RemoteError(str(meaning)) if isinstance(meaning, StaleConnectionError) else meaning

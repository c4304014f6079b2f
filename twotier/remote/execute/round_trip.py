"""The edge of the remote tier: what one call does beside its I/O, for executors of threads and of event loops alike.

One trip a call, one deadline over the whole of it, no retries. Here redis-py's exceptions, the socket's and the
protocol's become twotier's, the breaker hears of outages, and it is decided whether a connection can be used again: a
call that fails in any way that may leave a reply under way drops it. Between two trips a connection belongs to no
thread and no loop, so one pool serves both executors.
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
"""Refusals that are their caller's to tell, or that a cluster's router takes care of."""
_UNFIT: Final = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What a reply of a shape that nobody thought of may raise where it is looked at."""


class Endpoint:
    """The edge of one topology: its pool, its breaker, and what failures on it mean. Executors share it.

    `breaker` hears of every outage and of every answer; while it isn't closed, calls fail at once.
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
        """Instant of `time.monotonic` at which a call was last answered."""
        self._topology = topology
        self._label = topology.label
        self._occasional = RateLimitedLog(SystemClock())

    def meaning(self, error: BaseException) -> BaseException:
        """Return what a failure means to callers: a RemoteError, or `error` itself if it isn't the remote tier's."""
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
        """Return True if the server has answered a call, or sent a large part of an answer, after `instant`."""
        return self.answered_at > instant or any(channel.progress_at > instant for channel in self.pool.lent())

    def of_replicas(self) -> "Endpoint":
        """Return the edge of the replicas."""
        if self._replicas is None:
            raise RemoteUnavailable(f"{self._label} has no replicas to read from")
        return self._replicas

    def distrust(self) -> None:
        """Have the topology look whether the server is still the right one."""
        self._topology.distrust()

    def log_refusal(self, error: RemoteError) -> None:
        """Say once a minute what the server refuses, or what is too slow."""
        if isinstance(error, (*_OUTAGE, *_NO_NEWS)) and not isinstance(error, SlowTrip):
            return
        self._occasional.log(logging.ERROR, "refusal", "%s: %s (logged once a minute)", self._label, error)


class SlowTrip(RemoteTimeout):
    """A large trip wasn't over in time, although bytes were moving: that says nothing of the server."""


class RoundTrip:
    """One call, as a context: within it the caller takes a channel into `loan`, and makes its trips on it.

    On the way out the channel is given back or dropped, the breaker told, and what was raised translated: RemoteTimeout
    (no answer in time), RemoteUnavailable (no connection, or it was lost, or the breaker is open), RemoteError
    (refused). After the first two a write may have taken place. `probing`: for recovery: go whatever the breaker's
    state, and tell it nothing.
    """

    __slots__ = ("_edge", "_probing", "_watching", "began", "deadline", "loan")

    def __init__(self, edge: Endpoint, probing: bool) -> None:
        self._edge = edge
        self._probing = probing
        self._watching = False
        self.loan: Loan = []
        self.began = time.monotonic()
        self.deadline = self.began + edge.timeout
        """Instant of `time.monotonic` at which the call is over, but for the time that the size of its trip allows."""

    def __enter__(self) -> Self:
        if not self._probing and (breaker := self._edge.breaker).state != "closed":
            breaker.check()
        return self

    def watch(self) -> None:
        """Note that the connection watches a key, until `decide` has given the second step."""
        self._watching = True

    def decide(self, command: Conditional[R], replies: list[Any]) -> Command[R]:
        """Return the second step of a command of two, which ends the watching."""
        try:
            second = command.decide(replies)
        except _UNFIT as error:
            raise OutOfStepError(type(command).__name__) from error
        channel = self.loan[0]
        self.deadline += (channel.sent + channel.received) / SLOWEST
        self._watching = False
        return second

    def result(self, command: Command[R], replies: list[Any]) -> R:
        """Return what `command` makes of its replies, whatever the server has put into them."""
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
        # Between its two steps a connection watches a key: that must not reach another command.
        if plain and not self._watching:
            self.loan[0].alive_at = time.monotonic()
            self._edge.pool.give(self.loan)
        else:
            self._edge.pool.drop(self.loan)
        if isinstance(meaning, _OUTAGE):  # what was idle meanwhile may be as dead
            self._edge.pool.distrust(self.began)
        if isinstance(meaning, StaleConnectionError):
            self._edge.distrust()
        if isinstance(meaning, RemoteError):
            self._edge.log_refusal(meaning)

    def _tell_breaker(self, meaning: BaseException) -> None:
        edge = self._edge
        if isinstance(meaning, (PoolTimeout, NoThreadError, SlowTrip)):
            return  # we are busy, or the network is; the server may be well
        if isinstance(meaning, RemoteTimeout) and edge.heard_since(self.began):
            return  # it has answered others since we began: of many calls at once, not all are answered in time
        if isinstance(meaning, _OUTAGE):
            edge.breaker.failed()
            if edge.breaker.state != "closed":
                edge.pool.distrust()  # so that the probe is made on a fresh connection
        elif isinstance(meaning, RemoteError):
            edge.breaker.succeeded()


def _with_reason(meaning: BaseException) -> BaseException:
    """Return a documented error in place of those that say how a connection fares."""
    if isinstance(meaning, RefusedCredentialsError):
        return AccessDenied(str(meaning))
    return RemoteError(str(meaning)) if isinstance(meaning, StaleConnectionError) else meaning

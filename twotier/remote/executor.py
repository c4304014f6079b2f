"""Runs commands on the remote tier from threads: one trip a call, one deadline over the whole of it, no retries.

This is the edge where redis-py's exceptions, the socket's and the protocol's become twotier's. A call that fails in any
way drops its connection, since a late reply may still arrive on it.
"""

import logging
import time
from typing import Final, TypeVar

from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.options import Options
from twotier.remote.breaker import Breaker
from twotier.remote.channel import EchoError
from twotier.remote.commands import Command
from twotier.remote.conditional import Conditional
from twotier.remote.pool import PoolTimeout
from twotier.remote.refusals import IntegerOverflow, NotAnInteger, StaleConnectionError
from twotier.remote.topology import Topology
from twotier.resp import ProtocolError

R = TypeVar("R")

_OUTAGE: Final = (RemoteTimeout, RemoteUnavailable)
_LOG_EVERY: Final = 60.0
"""Seconds between log lines about refusals."""

_log = logging.getLogger("twotier")


class Executor:
    """The synchronous executor of one topology; threads share it.

    `breaker` hears of every outage and of every answer; while it isn't closed, calls fail at once.
    """

    def __init__(self, topology: Topology, options: Options, breaker: Breaker) -> None:
        self._pool = topology.pool()
        self._label = topology.label
        self._timeout = options.timeout
        self._breaker = breaker
        self._next_log = 0.0

    def run(self, command: Command[R] | Conditional[R], *, probing: bool = False) -> R:
        """Run `command` and return its result.

        `probing`: for recovery: go whatever the breaker's state, and tell it nothing.

        Raises RemoteTimeout (no answer in time), RemoteUnavailable (no connection, or it was lost, or the breaker is
        open), RemoteError (refused). After the first two a write may have taken place.
        """
        if probing:
            return self._call(command)
        breaker = self._breaker
        breaker.check()
        try:
            result = self._call(command)
        except PoolTimeout:
            raise  # we are busy; the server may be well
        except _OUTAGE:
            breaker.failed()
            raise
        except RemoteError:
            breaker.succeeded()
            raise
        breaker.succeeded()
        return result

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    def after_fork(self) -> None:
        """In a forked child: let go of the parent's connections."""
        self._pool.after_fork()

    def _log_refusal(self, error: RemoteError) -> None:
        """Say once a minute what the server refuses; a counter of another type is its caller's to tell."""
        if isinstance(error, (*_OUTAGE, NotAnInteger, IntegerOverflow)):
            return
        now = time.monotonic()
        if now >= self._next_log:
            self._next_log = now + _LOG_EVERY
            _log.error("%s: %s (said once a minute)", self._label, error)

    def _call(self, command: Command[R] | Conditional[R]) -> R:
        deadline = time.monotonic() + self._timeout
        pool = self._pool
        channel = pool.take(deadline)
        try:
            replies = channel.exchange(command.wire, command.replies, deadline)
            if isinstance(command, Conditional):
                command = command.decide(replies)
                replies = channel.exchange(command.wire, command.replies, deadline)
            result = command.parse(replies)
        except RemoteError as error:
            self._log_refusal(error)
            # Between its two steps a connection watches a key: that must not reach another command.
            if isinstance(error, (*_OUTAGE, StaleConnectionError)) or isinstance(command, Conditional):
                pool.drop(channel)
            else:
                pool.give(channel)
            raise
        except TimeoutError:
            pool.drop(channel)
            raise RemoteTimeout(f"{self._label} didn't answer within {self._timeout} s") from None
        except OSError as error:
            pool.drop(channel)
            reason = error.strerror or type(error).__name__
            raise RemoteUnavailable(f"the connection to {self._label} was lost: {reason}") from None
        except (ProtocolError, EchoError) as error:
            pool.drop(channel)
            raise RemoteUnavailable(f"{self._label} sent what isn't a reply to us ({type(error).__name__})") from None
        except BaseException:
            pool.drop(channel)
            raise
        pool.give(channel)
        return result

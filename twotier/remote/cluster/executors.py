"""Executors of a cluster, for threads and for event loops: each drives a route's rounds in its own way."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.options import Options
from twotier.remote.cluster.nodes import ClusterNodes
from twotier.remote.cluster.replica_reads import route_to_replicas
from twotier.remote.cluster.route import Round, Route, Trip, route
from twotier.remote.commands.replicas import OnReplica

MOST_AT_ONCE: Final = 16
"""Most trips that the pool's threads make at the same time; the callers' own threads make further trips in turn."""


class _Cluster:
    """Base of both executors."""

    def __init__(self, members: ClusterNodes, options: Options) -> None:
        self._members = members
        self._timeout = options.timeout

    def _begin(self, command: Any) -> tuple[Route, float]:
        deadline = time.monotonic() + self._timeout
        if not self._members.known.done():
            self._members.look()
            if self._members.silent:  # as with an open breaker: callers don't wait for a survey that has just failed
                raise self._nobody()
        if isinstance(command, OnReplica):
            return route_to_replicas(self._members, command.read, deadline), deadline
        return route(self._members, command, deadline), deadline

    def _nobody(self) -> RemoteUnavailable:
        why = f": {self._members.hint}" if self._members.hint else ""
        return RemoteUnavailable(f"no node of the cluster has told who serves what within {self._timeout} s{why}")

    def _outcome(self, error: RemoteError) -> RemoteError:
        """Return `error`; after an outage request a survey, as another node may serve the slots by now."""
        if isinstance(error, RemoteTimeout | RemoteUnavailable):
            self._members.look()
        return error


class _Once:
    """A piece of work for the first to come: one of the threads, or the caller who needs the result."""

    __slots__ = ("_free", "_future", "_work")

    def __init__(self, work: Callable[[], Any]) -> None:
        self._work = work
        self._free = [True]
        self._future: Future[Any] = Future()

    def run(self) -> None:
        """Do the work unless another thread has begun it."""
        try:
            self._free.pop()
        except IndexError:
            return
        try:
            self._future.set_result(self._work())
        except BaseException as error:  # noqa: BLE001 - the caller gets it
            self._future.set_exception(error)

    def result(self) -> Any:
        """Return the result, after doing the work if no thread has begun it."""
        self.run()
        return self._future.result()


class ClusterExecutor(_Cluster):
    """The synchronous executor; threads share it."""

    def __init__(self, members: ClusterNodes, options: Options) -> None:
        super().__init__(members, options)
        self._others = ThreadPoolExecutor(MOST_AT_ONCE, "twotier-cluster")

    def run(self, command: Any, *, probing: bool = False) -> Any:
        """Run `command` and return its result, as `Executor.run` does."""
        rounds, deadline = self._begin(command)
        try:
            self._members.known.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            raise self._nobody() from None
        try:
            step = next(rounds)
            while True:
                step = rounds.send(self._make(step, probing=probing))
        except StopIteration as done:
            return done.value

    def close(self) -> None:
        """Shut the threads down, without waiting for them."""
        self._others.shutdown(wait=False)

    def _make(self, step: Round, *, probing: bool) -> list[Any]:
        """Make the trips, the first on this thread."""
        if step.pause:
            time.sleep(step.pause)
        first, *others = step.trips
        if not others:
            return [self._trip(first, probing)]
        under_way = [_Once(functools.partial(self._trip, trip, probing)) for trip in others]
        with contextlib.suppress(RuntimeError):  # no thread can be started, or none any more at the interpreter's end
            for each in under_way:
                self._others.submit(each.run)
        return [self._trip(first, probing), *(each.result() for each in under_way)]

    def _trip(self, trip: Trip, probing: bool) -> Any:
        try:
            return self._members.member(trip.node).executor.run(trip.command, probing=probing)
        except RemoteError as error:
            return self._outcome(error)


class AsyncClusterExecutor(_Cluster):
    """The asynchronous executor; tasks of any loops share it."""

    async def run(self, command: Any, *, probing: bool = False) -> Any:
        """Run `command` and return its result, as `AsyncExecutor.run` does."""
        rounds, deadline = self._begin(command)
        if not self._members.known.done():
            known = asyncio.shield(asyncio.wrap_future(self._members.known))
            try:
                await asyncio.wait_for(known, max(0.0, deadline - time.monotonic()))
            except TimeoutError:
                raise self._nobody() from None
        try:
            step = next(rounds)
            while True:
                if step.pause:
                    await asyncio.sleep(step.pause)
                answers = await asyncio.gather(*(self._trip(trip, probing) for trip in step.trips))
                step = rounds.send(answers)
        except StopIteration as done:
            return done.value

    async def _trip(self, trip: Trip, probing: bool) -> Any:
        try:
            return await self._members.member(trip.node).async_executor.run(trip.command, probing=probing)
        except RemoteError as error:
            return self._outcome(error)

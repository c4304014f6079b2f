"""The synchronous driver: runs a flow to its end, executing the flow's commands on the calling thread."""

import asyncio
import contextlib
import functools
import inspect
import time
from collections.abc import Callable, Generator
from types import GeneratorType
from typing import Any, TypeVar

from twotier.core.flow.background import Background
from twotier.core.flow.blocking import hold_up
from twotier.core.flow.requests import Load, Local, Pause, Spawn, Wait
from twotier.core.flow.stop_iteration import as_raised
from twotier.remote.execute.executor import AnyExecutor

R = TypeVar("R")
Flow = Generator[Any, Any, R]
"""A flow yields commands (remote ones, and those of `requests.py`), receives their results, and returns its own."""


def drive(flow: Flow[R], executor: AnyExecutor | None, background: Background) -> R:
    """Run `flow` and return its result; a command's error is raised inside the flow, which may handle it.

    An error in the driver itself ends the flow, which releases its resources.
    """
    try:
        if asyncio._get_running_loop() is None:  # noqa: SLF001 - public, and without an exception
            return _drive(flow, executor, background)
        before = hold_up(flow)
        try:
            return _drive(flow, executor, background)
        finally:
            hold_up(before)
    except BaseException:  # a flow that has returned has ended
        close(flow)
        raise


def drive_spawned(spawn: Spawn, executor: AnyExecutor | None, background: Background) -> Any:
    """Run a background flow as `drive` does, then call its `undo`."""
    try:
        return drive(spawn.flow, executor, background)
    finally:
        end(spawn)


def close(flow: Flow[Any]) -> None:
    """Close a flow that has begun and hasn't ended."""
    if isinstance(flow, GeneratorType) and flow.gi_suspended:
        flow.close()


def end(spawn: Spawn) -> None:
    """End a background flow at any point; a flow that hasn't begun is started, to be cancelled and clean up."""
    try:
        flow = spawn.flow
        if inspect.getgeneratorstate(flow) == inspect.GEN_CREATED:
            with contextlib.suppress(StopIteration, asyncio.CancelledError):
                next(flow)
                flow.throw(asyncio.CancelledError())
        flow.close()
    finally:
        if spawn.undo is not None:
            spawn.undo()


def _drive(flow: Flow[R], executor: AnyExecutor | None, background: Background) -> R:
    try:
        command = next(flow)
        while True:
            try:
                if not isinstance(command, Local):
                    assert executor is not None, "a flow of local-only mode asked for the remote tier"  # noqa: S101 - an invariant
                    result = executor.run(command)
                elif isinstance(command, Load):
                    result = called(command.loader)
                elif isinstance(command, Wait):
                    result = _waited(command)
                elif isinstance(command, Pause):
                    time.sleep(command.seconds)
                    result = None
                else:
                    assert isinstance(command, Spawn)  # noqa: S101 - for the type checker
                    task = functools.partial(drive_spawned, command, executor, background)
                    result = background.run(task, or_here=command.is_awaited)
            except BaseException as error:  # noqa: BLE001 - the flow decides
                command = flow.throw(error)
            else:
                command = flow.send(result)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    except RuntimeError as error:
        raised = as_raised(error)
    raise raised


def _waited(command: Wait) -> Any:
    """Return the result of the awaited future; TimeoutError if none comes in time."""
    future = command.future
    for seconds in command.spells():
        try:
            return future.result(seconds)
        except TimeoutError:
            if future.done():  # it may well have raised a TimeoutError of its own
                return future.result()
    raise TimeoutError


def called(function: Callable[[], R]) -> R:
    """Return the result of `function`; TypeError for an awaitable, which a synchronous caller can't await."""
    result = function()
    if inspect.isawaitable(result):
        if hasattr(result, "close"):
            result.close()  # nothing of it has run, and nothing will
        raise TypeError(
            "a loader or writer of a synchronous cache must return its result, got an awaitable: "
            "give it to an AsyncCache (cache.aio), or give a plain function"
        )
    return result

"""The asynchronous driver: runs a flow to its end as part of the caller's task, awaiting the flow's commands.

The driver does for tasks what `drive` does for threads, command by command. Futures are those of
`concurrent.futures`, which threads and the tasks of any loop share: a waiter that stops waiting leaves
the future as it is.
"""

import asyncio
import contextlib
import inspect
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final, TypeVar

from twotier.core.flow.drive import Flow, close, end
from twotier.core.flow.requests import Load, Local, Pause, Spawn, Wait
from twotier.core.flow.stop_iteration import as_raised
from twotier.errors import TwoTierError
from twotier.remote.execute.executor import AnyAsyncExecutor

R = TypeVar("R")

_MOST_LEFT: Final = 1_000
"""Most commands that an ending flow may yield; none of them is run."""


class Tasks:
    """Flows in the background, each a task of its caller's loop; kept here, since a loop keeps only weak references."""

    __slots__ = ("_closed", "_tasks")

    def __init__(self) -> None:
        self._closed = False
        self._tasks: set[asyncio.Task[Any]] = set()

    def run(self, spawn: Spawn, executor: AnyAsyncExecutor | None) -> Future[Any]:
        """Run a flow in a copy of the caller's context; return the future of its result, cancelled if its task is."""
        if self._closed:
            raise TwoTierError("the cache is closed; make a new one")
        for task in list(self._tasks):
            if task.get_loop().is_closed():
                self._tasks.discard(task)  # it won't end by itself
        future: Future[Any] = Future()
        task = asyncio.get_running_loop().create_task(async_drive(spawn.flow, executor, self))
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._ended(task, spawn, future))
        return future

    def close(self) -> None:
        """Take no more flows; those under way go on."""
        self._closed = True

    def _ended(self, task: asyncio.Task[Any], spawn: Spawn, future: Future[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            end(spawn)
            future.cancel()
            return
        if spawn.undo is not None:
            spawn.undo()
        if (error := task.exception()) is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())


async def async_drive(flow: Flow[R], executor: AnyAsyncExecutor | None, tasks: Tasks) -> R:
    """Run `flow` and return its result; a command's error is raised inside the flow, which may handle it.

    CancelledError is raised there, too: a flow that is stopped cleans up. An error in the driver itself
    ends the flow, which releases its resources. So does closing the coroutine, but without running any
    command: each command that the flow yields then is answered with GeneratorExit.
    """
    try:
        return await _async_drive(flow, executor, tasks)
    except BaseException:  # a flow that has returned has ended
        close(flow)
        raise


async def _async_drive(flow: Flow[R], executor: AnyAsyncExecutor | None, tasks: Tasks) -> R:
    try:
        command = next(flow)
        while True:
            try:
                if not isinstance(command, Local):
                    assert executor is not None, "a flow of local-only mode asked for the remote tier"  # noqa: S101 - an invariant
                    result = await executor.run(command)
                elif isinstance(command, Load):
                    result = await _called(command.loader)
                elif isinstance(command, Wait):
                    result = await _waited(command)
                elif isinstance(command, Pause):
                    await asyncio.sleep(command.seconds)
                    result = None
                else:
                    assert isinstance(command, Spawn)  # noqa: S101 - for the type checker
                    result = tasks.run(command, executor)
            except BaseException as error:  # noqa: BLE001 - the flow decides
                command = _raised_in(flow, error)
            else:
                command = flow.send(result)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]
    except RuntimeError as error:
        raised = as_raised(error)
    raise raised  # Python turns a StopIteration into a RuntimeError, as for any coroutine


async def _called(function: Callable[[], Any]) -> Any:
    """Return the result of `function`, awaited if it is awaitable."""
    result = function()
    return await result if inspect.isawaitable(result) else result


async def _waited(command: Wait) -> Any:
    """Return the result of a future that other threads and loops may wait for as well; TimeoutError if none comes."""
    future = command.future
    if not future.done():
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wake(_: object) -> None:
            with contextlib.suppress(RuntimeError):  # the waiter's loop is closed
                loop.call_soon_threadsafe(ended.set)

        future.add_done_callback(wake)
        for seconds in command.spells():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await ended.wait()
            if future.done():
                break
        else:
            raise TimeoutError
    return future.result()


def _raised_in(flow: Flow[Any], error: BaseException) -> Any:
    """Raise `error` in `flow`; return the command that the flow yields then."""
    if not isinstance(error, GeneratorExit):
        return flow.throw(error)
    # The garbage collector, or another owner, closes the coroutine: nothing can be awaited any more.
    with contextlib.suppress(StopIteration, GeneratorExit):
        for _ in range(_MOST_LEFT):
            flow.throw(error)
    raise error

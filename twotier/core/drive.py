"""The synchronous driver: runs a flow to its end, doing what it yields on the calling thread."""

import time
from collections.abc import Generator
from typing import Any, TypeVar

from twotier.core.commands import Load, Pause, Wait
from twotier.remote.executor import Executor

R = TypeVar("R")
Flow = Generator[Any, Any, R]
"""A flow: yields commands (remote ones, `Wait`, `Load`, `Pause`), is sent their results, and returns its own."""


def drive(flow: Flow[R], executor: Executor | None) -> R:
    """Run `flow` and return its result; what a command raises is raised inside the flow, where it may be handled."""
    try:
        command = next(flow)
        while True:
            try:
                if isinstance(command, Load):
                    result = command.loader()
                elif isinstance(command, Wait):
                    result = command.future.result()
                elif isinstance(command, Pause):
                    time.sleep(command.seconds)
                    result = None
                else:
                    assert executor is not None, "a flow of local-only mode asked for the remote tier"  # noqa: S101 - an invariant
                    result = executor.run(command)
            except BaseException as error:  # noqa: BLE001 - the flow decides
                command = flow.throw(error)
            else:
                command = flow.send(result)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]

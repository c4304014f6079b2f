"""Refusals: errors that a writer raises itself, told apart from exceptions that arrive around the writer.

A writer that raises has changed nothing. But an exception of a signal handler, a timer or a
cancelled task may arrive between any two lines, also right after the writer has returned, when the
source has been written. Flows therefore wrap the writer's own errors, and no others, in a `Refusal`.
"""

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Refusal(Exception):  # noqa: N818 - no error itself
    """Carries the `error` that a writer has raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def refusing(write: Callable[[T], Any], what: T) -> Callable[[], Any]:
    """Return a function that calls `write`, awaits an awaitable result, and raises the writer's errors as Refusals."""

    def call() -> Any:
        try:
            result = write(what)
        except Exception as error:
            _refuse(error)
            raise
        return _Refusing(result) if inspect.isawaitable(result) else result

    return call


class _Refusing:
    """The awaitable that a writer returned; its errors are raised as Refusals."""

    def __init__(self, result: Awaitable[Any]) -> None:
        self._result = result

    def __await__(self) -> Any:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        try:
            result = await self._result
        except Exception as error:
            _refuse(error)
            raise
        return result

    def close(self) -> None:
        """Close the awaitable if nothing can await it."""
        if hasattr(self._result, "close"):
            self._result.close()


def _refuse(error: Exception) -> None:
    """Raise a Refusal if `error` comes from the writer; an error with no other frame than ours arrived around it."""
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        raise Refusal(error) from None

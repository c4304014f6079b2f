"""What a writer itself raises, told from what is raised around it.

A writer that raises has changed nothing. But an exception may arrive between any two lines (of a signal handler, a
timer, a cancelled task), also right after the writer has returned, when the source has been written. So what a writer
raises goes through flows in a `Refusal`, and nothing else does.
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
    """Return a function that calls `write`, and awaits its result if that can be awaited; it raises Refusals."""

    def call() -> Any:
        try:
            result = write(what)
        except Exception as error:
            _refuse(error)
            raise
        return _Refusing(result) if inspect.isawaitable(result) else result

    return call


class _Refusing:
    """What a writer gave to be awaited."""

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
        """Close it, where nobody can await it."""
        if hasattr(self._result, "close"):
            self._result.close()


def _refuse(error: Exception) -> None:
    """Raise a Refusal if `error` comes from the writer: what has no frame but ours has arrived around it."""
    if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
        raise Refusal(error) from None

"""StopIteration of the callers' own code, carried through flows.

Flows are generators, and a StopIteration that leaves a generator becomes a RuntimeError (PEP 479). What a loader, a
writer or a weigher raises is to reach the caller as it is: so it goes through flows, and to those who share a load, in
an exception of ours, and the driver takes it out again. A coroutine can't raise StopIteration either: there callers
get the RuntimeError that any coroutine gives.
"""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class Carrier(Exception):  # noqa: N818 - no error itself
    """Carries `error` through generators."""

    def __init__(self, error: StopIteration) -> None:
        super().__init__(error)
        self.error = error

    def __repr__(self) -> str:
        return repr(self.error)


def carried(error: BaseException) -> BaseException:
    """Return `error`, or what carries it where generators don't let it pass."""
    return Carrier(error) if isinstance(error, StopIteration) else error


def uncarried(error: Exception) -> Exception:
    """Return what was raised, whether it is carried or not."""
    return error.error if isinstance(error, Carrier) else error


def carrying(function: Callable[P, R]) -> Callable[P, R]:
    """Return a function that is called inside of flows in place of `function`."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except StopIteration as error:
            raise Carrier(error) from None

    return call

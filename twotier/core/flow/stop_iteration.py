"""StopIteration of the callers' own code, carried through flows.

Flows are generators, and Python makes a RuntimeError of a StopIteration that leaves a generator (PEP 479). What the
callers' own code raises (a loader, a writer, a weigher, the `__iter__` of keys) is to reach the caller as it is: so
drivers take the StopIteration out again, and so does whoever shares, logs or joins what was raised. A coroutine can't
raise StopIteration either: there callers get the RuntimeError that any coroutine gives.
"""

import inspect
from types import CodeType, TracebackType
from typing import Final, TypeVar

E = TypeVar("E", bound=BaseException)

_PACKAGE: Final = __name__.partition(".")[0]
_CONVERTS: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
"""Flags of code that lets no StopIteration out."""


def as_raised(error: E) -> E | StopIteration:
    """Return the StopIteration of which one of our generators or coroutines has made `error`; else `error`."""
    cause = error.__cause__
    if type(error) is not RuntimeError or not isinstance(cause, StopIteration):
        return error
    # Where Python has made it: 3.11 in the frame that resumed the generator, later ones in the generator's own.
    made = error.__traceback__
    while made is not None and made.tb_next is not None:
        made = made.tb_next
    return cause if _is_ours(made) and not _is_of_a_foreign_generator(cause.__traceback__) else error


def _is_ours(traceback: TracebackType | None) -> bool:
    return traceback is not None and _package(traceback) == _PACKAGE


def _is_of_a_foreign_generator(traceback: TracebackType | None) -> bool:
    """Return True if what has come this far has left a generator or coroutine of the callers'."""
    if traceback is None or not _converts(traceback.tb_frame.f_code):
        return False
    return _package(traceback) != _PACKAGE


def _converts(code: CodeType) -> bool:
    return bool(code.co_flags & _CONVERTS)


def _package(traceback: TracebackType) -> str:
    name = traceback.tb_frame.f_globals.get("__name__")
    return name.partition(".")[0] if isinstance(name, str) else ""

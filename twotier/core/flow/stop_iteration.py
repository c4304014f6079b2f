"""StopIteration of the callers' own code, carried through flows.

Flows are generators, and Python turns a StopIteration that leaves a generator into a RuntimeError (PEP
479). An error of the callers' own code (a loader, a writer, a weigher, the `__iter__` of keys) must
reach the caller unchanged. So drivers extract the StopIteration again, and so does all code that
shares, logs or joins errors. A coroutine can't raise StopIteration either: there callers get the
RuntimeError that any coroutine raises.
"""

import inspect
from types import CodeType, TracebackType
from typing import Final, TypeVar

E = TypeVar("E", bound=BaseException)

_PACKAGE: Final = __name__.partition(".")[0]
_CONVERTS: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
"""Flags of code that no StopIteration can leave."""


def as_raised(error: E) -> E | StopIteration:
    """Return the StopIteration that one of our generators or coroutines has turned into `error`; else `error`."""
    cause = error.__cause__
    if type(error) is not RuntimeError or not isinstance(cause, StopIteration):
        return error
    # The frame of the conversion: in 3.11 the one that resumed the generator, later the generator's own.
    made = error.__traceback__
    while made is not None and made.tb_next is not None:
        made = made.tb_next
    return cause if _is_ours(made) and not _is_of_a_foreign_generator(cause.__traceback__) else error


def _is_ours(traceback: TracebackType | None) -> bool:
    return traceback is not None and _package(traceback) == _PACKAGE


def _is_of_a_foreign_generator(traceback: TracebackType | None) -> bool:
    """Return True if an error with this traceback has left a generator or coroutine of the callers."""
    if traceback is None or not _converts(traceback.tb_frame.f_code):
        return False
    return _package(traceback) != _PACKAGE


def _converts(code: CodeType) -> bool:
    return bool(code.co_flags & _CONVERTS)


def _package(traceback: TracebackType) -> str:
    name = traceback.tb_frame.f_globals.get("__name__")
    return name.partition(".")[0] if isinstance(name, str) else ""

"""Exceptions that arrive between any two lines of the package, as those of signals, timers and killed greenlets do."""

import linecache
import math
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import twotier

PACKAGE = str(Path(twotier.__file__).parent)
MOST = math.inf if os.environ.get("TWOTIER_EVERY_LINE") else 60
"""Lines of a flow that are tried in one run, spread evenly from a random one on; TWOTIER_EVERY_LINE=1: all."""


class Interrupted(BaseException):
    """What is raised."""


class Interruption:
    """Runs a call, and raises `error` on its thread before the `nth` line that it comes to in `folder` of the package.

    Where a `with` block ends, its own line comes again, once for each of its items, and no exception ever arrives
    there: the interpreter looks for signals after calls and at jumps back, which are inside of the block. Neither does
    any at `try:`, which does nothing: Python 3.11 leaves that line out of what an enclosing `with` guards.
    """

    def __init__(self, nth: int, folder: str = "", error: type[BaseException] = Interrupted):
        self._left = self._nth = nth
        self._folder = f"{PACKAGE}/{folder}"
        self._error = error
        self._last: dict[FrameType, int] = {}
        self.where = ""
        """Where it was raised; empty if the call had fewer lines."""

    @property
    def passed(self) -> int:
        """How many lines there were before."""
        return self._nth - self._left

    def run(self, call: Callable[[], Any]) -> BaseException | None:
        """Run `call`; return what it raised, with its traceback, as somebody who reports errors would keep it."""
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            call()
        except (Exception, Interrupted) as error:  # noqa: BLE001 - the caller's to judge
            return error
        finally:
            sys.settrace(before)
            self._last.clear()
        return None

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._folder) or (event == "call" and _is_finalizing(frame)):
            return None
        if event == "line":
            number = frame.f_lineno
            last, self._last[frame] = self._last.get(frame, 0), number
            source = linecache.getline(frame.f_code.co_filename, number).strip()
            if source == "try:" or (last >= number and source.startswith(("with ", "async with "))):
                return self._trace
            self._left -= 1
            if not self._left:
                self.where = f"{frame.f_code.co_filename}:{number}"
                raise self._error
        return self._trace


def _is_finalizing(frame: FrameType | None) -> bool:
    """Return True inside of a `__del__`: what is raised there reaches nobody."""
    while frame is not None and frame.f_code.co_name != "__del__":
        frame = frame.f_back
    return frame is not None


def every_line(
    scene: Callable[[Interruption], None], folder: str = "", error: type[BaseException] = Interrupted
) -> int:
    """Call `scene` with an interruption of every line in turn, or of `MOST` of them; return how many there are."""
    count = Interruption(sys.maxsize, folder, error)
    scene(count)
    stride = max(1, math.ceil(count.passed / MOST))
    nth = random.randrange(stride) + 1 - stride
    while True:
        nth += stride
        interruption = Interruption(nth, folder, error)
        try:
            scene(interruption)
        except Exception as failure:
            failure.add_note(f"interrupted at line {nth}: {interruption.where}")
            raise
        if not interruption.where:
            return count.passed

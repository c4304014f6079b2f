"""Fork: objects with locks, threads or connections drop, in the child, those that belong to the parent."""

import functools
import logging
import os
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")


class Forkable(Protocol):
    """Something that must change in a forked child."""

    def after_fork(self) -> None:
        """Drop the parent's connections, threads and locks."""


_first: Final[weakref.WeakKeyDictionary[Any, Callable[[Any], None]]] = weakref.WeakKeyDictionary()
_then: Final[weakref.WeakSet[Forkable]] = weakref.WeakSet()


def reset_first_on_fork(thing: T, reset: Callable[[T], None]) -> None:
    """Call `reset(thing)` in every child forked from now on, before `after_fork` of other objects, which may use it."""
    _first[thing] = reset


def reset_on_fork(forkable: Forkable) -> None:
    """Call `forkable.after_fork()` in every child forked from now on, for as long as it lives."""
    _then.add(forkable)


def _in_child() -> None:
    resets: list[Callable[[], None]] = [functools.partial(reset, thing) for thing, reset in _first.items()]
    resets += [forkable.after_fork for forkable in _then]
    for each in resets:
        try:
            each()
        except Exception:  # the others still have to be reset
            logging.getLogger("twotier").exception("a cache could not be made ready after fork")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

"""Fork: every namespace of the process is told, in the child, to let go of what belongs to the parent."""

import logging
import os
import weakref
from typing import Protocol

import twotier.local  # noqa: F401 - first, as a child is made ready in the order of imports, and namespaces call stores


class Forkable(Protocol):
    """Something that must change in a forked child."""

    def after_fork(self) -> None:
        """Let go of the parent's connections, threads and locks."""


_forkables: weakref.WeakSet[Forkable] = weakref.WeakSet()


def reset_on_fork(forkable: Forkable) -> None:
    """Call `forkable.after_fork()` in every child forked from now on, for as long as it lives."""
    _forkables.add(forkable)


def _in_child() -> None:
    for forkable in list(_forkables):
        try:
            forkable.after_fork()
        except Exception:  # the others still have to hear of it
            logging.getLogger("twotier").exception("a cache could not be made ready after fork")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

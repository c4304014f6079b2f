"""Fork, for the twin: the lock of a store, which a thread of the parent may have held, and the child hasn't got.

A compiled store has no lock. This comes before all else that a child does (`core/fork.py` sees to that), as the rest
calls stores.
"""

import os
import weakref
from typing import Protocol


class HasLock(Protocol):
    """What has to be made ready in a forked child."""

    def _after_fork(self) -> None: ...


_stores: weakref.WeakSet[HasLock] = weakref.WeakSet()


def ready_in_children(store: HasLock) -> None:
    """Make `store` ready in every child forked from now on, for as long as it lives."""
    _stores.add(store)


def _in_child() -> None:
    for store in list(_stores):
        store._after_fork()  # noqa: SLF001 - the protocol's, and nobody else's


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

"""Entries that left the twin's table in one operation; the removal listener is called when the operation is over."""

import logging
from collections.abc import Callable
from typing import Any, Final, Self

from twotier.clock import SystemClock
from twotier.local.twin.eviction import Entry
from twotier.local.twin.values import Values
from twotier.rate_limited_log import RateLimitedLog


class Listener:
    """The caller's removal listener, and how often it failed."""

    __slots__ = ("_call", "_log", "_values", "errors")

    def __init__(self, call: Callable[[Any, Any, str], object] | None, values: Values) -> None:
        self._call = call
        self._values = values
        self._log: Final = RateLimitedLog(SystemClock())
        self.errors = 0

    def tell(self, left: list[tuple[Entry, str]]) -> None:
        """Call the listener for each entry; its errors are counted, and logged once a minute."""
        if self._call is None:
            return
        for entry, cause in left:
            try:
                self._call(entry.key, self._values.left(entry), cause)
            except Exception:  # noqa: BLE001 - a listener's failure is its own
                self.errors += 1
                self._log.log(logging.ERROR, "removal", "on_removal failed for key %.200r", entry.key, trace=True)


class Leaving(list[tuple[Entry, str]]):
    """Entries that left, with the cause, from `with` to its end."""

    __slots__ = ("_listener",)

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        self._listener = listener

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._listener.tell(self)
        finally:
            for entry, _cause in self:
                entry.value = None  # its links are a cycle: it would hold the value until garbage is collected

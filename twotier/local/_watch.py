"""`copy="check"`: values go by reference, and those that were changed after they were cached are reported.

For development. What mutates a cached value by reference changes it for every later reader; with this option the next
hit says so in the log (at most once for each change). It costs a pickle of the value at each hit.
"""

import logging
import pickle
from typing import Any, Final

_log: Final = logging.getLogger("twotier")


class Watched:
    """A value, and what it looked like when it was last handed out."""

    __slots__ = ("_looks", "_value")

    def __init__(self, value: object) -> None:
        self._value = value
        self._looks = _looks_of(value)

    def value(self) -> Any:
        """Return the value; report it if it has changed."""
        looks = _looks_of(self._value)
        if looks != self._looks:
            self._looks = looks
            _log.warning(
                "a cached value was changed in place, for all readers: %.200r (cache a copy, or use copy='auto')",
                self._value,
            )
        return self._value


def _looks_of(value: object) -> bytes | None:
    try:
        return pickle.dumps(value, protocol=5)
    except Exception:  # noqa: BLE001 - what can't be pickled can't be watched
        return None

"""The interface of the source for write-through and write-behind."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Writer(Protocol):
    """Writes to the source: a database, a service. The methods may be coroutines for async callers.

    Both take many keys, so that a bulk write can be one statement or one transaction. A method that raises has to leave
    the source unchanged, and may be called again with writes it has already made: writes must be idempotent.

    >>> class Table:
    ...     def __init__(self):
    ...         self.rows = {}
    ...     def write(self, values):
    ...         self.rows.update(values)
    ...     def delete(self, keys):
    ...         for key in keys:
    ...             self.rows.pop(key, None)
    >>> from twotier import Cache
    >>> table = Table()
    >>> with Cache(writer=table) as cache:
    ...     cache.set("answer", 42)
    ...     table.rows, cache.get("answer")
    ({'answer': 42}, 42)
    """

    def write(self, values: Mapping[str, Any]) -> Any:
        """Put every value of a mapping; the result is awaited if it is awaitable, and ignored."""
        ...

    def delete(self, keys: Sequence[str]) -> Any:
        """Remove keys, which needn't be there."""
        ...


def is_writer(given: object) -> bool:
    """Return True if `given` has a writer's methods."""
    return not isinstance(given, type) and all(callable(getattr(given, name, None)) for name in ("write", "delete"))

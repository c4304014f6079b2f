"""`NOT_FOUND`: the result of a loader when the source has no value."""

import enum
from typing import Final, Literal


class NotFound(enum.Enum):
    """The type of `NOT_FOUND`."""

    NOT_FOUND = "the source has no such thing"

    def __bool__(self) -> Literal[False]:
        """Be false."""
        return False

    def __repr__(self) -> str:
        return "NOT_FOUND"


NOT_FOUND: Final = NotFound.NOT_FOUND
"""The result of a loader when the source has no value under a key, and then also of `get_or_set`; it is false.

With `negative_ttl` that is remembered, in both tiers; reads give their default meanwhile. It is no value: `set` refuses
it.
"""

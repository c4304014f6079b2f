"""`NOT_FOUND`: what a loader returns when the source has nothing."""

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
"""What a loader returns when the source has nothing under a key, and what `get_or_set` returns then; it is false.

With `negative_ttl` that is remembered, in both tiers; reads give their default meanwhile. It is no value: `set` refuses
it.
"""

"""The ids of a stream's entries, as servers report them."""

import re
from typing import Any, Final

from twotier.remote.io.errors import OutOfStepError

_ID: Final = re.compile(rb"([0-9]{1,20})-([0-9]{1,20})")
_MOST: Final = (1 << 64) - 1
"""Largest value of each half of an id."""


def is_entry_id(given: Any) -> bool:
    """Return True if `given` is the id of an entry: two numbers of 64 bits.

    >>> is_entry_id(b"1700000000000-0"), is_entry_id(b"1700000000000"), is_entry_id(b"99999999999999999999-0")
    (True, False, False)
    """
    found = _ID.fullmatch(given) if type(given) is bytes else None
    return found is not None and all(int(number) <= _MOST for number in found.groups())


def entry_ids(given: list[Any]) -> list[bytes]:
    """Return the ids in XADD's replies; raise OutOfStepError if one isn't an id."""
    if not all(map(is_entry_id, given)):
        raise OutOfStepError("XADD")
    return given

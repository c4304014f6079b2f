"""Which streams a namespace has: one on one server; in a cluster several, so that a lost node stops its own alone.

There each is in a slot of its own, spread evenly over all of them, and a key always belongs to the same one: to that of
the sixteenth of the slots which its name alone, or its hash tag, falls into.
"""

from typing import Final

from twotier.codec.values import Values
from twotier.core.access.keys import as_bytes
from twotier.core.write_behind.entries import Entries
from twotier.remote.hash_slots import SLOTS, slot_of, tag_of

IN_A_CLUSTER: Final = 16
"""Streams there. Processes of other numbers would disagree about which stream a key belongs to."""
_SHARE: Final = SLOTS // IN_A_CLUSTER


class Streams:
    """The streams of one namespace."""

    def __init__(self, namespace: str, values: Values, *, slotted: bool) -> None:
        tags = [tag_of(number * _SHARE + _SHARE // 2) for number in range(IN_A_CLUSTER)] if slotted else []
        apart = [Entries(namespace, values, tag.decode(), f"{number}:") for number, tag in enumerate(tags)]
        self.all: Final = apart or [Entries(namespace, values)]

    def of(self, key: str) -> int:
        """Return the number of the stream that `key` belongs to."""
        return slot_of(as_bytes(key)) // _SHARE if len(self.all) > 1 else 0

    def locate(self, letter_id: str) -> tuple[int, bytes]:
        """Return the stream whose dead letter that is, and its id there; ValueError if it can't be one's."""
        label, colon, entry_id = letter_id.rpartition(":")
        for number, entries in enumerate(self.all):
            if entries.label == label + colon:
                return number, entry_id.encode()
        raise ValueError(f"a dead letter of this write-behind was expected, got one with the id {letter_id!r:.100}")

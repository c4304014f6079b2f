"""The streams of a namespace: one on one server, several in a cluster, where a lost node stops only its own.

In a cluster each stream is in a slot of its own, and the slots are spread evenly. A key always
belongs to the same stream: that of the sixteenth of the slots into which the key's name alone, or
the name's hash tag, falls.
"""

from typing import Final

from twotier.codec.values import Values
from twotier.core.access.keys import as_bytes
from twotier.core.write_behind.entries import Entries
from twotier.remote.hash_slots import SLOTS, slot_of, tag_of

IN_A_CLUSTER: Final = 16
"""Number of streams in a cluster. Processes with different numbers would disagree about a key's stream."""
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
        """Return the number of a dead letter's stream, and the letter's id there; ValueError if no stream fits."""
        label, colon, entry_id = letter_id.rpartition(":")
        for number, entries in enumerate(self.all):
            if entries.label == label + colon:
                return number, entry_id.encode()
        raise ValueError(f"a dead letter of this write-behind was expected, got one with the id {letter_id!r:.100}")

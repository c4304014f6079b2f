"""Removal without a transaction, for servers that are out of memory: some, Redis 7.0 among them, then queue nothing.

Keys and leases go in one command, so no load under way can put back what was there before. But in a process that is
killed in the middle of sending, the removal may go untold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twotier.remote.commands.base import Publication
from twotier.remote.io.errors import OutOfStepError, check
from twotier.resp import pack


@dataclass(frozen=True, slots=True)
class RemoveDirectly:
    """Remove keys and leases, and then tell."""

    keys: Sequence[bytes]
    publication: Publication | None

    @property
    def replies(self) -> int:
        """One for UNLINK, and one for the publication."""
        return 1 + bool(self.publication)

    @property
    def wire(self) -> bytes:
        """UNLINK and PUBLISH."""
        return pack(b"UNLINK", *self.keys) + (self.publication.wire if self.publication else b"")

    def parse(self, replies: list[Any]) -> None:
        """Raise what went wrong with either."""
        for reply in replies:
            if type(check(reply)) is not int:
                raise OutOfStepError("UNLINK")

"""Removal without a transaction, for servers out of memory: some, Redis 7.0 among them, then refuse to queue commands.

One command removes the keys and their load locks, so no load under way can put an old value back. But
if the process is killed while it sends, the removal may lack its invalidation.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from twotier.remote.commands.base import Publication
from twotier.remote.io.errors import OutOfStepError, check
from twotier.resp import pack


@dataclass(frozen=True, slots=True)
class RemoveDirectly:
    """Remove keys and load locks, then publish the invalidation."""

    keys: Sequence[bytes]
    publication: Publication | None

    @property
    def replies(self) -> int:
        """One reply to UNLINK, and one to PUBLISH."""
        return 1 + bool(self.publication)

    @property
    def wire(self) -> bytes:
        """UNLINK and PUBLISH."""
        return pack(b"UNLINK", *self.keys) + (self.publication.wire if self.publication else b"")

    def parse(self, replies: list[Any]) -> None:
        """Raise the error of either command."""
        for reply in replies:
            if type(check(reply)) is not int:
                raise OutOfStepError("UNLINK")

"""Writes that also return the namespace's generation at the time of the write.

A process learns of a clear in another process by a message, so for a moment it may write under a
generation that has ended, into keys that nobody reads any more. So each write reads the generation
afterwards, in the same round trip. Generations are named at random and never come back: a generation
that was used for the write and is current after it was current during the write.
"""

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from twotier.remote.commands.base import Command
from twotier.remote.io.errors import OutOfStepError, check
from twotier.resp import pack

R = TypeVar("R")


class UnderGeneration(NamedTuple, Generic[R]):
    """Result of a write, and the generation after it (None: there was none)."""

    result: R
    generation: bytes | None


@dataclass(frozen=True, slots=True)
class WithGeneration(Generic[R]):
    """A write and a read of the namespace's generation in one round trip; without `generation_key`, the write alone."""

    write: Command[R]
    generation_key: bytes | None

    @property
    def replies(self) -> int:
        """The replies to the write, and one to GET."""
        return self.write.replies + (self.generation_key is not None)

    @property
    def wire(self) -> bytes:
        """The write, and GET."""
        key = self.generation_key
        return self.write.wire if key is None else self.write.wire + pack(b"GET", key)

    def parse(self, replies: list[Any]) -> UnderGeneration[R]:
        """Return the write's outcome and the generation, or raise the error of either."""
        if self.generation_key is None:
            return UnderGeneration(self.write.parse(replies), None)
        return UnderGeneration(self.write.parse(replies[:-1]), generation_in(replies[-1]))


def generation_in(reply: Any) -> bytes | None:
    """Return the generation in GET's reply, or raise the error in it."""
    generation = check(reply)
    if generation is not None and type(generation) is not bytes:
        raise OutOfStepError("GET")
    return generation

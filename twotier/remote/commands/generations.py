"""Writes that tell under which generation of the namespace they took place.

A process learns of a clear elsewhere by a message, so for a moment it may write under a generation that is over, into
keys that nobody reads any more. So the generation is read in the trip that writes, after the write. Generations are
named at random and never come back: one that was written under, and stands after the write, stood during it.
"""

from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from twotier.remote.commands.base import Command
from twotier.remote.io.errors import OutOfStepError, check
from twotier.resp import pack

R = TypeVar("R")


class UnderGeneration(NamedTuple, Generic[R]):
    """What a write gave, and the generation that stood after it (None: there was none)."""

    result: R
    generation: bytes | None


@dataclass(frozen=True, slots=True)
class WithGeneration(Generic[R]):
    """A write, and then a look at the namespace's generation, in one trip; without its key, the write alone."""

    write: Command[R]
    generation_key: bytes | None

    @property
    def replies(self) -> int:
        """The write's, and one for GET."""
        return self.write.replies + (self.generation_key is not None)

    @property
    def wire(self) -> bytes:
        """The write, and GET."""
        key = self.generation_key
        return self.write.wire if key is None else self.write.wire + pack(b"GET", key)

    def parse(self, replies: list[Any]) -> UnderGeneration[R]:
        """Return the write's outcome and the generation; raise what went wrong with either."""
        if self.generation_key is None:
            return UnderGeneration(self.write.parse(replies), None)
        return UnderGeneration(self.write.parse(replies[:-1]), generation_in(replies[-1]))


def generation_in(reply: Any) -> bytes | None:
    """Return the generation that GET gave, or raise what went wrong."""
    generation = check(reply)
    if generation is not None and type(generation) is not bytes:
        raise OutOfStepError("GET")
    return generation

"""A command for a slot that is being moved: each of its server commands is preceded by ASKING.

A node that is taking a slot over serves it to those alone who say, before each command, that the old owner sent them.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Final, Generic, TypeVar

from twotier.remote.commands import Command
from twotier.remote.conditional import Conditional
from twotier.remote.refusals import check

R = TypeVar("R")

_ASKING: Final = b"*1\r\n$6\r\nASKING\r\n"


@dataclass(frozen=True, slots=True)
class Asking(Generic[R]):
    """`command`, in one trip, with ASKING before each part."""

    command: Command[R]

    @property
    def replies(self) -> int:
        """Twice the command's."""
        return 2 * self.command.replies

    @property
    def wire(self) -> bytes:
        """ASKING and each server command in turn."""
        return _interleaved(self.command.wire)

    def parse(self, replies: list[Any]) -> R:
        """Return what the command makes of its own replies."""
        return self.command.parse(_own(replies))


class AskingConditional(Conditional[R]):
    """`command`, in two trips, with ASKING before each part of both."""

    __slots__ = ("_command",)

    def __init__(self, command: Conditional[R]) -> None:
        self._command = command

    replies: ClassVar[int] = 2 * Conditional.replies

    @property
    def wire(self) -> bytes:
        """ASKING and each server command in turn."""
        return _interleaved(self._command.wire)

    def decide(self, replies: list[Any]) -> Command[R]:
        """Return the second step, with ASKING."""
        return Asking(self._command.decide(_own(replies)))


def _own(replies: list[Any]) -> list[Any]:
    for asking in replies[::2]:
        check(asking)
    return replies[1::2]


def _interleaved(wire: bytes) -> bytes:
    """Return `wire`, which holds whole packed commands, with ASKING before each."""
    parts, at = [], 0
    while at < len(wire):
        start, line = at, wire.index(b"\r\n", at)
        words, at = int(wire[at + 1 : line]), line + 2
        for _ in range(words):
            line = wire.index(b"\r\n", at)
            at = line + 2 + int(wire[at + 1 : line]) + 2
        parts += [_ASKING, wire[start:at]]
    return b"".join(parts)

"""A command for a slot that is being moved: ASKING precedes its server commands.

A node that is taking over a slot serves it only to commands that ASKING precedes, as proof of the old
owner's redirect. ASKING before MULTI holds for the whole transaction; inside a transaction it would
be queued, and be one of EXEC's results.
"""

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from twotier.remote.commands.base import Command
from twotier.remote.commands.conditional import Conditional
from twotier.remote.io.errors import check

R = TypeVar("R")

_ASKING: Final = b"*1\r\n$6\r\nASKING\r\n"


@dataclass(frozen=True, slots=True)
class AskRedirect(Generic[R]):
    """`command`, in one round trip, with ASKING before each server command or transaction."""

    command: Command[R]

    @property
    def replies(self) -> int:
        """The replies to the command, and one to each ASKING."""
        return len(_parts(self.command.wire))

    @property
    def wire(self) -> bytes:
        """ASKING and each server command or transaction, in turn."""
        return b"".join(_parts(self.command.wire))

    def parse(self, replies: list[Any]) -> R:
        """Return the command's result, from its own replies."""
        return self.command.parse(_own(self.command.wire, replies))


class AskRedirectConditional(Conditional[R]):
    """`command`, in two round trips, with ASKING before each server command or transaction of both."""

    __slots__ = ("_command",)

    def __init__(self, command: Conditional[R]) -> None:
        self._command = command

    @property
    def replies(self) -> int:
        """The replies to the command, each after one to ASKING."""
        return 2 * self._command.replies

    @property
    def wire(self) -> bytes:
        """ASKING and each server command in turn."""
        return b"".join(_parts(self._command.wire))

    def decide(self, replies: list[Any]) -> Command[R]:
        """Return the second step, with ASKING."""
        return AskRedirect(self._command.decide(_own(self._command.wire, replies)))


def _own(wire: bytes, replies: list[Any]) -> list[Any]:
    """Return the `replies` to the commands in `wire`, without those to ASKING."""
    own = []
    for part, reply in zip(_parts(wire), replies, strict=True):
        if part is _ASKING:
            check(reply)
        else:
            own.append(reply)
    return own


def _parts(wire: bytes) -> list[bytes]:
    """Return the packed commands of `wire`, with ASKING before each command and each transaction."""
    parts, at, queueing = [], 0, False
    while at < len(wire):
        start, line = at, wire.index(b"\r\n", at)
        words, at = int(wire[at + 1 : line]), line + 2
        for _ in range(words):
            line = wire.index(b"\r\n", at)
            at = line + 2 + int(wire[at + 1 : line]) + 2
        command = wire[start:at]
        if not queueing:
            parts.append(_ASKING)
        parts.append(command)
        if words == 1:
            queueing = command.endswith(b"\r\nMULTI\r\n") or (queueing and not command.endswith(b"\r\nEXEC\r\n"))
    return parts

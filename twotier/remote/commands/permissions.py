"""Check of our user's permissions on a server for all that a cache needs: commands, keys, channels.

Servers check permissions when a command is queued in a transaction. So all commands are queued, and the
transaction is made to fail: its last command is one that no server queues, so EXEC drops them all. The
permissions for MULTI and EXEC are checked first, as without MULTI the commands would be executed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple

from twotier.errors import AccessDenied, RemoteError
from twotier.options import Options
from twotier.remote.commands.base import Command
from twotier.remote.commands.conditional import Conditional
from twotier.remote.io.errors import CrossSlotError, RedirectionError, code, refusal
from twotier.resp import ErrorReply, pack

_KEY: Final = re.compile(r"\b(access a key|of the keys)\b")
_EXEC_DENIED: Final = re.compile("EXECABORT .*NOPERM")
_CHANNEL: Final = re.compile(r"\b(access a channel|of the channels)\b")


class Wanted(NamedTuple):
    """A command that a cache will send, and the channel that the command names, if any."""

    words: tuple[bytes, ...]
    channel: bytes = b""

    @property
    def name(self) -> str:
        """The command as access rules spell it."""
        count = 2 if self.words[0] == b"CLIENT" else 1
        return b"|".join(self.words[:count]).decode()


def wanted(options: Options) -> list[Wanted]:
    """Return the commands that a cache with these options sends to a server, except those of transactions."""
    # Of keys that differ in the last bit alone, two are never in one slot.
    key, other = (f"{options.namespace}:access:{last}".encode() for last in "01")
    channel = f"{options.namespace}:inv:v1".encode()
    found = [
        Wanted(words)
        for words in (
            (b"GET", key),
            (b"MGET", key, other),
            (b"SET", key, b"0"),
            (b"UNLINK", key),
            (b"EXISTS", key),
            (b"PTTL", key),
            (b"PEXPIRE", key, b"1"),
            (b"PERSIST", key),
            (b"INCRBY", key, b"1"),
        )
    ]
    if options.coherence == "pubsub":
        found.append(Wanted((b"PUBLISH", channel, b""), channel))
        found += [Wanted((name, channel), channel) for name in (b"SUBSCRIBE", b"UNSUBSCRIBE")]
    elif options.coherence == "tracking":
        prefix = f"{options.namespace}:".encode()
        found.append(Wanted((b"CLIENT", b"TRACKING", b"ON", b"BCAST", b"PREFIX", prefix)))
    if options.wait_replicas:
        found.append(Wanted((b"WAIT", b"0", b"0")))
    return found


@dataclass(frozen=True, slots=True)
class CheckRole:
    """Raise RemoteError unless the server is a primary on which our user may watch keys and end transactions."""

    namespace: str
    primary: bool = True
    """Whether the server has to be a primary: a cluster node may become one again in a moment."""
    linked: bool = True
    """Whether the link will send ROLE."""
    replies: ClassVar[int] = 4

    @property
    def _wanted(self) -> list[Wanted]:
        key = f"{self.namespace}:access:0".encode()
        return [Wanted((b"ROLE",)), Wanted((b"WATCH", key)), Wanted((b"UNWATCH",)), Wanted((b"EXEC",))]

    @property
    def wire(self) -> bytes:
        """ROLE, WATCH, UNWATCH, and EXEC without MULTI, which fails with another error if it is permitted."""
        return b"".join(pack(*each.words) for each in self._wanted)

    def parse(self, replies: list[Any]) -> None:
        """Raise RemoteError for a sentinel or an unwanted replica, AccessDenied for a denied command."""
        match replies[0]:
            case [b"sentinel", *_]:
                raise RemoteError("it is a sentinel, which holds no data: write redis+sentinel://host:port/service")
            case [b"slave", *_] if self.primary:
                raise RemoteError("it is a replica, which takes no writes: name the primary, or redis+sentinel://")
        first = 0 if self.linked else 1
        _raise_denied(self._wanted[first:], replies[first:], self.namespace)


@dataclass(frozen=True, slots=True)
class CheckAccess(Conditional[None]):
    """Raise AccessDenied that names those of `commands` that our user may not use; also recognises a cluster node."""

    namespace: str
    commands: Sequence[Wanted]

    @property
    def wire(self) -> bytes:
        """An empty transaction: `CheckRole` has found that EXEC is permitted."""
        return pack(b"MULTI") + pack(b"EXEC")

    def decide(self, replies: list[Any]) -> Command[None]:
        """Return the transaction that is made to fail; raise AccessDenied if MULTI is denied."""
        _raise_denied([Wanted((b"MULTI",))], replies[:1], self.namespace)
        return _Queued(self.namespace, self.commands)


@dataclass(frozen=True, slots=True)
class _Queued:
    """A transaction of all commands that is made to fail."""

    namespace: str
    commands: Sequence[Wanted]

    @property
    def replies(self) -> int:
        """One reply for each command, and those to MULTI, to the command that isn't queued, and to EXEC."""
        return len(self.commands) + 3

    @property
    def wire(self) -> bytes:
        """MULTI, the commands, GET without a key, EXEC."""
        return b"".join([pack(b"MULTI"), *(pack(*each.words) for each in self.commands), pack(b"GET"), pack(b"EXEC")])

    def parse(self, replies: list[Any]) -> None:
        """Raise AccessDenied, or the error that shows that the server is a cluster node."""
        _raise_denied(self.commands, replies[1:-2], self.namespace)


def _raise_denied(commands: Sequence[Wanted], replies: Sequence[Any], namespace: str) -> None:
    """Raise AccessDenied for denied commands, else the RedirectionError or CrossSlotError among the replies."""
    denied: list[str] = []
    elsewhere: RemoteError | None = None
    for command, reply in zip(commands, replies, strict=True):
        if type(reply) is not ErrorReply:
            continue
        if code(reply) == "NOPERM" or _EXEC_DENIED.match(reply.text):
            denied.append(_what(command, reply.text, namespace))
        elif isinstance(found := refusal(reply), RedirectionError | CrossSlotError):
            elsewhere = found
    if denied:
        raise AccessDenied(f"our user is denied {', '.join(denied)} (docs/acl.conf lists what a cache needs)")
    if elsewhere is not None:
        raise elsewhere


def _what(command: Wanted, text: str, namespace: str) -> str:
    if _CHANNEL.search(text):
        return f"{command.name} on the channel {command.channel.decode()!r}"
    return f"{command.name} of keys {f'{namespace}:*'!r}" if _KEY.search(text) else command.name

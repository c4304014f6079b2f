"""Whether our user may do on a server what a cache is going to ask for: commands, keys, channels.

Servers check permissions when a command is queued in a transaction. So all commands are queued, and the transaction is
made to fail: its last command is one that no server queues, upon which EXEC drops them all. Whether the words of
a transaction are permitted is found out before, as without MULTI the commands would take place.
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
    """A command that a cache will ask for, and the channel that it names, if any."""

    words: tuple[bytes, ...]
    channel: bytes = b""

    @property
    def name(self) -> str:
        """The command as access rules spell it."""
        count = 2 if self.words[0] == b"CLIENT" else 1
        return b"|".join(self.words[:count]).decode()


def wanted(options: Options) -> list[Wanted]:
    """Return what a cache with these options asks a server for, beside transactions."""
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
    """Whether it has to be one: a node of a cluster may be a primary again in a moment."""
    linked: bool = True
    """Whether the link will ask for the role."""
    replies: ClassVar[int] = 4

    @property
    def _wanted(self) -> list[Wanted]:
        key = f"{self.namespace}:access:0".encode()
        return [Wanted((b"ROLE",)), Wanted((b"WATCH", key)), Wanted((b"UNWATCH",)), Wanted((b"EXEC",))]

    @property
    def wire(self) -> bytes:
        """ROLE, WATCH, UNWATCH, and EXEC without MULTI, which is an error unless it isn't permitted."""
        return b"".join(pack(*each.words) for each in self._wanted)

    def parse(self, replies: list[Any]) -> None:
        """Raise what can't be."""
        match replies[0]:
            case [b"sentinel", *_]:
                raise RemoteError("it is a sentinel, which holds no data: write redis+sentinel://host:port/service")
            case [b"slave", *_] if self.primary:
                raise RemoteError("it is a replica, which takes no writes: name the primary, or redis+sentinel://")
        first = 0 if self.linked else 1
        _raise_denied(self._wanted[first:], replies[first:], self.namespace)


@dataclass(frozen=True, slots=True)
class CheckAccess(Conditional[None]):
    """Raise AccessDenied that names all of `commands` that our user may not use; the node of a cluster is told, too."""

    namespace: str
    commands: Sequence[Wanted]

    @property
    def wire(self) -> bytes:
        """An empty transaction: EXEC is permitted, as `CheckRole` has found."""
        return pack(b"MULTI") + pack(b"EXEC")

    def decide(self, replies: list[Any]) -> Command[None]:
        """Return the transaction that fails; AccessDenied if there are none."""
        _raise_denied([Wanted((b"MULTI",))], replies[:1], self.namespace)
        return _Queued(self.namespace, self.commands)


@dataclass(frozen=True, slots=True)
class _Queued:
    """A transaction of all commands, which fails."""

    namespace: str
    commands: Sequence[Wanted]

    @property
    def replies(self) -> int:
        """One a command, and those of MULTI, of what isn't queued, and of EXEC."""
        return len(self.commands) + 3

    @property
    def wire(self) -> bytes:
        """MULTI, the commands, a GET of nothing, EXEC."""
        return b"".join([pack(b"MULTI"), *(pack(*each.words) for each in self.commands), pack(b"GET"), pack(b"EXEC")])

    def parse(self, replies: list[Any]) -> None:
        """Raise what was denied, or what shows that this is a node of a cluster."""
        _raise_denied(self.commands, replies[1:-2], self.namespace)


def _raise_denied(commands: Sequence[Wanted], replies: Sequence[Any], namespace: str) -> None:
    """Raise AccessDenied for the commands that were denied; RedirectionError or CrossSlotError where a node said so."""
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

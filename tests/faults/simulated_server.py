"""A server without I/O: runs requests when it is told to, with WATCH and lives, and publishes to the links."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from twotier.clock import ManualClock
from twotier.remote.commands.conditional import Conditional
from twotier.remote.commands.name_copies import copies_of
from twotier.replies import Reader
from twotier.resp import ErrorReply

if TYPE_CHECKING:
    from fake_server import FakeServer

STEM = b"sim:"
"""What every key of the simulated namespace begins with."""
GENERATION = STEM + b"gen"
NAMES = (GENERATION, *copies_of(GENERATION))
"""The keys that hold the name of the generation and its copies."""
FULL = ErrorReply("OOM command not allowed when used memory > 'maxmemory'.")


class Request:
    """A command on its way to the server: one trip, or two with a WATCH around them."""

    def __init__(self, command: Any) -> None:
        self.command = command
        self.watched: dict[bytes, int] = {}
        """The keys that the connection watches, and how often each had been changed when it was read."""
        self.replies: list[Any] | None = None
        """What the server has answered to the last trip."""

    def run(self, server: "SimulatedServer") -> None:
        """Let one trip take place; a `Conditional` then has a second one to make."""
        replies = server.run(self.command.wire, self.watched)
        if not isinstance(self.command, Conditional):
            self.replies = replies
            return
        watch = Reader().feed(self.command.wire)[0]
        self.watched = {key: server.changes[key] for key in watch[1:]}
        self.command = self.command.decide(replies)

    def result(self) -> Any:
        """Return what the replies say, or raise what they refuse."""
        return self.command.parse(self.replies)


class SimulatedServer:
    """Runs commands one trip at a time. A full one refuses to store, and to queue anything in a MULTI (Redis 7.0)."""

    def __init__(self, clock: ManualClock, keys: Iterable[bytes]) -> None:
        self.clock = clock
        self.full = False
        self.data: dict[bytes, bytes] = {}
        self.changes: Counter[bytes] = Counter()
        """How often each key was written or removed."""
        self.superseded = dict.fromkeys(keys, 0)
        """The same by name within the generation in force, clears and removals of nothing included."""
        self.links: list[FakeServer] = []
        self._ends: dict[bytes, int] = {}
        self._in_force: bytes | None = None

    def run(self, wire: bytes, watched: Mapping[bytes, int] | None = None) -> list[Any]:
        """Run every command of a trip, and return the replies; EXEC takes place if `watched` are unchanged."""
        self._expire()
        replies: list[Any] = []
        queued: list[list[bytes]] | None = None
        refused = False
        for command in Reader().feed(wire):
            if command[0] == b"MULTI":
                queued, refused = [], False
                replies.append(b"OK")
            elif command[0] == b"EXEC":
                replies.append(self._exec(queued or [], watched, refused))
                queued = None
            elif queued is not None:
                refused = refused or self.full
                queued.append(command)
                replies.append(FULL if self.full else b"QUEUED")
            else:
                replies.append(self._one(*command))
        return replies

    def _exec(self, queued: list[list[bytes]], watched: Mapping[bytes, int] | None, refused: bool) -> Any:
        if refused:
            return ErrorReply("EXECABORT Transaction discarded because of previous errors.")
        if any(self.changes[key] != count for key, count in (watched or {}).items()):
            return None
        return [self._one(*each) for each in queued]

    def _one(self, name: bytes, *rest: bytes) -> Any:  # noqa: C901, PLR0911, PLR0912 - one case a command
        match name:
            case b"GET":
                return self.data.get(rest[0])
            case b"MGET":
                return [self.data.get(key) for key in rest]
            case b"PTTL":
                return -1 if rest[0] in self.data else -2
            case b"SET":
                return FULL if self.full else self._set(*rest)
            case b"APPEND":
                if self.full:
                    return FULL
                self._set(rest[0], self.data.get(rest[0], b"") + rest[1])
                return len(self.data[rest[0]])
            case b"UNLINK" | b"DEL":
                return sum(self._remove(key) for key in rest)
            case b"PUBLISH":
                for link in self.links:
                    link.publish(*rest)
                return len(self.links)
            case b"INCRBY":
                self._set(rest[0], b"%d" % (int(self.data.get(rest[0], b"0")) + int(rest[1])))
                return int(self.data[rest[0]])
            case b"PEXPIRE" | b"PERSIST":
                return int(rest[0] in self.data)
            case b"WATCH" | b"UNWATCH":
                return b"OK"
            case b"PING":
                return b"PONG"
        raise AssertionError(f"the simulation knows no {name!r}")

    def _set(self, key: bytes, value: bytes, *flags: bytes) -> bytes | None:
        if b"NX" in flags and key in self.data:
            return None
        self.data[key] = value
        self._ends.pop(key, None)
        if b"PX" in flags:
            self._ends[key] = self.clock.now() + int(flags[flags.index(b"PX") + 1]) * 1_000_000
        self._changed(key)
        return b"OK"

    def _remove(self, key: bytes) -> bool:
        self._ends.pop(key, None)
        self._changed(key)
        return self.data.pop(key, None) is not None

    @property
    def name(self) -> bytes | None:
        """The name of the generation in force, which is evicted only with all of its copies."""
        return next((self.data[key] for key in NAMES if key in self.data), None)

    def evict(self, key: bytes) -> None:
        """Evict a key."""
        if key in self.data:
            self._remove(key)

    def _changed(self, key: bytes) -> None:
        self.changes[key] += 1
        if key in NAMES and self.name != self._in_force:
            self._in_force = self.name
            self.superseded = {each: count + 1 for each, count in self.superseded.items()}
        prefix = STEM + (self.name or b"") + b":"
        if key.startswith(prefix):
            self.superseded[key[len(prefix) :]] += 1

    def _expire(self) -> None:
        for key in [key for key, end in self._ends.items() if end <= self.clock.now()]:
            self._remove(key)

"""Commands on load locks: take them and read the keys, and release them together with the loaded values.

A load lock is a key beside the key that is loaded. It holds the token of the process that loads. If a
loader found nothing, an absence takes the lock's place for a while, so that other loaders see it. Every
write of the key removes the lock or the absence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from twotier.remote.commands.base import NO_EXPIRY, Command, Fetched, Publication, Write, fetched
from twotier.remote.commands.conditional import OutcomeIfUnchanged, PackedWrite, Unchanged
from twotier.remote.commands.write_through_locks import WhereLocked
from twotier.remote.io.errors import check, code
from twotier.resp import ErrorReply, pack


class LockReply(NamedTuple):
    """Whether a load lock is ours now, the content of the key, and the content of the lock."""

    taken: bool
    fetched: Fetched
    holder: Fetched


@dataclass(frozen=True, slots=True)
class TakeLoadLocks:
    """Take the load locks of several keys, except those that somebody has, and read the keys.

    `places` are (key, key of its load lock). `token` names the holder. A load lock ends after `ttl_ms`, or
    with the next write of its key.
    """

    places: Sequence[tuple[bytes, bytes]]
    token: bytes
    ttl_ms: int

    @property
    def replies(self) -> int:
        """Five replies for each key."""
        return 5 * len(self.places)

    @property
    def wire(self) -> bytes:
        """For each key: SET NX PX of its load lock, GET and PTTL of the key, and of the lock."""
        life = b"%d" % self.ttl_ms
        parts = []
        for key, lease in self.places:
            parts += [
                pack(b"SET", lease, self.token, b"NX", b"PX", life),
                pack(b"GET", key),
                pack(b"PTTL", key),
                pack(b"GET", lease),
                pack(b"PTTL", lease),
            ]
        return b"".join(parts)

    def parse(self, replies: list[Any]) -> list[LockReply]:
        """Return the reply for each key."""
        return [
            LockReply(check(put) is not None, fetched(data, left), _holder(holder, held))
            for put, data, left, holder, held in zip(*[iter(replies)] * 5, strict=True)
        ]


def _holder(data: Any, left: Any) -> Fetched:
    """Return the content of a load lock; a key of another type counts as a lock that never ends."""
    if type(data) is ErrorReply and code(data) == "WRONGTYPE":
        return Fetched(None, NO_EXPIRY)
    return fetched(data, left)


@dataclass(frozen=True, slots=True)
class PutAbsence(Write[None]):
    """Put an absence in place of a load lock, and remove the keys in `removes`."""

    lease: bytes
    absence: bytes
    ttl_ms: int
    publication: Publication | None = None
    removes: Sequence[bytes] = ()
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """SET with an expiry, and UNLINK if `removes` isn't empty."""
        removal = [pack(b"UNLINK", *self.removes)] if self.removes else []
        return [pack(b"SET", self.lease, self.absence, b"PX", b"%d" % self.ttl_ms), *removal]

    @property
    def count(self) -> int:
        """One command, or two if `removes` isn't empty."""
        return 2 if self.removes else 1

    def outcome(self, results: list[Any]) -> None:
        """Return nothing: no error is success."""


@dataclass(frozen=True, slots=True)
class SettleLoadLocks(WhereLocked[list[bool] | None]):
    """Release load locks and write the loaded values of those that are still held; returns for each whether it was.

    `puts` are the writes, in the order of `leases`: put a value or an absence, remove a key, or None for no
    write. The result is None if one of the locks ended between the steps: nothing was written, and the
    caller may try again.
    """

    leases: Sequence[bytes]
    token: bytes
    puts: Sequence[Write[Any] | None]
    publication: Publication | None

    def second(self, held: list[bool]) -> Command[list[bool] | None]:
        """Write the values of the load locks that are held."""
        if not any(held):
            return Unchanged(held)
        steps: list[bytes] = []
        over: list[bytes] = []
        for lease, put, holds in zip(self.leases, self.puts, held, strict=True):
            if not holds:
                continue
            if put is not None:
                steps += put.steps()
            if not isinstance(put, PutAbsence):
                over.append(lease)
        # An empty MULTI ends the watch, too.
        return OutcomeIfUnchanged(PackedWrite(steps, lambda _: held, self.publication if steps else None, over))

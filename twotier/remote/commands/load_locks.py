"""Commands about the leases on loads: taking them with a look at the keys, and giving them up for what was loaded.

A lease is a key beside the one that is loaded. It holds the token of the process that loads, or, where a loader found
nothing, an absence: that takes the lease's place for a while, so that whoever would load sees it. Every write of the
key removes either.
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
    """Whether a lease is ours now, what stands under its key, and what stood in the lease's place already."""

    taken: bool
    fetched: Fetched
    holder: Fetched


@dataclass(frozen=True, slots=True)
class TakeLoadLocks:
    """Take the leases on loading several keys, but for those that somebody has, and read the keys.

    `places` are (key, lease). `token` names the holder; a lease ends by itself after `ttl_ms`, or with the next write
    of its key.
    """

    places: Sequence[tuple[bytes, bytes]]
    token: bytes
    ttl_ms: int

    @property
    def replies(self) -> int:
        """Five a key."""
        return 5 * len(self.places)

    @property
    def wire(self) -> bytes:
        """For each key: SET NX PX of its lease, GET and PTTL of the key, and of the lease."""
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
        """Return what was found of each key."""
        return [
            LockReply(check(put) is not None, fetched(data, left), _holder(holder, held))
            for put, data, left, holder, held in zip(*[iter(replies)] * 5, strict=True)
        ]


def _holder(data: Any, left: Any) -> Fetched:
    """Return what stands in a lease's place; what is no string counts as a lease that never ends."""
    if type(data) is ErrorReply and code(data) == "WRONGTYPE":
        return Fetched(None, NO_EXPIRY)
    return fetched(data, left)


@dataclass(frozen=True, slots=True)
class PutAbsence(Write[None]):
    """Put an absence in a lease's place, and with `removes` take a value away."""

    lease: bytes
    absence: bytes
    ttl_ms: int
    publication: Publication | None = None
    removes: Sequence[bytes] = ()
    voids: Sequence[bytes] = ()

    def steps(self) -> list[bytes]:
        """SET with its expiry, and UNLINK."""
        removal = [pack(b"UNLINK", *self.removes)] if self.removes else []
        return [pack(b"SET", self.lease, self.absence, b"PX", b"%d" % self.ttl_ms), *removal]

    @property
    def count(self) -> int:
        """One or two."""
        return 2 if self.removes else 1

    def outcome(self, results: list[Any]) -> None:
        """Return nothing: no error is success."""


@dataclass(frozen=True, slots=True)
class SettleLoadLocks(WhereLocked[list[bool] | None]):
    """Give leases up for what was loaded under them, where they still stand; tells of each whether it did.

    `puts` says, in the order of `leases`, what is to be done: put a value or an absence, remove a key, or (None)
    nothing. Returns None when one of the leases ended in between: then nothing was done, and it may be tried again.
    """

    leases: Sequence[bytes]
    token: bytes
    puts: Sequence[Write[Any] | None]
    publication: Publication | None

    def second(self, held: list[bool]) -> Command[list[bool] | None]:
        """Do what may be done."""
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
        # An empty MULTI, too, ends the watch.
        return OutcomeIfUnchanged(PackedWrite(steps, lambda _: held, self.publication if steps else None, over))

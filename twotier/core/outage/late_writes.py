"""Late writes: writes that the server executes after their call has given up (DESIGN section 5, Late writes).

A request whose deadline has passed may still be on its way: in a buffer, or at a paused server. If the
server executes the request after a later write of its key, it replaces that write. A process
therefore remembers each write that a call has given up on, until the process learns that the write took
place:

- With pub/sub, from the write's message, which carries its op id.
- With tracking, from the value. The server only names the key, so the key becomes a *suspect*, and a
  background check reads the op id in the value's envelope (`late_check.py`).
- After a gap of the link, in which either may have been lost, all keys become suspects.

If the write is still the process's last write of the key, it counts and needs no replay. After a later
write or a replay, the late value is removed if the server still has it. A value that a replay has put
again (`replay="set"`) keeps its op id: it counts until the process writes the key again, and may take
place twice.

A reader that finds a late write's value earlier recognises it by the op id in its envelope. Raw
integers have no op id. With pub/sub, they are removed once their message arrives. With tracking, an
equal integer is removed if its ttl fits the late write: the server executed the write at most
`max_staleness` before the push arrived.

Late deletes, expiries and ttls aren't undone: they cost a miss. Neither are late additions to a counter,
as sums have no order, unless a `set` or `delete` of the counter came after them; with tracking they
can't be recognised. Without a link, a process remembers no late writes (`limit` 0).

Bounds: as many keys as the journal may have, for `LIFE`; the oldest are forgotten. With tracking, each
push of such a key costs a read of its value, 16 keys a round trip, at most every 25 ms.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from twotier.clock import NEVER, SECOND, Clock
from twotier.codec.envelope import op_id_of
from twotier.core.access.ttl import MILLISECOND, milliseconds
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.io.breaker import BreakerOpenError

LIFE: Final = 900 * SECOND
"""How long a write may be late (ns): as long as TCP tries to deliver data."""


class Abandoned(NamedTuple):
    """One write that a call has given up on."""

    op_id: bytes
    payload: bytes | None
    """The encoded value; None for an increment."""
    until: int
    """Until when the write may be late (ns)."""
    life: int | None = None
    """The ttl of the write (ms), None for no expiry."""


def may_be_late(error: BaseException) -> bool:
    """Return True if a write that ended with `error` may still be on its way: it was begun, and not answered."""
    if isinstance(error, RemoteTimeout | RemoteUnavailable):
        return not isinstance(error, BreakerOpenError)
    return not isinstance(error, RemoteError | TypeError | OverflowError)


class LateWrites:
    """The writes of one process that may be late, by op id and by key. Threads may share it.

    `heard`: invalidations carry the op ids of writes; otherwise only the values on the server have them.

    >>> from twotier.clock import ManualClock
    >>> late = LateWrites(ManualClock(), limit=10)
    >>> late.abandon(b"op", {"key": b"payload"})
    >>> late.take_place(b"op", ["key"])["key"].payload, late.take_place(b"op", ["key"])
    (b'payload', {})
    """

    __slots__ = ("_by_key", "_by_op", "_clock", "_heard", "_limit", "_lock", "_overtaken", "_put_again", "_suspects")

    def __init__(self, clock: Clock, limit: int, *, heard: bool = True) -> None:
        self._clock = clock
        self._limit = limit
        self._heard = heard
        self._lock = threading.RLock()  # as the journal's
        self._by_op: dict[bytes, dict[str, Abandoned]] = {}
        self._by_key: dict[str, dict[bytes, Abandoned]] = {}
        self._put_again: set[tuple[bytes, str]] = set()
        """Writes whose value a replay has put again."""
        self._overtaken: set[tuple[bytes, str]] = set()
        """Increments, and writes put again, after which their key was set or deleted."""
        self._suspects: dict[str, int | None] = {}
        """Keys to check on the server, with the instant of suspicion (ns); None after a gap of the link."""

    def __bool__(self) -> bool:
        """Return True if any write may be late."""
        return bool(self._by_op or self._by_key)

    def abandon(
        self,
        op_id: bytes,
        payloads: Mapping[str, bytes | None],
        *errors: BaseException,
        ttl: int = NEVER,
    ) -> None:
        """Note that the writes of some keys by `op_id` may be late, unless the errors exclude that.

        `ttl` is the ttl of the writes (ns); a payload of None means an increment.
        """
        if not self._limit or (errors and not any(map(may_be_late, errors))):
            return
        with self._lock:
            now = self._clock.now()
            life = milliseconds(ttl)
            for key, payload in payloads.items():
                if payload is None and not self._heard:
                    continue
                each = Abandoned(op_id, payload, now + LIFE, life)
                self._by_op.setdefault(op_id, {})[key] = each
                self._by_key.setdefault(key, {})[op_id] = each
            while self._by_op:
                oldest = next(iter(self._by_op))
                expired = all(each.until <= now for each in self._by_op[oldest].values())
                if not expired and len(self._by_key) <= self._limit:
                    break
                for key in list(self._by_op[oldest]):
                    self.forget(oldest, key)
            while len(self._by_key) > self._limit:  # their messages came, and other writes before the undoing
                key = next(iter(self._by_key))
                for each_op in list(self._by_key[key]):
                    self.forget(each_op, key)

    def overtake(self, keys: Iterable[str], *, counters: bool = True) -> bool:
        """Note that keys were set or deleted; return True if any of them becomes a suspect.

        A value that was put again counts no longer, nor does (with `counters`) a late increment. The value
        may have been written late between the overtaking write and this call: its key must be checked.
        """
        checks = False
        with self._lock:
            for key in keys:
                for each in self._by_key.get(key, {}).values():
                    name = each.op_id, key
                    if name in self._put_again and name not in self._overtaken:
                        self._overtaken.add(name)
                        self._suspects.setdefault(key, None)
                        checks = True
                    elif counters and each.payload is None:
                        self._overtaken.add(name)
        return checks

    def put_again(self, op_id: bytes, key: str) -> None:
        """Note that a replay has put the value of a write again: it counts until the key is set or deleted."""
        with self._lock:
            self.overtake((key,), counters=False)
            if op_id in self._by_key.get(key, {}):
                self._put_again.add((op_id, key))
                self._overtaken.discard((op_id, key))

    def _counts(self, op_id: bytes, key: str) -> bool:
        return (op_id, key) in self._put_again and (op_id, key) not in self._overtaken

    def take_place(self, op_id: bytes, keys: Iterable[str]) -> dict[str, Abandoned]:
        """Return the writes of `keys` by `op_id`, which have taken place now, that must be undone; each of them once.

        A message may name some keys of a bulk write alone: a replay puts each key again under the op id of its write.
        The writes returned are remembered until they are undone, for readers that find their values. Those that were
        put again are remembered for longer, as they may take place twice.
        """
        with self._lock:
            noted = self._by_op.get(op_id, {})
            found = {}
            for key in keys:
                each = noted.get(key)
                if each is None or self._counts(op_id, key):
                    continue
                if (op_id, key) in self._put_again:
                    self._by_key.setdefault(key, {})[op_id] = found[key] = each
                elif each.payload is not None or (op_id, key) in self._overtaken:
                    found[key] = noted.pop(key)
                else:
                    self.forget(op_id, key)
            if not noted:
                self._by_op.pop(op_id, None)
            return found

    def by(self, key: str, op_id: bytes | None) -> Abandoned | None:
        """Return the write of a key by `op_id` if that write may be late and its value must be removed."""
        if op_id is None or self._counts(op_id, key):
            return None
        return self._by_key.get(key, {}).get(op_id)

    def undone(self, op_id: bytes, key: str) -> None:
        """Note that the value of a late write is gone from the server; its message may still arrive."""
        with self._lock:
            if (ops := self._by_key.get(key)) is not None and (op_id, key) not in self._put_again:
                ops.pop(op_id, None)
                if not ops:
                    del self._by_key[key]

    def forget(self, op_id: bytes, key: str) -> None:
        """Forget one write of one key."""
        with self._lock:
            keys, ops = self._by_op.get(op_id, {}), self._by_key.get(key, {})
            keys.pop(key, None)
            ops.pop(op_id, None)
            if not keys:
                self._by_op.pop(op_id, None)
            if not ops:
                self._by_key.pop(key, None)
            self._overtaken.discard((op_id, key))
            self._put_again.discard((op_id, key))

    # Suspects

    @property
    def suspects(self) -> bool:
        """Return True if the value of any key is to be checked."""
        return bool(self._suspects)

    def suspect(self, keys: Iterable[str]) -> bool:
        """Suspect those of `keys`, which have just been changed, that have a late write; return True if any has."""
        with self._lock:
            found = [key for key in keys if key in self._by_key]
            for key in found:
                if self._suspects.get(key) is None:
                    self._suspects[key] = self._clock.now()
        return bool(found)

    def suspect_all(self) -> bool:
        """Suspect every key that has a late write, after a gap of the link; return True if there is any."""
        with self._lock:
            for key in self._by_key:
                self._suspects.setdefault(key, None)
            return bool(self._suspects)

    def take_suspects(self) -> dict[str, int | None]:
        """Remove and return the suspects, each with its instant of suspicion."""
        with self._lock:
            taken, self._suspects = self._suspects, {}
            return taken

    def suspect_again(self, suspects: Mapping[str, int | None]) -> None:
        """Take back suspects that could not be checked, unless their writes have been forgotten meanwhile."""
        with self._lock:
            for key, since in suspects.items():
                if key in self._by_key:
                    self._suspects[key] = since

    def standing(self, key: str, data: bytes, pttl: int, earliest: int | None) -> tuple[Abandoned, ...]:
        """Return the late writes that wrote `data`, read with `pttl` ms left; at most one, unless `data` is raw.

        `earliest` is the earliest instant at which the server can have executed them (ns); None if unknown.
        """
        op_id = op_id_of(data)
        if op_id is not None:
            found = self.by(key, op_id)
            return () if found is None else (found,)
        if earliest is None:
            return ()
        age = -((earliest - self._clock.now()) // MILLISECOND)
        with self._lock:
            late = list(self._by_key.get(key, {}).values())
        return tuple(
            each
            for each in late
            if each.payload == data
            and each.life is not None
            and each.life - age <= pttl <= each.life
            and not self._counts(each.op_id, key)
        )

"""Late writes: writes that the server executes after their call has given up (DESIGN section 5, Late writes).

A request whose deadline has passed may still be on its way: in a buffer, or at a paused server. If the server executes
it after a later write of its key, it replaces that write. So a process remembers each write that a call has given up
on, until it hears of the write: the message carries its op id. If it is still the process's last write of the key, the
write counts and needs no replay. After a later write or a replay, its value is removed if the server still has it.

A reader that finds the value of a late write before then recognises it by the op id in its envelope. Raw integers have
no op id: they are removed once their message arrives. With tracking, and without a link, a process can't recognise its
own writes, and remembers none (`limit` 0).

Late deletes, expiries and ttls aren't undone: they cost a miss. Neither are late additions to a counter, as sums have
no order, unless a `set` or `delete` of the counter came after them.

Bounds: as many keys as the journal may have, for `LIFE`; the oldest are forgotten.
"""

import threading
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from twotier.clock import SECOND, Clock
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable

LIFE: Final = 900 * SECOND
"""How long a write may be late (ns): as long as TCP tries to deliver something."""

_ANSWERS: Final = (RemoteError, TypeError, OverflowError)
"""Errors that prove that a write isn't late,"""
_SILENCE: Final = (RemoteTimeout, RemoteUnavailable)
"""except these."""


class Abandoned(NamedTuple):
    """One write that a call has given up on."""

    op_id: bytes
    payload: bytes | None
    """The encoded value; None of an increment."""
    until: int
    """Until when it may be late (ns)."""


class LateWrites:
    """The writes of one process that may be late, by op id and by key. Threads may share it.

    >>> from twotier.clock import ManualClock
    >>> late = LateWrites(ManualClock(), limit=10)
    >>> late.abandon(b"op", {"key": b"payload"})
    >>> late.heard(b"op", ["key"])["key"].payload, late.heard(b"op", ["key"])
    (b'payload', {})
    """

    __slots__ = ("_by_key", "_by_op", "_clock", "_limit", "_lock", "_overtaken")

    def __init__(self, clock: Clock, limit: int) -> None:
        self._clock = clock
        self._limit = limit
        self._lock = threading.RLock()  # as the journal's
        self._by_op: dict[bytes, dict[str, Abandoned]] = {}
        self._by_key: dict[str, dict[bytes, Abandoned]] = {}
        self._overtaken: set[tuple[bytes, str]] = set()
        """Increments after which their key was set or deleted."""

    def __bool__(self) -> bool:
        """Return True if any write may be late."""
        return bool(self._by_op or self._by_key)

    def abandon(self, op_id: bytes, payloads: Mapping[str, bytes | None], *errors: BaseException) -> None:
        """Note that the writes of some keys by `op_id` may be late, unless their errors are answers to them."""
        if not self._limit or (
            errors and all(isinstance(error, _ANSWERS) and not isinstance(error, _SILENCE) for error in errors)
        ):
            return
        with self._lock:
            now = self._clock.now()
            for key, payload in payloads.items():
                each = Abandoned(op_id, payload, now + LIFE)
                self._by_op.setdefault(op_id, {})[key] = each
                self._by_key.setdefault(key, {})[op_id] = each
            while self._by_op:
                oldest = next(iter(self._by_op))
                expired = all(each.until <= now for each in self._by_op[oldest].values())
                if not expired and len(self._by_key) <= self._limit:
                    break
                for key in list(self._by_op[oldest]):
                    self.forget(oldest, key)
            while len(self._by_key) > self._limit:  # heard of, and overwritten before they were undone
                del self._by_key[next(iter(self._by_key))]

    def overtake(self, keys: Iterable[str]) -> None:
        """Note that keys were set or deleted: what is added to them late isn't theirs any more."""
        with self._lock:
            for key in keys:
                for each in self._by_key.get(key, {}).values():
                    if each.payload is None:
                        self._overtaken.add((each.op_id, key))

    def heard(self, op_id: bytes, keys: Iterable[str]) -> dict[str, Abandoned]:
        """Return the writes of `keys` by `op_id`, which have taken place now, that must be undone; each of them once.

        A message may name some keys of a bulk write alone: a replay puts each key again under the op id of its write.
        The writes returned are remembered until they are undone, for readers who find their values.
        """
        with self._lock:
            noted = self._by_op.get(op_id, {})
            found = {}
            for key in keys:
                each = noted.get(key)
                if each is None:
                    continue
                if each.payload is not None or (op_id, key) in self._overtaken:
                    found[key] = noted.pop(key)
                else:
                    self.forget(op_id, key)
            if not noted:
                self._by_op.pop(op_id, None)
            return found

    def by(self, key: str, op_id: bytes | None) -> Abandoned | None:
        """Return the write of a key by `op_id`, if that write may be late."""
        return None if op_id is None else self._by_key.get(key, {}).get(op_id)

    def undone(self, op_id: bytes, key: str) -> None:
        """Note that the value of a late write doesn't stand any more; it may still be heard of."""
        with self._lock:
            if (ops := self._by_key.get(key)) is not None:
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

"""The Python twin of the compiled store: the same contract (`twotier/_speedups.pyi`), without an extension.

The store is a dict of entries under one lock. A heap of deadlines finds the entries past their stale window; each
write removes a few of these. Foreign Python code (`__eq__`, weighers, codecs, listeners) can run inside an operation
and call back, so entries that leave the table are collected and released last. Beside this file: `eviction.py` and
`adaptive.py` (eviction), `fill_tokens.py` (fill tokens), `deadlines.py` (expiry), `values.py` (values kept and handed
out), `removal.py` (removal listeners).
`__init__.py` has all names of the compiled module: those of this file, of `fast_get.py` and of `memo.py`.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, Literal, final

from twotier.clock import NEVER, Clock, SystemClock
from twotier.errors import ConfigurationError
from twotier.fork import reset_first_on_fork
from twotier.local.twin.adaptive import Adaptive
from twotier.local.twin.deadlines import Deadlines, deadline_of
from twotier.local.twin.eviction import Entry, Lfu, Lru, Order
from twotier.local.twin.fill_tokens import Tokens
from twotier.local.twin.removal import Leaving, Listener
from twotier.local.twin.table import Table
from twotier.local.twin.values import Values

_NO_EPOCH: Final = 0
"""The epoch of an entry that is suspect from the start; the first current epoch is 1."""
_PER_WRITE: Final = 8
_PER_EXPIRE: Final = 1024
_MISSING: Final = object()
_LONG_AGO: Final = -NEVER - 1
"""The earliest instant: the end of a staleness lease that was never granted."""
_PROCESS_SEED: Final = int.from_bytes(os.urandom(8), "little")


def now() -> int:
    """Return the current instant on the clock that counts suspend, as the store reads it (ns)."""
    return SystemClock().now()


@final
class Store:
    """The local tier's engine; see the contract."""

    def __init__(  # noqa: PLR0913 - one argument an option
        self,
        maxsize: int,
        *,
        policy: Literal["lru", "lfu", "adaptive"] = "adaptive",
        clock: Clock | None = None,
        copy: Literal["auto", "never", "check"] = "never",
        encode: Callable[[Any], bytes] | None = None,
        decode: Callable[[bytes], Any] | None = None,
        max_bytes: int | None = None,
        weigher: Callable[[Any, Any], int] | None = None,
        on_removal: Callable[[Any, Any, str], object] | None = None,
        seed: int | None = None,
    ) -> None:
        seed = _PROCESS_SEED if seed is None else seed
        self._maxsize = self._fits = _checked_size(maxsize)
        self._order = _order(policy, maxsize, seed)
        self._values = Values(copy, encode, decode, max_bytes, weigher)
        self._listener = Listener(on_removal, self._values)
        self._tokens = Tokens(seed)
        self._now = (SystemClock() if clock is None else clock).now
        self._lease_until = _LONG_AGO
        self._lock = threading.RLock()
        self._table = Table()
        self._deadlines = Deadlines()
        self._bytes = 0
        self._counts = dict.fromkeys(("hits", "misses", "evictions", "expirations"), 0)
        reset_first_on_fork(self, Store._after_fork)

    def _after_fork(self) -> None:
        """In a forked child: where a thread that isn't here was at work, the table may be half done: begin anew."""
        if self._lock.acquire(blocking=False):
            self._lock.release()
            return
        self._lock = threading.RLock()
        self._tokens.epoch += 1
        self._table, self._deadlines, self._bytes = Table(), Deadlines(), 0
        self._order.clear()

    # Reading

    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return the fresh value, or `default`; counts a hit or a miss."""
        with Leaving(self._listener) as leaving, self._lock:
            entry = self._fresh(key)
            if entry is not None:
                value = self._handed_out(entry, leaving)
                if value is not _MISSING:
                    self._counts["hits"] += 1
                    return value
            self._counts["misses"] += 1
            return default

    def get_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """Return the fresh entries among `keys`; counts hits and misses."""
        found = {}
        for key in list(keys):  # foreign code may change a list of the caller's
            value = self.get(key, _MISSING)
            if value is not _MISSING:
                found[key] = value
        return found

    def suspect(self, key: Hashable, default: Any = None) -> Any:
        """Return the value if it is inside its stale window, fresh or not; counts nothing."""
        with Leaving(self._listener) as leaving, self._lock:
            entry = self._table.find(key)
            if entry is None or (entry.deadline != NEVER and entry.deadline <= self._now()):
                return default
            value = self._handed_out(entry, leaving)
            return default if value is _MISSING else value

    def lapsed(self, key: Hashable, window: int, default: Any = None) -> Any:
        """Return the value that expired less than `window` ns ago, if only its expiry keeps it from being fresh.

        The lease must hold, and the entry must be of the current epoch and not demoted. Counts nothing.
        """
        with Leaving(self._listener) as leaving, self._lock:
            entry = self._table.find(key)
            now = self._now()
            if entry is None or entry.demoted or entry.epoch != self._tokens.epoch or not now < self._lease_until:
                return default
            if not entry.expires <= now < min(entry.deadline, entry.expires + max(0, window)):
                return default
            value = self._handed_out(entry, leaving)
            return default if value is _MISSING else value

    def op(self, key: Hashable) -> int | None:
        """Return the op tag of the entry under `key`, 0 if it has none; None without an entry."""
        with self._lock:
            entry = self._table.find(key)
            return None if entry is None else entry.op

    def keys(self) -> list[Any]:
        """Return the keys of the fresh entries, in no order."""
        with self._lock:
            now, epoch = self._now(), self._tokens.epoch
            if now >= self._lease_until:
                return []
            return [entry.key for entry in self._table if entry.epoch == epoch and now < entry.expires]

    def __contains__(self, key: object) -> bool:
        """Return True if a fresh entry is there; counts nothing."""
        with self._lock:
            return self._fresh(key) is not None

    def __len__(self) -> int:
        """Return the number of entries held, suspects included."""
        return len(self._table)

    # Installing

    def token(self, key: Hashable) -> int:
        """Return a fill token: take it *before* the read that may fill `key`."""
        spot = self._tokens.spot(key)
        with self._lock:
            return self._tokens.take(spot)

    def stands(self, key: Hashable, token: int) -> bool:
        """Return True if `token`, taken for `key`, is still valid, whether or not the store is live."""
        spot = self._tokens.spot(key)
        with self._lock:
            return self._tokens.stands(spot, token, 0)

    def begin_write(self, key: Hashable) -> int:
        """Drop the entry, void every outstanding token of the key, and return a token for the write."""
        spot = self._tokens.spot(key)
        with Leaving(self._listener) as leaving, self._lock:
            self._remove(self._table.find(key), "explicit", leaving)
            self._tokens.void(spot, 0)
            return self._tokens.take(spot)

    def install(
        self,
        key: Hashable,
        value: Any,
        token: int,
        *,
        op: int = 0,
        expires: int,
        stale: int = 0,
        encoded: bytes | None = None,
        keep: bool = False,
    ) -> bool:
        """Put `value` if `token` is still valid and the store is live; return True if it was put."""
        spot = self._tokens.spot(key)
        with Leaving(self._listener) as leaving, self._lock:
            if not ((keep or self.live) and self._tokens.stands(spot, token, op)):
                return False
            made = self._made(key, value, op, expires, stale, encoded)
            entry = self._table.find(key)
            # Making and finding may have run Python code: check the token again.
            live = self.live
            if not ((keep or live) and self._tokens.stands(spot, token, op)):
                return False
            return self._place(entry, made, leaving, doubted=not live) and live

    def put(
        self, key: Hashable, value: Any, *, op: int = 0, expires: int, stale: int = 0, encoded: bytes | None = None
    ) -> None:
        """Put `value` whatever the link, voiding outstanding tokens."""
        spot = self._tokens.spot(key)
        with Leaving(self._listener) as leaving, self._lock:
            made = self._made(key, value, op, expires, stale, encoded)
            entry = self._table.find(key)
            self._tokens.void(spot, 0)
            self._place(entry, made, leaving)

    def add(self, key: Hashable, value: Any, *, expires: int, stale: int = 0, encoded: bytes | None = None) -> bool:
        """Put `value` unless a fresh entry is there; return True if it was put."""
        spot = self._tokens.spot(key)
        with Leaving(self._listener) as leaving, self._lock:
            if self._fresh(key) is not None:
                return False
            made = self._made(key, value, 0, expires, stale, encoded)
            entry = self._table.find(key)
            if entry is not None and self._is_fresh(entry):
                return False
            self._tokens.void(spot, 0)
            return self._place(entry, made, leaving)

    def touch(self, key: Hashable, *, expires: int, stale: int = 0) -> bool:
        """Give the fresh entry under `key` a new expiry; return True if there was one."""
        _check_times(expires, stale)
        spot = self._tokens.spot(key)
        with Leaving(self._listener) as leaving, self._lock:
            entry = self._fresh(key)
            if entry is None:
                return False
            self._tokens.void(spot, 0)
            entry.expires, entry.stale, entry.deadline = expires, stale, deadline_of(expires, stale)
            if entry.deadline <= self._now():
                self._remove(entry, "expired", leaving)
            else:
                self._deadlines.add(entry, len(self._table))
                self._order.hit(entry)
            return True

    def expires(self, key: Hashable) -> int | None:
        """Return the instant at which the fresh entry under `key` expires (ns; NEVER), None without one."""
        with self._lock:
            entry = self._fresh(key)
            return None if entry is None else entry.expires

    # Removing

    def discard(self, key: Hashable) -> bool:
        """Remove the entry and void outstanding tokens; return True if a fresh one was there."""
        spot = self._tokens.spot(key)
        with Leaving(self._listener) as leaving, self._lock:
            entry = self._table.find(key)
            fresh = entry is not None and self._is_fresh(entry)
            self._tokens.void(spot, 0)
            self._remove(entry, "explicit", leaving)
            return fresh

    def clear(self) -> None:
        """Remove every entry and void every outstanding token."""
        with Leaving(self._listener) as leaving, self._lock:
            self._tokens.epoch += 1
            entries = self._table.clear()
            self._bytes = 0
            self._order.clear()
            self._deadlines.clear()
            for entry in entries:
                entry.alive = False
                leaving.append((entry, "explicit"))

    # Coherence

    def apply(self, keys: Iterable[Hashable], op: int, *, keep: bool = False) -> int:
        """Apply an invalidation of `keys` by write `op` (docs/design.md, rule 4); return the number of keys."""
        count = 0
        for key in keys:
            count += 1
            spot = self._tokens.spot(key)
            with Leaving(self._listener) as leaving, self._lock:
                self._tokens.void(spot, op)
                entry = self._table.find(key)
                if entry is None or (op != 0 and entry.op == op):
                    continue
                if keep and not entry.op:
                    entry.epoch = _NO_EPOCH
                else:
                    self._remove(entry, "invalidated", leaving)
        return count

    def demote(self, keys: Iterable[Hashable], op: int) -> int:
        """Apply an expiry of `keys` by write `op`; return the number of keys."""
        count, now = 0, self._now()
        for key in keys:
            count += 1
            spot = self._tokens.spot(key)
            with Leaving(self._listener) as leaving, self._lock:
                self._tokens.void(spot, op)
                entry = self._table.find(key)
                if entry is None or (op != 0 and entry.op == op):
                    continue
                entry.expires = min(entry.expires, now)
                entry.deadline = deadline_of(entry.expires, entry.stale)
                if entry.deadline <= now:
                    self._remove(entry, "invalidated", leaving)
                else:
                    entry.demoted = True
                    self._deadlines.add(entry, len(self._table))
        return count

    def demoted(self, key: Hashable) -> bool:
        """Return True if the entry under `key` was demoted, and the epoch is unchanged since."""
        with self._lock:
            entry = self._table.find(key)
            return entry is not None and entry.demoted and entry.epoch == self._tokens.epoch

    def bump_epoch(self) -> int:
        """Make every entry suspect, in O(1), and void every outstanding token; return the new epoch."""
        with self._lock:
            self._tokens.epoch += 1
            return self._tokens.epoch

    def renew(self, lease_until: int) -> None:
        """Make the store live until `lease_until` (ns); NEVER for a store without a link."""
        self._lease_until = lease_until

    def lose(self) -> None:
        """End the lease and bump the epoch: the link is gone."""
        with self._lock:
            self._lease_until = _LONG_AGO
            self._tokens.epoch += 1

    @property
    def epoch(self) -> int:
        """Return the current epoch, which rises each time all entries become suspect."""
        return self._tokens.epoch

    @property
    def live(self) -> bool:
        """Whether the lease holds now."""
        return self._lease_until == NEVER or self._now() < self._lease_until

    # Looking after

    def resize(self, maxsize: int) -> None:
        """Hold at most `maxsize` entries from now on; the policy evicts the surplus."""
        _checked_size(maxsize)
        with Leaving(self._listener) as leaving, self._lock:
            self._maxsize = maxsize
            self._drop(self._fit(maxsize), leaving)

    @property
    def maxsize(self) -> int:
        """Most entries held."""
        return self._maxsize

    def expire(self) -> int:
        """Reclaim entries past their stale window; return how many left. Amortised: also runs inside writes."""
        with Leaving(self._listener) as leaving, self._lock:
            return self._reclaim(_PER_EXPIRE, leaving)

    def after(self, span: int) -> int:
        """Return the instant `span` ns from now; NEVER stays NEVER."""
        return NEVER if span == NEVER else min(NEVER, max(_LONG_AGO, self._now() + span))

    def counters(self) -> dict[str, int]:
        """Return hits, misses, evictions, expirations, removal_errors, bytes and entries."""
        with self._lock:
            return {
                **self._counts,
                "removal_errors": self._listener.errors,
                "bytes": self._bytes,
                "entries": len(self._table),
            }

    def validate(self) -> None:
        """Check the whole structure, O(n); raise AssertionError that names the broken part. For tests."""
        with self._lock:
            entries = set(self._table)
            assert all(entry.alive for entry in entries), "a dead entry in the table"  # noqa: S101
            assert len(entries) == len(self._table), "the table's size is off"  # noqa: S101
            assert sum(entry.weight for entry in entries) == self._bytes, "the weights don't add up"  # noqa: S101
            assert not self._values.over(self._bytes), "over max_bytes"  # noqa: S101
            self._deadlines.validate(entries)
            self._order.validate(entries)

    # For LocalFront, in one step each

    def _pop(self, key: Hashable, default: Any) -> Any:
        """Remove the fresh entry under `key` and return its value; without one, return `default`."""
        spot = self._tokens.spot(key)
        with Leaving(self._listener) as leaving, self._lock:
            entry = self._fresh(key)
            if entry is not None:
                self._tokens.void(spot, 0)
                self._remove(entry, "explicit", leaving)
                with contextlib.suppress(Exception):  # whatever a codec raises, the entry is of no use
                    value = self._values.handed_out(entry)
                    self._counts["hits"] += 1
                    return value
            self._counts["misses"] += 1
            return default

    def _setdefault(self, key: Hashable, default: Any, expires: int) -> Any:
        """Return the fresh value under `key`; without one, put `default` and return it."""
        spot, made = self._tokens.spot(key), None
        with Leaving(self._listener) as leaving, self._lock:
            while True:
                entry = self._table.find(key)
                if entry is not None and self._is_fresh(entry):
                    value = self._handed_out(entry, leaving)
                    if value is not _MISSING:
                        self._counts["hits"] += 1
                        return value
                elif made is not None:
                    break  # no foreign code has run since the lookup
                else:
                    made = self._made(key, default, 0, expires, 0, None)
            self._counts["misses"] += 1
            self._tokens.void(spot, 0)
            self._place(entry, made, leaving)
            return default

    # Inside

    def _fresh(self, key: Hashable) -> Entry | None:
        entry = self._table.find(key)
        return entry if entry is not None and self._is_fresh(entry) else None

    def _is_fresh(self, entry: Entry) -> bool:
        if entry.epoch != self._tokens.epoch:
            return False
        if entry.expires == NEVER and self._lease_until == NEVER:
            return True
        now = self._now()
        return (entry.expires == NEVER or now < entry.expires) and (
            self._lease_until == NEVER or now < self._lease_until
        )

    def _handed_out(self, entry: Entry, leaving: Leaving) -> Any:
        self._order.hit(entry)
        try:
            return self._values.handed_out(entry)
        except Exception:  # noqa: BLE001 - whatever a codec raises, the entry is of no use
            self._remove(entry, "invalidated", leaving)
            return _MISSING

    def _made(self, key: Hashable, value: Any, op: int, expires: int, stale: int, encoded: bytes | None) -> Entry:
        """Return a new entry, not yet placed. Runs the codec and the weigher."""
        _check_times(expires, stale)
        entry = Entry(key, hash(key))
        entry.op, entry.expires, entry.stale, entry.deadline = op, expires, stale, deadline_of(expires, stale)
        self._values.fill(entry, value, encoded)
        return entry

    def _place(self, entry: Entry | None, made: Entry, leaving: Leaving, *, doubted: bool = False) -> bool:
        """Put a made entry in the table, in place of `entry` if that isn't None; return True if it could be held."""
        over = self._values.over(made.weight)
        if over or made.deadline <= self._now():
            self._remove(entry, "size" if over else "expired", leaving)
            return False
        if entry is None:
            self._reclaim(_PER_WRITE, leaving)
            entry = made
            entry.alive = True
            self._make_room(entry, leaving)
            self._table.add(entry)
            self._order.insert(entry)
        else:
            old = Entry(entry.key)
            old.value, old.kind = entry.value, entry.kind
            leaving.append((old, "replaced"))
            self._bytes -= entry.weight
            entry.value, entry.kind, entry.weight, entry.op = made.value, made.kind, made.weight, made.op
            entry.expires, entry.stale, entry.deadline = made.expires, made.stale, made.deadline
            entry.demoted = False
            made.value = None  # as in Leaving
            self._order.hit(entry)
        entry.epoch = _NO_EPOCH if doubted else self._tokens.epoch
        self._bytes += entry.weight
        self._deadlines.add(entry, len(self._table))
        while self._values.over(self._bytes):
            self._drop([self._order.pop()], leaving)
        return entry.alive

    def _make_room(self, entry: Entry, leaving: Leaving) -> None:
        """Evict entries until a new entry fits, by count and by weight."""
        self._reckon(entry.weight)
        self._drop(self._order.make_room(entry, self._is_crowded(entry.weight)), leaving)
        while self._is_crowded(entry.weight):
            self._drop([self._order.pop()], leaving)

    def _is_crowded(self, weight: int) -> bool:
        return len(self._table) >= self._maxsize or self._values.over(self._bytes + weight)

    def _reckon(self, weight: int) -> None:
        """Adapt the policy's capacity, in steps of an eighth, to the number of entries that `max_bytes` allows."""
        count, fits = len(self._table), self._fits
        if self._values.over(self._bytes + weight):
            if count < fits - fits // 8:
                self._fit(count)
        elif count >= fits and fits < self._maxsize:
            self._fit(min(fits + fits // 8 + 1, self._maxsize))

    def _fit(self, fits: int) -> list[Entry]:
        self._fits = fits
        return self._order.resize(fits)

    def _reclaim(self, most: int, leaving: Leaving) -> int:
        count = 0
        for entry in self._deadlines.due(self._now(), most):
            self._remove(entry, "expired", leaving)
            count += 1
        self._counts["expirations"] += count
        return count

    def _remove(self, entry: Entry | None, cause: str, leaving: Leaving) -> None:
        if entry is not None and entry.alive:
            self._order.forget(entry)
            self._unplace(entry, cause, leaving)

    def _drop(self, victims: list[Entry], leaving: Leaving) -> None:
        self._counts["evictions"] += len(victims)
        for entry in victims:
            self._unplace(entry, "size", leaving)

    def _unplace(self, entry: Entry, cause: str, leaving: Leaving) -> None:
        entry.alive = False
        self._bytes -= entry.weight
        leaving.append((entry, cause))
        self._table.remove(entry)


def _order(policy: str, maxsize: int, seed: int) -> Order:
    if policy == "lru":
        return Lru(maxsize)
    if policy == "lfu":
        return Lfu(maxsize)
    if policy == "adaptive":
        return Adaptive(maxsize, seed)
    raise ConfigurationError(f"policy must be 'lru', 'lfu' or 'adaptive', got {policy!r}")


def _check_times(expires: int, stale: int) -> None:
    if stale < 0:
        raise ValueError(f"stale must be >= 0 ns, got {stale}")
    if not (_LONG_AGO <= expires <= NEVER and stale <= NEVER):
        raise OverflowError(f"expires and stale must be of 64 bits (ns), got {expires} and {stale}")


def _checked_size(maxsize: int) -> int:
    if type(maxsize) is not int or not 1 <= maxsize <= 1 << 27:
        raise ConfigurationError(f"maxsize must be an int from 1 to 2**27, got {maxsize!r}")
    return maxsize

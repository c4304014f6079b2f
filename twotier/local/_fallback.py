"""The Python twin of the compiled store: the same contract (`twotier/_speedups.pyi`), for where nothing was compiled.

A dict of entries under one lock; eviction in `_orders.py` and `_adaptive.py`, the copy rule in `_copies.py`. What is
past its stale window leaves through a heap of deadlines, a few entries a write. Python code of others (`__eq__`,
weighers, codecs, listeners) can run inside and call back: what leaves the table is collected and released last.
"""

import heapq
import logging
import pickle
import threading
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Final, Literal, Self, final

from twotier.clock import NEVER, Clock, SystemClock
from twotier.errors import ConfigurationError
from twotier.local._adaptive import M32, M64, Adaptive, mix64
from twotier.local._copies import BY_REFERENCE, ENCODED, TREE, copied, kind_of
from twotier.local._orders import Entry, Lfu, Lru, Order
from twotier.options import DEFAULT_TTL, Ttl, ttl_ns

_BUCKETS: Final = 4096
_PER_WRITE: Final = 8
_PER_EXPIRE: Final = 1024
_TICK_BITS: Final = 20
_MISSING: Final = object()

_log = logging.getLogger("twotier")


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
        copy: Literal["auto", "never"] = "never",
        encode: Callable[[Any], bytes] | None = None,
        decode: Callable[[bytes], Any] | None = None,
        max_bytes: int | None = None,
        weigher: Callable[[Any, Any], int] | None = None,
        on_removal: Callable[[Any, Any, str], object] | None = None,
        seed: int | None = None,
    ) -> None:
        if copy not in ("auto", "never"):
            raise ConfigurationError(f"copy must be 'auto' or 'never', got {copy!r}")
        if policy not in ("lru", "lfu", "adaptive"):
            raise ConfigurationError(f"policy must be 'lru', 'lfu' or 'adaptive', got {policy!r}")
        if max_bytes is not None and (type(max_bytes) is not int or max_bytes < 1):
            raise ConfigurationError(f"max_bytes must be None or an int >= 1, got {max_bytes!r}")
        self._maxsize = _checked_size(maxsize)
        self._seed = hash(object()) ^ id(self) if seed is None else seed
        self._order = _order(policy, maxsize, self._seed)
        self._now = (SystemClock() if clock is None else clock).now
        self._copies = copy == "auto"
        self._encode = _pickled if encode is None else encode
        self._decode = pickle.loads if decode is None else decode
        self._max_bytes = max_bytes
        self._weigher = weigher
        self._on_removal = on_removal
        self._multiplier = mix64(self._seed & M64) | 1
        self._gens = [0] * _BUCKETS
        self._last_ops = [0] * _BUCKETS
        self._epoch = 1
        self._lease_until = 0
        self._lock = threading.RLock()
        self._table: dict[Any, Entry] = {}
        self._heap: list[tuple[int, int, Entry]] = []
        self._heap_count = 0
        self._bytes = 0
        self._counts = dict.fromkeys(("hits", "misses", "evictions", "expirations", "removal_errors"), 0)

    # Reading

    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return the fresh value, or `default`; counts a hit or a miss."""
        with _Leaving(self) as leaving, self._lock:
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
        for key in keys:
            value = self.get(key, _MISSING)
            if value is not _MISSING:
                found[key] = value
        return found

    def suspect(self, key: Hashable, default: Any = None) -> Any:
        """Return the value if it is inside its stale window, fresh or not; counts nothing."""
        with _Leaving(self) as leaving, self._lock:
            entry = self._find(key)
            if entry is None or (entry.deadline != NEVER and entry.deadline <= self._now()):
                return default
            value = self._handed_out(entry, leaving)
            return default if value is _MISSING else value

    def op(self, key: Hashable) -> int | None:
        """Return the op tag of the entry under `key`, 0 if it has none; None without an entry."""
        with self._lock:
            entry = self._find(key)
            return None if entry is None else entry.op

    def keys(self) -> list[Any]:
        """Return the keys of the fresh entries, in no order."""
        with self._lock:
            now, epoch = self._now(), self._epoch
            if now >= self._lease_until:
                return []
            return [e.key for e in self._table.values() if e.alive and e.epoch == epoch and now < e.expires]

    def __contains__(self, key: object) -> bool:
        """Tell whether a fresh entry is there; counts nothing."""
        with self._lock:
            return self._fresh(key) is not None

    def __len__(self) -> int:
        """Return the number of entries held, suspects included."""
        return len(self._table)

    # Installing

    def token(self, key: Hashable) -> int:
        """Return a fill token: take it *before* the read that may fill `key`."""
        bucket = self._bucket(key)
        with self._lock:
            return self._token(bucket)

    def begin_write(self, key: Hashable) -> int:
        """Drop the entry, void every outstanding token of the key's bucket, and return a token for the write."""
        bucket = self._bucket(key)
        with _Leaving(self) as leaving, self._lock:
            self._remove(self._find(key), "explicit", leaving)
            self._void(bucket, 0)
            return self._token(bucket)

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
    ) -> bool:
        """Put `value` if `token` still stands and the store is live; tell whether it was put."""
        bucket = self._bucket(key)
        with _Leaving(self) as leaving, self._lock:
            if not self._stands(bucket, token, op):
                return False
            made = self._made(key, value, op, expires, stale, encoded)
            # Making it may have run Python code: the token must still stand.
            return self._stands(bucket, token, op) and self._place(key, made, leaving)

    def put(
        self, key: Hashable, value: Any, *, op: int = 0, expires: int, stale: int = 0, encoded: bytes | None = None
    ) -> None:
        """Put `value` whatever the link, voiding outstanding tokens."""
        bucket = self._bucket(key)
        with _Leaving(self) as leaving, self._lock:
            made = self._made(key, value, op, expires, stale, encoded)
            self._void(bucket, 0)
            self._place(key, made, leaving)

    def add(self, key: Hashable, value: Any, *, expires: int, stale: int = 0, encoded: bytes | None = None) -> bool:
        """Put `value` unless a fresh entry is there; tell whether it was put."""
        bucket = self._bucket(key)
        with _Leaving(self) as leaving, self._lock:
            if self._fresh(key) is not None:
                return False
            made = self._made(key, value, 0, expires, stale, encoded)
            if self._fresh(key) is not None:
                return False
            self._void(bucket, 0)
            return self._place(key, made, leaving)

    def touch(self, key: Hashable, *, expires: int, stale: int = 0) -> bool:
        """Give the fresh entry under `key` a new expiry; tell whether there was one."""
        bucket = self._bucket(key)
        with _Leaving(self) as leaving, self._lock:
            entry = self._fresh(key)
            if entry is None:
                return False
            self._void(bucket, 0)
            entry.expires, entry.deadline = expires, _deadline(expires, stale)
            if entry.deadline <= self._now():
                self._remove(entry, "expired", leaving)
            else:
                self._schedule(entry)
                self._order.hit(entry)
            return True

    def expires(self, key: Hashable) -> int | None:
        """Return the instant at which the fresh entry under `key` expires (ns; NEVER), None without one."""
        with self._lock:
            entry = self._fresh(key)
            return None if entry is None else entry.expires

    # Removing

    def discard(self, key: Hashable) -> bool:
        """Remove the entry and void outstanding tokens; tell whether a fresh one was there."""
        bucket = self._bucket(key)
        with _Leaving(self) as leaving, self._lock:
            entry = self._find(key)
            fresh = entry is not None and self._is_fresh(entry)
            self._void(bucket, 0)
            self._remove(entry, "explicit", leaving)
            return fresh

    def clear(self) -> None:
        """Remove every entry and void every outstanding token."""
        with _Leaving(self) as leaving, self._lock:
            self._epoch += 1
            entries = [entry for entry in self._table.values() if entry.alive]
            self._table, self._heap, self._bytes = {}, [], 0
            self._order.clear()
            for entry in entries:
                entry.alive = False
                leaving.append((entry, "explicit"))

    # Coherence

    def apply(self, keys: Iterable[Hashable], op: int) -> int:
        """Apply an invalidation of `keys` by write `op` (DESIGN rule 4); return how many keys it named."""
        count = 0
        for key in keys:
            count += 1
            bucket = self._bucket(key)
            with _Leaving(self) as leaving, self._lock:
                self._void(bucket, op)
                entry = self._find(key)
                if entry is not None and (op == 0 or entry.op != op):
                    self._remove(entry, "invalidated", leaving)
        return count

    def bump_epoch(self) -> int:
        """Put every entry in doubt, in O(1), and void every outstanding token; return the new epoch."""
        with self._lock:
            self._epoch += 1
            return self._epoch

    def renew(self, lease_until: int) -> None:
        """Make the store live until `lease_until` (ns); NEVER for a store without a link."""
        self._lease_until = lease_until

    def lose(self) -> None:
        """End the lease and bump the epoch: the link is gone."""
        with self._lock:
            self._lease_until = 0
            self._epoch += 1

    @property
    def epoch(self) -> int:
        """How often everything was put in doubt."""
        return self._epoch

    @property
    def live(self) -> bool:
        """Whether the lease holds now."""
        return self._lease_until == NEVER or self._now() < self._lease_until

    # Looking after

    def resize(self, maxsize: int) -> None:
        """Hold at most `maxsize` entries from now on; what is over leaves by the policy."""
        _checked_size(maxsize)
        with _Leaving(self) as leaving, self._lock:
            self._maxsize = maxsize
            self._drop(self._order.resize(maxsize), leaving)

    @property
    def maxsize(self) -> int:
        """Most entries held."""
        return self._maxsize

    def expire(self) -> int:
        """Reclaim what is past its stale window; return how many entries left. Amortised: also runs inside writes."""
        with _Leaving(self) as leaving, self._lock:
            return self._reclaim(_PER_EXPIRE, leaving)

    def after(self, span: int) -> int:
        """Return the instant `span` ns from now; NEVER stays NEVER."""
        return NEVER if span == NEVER else min(NEVER, self._now() + span)

    def counters(self) -> dict[str, int]:
        """Return hits, misses, evictions, expirations, removal_errors, bytes and entries."""
        with self._lock:
            return {**self._counts, "bytes": self._bytes, "entries": len(self._table)}

    def validate(self) -> None:
        """Check the whole structure, O(n); raise AssertionError naming what is broken. For tests."""
        with self._lock:
            entries = {entry for entry in self._table.values() if entry.alive}
            assert len(entries) == len(self._table), "a dead entry in the table"  # noqa: S101
            assert all(self._table.get(entry.key) is entry for entry in entries), "an entry under another key"  # noqa: S101
            assert sum(entry.weight for entry in entries) == self._bytes, "the weights don't add up"  # noqa: S101
            assert self._max_bytes is None or self._bytes <= self._max_bytes, "over max_bytes"  # noqa: S101
            scheduled = {id(entry) for at, _, entry in self._heap if at == entry.deadline}
            assert all(e.deadline == NEVER or id(e) in scheduled for e in entries), "an entry that won't expire"  # noqa: S101
            self._order.validate(entries)

    # Inside

    def _find(self, key: Hashable) -> Entry | None:
        entry = self._table.get(key)
        return entry if entry is not None and entry.alive else None

    def _fresh(self, key: Hashable) -> Entry | None:
        entry = self._find(key)
        return entry if entry is not None and self._is_fresh(entry) else None

    def _is_fresh(self, entry: Entry) -> bool:
        if entry.epoch != self._epoch:
            return False
        if entry.expires == NEVER and self._lease_until == NEVER:
            return True
        now = self._now()
        return (entry.expires == NEVER or now < entry.expires) and (
            self._lease_until == NEVER or now < self._lease_until
        )

    def _handed_out(self, entry: Entry, leaving: "_Leaving") -> Any:
        self._order.hit(entry)
        if entry.kind == ENCODED:
            try:
                value = self._decode(entry.value)
            except Exception:  # noqa: BLE001 - whatever a codec raises, the entry is of no use
                self._remove(entry, "invalidated", leaving)
                return _MISSING
        elif entry.kind == TREE:
            value = copied(entry.value)
        else:
            value = entry.value
        return value

    def _bucket(self, key: Hashable) -> int:
        return ((hash(key) & M64) * self._multiplier & M64) >> 52

    def _token(self, bucket: int) -> int:
        return (self._epoch & M32) << 32 | self._gens[bucket]

    def _stands(self, bucket: int, token: int, op: int) -> bool:
        if not self.live or token >> 32 != self._epoch & M32:
            return False
        gen, taken = self._gens[bucket], token & M32
        return gen == taken or (op != 0 and gen == (taken + 1) & M32 and self._last_ops[bucket] == op)

    def _void(self, bucket: int, op: int) -> None:
        self._gens[bucket] = (self._gens[bucket] + 1) & M32
        self._last_ops[bucket] = op

    def _made(self, key: Hashable, value: Any, op: int, expires: int, stale: int, encoded: bytes | None) -> Entry:
        """Return a new entry, not yet placed. Runs the codec and the weigher."""
        if stale < 0:
            raise ValueError(f"stale must be >= 0 ns, got {stale}")
        entry = Entry(key, hash(key) & M64)
        entry.op, entry.expires, entry.deadline = op, expires, _deadline(expires, stale)
        entry.kind = kind_of(value) if self._copies else BY_REFERENCE
        if entry.kind == ENCODED and encoded is None:
            encoded = self._encode(value)
        entry.value = encoded if entry.kind == ENCODED else copied(value) if entry.kind == TREE else value
        if self._max_bytes is not None:
            if self._weigher is None:
                entry.weight = len(self._encode(value) if encoded is None else encoded)
            else:
                entry.weight = self._weigher(key, value)
                if type(entry.weight) is not int or not 0 <= entry.weight < 1 << 62:
                    raise ValueError(f"weigher must return an int >= 0, got {entry.weight!r} for {key!r}")
        return entry

    def _place(self, key: Hashable, made: Entry, leaving: "_Leaving") -> bool:
        """Put a made entry in the table in place of what is there; tell whether it could be held."""
        entry = self._find(key)
        over = self._max_bytes is not None and made.weight > self._max_bytes
        if over or made.deadline <= self._now():
            self._remove(entry, "size" if over else "expired", leaving)
            return False
        if entry is None:
            self._reclaim(_PER_WRITE, leaving)
            entry = made
            entry.alive = True
            self._table[key] = entry
            self._drop(self._order.admit(entry), leaving)
        else:
            old = Entry(entry.key)
            old.value, old.kind = entry.value, entry.kind
            leaving.append((old, "replaced"))
            self._bytes -= entry.weight
            entry.value, entry.kind, entry.weight, entry.op = made.value, made.kind, made.weight, made.op
            entry.expires, entry.deadline = made.expires, made.deadline
            self._order.hit(entry)
        entry.epoch = self._epoch
        self._bytes += entry.weight
        self._schedule(entry)
        while self._max_bytes is not None and self._bytes > self._max_bytes:
            self._drop([self._order.pop()], leaving)
        return entry.alive

    def _schedule(self, entry: Entry) -> None:
        if entry.deadline != NEVER:
            self._heap_count += 1
            heapq.heappush(self._heap, (entry.deadline, self._heap_count, entry))
            if len(self._heap) > 2 * len(self._table) + 64:
                self._heap = [item for item in self._heap if item[2].alive and item[0] == item[2].deadline]
                heapq.heapify(self._heap)

    def _reclaim(self, most: int, leaving: "_Leaving") -> int:
        count = 0
        tick = self._now() >> _TICK_BITS if self._heap else 0
        while self._heap and count < most and self._heap[0][0] >> _TICK_BITS < tick:
            deadline, _, entry = heapq.heappop(self._heap)
            if entry.alive and entry.deadline == deadline:
                self._remove(entry, "expired", leaving)
                self._counts["expirations"] += 1
                count += 1
        return count

    def _remove(self, entry: Entry | None, cause: str, leaving: "_Leaving") -> None:
        if entry is not None and entry.alive:
            self._order.forget(entry)
            self._unplace(entry, cause, leaving)

    def _drop(self, victims: list[Entry], leaving: "_Leaving") -> None:
        self._counts["evictions"] += len(victims)
        for entry in victims:
            self._unplace(entry, "size", leaving)

    def _unplace(self, entry: Entry, cause: str, leaving: "_Leaving") -> None:
        entry.alive = False
        self._bytes -= entry.weight
        leaving.append((entry, cause))
        if self._table.get(entry.key) is entry:
            del self._table[entry.key]


class _Leaving(list[tuple[Entry, str]]):
    """What left the table during one operation; told to the removal listener when the operation is over."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        listener = self._store._on_removal  # noqa: SLF001 - one class in two parts
        if listener is None:
            return
        for entry, cause in self:
            try:
                value = self._store._decode(entry.value) if entry.kind == ENCODED else entry.value  # noqa: SLF001
                listener(entry.key, value, cause)
            except Exception:  # noqa: BLE001 - a listener's failure is its own
                self._store._counts["removal_errors"] += 1  # noqa: SLF001
                _log.exception("on_removal failed for key %r", entry.key)


class Front:
    """Base of a cache's face: a local hit is one call, and everything else goes to `_missed`."""

    __slots__ = ("__store",)

    def __init__(self, store: Store) -> None:
        self.__store = store

    def get(self, key: str, default: Any = None) -> Any:
        """Return the fresh local value; without one, what `self._missed(key, default)` returns."""
        if type(key) is str:
            value = self.__store.get(key, _MISSING)
            if value is not _MISSING:
                return value
        return self._missed(key, default)

    def _missed(self, key: str, default: Any) -> Any:  # noqa: ARG002 - subclasses use the key
        """Answer a local miss; subclasses override it."""
        return default


class LocalFront:
    """Base of LocalCache: the calls that are made most. A ttl is in seconds."""

    __slots__ = ("_span", "store")

    def __init__(self, store: Store, ttl: float | None = None) -> None:
        self._span = ttl_ns(ttl)
        self.store = store

    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return the value under `key`, or `default`."""
        return self.store.get(key, default)

    def __getitem__(self, key: Hashable) -> Any:
        """Return the value under `key`; KeyError without one."""
        value = self.store.get(key, _MISSING)
        if value is _MISSING:
            raise KeyError(key)
        return value

    def __contains__(self, key: object) -> bool:
        """Tell whether there is a value under `key`."""
        return key in self.store

    def __len__(self) -> int:
        """Return the number of entries held, those included that have just expired."""
        return len(self.store)

    def set(self, key: Hashable, value: Any, ttl: Ttl = DEFAULT_TTL) -> None:
        """Put `value` for `ttl` seconds: None for no expiry, 0 stores nothing and deletes."""
        span = self._span if ttl is DEFAULT_TTL else ttl_ns(ttl)
        self.store.put(key, value, expires=self.store.after(span))

    def __setitem__(self, key: Hashable, value: Any) -> None:
        """Put `value` for the cache's own ttl."""
        self.store.put(key, value, expires=self.store.after(self._span))

    def __delitem__(self, key: Hashable) -> None:
        """Remove the value under `key`; KeyError without one."""
        if not self.store.discard(key):
            raise KeyError(key)


def _checked_size(maxsize: int) -> int:
    if type(maxsize) is not int or not 1 <= maxsize <= 1 << 30:
        raise ConfigurationError(f"maxsize must be an int from 1 to 2**30, got {maxsize!r}")
    return maxsize


def _order(policy: str, maxsize: int, seed: int) -> Order:
    if policy == "lru":
        return Lru(maxsize)
    if policy == "lfu":
        return Lfu(maxsize)
    return Adaptive(maxsize, seed)


def _deadline(expires: int, stale: int) -> int:
    return NEVER if expires >= NEVER - stale else expires + stale


def _pickled(value: object) -> bytes:
    return pickle.dumps(value, protocol=5)

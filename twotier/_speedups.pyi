"""Typed contract of the compiled module; `twotier.local.twin` is its twin, name for name."""

from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Any, Literal, final

from typing_extensions import disjoint_base

from twotier.clock import Clock
from twotier.codec.allow_list import AllowedTypes
from twotier.options import Ttl

@final
class Store:
    """The local tier's engine: entries with expiry, stale window, epoch and op id, under a staleness lease, in ns.

    A *fresh* entry has the current epoch, hasn't expired, and the lease holds. Anything else that is still inside its
    stale window is a *suspect*. Knows nothing of Redis.
    """

    def __init__(
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
        """Make an empty store, not yet live; ConfigurationError names a bad argument.

        `copy="auto"` keeps immutable values by reference and trees of lists, dicts and sets as copies. It keeps any
        other value as `encode(value)`, and rebuilds it by `decode` on each hit (both pickle's by default). "check" goes
        by reference and logs values that were changed in place. `max_bytes` bounds the sum of `weigher(key, value)`, by
        default the encoded size; an entry that alone weighs more is not held. `on_removal(key, value, cause)` is called
        after the operation that removed an entry, with cause "explicit", "replaced", "size", "expired" or
        "invalidated"; its errors are counted, and logged once a minute. `seed` fixes the hashing, for tests.
        """

    # Reading
    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return the fresh value, or `default`; counts a hit or a miss."""
    def get_many(self, keys: Iterable[Hashable]) -> dict[Any, Any]:
        """Return the fresh entries among `keys`; counts hits and misses."""
    def suspect(self, key: Hashable, default: Any = None) -> Any:
        """Return the value if it is inside its stale window, fresh or not; counts nothing."""
    def lapsed(self, key: Hashable, window: int, default: Any = None) -> Any:
        """Return the value that expired less than `window` ns ago, if only its expiry keeps it from being fresh.

        The lease must hold, and the entry must be of the current epoch and not demoted. Counts nothing.
        """
    def op(self, key: Hashable) -> int | None:
        """Return the op tag of the entry under `key`, 0 if it has none; None without an entry."""
    def keys(self) -> list[Any]:
        """Return the keys of the fresh entries, in no order."""
    def __contains__(self, key: object, /) -> bool:
        """Return True if a fresh entry is there; counts nothing."""
    def __len__(self) -> int:
        """Return the number of entries held, suspects included."""

    # Installing
    def token(self, key: Hashable) -> int:
        """Return a fill token: take it *before* the read that may fill `key`."""
    def stands(self, key: Hashable, token: int) -> bool:
        """Return True if `token`, taken for `key`, is still valid, whether or not the store is live."""
    def begin_write(self, key: Hashable) -> int:
        """Drop the entry, void every outstanding token of the key, and return a token for the write."""
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
        """Put `value` if `token` is still valid (docs/design.md, rule 2) and the store is live; return True if put.

        With `keep`, a value whose token is valid while the store isn't live is held as a suspect of no epoch, never
        fresh, for as long as the entry would have been held; the result is False.

        `op`: u64 tag of the write that made the value, 0 for none. `expires`: instant (ns), NEVER for none. `stale`: ns
        past `expires` for which the entry may serve as a suspect. `encoded`: the value's bytes, if the caller has them.
        An entry without time left (`expires + stale` is past) is not put, and the entry under `key` leaves.
        """
    def put(
        self, key: Hashable, value: Any, *, op: int = 0, expires: int, stale: int = 0, encoded: bytes | None = None
    ) -> None:
        """Put `value` whatever the link (local-only mode, and writes during an outage), voiding outstanding tokens."""
    def add(self, key: Hashable, value: Any, *, expires: int, stale: int = 0, encoded: bytes | None = None) -> bool:
        """Put `value` unless a fresh entry is there; return True if it was put."""
    def touch(self, key: Hashable, *, expires: int, stale: int = 0) -> bool:
        """Give the fresh entry under `key` a new expiry, voiding outstanding tokens; return True if there was one."""
    def expires(self, key: Hashable) -> int | None:
        """Return the instant at which the fresh entry under `key` expires (ns; NEVER), None without one."""

    # Removing
    def discard(self, key: Hashable) -> bool:
        """Remove the entry and void outstanding tokens; return True if a fresh one was there."""
    def clear(self) -> None:
        """Remove every entry and void every outstanding token."""

    # Coherence
    def apply(self, keys: Iterable[Hashable], op: int, *, keep: bool = False) -> int:
        """Apply an invalidation of `keys` by write `op` (docs/design.md, rule 4); return the number of keys.

        With `keep`, an entry without an op isn't removed, but becomes a suspect of no epoch: `op` may have made it.
        """
    def demote(self, keys: Iterable[Hashable], op: int) -> int:
        """Apply an expiry of `keys` by write `op`; return the number of keys.

        As `apply`, but the entries expire now and stay as suspects, each for its own stale window.
        """
    def demoted(self, key: Hashable) -> bool:
        """Return True if the entry under `key` was demoted, and the epoch is unchanged since."""
    def bump_epoch(self) -> int:
        """Make every entry suspect, in O(1), and void every outstanding token; return the new epoch."""
    def renew(self, lease_until: int) -> None:
        """Make the store live until `lease_until` (ns); NEVER for a store without a link."""
    def lose(self) -> None:
        """End the lease and bump the epoch: the link is gone."""
    @property
    def epoch(self) -> int:
        """The current epoch, which rises each time all entries become suspect."""
    @property
    def live(self) -> bool:
        """Whether the lease holds now."""

    # Looking after
    def resize(self, maxsize: int) -> None:
        """Hold at most `maxsize` entries from now on; the policy evicts the surplus."""
    @property
    def maxsize(self) -> int:
        """Most entries held."""
    def expire(self) -> int:
        """Reclaim entries past their stale window; return how many left.

        At most 1,024 leave in one call: call again while it returns more than 0. Each write also reclaims a few.
        """
    def after(self, span: int) -> int:
        """Return the instant `span` ns from now; NEVER stays NEVER."""
    def counters(self) -> dict[str, int]:
        """Return hits, misses, evictions, expirations, removal_errors, bytes (weights held) and entries."""
    def validate(self) -> None:
        """Check the whole structure, O(n); raise AssertionError that names the broken part. For tests."""

@disjoint_base
class Front:
    """Base of a cache's face: a local hit is one C call, and everything else goes to `_missed`."""

    def __init__(self, store: Store) -> None: ...
    def get(self, key: str, default: Any = None) -> Any:
        """Return the value under `key`, or `default` without one; a fresh local value is returned at once."""
    def _missed(self, key: str, default: Any) -> Any:
        """Answer a local miss; subclasses override it."""

@disjoint_base
class AsyncFront:
    """Base of a cache's asynchronous face: a local hit awaits nothing, and everything else goes to `_missed`."""

    def __init__(self, store: Store) -> None: ...
    def get(self, key: str, default: Any = None) -> Coroutine[Any, Any, Any]:
        """Return the value under `key`, or `default` if there is none, to be awaited."""
    def _missed(self, key: str, default: Any) -> Coroutine[Any, Any, Any]:
        """Answer a local miss, to be awaited; subclasses override it."""

@disjoint_base
class LocalFront:
    """Base of LocalCache: the most frequent operations, each one C call. A ttl is in seconds."""

    @property
    def store(self) -> Store:
        """The store behind this front."""
    def __init__(self, store: Store, ttl: float | None = None) -> None:
        """Make a front of `store`; an entry set without a ttl gets `ttl` (s), None for no expiry."""
    def get(self, key: Hashable, default: Any = None) -> Any:
        """Return the value under `key`, or `default`."""
    def __getitem__(self, key: Hashable, /) -> Any:
        """Return the value under `key`; KeyError without one."""
    def __contains__(self, key: object, /) -> bool:
        """Return True if there is a value under `key`."""
    def __len__(self) -> int:
        """Return the number of entries held, including expired entries that are not yet reclaimed."""
    def set(self, key: Hashable, value: Any, ttl: Ttl = ...) -> None:
        """Put `value` for `ttl` seconds: None for no expiry, 0 stores nothing and deletes."""
    def expiry(self, ttl: Ttl = ...) -> int:
        """Return the instant at which a value set now for `ttl` seconds expires (ns; NEVER)."""
    def __setitem__(self, key: Hashable, value: Any, /) -> None:
        """Put `value` for the cache's own ttl."""
    def __delitem__(self, key: Hashable, /) -> None:
        """Remove the value under `key`; KeyError without one."""
    def pop(self, key: Hashable, default: Any = ...) -> Any:
        """Remove `key` and return its value; without one, return `default`, or raise KeyError if none was given."""
    def popitem(self) -> tuple[Any, Any]:
        """Remove and return some item; KeyError if there is none."""
    def setdefault(self, key: Hashable, default: Any = None) -> Any:
        """Return the value under `key`; without one, put `default` and return it."""

@disjoint_base
class Memo:
    """Base of a cached function: a call is answered from the store, a local hit by one C call.

    `_key` makes the key of a call, once for calls with equal arguments of the same types (the memo is bounded).
    `_load` answers a call without a local value.
    """

    def __init__(
        self,
        store: Store,
        *,
        skipped: Iterable[int] = ...,
        limit: int = 16_384,
        awaited: bool = False,
        direct: bool = True,
    ) -> None:
        """Answer from `store`.

        `skipped`: positions of arguments that no key depends on. `limit`: calls remembered; twice as many may be held
        in memory, with their arguments and keys. `awaited`: return hits as awaitables, as `_load` does. `direct`: read
        the store first; otherwise every call goes to `_load`.
        """
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the fresh local value of the call, or the result of `_load` without one."""
    @property
    def local_hits(self) -> int:
        """Number of calls that this process's local tier has answered."""
    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the cache key of a call; subclasses override it."""
    def _load(self, key: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Answer a call that the local tier couldn't; subclasses override it."""

@final
class ReplyReader:
    """The parser of one connection's bytes: RESP2 and RESP3, in chunks of any size, within bounds.

    `twotier/replies.py` lists the Python types of replies. `longest`: longest string (bytes); `largest`: largest reply
    of several elements (bytes); `elements`: most elements of one reply, nested elements included.
    """

    def __init__(self, *, longest: int = ..., largest: int = ..., elements: int = ..., skips: bool = False) -> None:
        """Begin on a fresh connection; `skips`: read a string longer than `longest` as an empty string."""
    def feed(self, data: bytes | bytearray | memoryview, length: int = -1) -> list[Any]:
        """Take `data`, or its first `length` bytes; return the replies that are whole now.

        Raises ProtocolError for bytes that aren't RESP or exceed a bound, and its subclass TooLargeError for a string
        that is too long. After either error, this reader can read nothing more.
        """
    @property
    def idle(self) -> bool:
        """Whether every byte so far belonged to a reply that is whole."""

def now() -> int:
    """Return the current instant on the clock that counts suspend, as the store reads it (ns)."""

@final
class PlainFormat:
    """Plain data as bytes and back. Threads may share it."""

    def __init__(self, allowed: AllowedTypes, longest: int) -> None:
        """Make the format of one codec: the types it accepts beside plain data, and the most bytes it writes."""
    def encode(self, value: Any) -> bytes:
        """Return the bytes of `value`."""
    def decode(self, payload: bytes) -> Any:
        """Return the value of `payload`."""

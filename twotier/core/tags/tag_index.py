"""Tags: names that entries carry, and by which entries are expired together.

`TagIndex` maps local keys to their tags and back, so that the end of a tag reaches the local tier
without a check of tags on a hit. A key is held while a tagged entry is on its way into the local tier:
first the key is noted under its tags, then the tags' versions are checked (`tag_versions.py`), then the
entry is installed under a fill token that was taken before that check. The end of a tag first forgets
the tag's version, then demotes the keys noted under the tag, which voids their tokens. So whichever
came first, no entry is installed that the end of a tag has overtaken, and a later caller joins no load
that began before.

Entries leave the local tier without notice. For each key that is noted, two others are checked in
turn, and keys that are gone and not held are forgotten: there are thus at most twice as many keys as
tagged entries. A tagged entry takes about 130 bytes here, a tag 220, and untagged entries nothing.
Threads may share an index.
"""

import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Self

from twotier.core.access.keys import as_bytes
from twotier.local import Store

MOST_TAGS: Final = 64
"""Tags of one entry."""
MAX_TAG_BYTES: Final = 255
"""Longest tag, in UTF-8."""
ANY_TAG: Final = ""
"""A pseudo-tag that ends with every tag: keys are held under it during a load while their tags are unknown."""
_LOOKED_AT: Final = 2
"""Keys checked for each key that is noted."""


class Tag(NamedTuple):
    """A tag in the place of a key, as in the journal; it equals no key."""

    name: str


def checked_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct tags in the order given; TypeError or ValueError names a bad tag.

    >>> checked_tags(["user:7", "page", "user:7"])
    ('user:7', 'page')
    """
    if tags == ():
        return ()
    if isinstance(tags, str):
        raise TypeError(f"tags must be an iterable of str, got one str: {tags[:100]!r}")
    if not isinstance(tags, Iterable):
        raise TypeError(f"tags must be an iterable of str, got {type(tags).__name__}: {tags!r:.100}")
    found = distinct_tags(tags)
    if len(found) > MOST_TAGS:
        raise ValueError(f"an entry takes at most {MOST_TAGS} tags, got {len(found)}")
    return found


def distinct_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the distinct tags in the order given, without a limit; raises as `checked_tags`."""
    return tuple(dict.fromkeys([_checked(tag) for tag in tags]))


def _checked(tag: str) -> str:
    if not isinstance(tag, str):
        raise TypeError(f"a tag must be a str, got {type(tag).__name__}: {tag!r:.100}")
    tag = str.__str__(tag)
    if not tag:
        raise ValueError("a tag must not be empty")
    if len(tag) > MAX_TAG_BYTES // 4 and (size := len(as_bytes(tag))) > MAX_TAG_BYTES:
        raise ValueError(f"a tag must be at most {MAX_TAG_BYTES} bytes in UTF-8, got {size}: {tag[:40]!r}...")
    return tag


class _Pin:
    """The holders of a key, and whether two have held it at once since it was last free."""

    __slots__ = ("holds", "shared")

    def __init__(self) -> None:
        self.holds: set[object] = set()
        self.shared = False


class TagIndex:
    """The keys of a local tier by tag, and their tags."""

    __slots__ = ("_keys", "_lock", "_pinned", "_pins", "_store", "_tags", "_turns")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tags: dict[str, tuple[str, ...]] = {}
        """Tags by key; a key that has lost all its tags stays for a while."""
        self._keys: dict[str, set[str]] = {}
        """Keys by tag."""
        self._turns: deque[str] = deque()
        """The noted keys, each once, in the order in which they are checked."""
        self._pinned = 0
        """Number of pins so far."""
        self.after_fork()

    def after_fork(self) -> None:
        """Drop all pins in a forked child, where no flow holds a key."""
        # Re-entrant: the garbage collector may end a flow, and its hold, inside any section.
        self._lock = threading.RLock()
        self._pins: dict[str, _Pin] = {}

    def __len__(self) -> int:
        """Return the number of noted keys."""
        return len(self._tags)

    def tags_of(self, key: str) -> tuple[str, ...]:
        """Return the tags of the entry under `key`, if there is one, and perhaps earlier tags of the key."""
        return self._tags.get(key, ())

    def keys_of(self, tags: Iterable[str]) -> list[str]:
        """Return the keys that are noted under any of `tags`."""
        with self._lock:
            return list(set[str]().union(*(self._keys.get(tag, ()) for tag in tags)))

    def holding(self, keys: Sequence[str], tags: tuple[str, ...]) -> "Hold | Unheld":
        """Return a context manager that holds `keys` for entries that will carry `tags`."""
        if not tags and (not self._tags or self._tags.keys().isdisjoint(keys)):
            return UNHELD
        return Hold(self, [(key, tags) for key in keys])

    def holding_each(self, pairs: list[tuple[str, tuple[str, ...]]]) -> "Hold":
        """Return a context manager that holds keys, each with the tags of its own entry."""
        return Hold(self, pairs)

    def note(self, key: str, tags: tuple[str, ...]) -> bool:
        """Note a held key under `tags` as well; return True if the key wasn't noted before."""
        with self._lock:
            before = self._tags.get(key)
            if before is None:
                self._turns.append(key)
                self._tags[key] = tags
            elif not set(tags) <= set(before):
                self._tags[key] = tuple(dict.fromkeys((*before, *tags)))
            for tag in tags:
                self._keys.setdefault(tag, set()).add(key)
            return before is None

    def pin(self, key: str, tags: tuple[str, ...], hold: object) -> None:
        """Let `hold` hold a key under `tags`; call `release` later, even if `pin` was interrupted."""
        with self._lock:
            pin = self._pins.setdefault(key, _Pin())
            pin.shared |= not pin.holds <= {hold}
            pin.holds.add(hold)
            self._pinned += 1
            looks = _LOOKED_AT if self.note(key, tags) else 0
        for _ in range(looks):
            self._look()

    def release(self, key: str, tags: tuple[str, ...] | None, hold: object) -> None:
        """End the hold of `hold` on a key. `tags`: those of the entry that is there now; None if it may be another.

        Another call does nothing, or completes a call that an exception has interrupted.
        """
        with self._lock:
            pin = self._pins.get(key)
            if pin is None:
                return  # held before a fork, or not at all
            if not pin.holds <= {hold}:
                pin.holds.discard(hold)
                return
            noted = self._tags.get(key, ())
            if tags is None or pin.shared:
                tags = tuple([tag for tag in noted if tag != ANY_TAG])
            self._drop(key, set(noted).difference(tags))
            if key in self._tags:
                self._tags[key] = tags
            self._pins.pop(key, None)

    def _look(self) -> None:
        """Check the key whose turn it is: forget the key if it has no entry, nor one on its way.

        The key first goes to the end of the turns: an exception that comes between two lines loses no key.
        """
        with self._lock:
            if not self._turns:
                return
            key = self._turns[0]
            self._turns.rotate(-1)
            tags, pinned = self._tags.get(key, ()), self._pinned
            gone = key not in self._pins
        # The store may call this index from inside of the store's own lock.
        gone = gone and (not tags or self._store.op(key) is None)
        with self._lock:
            if gone and pinned == self._pinned and self._turns[-1] == key:
                self._drop(key, tags)
                self._tags.pop(key, None)
                self._turns.pop()

    def _drop(self, key: str, tags: Iterable[str]) -> None:
        for tag in tags:
            keys = self._keys.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._keys[tag]


class Hold:
    """Keys that are held while the context lasts, each with the tags of the entry on its way."""

    __slots__ = ("_index", "_pairs", "_released", "_written")

    def __init__(self, index: TagIndex, pairs: list[tuple[str, tuple[str, ...]]]) -> None:
        self._index = index
        self._pairs = pairs
        self._released = self._written = False

    def written(self) -> None:
        """Note that the entries are written: the entries that they replaced are gone, and so are their tags."""
        self._written = True

    def add(self, tags: tuple[str, ...]) -> None:
        """Note the keys under further tags, which weren't known before."""
        self._pairs = [(key, tuple(dict.fromkeys((*held, *tags)))) for key, held in self._pairs]
        for key, _ in self._pairs:
            self._index.note(key, tags)

    def __enter__(self) -> Self:
        try:
            for key, tags in self._pairs:
                self._index.pin(key, tags, self)
            return self  # noqa: TRY300 - an exception may arrive at this line, too
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._release()
        finally:
            if not self._released:  # it was interrupted
                self._release()

    def _release(self) -> None:
        for key, tags in self._pairs:
            carried = tuple([tag for tag in tags if tag != ANY_TAG]) if self._written else None
            self._index.release(key, carried, self)
        self._released = True


class Unheld:
    """Takes the place of a `Hold` where no entry has tags."""

    __slots__ = ()

    def written(self) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


UNHELD: Final = Unheld()

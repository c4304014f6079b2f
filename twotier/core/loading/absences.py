"""Absences: the keys for which a loader has found nothing, as remembered by this process.

Each absence is remembered under a fill token. Any event that could make the absence untrue voids the
token: a write of the key here, an invalidation from elsewhere, anything that puts the local tier in
doubt. An absence is thus as coherent as an entry, and needs removal only when a tag ends: ending a
tag voids the tokens of keys that have entries, or whose entries are on their way, and these keys
have none. The local tier holds no trace of an absence: only a call that has missed asks here.
"""

import threading
from collections.abc import Iterable
from typing import Final, NamedTuple

from twotier.clock import Clock
from twotier.core.loading.bounded_dict import BoundedDict
from twotier.local import Store

MOST: Final = 10_000
"""Keys remembered."""


MOST_NOTED: Final = 64 * MOST
"""Most (tag, key) pairs noted, enough for all keys; beyond it, pairs of forgotten keys are dropped."""


class _Absence(NamedTuple):
    """One key's absence."""

    token: int
    expires: int
    in_doubt: bool
    """Whether the absence was found while the local tier wasn't live."""
    tags: frozenset[str]


class Absences:
    """The absences of one namespace."""

    __slots__ = ("_clock", "_keys", "_known", "_lock", "_noted", "_store")

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: BoundedDict[str, _Absence] = BoundedDict(MOST)
        self._lock = threading.RLock()  # an abandoned coroutine may be closed anywhere
        self._keys: dict[str, set[str]] = {}
        """Keys by tag; forgotten keys may be left over."""
        self._noted = 0
        """Upper bound of the number of keys in these sets."""

    def remember(self, key: str, token: int, expires: int, tags: Iterable[str] = ()) -> None:
        """Remember until `expires`, or until one of `tags` ends, that `key` has no value.

        The absence was found under `token`. The caller holds a key with tags under them meanwhile (`TagIndex`).
        """
        absence = _Absence(token, expires, not self._store.live, frozenset(tags))
        with self._lock:
            self._known.put(key, absence)
            self._note(key, absence.tags)
            if self._noted > MOST_NOTED:
                self._keys.clear()
                self._noted = 0
                for other, known in list(self._known.items()):
                    self._note(other, known.tags)

    def end_tags(self, tags: Iterable[str]) -> None:
        """Forget the absences that carry any of `tags`."""
        with self._lock:
            for tag in tags:
                keys = self._keys.pop(tag, set())
                self._noted -= len(keys)
                for key in keys:
                    known = self._known.get(key)
                    if known is not None and tag in known.tags:
                        self._known.drop(key)

    def _note(self, key: str, tags: Iterable[str]) -> None:
        for tag in tags:
            keys = self._keys.setdefault(tag, set())
            self._noted += key not in keys
            keys.add(key)

    def holds(self, key: str) -> bool:
        """Return True if `key` is known to be absent."""
        known = self._known.get(key)
        if known is None:
            return False
        token, expires, in_doubt, tags = known
        newer = self._store.token(key)
        if self._clock.now() >= expires or not self._store.stands(key, token):
            self._known.drop(key)
            return False
        if newer != token:  # other keys of its bucket were voided: no token outlasts many of these
            self._known.put(key, _Absence(newer, expires, in_doubt, tags))
        return in_doubt or self._store.live

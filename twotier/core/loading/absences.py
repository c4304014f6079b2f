"""Keys for which a loader has found nothing, as this process remembers them.

Each is remembered under a fill token, which whatever could make it untrue voids: a write of the key here, a message of
one elsewhere, anything that puts the local tier in doubt. So it is as coherent as an entry is, and nothing need be
removed, but by the end of a tag: whoever ends one voids the tokens of keys that have entries, or are on their way in,
and these have none. The local tier itself holds no trace of an absence: only who has missed comes here.
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
"""Tags of keys noted, as many as the keys can have; beyond, those of forgotten keys are dropped."""


class _Absence(NamedTuple):
    """What is known of one key."""

    token: int
    expires: int
    in_doubt: bool
    """Whether it was found while the local tier wasn't live."""
    tags: frozenset[str]


class Absences:
    """What a namespace knows to be absent."""

    __slots__ = ("_clock", "_keys", "_known", "_lock", "_noted", "_store")

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: BoundedDict[str, _Absence] = BoundedDict(MOST)
        self._lock = threading.RLock()  # an abandoned coroutine may be closed anywhere
        self._keys: dict[str, set[str]] = {}
        """Keys by tag; those that are forgotten by now may be left over."""
        self._noted = 0
        """How many keys there are in these sets at most."""

    def remember(self, key: str, token: int, expires: int, tags: Iterable[str] = ()) -> None:
        """Remember until `expires`, or the end of one of `tags`, that there is nothing under `key`.

        It was found under `token`. A key with tags is held under them meanwhile (`TagIndex`).
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
        """Forget what carries any of `tags`."""
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
        if newer != token:  # others that share its bucket were voided: no token outlasts many of them
            self._known.put(key, _Absence(newer, expires, in_doubt, tags))
        return in_doubt or self._store.live

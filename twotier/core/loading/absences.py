"""Keys for which a loader has found nothing, as this process remembers them.

Each is remembered under a fill token, which whatever could make it untrue voids: a write of the key here, a message of
one elsewhere, anything that puts the local tier in doubt. So it is as coherent as an entry is, and nothing need be
removed. The local tier itself holds no trace of it: only who has missed comes here.
"""

from typing import Final

from twotier.clock import Clock
from twotier.core.loading.bounded import Bounded
from twotier.local import Store

MOST: Final = 10_000
"""Keys remembered."""


class Absences:
    """What a namespace knows to be absent."""

    __slots__ = ("_clock", "_known", "_store")

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._known: Bounded[str, tuple[int, int, bool]] = Bounded(MOST)
        """Token, instant until which it holds, and whether it was found while the local tier wasn't live."""

    def remember(self, key: str, token: int, expires: int) -> None:
        """Remember until `expires` that there is nothing under `key`, as found under `token`."""
        self._known.put(key, (token, expires, not self._store.live))

    def holds(self, key: str) -> bool:
        """Tell whether `key` is known to be absent."""
        known = self._known.get(key)
        if known is None:
            return False
        token, expires, in_doubt = known
        newer = self._store.token(key)
        if self._clock.now() >= expires or not self._store.stands(key, token):
            self._known.drop(key)
            return False
        if newer != token:  # others that share its bucket were voided: no token outlasts many of them
            self._known.put(key, (newer, expires, in_doubt))
        return in_doubt or self._store.live

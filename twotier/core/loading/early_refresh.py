"""Early refresh: loading a key again before it expires, so that no caller waits when it does.

XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB
2015): a hit loads early when `now - duration * beta * ln(random)` is past the expiry. The longer a
load takes, the sooner an early load begins. Readers need no coordination: each draws separately, and
few draw an early load before it is worth while. A hit costs one check of the entry's expiry.

The duration of a load is known for keys loaded here; for other keys a running mean is taken.
"""

import math
import random
from typing import Final

from twotier.clock import NEVER
from twotier.core.loading.bounded_dict import BoundedDict
from twotier.local import Store

MOST: Final = 10_000
"""Keys whose load durations are remembered."""
_FARTHEST: Final = 37.0
"""More than any draw: -ln of the least value of `1 - random()`, 2**-53."""
_WEIGHT: Final = 0.1
"""Weight of the last load in the running mean."""


class LoadDurations:
    """The durations of loads, and the expiries of their results."""

    __slots__ = ("_capped", "_known", "_mean", "_store")

    def __init__(self, store: Store, *, capped: bool) -> None:
        self._store = store
        self._capped = capped
        """Whether local entries may expire long before the value does (`local_ttl`)."""
        self._known: BoundedDict[str, tuple[int, int]] = BoundedDict(MOST)
        self._mean = 0.0

    def note(self, key: str, duration: int, expires: int) -> None:
        """Note that a load took `duration` ns, and that its result expires at `expires`."""
        self._known.put(key, (duration, expires))
        self._mean = self._mean + _WEIGHT * (duration - self._mean) if self._mean else float(duration)

    def is_due(self, key: str, beta: float) -> bool:
        """Decide at random whether to load the fresh entry under `key` again now."""
        expires = self._store.expires(key)
        if expires is None or expires == NEVER:
            return False
        duration, until = self._known.get(key) or (self._mean, 0)
        if self._capped:
            if until < expires:
                return False  # loaded elsewhere: its expiry there isn't known here
            expires = until
        left, reach = expires - self._store.after(0), duration * beta
        if left > _FARTHEST * reach:
            return False
        return left <= -reach * math.log(1.0 - random.random())  # noqa: S311 - spreads load, guards nothing

"""Early refresh: loading a key again before it expires, so that nobody waits when it does.

XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015): a hit loads
early when `now - duration * beta * ln(random)` is past the expiry. The longer a load takes, the sooner it begins; many
readers need no coordination, since each draws by itself, and few draw before the moment has come. A hit costs one
look at the entry's expiry.

How long loads take is known of keys loaded here, and of others taken from a running mean.
"""

import math
import random
from typing import Final

from twotier.clock import NEVER
from twotier.core.loading.bounded_dict import BoundedDict
from twotier.local import Store

MOST: Final = 10_000
"""Keys whose loads are known."""
_FARTHEST: Final = 37.0
"""More than what any draw gives: -ln of the least that `1 - random()` can be, 2**-53."""
_WEIGHT: Final = 0.1
"""Of the last load, in the running mean."""


class LoadDurations:
    """How long loads took, and until when their results live."""

    __slots__ = ("_capped", "_known", "_mean", "_store")

    def __init__(self, store: Store, *, capped: bool) -> None:
        self._store = store
        self._capped = capped
        """Whether local entries may expire long before the value does (`local_ttl`)."""
        self._known: BoundedDict[str, tuple[int, int]] = BoundedDict(MOST)
        self._mean = 0.0

    def note(self, key: str, duration: int, expires: int) -> None:
        """Note that a load took `duration` ns, and that what it gave expires at `expires`."""
        self._known.put(key, (duration, expires))
        self._mean = self._mean + _WEIGHT * (duration - self._mean) if self._mean else float(duration)

    def is_due(self, key: str, beta: float) -> bool:
        """Draw whether the fresh entry under `key` is to be loaded again now."""
        expires = self._store.expires(key)
        if expires is None or expires == NEVER:
            return False
        duration, until = self._known.get(key) or (self._mean, 0)
        if self._capped:
            if until < expires:
                return False  # of a load elsewhere: when it expires there isn't known here
            expires = until
        left, reach = expires - self._store.after(0), duration * beta
        if left > _FARTHEST * reach:
            return False
        return left <= -reach * math.log(1.0 - random.random())  # noqa: S311 - spreads load, guards nothing

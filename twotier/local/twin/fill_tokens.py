"""Fill tokens, as the twin keeps them: which fills and writes in flight may still install what they bring.

A bucket is the keys that share ten bits of their hash: a generation, which every void of one of them advances, the
prints (16 more bits) of the keys that were voided last, and the last op that voided, with those it did. A token is
the epoch and the bucket's generation, taken before the read. It stands while the epoch is unchanged and no void since
was of its key, but for one by the very write that made the value. After more than 16 voids nobody knows, and it doesn't
stand; nor does a write's, if another write of its bucket came in after it.
"""

from collections import defaultdict
from collections.abc import Hashable
from typing import Final, TypeAlias

from twotier.local.twin.adaptive import M32, M64, mix64

BUCKET_BITS: Final = 10
PRINT_BITS: Final = 16
VOIDED: Final = 16
Spot: TypeAlias = tuple[int, int]
"""The number of a key's bucket, and the key's print."""


class _Bucket:
    __slots__ = ("by_last_op", "gen", "last_op", "voided")

    def __init__(self) -> None:
        self.gen = 0
        self.last_op = 0
        self.voided = [0] * VOIDED
        """By gen % VOIDED."""
        self.by_last_op = [False] * VOIDED
        """As well: whether that void was by `last_op`."""


class Tokens:
    """The epoch, and the buckets of which a token was taken: before, there is nothing to void."""

    __slots__ = ("_buckets", "_multiplier", "epoch")

    def __init__(self, seed: int) -> None:
        self.epoch = 1
        self._multiplier = mix64(seed & M64) | 1
        self._buckets: defaultdict[int, _Bucket] = defaultdict(_Bucket)

    def spot(self, key: Hashable) -> Spot:
        """Return where `key` is looked for."""
        spread = (hash(key) & M64) * self._multiplier & M64
        return divmod(spread >> (64 - BUCKET_BITS - PRINT_BITS), 1 << PRINT_BITS)

    def take(self, spot: Spot) -> int:
        """Return a token."""
        return (self.epoch & M32) << 32 | self._buckets[spot[0]].gen

    def void(self, spot: Spot, op: int) -> None:
        """Void the tokens of a key, but for that of the write `op` itself (0: for none)."""
        number, mine = spot
        bucket = self._buckets.get(number)
        if bucket is None:
            return
        bucket.gen = (bucket.gen + 1) & M32
        bucket.voided[bucket.gen % VOIDED] = mine
        if op and op != bucket.last_op:
            bucket.last_op, bucket.by_last_op = op, [False] * VOIDED
        bucket.by_last_op[bucket.gen % VOIDED] = op != 0

    def stands(self, spot: Spot, token: int, op: int) -> bool:
        """Return True if what write `op` made may be installed with `token`."""
        if token >> 32 != self.epoch & M32:
            return False
        number, mine = spot
        bucket = self._buckets[number]
        since = (bucket.gen - token) & M32
        if since > VOIDED:
            return False
        spots = [gen % VOIDED for gen in range(bucket.gen - since + 1, bucket.gen + 1)]
        voids = [bucket.by_last_op[spot] for spot in spots if bucket.voided[spot] == mine]
        return not voids or (op != 0 and voids == [True] and bucket.last_op == op)

"""Fill tokens of the twin decide which fills and writes in flight may still install their values.

A bucket holds the keys that share ten bits of their hash. It has a generation, which every void of one of its keys
advances; the prints (16 more bits) of the keys voided last; and the last op that voided keys, with a flag for each of
its voids. A token is the epoch and the bucket's generation, taken before the read. A token is valid while the epoch is
unchanged and its key has not been voided since, except once by the write that made the value. After more than 16 voids
the bucket can't tell, and the token is invalid; so is a write's token if another write of the bucket comes in after the
write's own void.
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
        """Prints of voided keys, indexed by gen % VOIDED."""
        self.by_last_op = [False] * VOIDED
        """Whether `last_op` made the void, indexed likewise."""


class Tokens:
    """The epoch, and the buckets with tokens; a bucket without tokens has nothing to void."""

    __slots__ = ("_buckets", "_multiplier", "epoch")

    def __init__(self, seed: int) -> None:
        self.epoch = 1
        self._multiplier = mix64(seed & M64) | 1
        self._buckets: defaultdict[int, _Bucket] = defaultdict(_Bucket)

    def spot(self, key: Hashable) -> Spot:
        """Return the bucket's number and the print of `key`."""
        spread = (hash(key) & M64) * self._multiplier & M64
        return divmod(spread >> (64 - BUCKET_BITS - PRINT_BITS), 1 << PRINT_BITS)

    def take(self, spot: Spot) -> int:
        """Return a token."""
        return (self.epoch & M32) << 32 | self._buckets[spot[0]].gen

    def void(self, spot: Spot, op: int) -> None:
        """Void the tokens of a key, except the token of write `op` (0: no exception)."""
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
        """Return True if the value of write `op` may be installed with `token`."""
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

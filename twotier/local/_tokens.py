"""Fill tokens, as the twin keeps them: which fills and writes in flight may still install what they bring.

A bucket is the keys that share twelve bits of their hash: a generation, and the op that last advanced it. A token is
the epoch and the bucket's generation, taken before the read. It stands while both are unchanged, or when the only
advance since is the invalidation by the very write that made the value.
"""

from collections.abc import Hashable
from typing import Final

from twotier.local._adaptive import M32, M64, mix64

BUCKET_BITS: Final = 12


class Tokens:
    """The epoch, and the generations of all buckets."""

    __slots__ = ("_gens", "_last_ops", "_multiplier", "epoch")

    def __init__(self, seed: int) -> None:
        self.epoch = 1
        self._multiplier = mix64(seed & M64) | 1
        self._gens = [0] * (1 << BUCKET_BITS)
        self._last_ops = [0] * (1 << BUCKET_BITS)

    def bucket(self, key: Hashable) -> int:
        """Return the bucket of `key`."""
        return ((hash(key) & M64) * self._multiplier & M64) >> (64 - BUCKET_BITS)

    def take(self, bucket: int) -> int:
        """Return a token."""
        return (self.epoch & M32) << 32 | self._gens[bucket]

    def void(self, bucket: int, op: int) -> None:
        """Void the bucket's tokens, but for that of the write `op` itself (0: for none)."""
        self._gens[bucket] = (self._gens[bucket] + 1) & M32
        self._last_ops[bucket] = op

    def stands(self, bucket: int, token: int, op: int) -> bool:
        """Tell whether what write `op` made may be installed with `token`."""
        if token >> 32 != self.epoch & M32:
            return False
        gen, taken = self._gens[bucket], token & M32
        return gen == taken or (op != 0 and gen == (taken + 1) & M32 and self._last_ops[bucket] == op)

"""Find keys whose hashes collide, before they are put into a table.

Hashes of numbers and tuples aren't keyed, so an attacker can choose keys that all collide, through equal hashes or
through their probe sequences; each insertion then walks past all earlier keys. `check` follows the probing of CPython's
dict or set, on bits, for each size that the table has while it grows and after the next growth, and stops at a
bound that ordinary data doesn't reach: the worst are multiples of large powers of two, which pass over up to 28
occupied slots a key in a dict of 30,000.

Keys with equal hashes are compared, too. Ordinary data has few: -1 and -2, and tuples of them ({-1, -2}^4: 8 pairs a
key). `_speedups/codec_crowding.pxi` decides alike.
"""

import sys
from collections.abc import Collection, Sequence
from itertools import pairwise
from typing import Any, Final

from twotier.errors import SerializationError

FEW: Final = 16
"""Number of keys that are never checked."""
FEW_SLOW: Final = 3
"""The same for keys whose comparison runs Python code."""
_WIDTH: Final = (1 << sys.hash_info.width) - 1
_RUN: Final = 9
"""Slots after the first that a set probes in a row."""
MOST_JUMPS: Final = 64
FREE_JUMPS: Final = 256
"""Most occupied slots (in a set: runs of ten) that probes pass over: so many per key, plus so many."""


def check(keys: Collection[Any], *, in_set: bool, slow: bool) -> None:
    """Raise SerializationError if `keys` crowd in a dict, or a set; `slow`: comparing two of them takes over 0.1 us."""
    if len(keys) <= (FEW_SLOW if slow else FEW):
        return
    hashes = [hash(key) for key in keys]
    count, slots, last = len(hashes), 16, 32
    while last < (8 if in_set else 3) * count:
        last *= 2
    while slots <= last:
        first = hashes[: slots * 3 // 5 if in_set else slots * 2 // 3]
        most = MOST_JUMPS * len(first) + FREE_JUMPS
        if (_jumps_in_set if in_set else _jumps_in_dict)(first, slots - 1, most) > most:
            raise SerializationError("the payload holds too many keys that collide in a table")
        slots *= 2
    # In a dict's last table, which is mostly free, honest keys seldom jump, and each of a pair jumps over the other.
    most = count + 4 if slow else 4 * count + 64
    if _jumps_in_dict(hashes, last - 1, most) > most and _equal_pairs(sorted(hashes)) > most:
        raise SerializationError("the payload holds too many keys of equal hash")


def _equal_pairs(hashes: Sequence[int]) -> int:
    """Return how many pairs of these sorted hashes are equal."""
    pairs = equal = 0
    for one, other in pairwise(hashes):
        equal = equal + 1 if one == other else 0
        pairs += equal
    return pairs


def _jumps_in_dict(hashes: Sequence[int], mask: int, most: int) -> int:
    """Return how many occupied slots are left behind for a free one; over `most` at once if it gets there."""
    taken, jumps = bytearray(mask + 1), 0
    for number in hashes:
        perturb = number & _WIDTH
        slot = perturb & mask
        while taken[slot]:
            jumps += 1
            if jumps > most:
                return jumps
            perturb >>= 5
            slot = (slot * 5 + 1 + perturb) & mask
        taken[slot] = 1
    return jumps


def _jumps_in_set(hashes: Sequence[int], mask: int, most: int) -> int:
    """Return how many occupied runs of slots are left behind for a free one; over `most` at once if it gets there."""
    taken, jumps = bytearray(mask + 1), 0
    for number in hashes:
        perturb = number & _WIDTH
        slot = perturb & mask
        while (free := taken.find(0, slot, (slot + _RUN if slot + _RUN <= mask else slot) + 1)) < 0:
            jumps += 1
            if jumps > most:
                return jumps
            perturb >>= 5
            slot = (slot * 5 + 1 + perturb) & mask
        taken[free] = 1
    return jumps

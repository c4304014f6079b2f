"""Weights of decoded values: the cost of each type, against a budget that the payload's length sets.

A weight is the memory of a value (bytes, as the allocator rounds them), plus 200 for each microsecond that making
the value takes beyond 0.1 us per byte of its encoding. A payload of n bytes may hold values of a weight of `FREE
+ PER_BYTE * n`. The decoder subtracts each weight before it allocates. The encoder pads a value that weighs more than
its length allows (a list of empty sets) with zeros, to exactly the length that allows for it. So encoder and decoder
must agree on all weights: they are part of the format. `_speedups/codec_tags.pxi` has the same figures.
"""

from typing import Final

FREE: Final = 1 << 17
PER_BYTE: Final = 20

INT: Final = 32
LONG_INT: Final = 48  # of 5 to 8 bytes
FLOAT: Final = 32
COMPLEX: Final = 48
SLICE: Final = 64
SHARED: Final = 16
DATE: Final = 48
TIME: Final = 64
DATETIME: Final = 64
TIMEDELTA: Final = 64
OFFSET: Final = 400
ZONE: Final = 20_000  # its file is read
DECIMAL: Final = 200
HASHED_DECIMAL: Final = 1200  # a modular power, twice
UUID: Final = 240
MEMBER: Final = 800
INSTANCE: Final = 2000


def of_big(size: int) -> int:
    """Return the weight of an integer of `size` bytes."""
    return 64 + 2 * size


def of_text(size: int, *, is_ascii: bool) -> int:
    """Return the weight of a str of `size` bytes in UTF-8."""
    return 64 + size if is_ascii else 96 + 4 * size


def of_bytes(size: int) -> int:
    """Return the weight of bytes."""
    return 64 + size


def of_bytearray(size: int) -> int:
    """Return the weight of a bytearray."""
    return 128 + size


def of_list(count: int) -> int:
    """Return the weight of a list, without its items."""
    return 80 + 8 * count


def of_tuple(count: int) -> int:
    """Return the weight of a tuple, and of the list that holds its items until it is made."""
    return 64 + 16 * count if count else 0


def of_dict(count: int) -> int:
    """Return the weight of a dict whose keys are strs: its table is two thirds full at most."""
    if count == 0:
        return 80
    slots = 8
    while slots * 2 // 3 < count:
        slots *= 2
    index = 1 if slots <= 1 << 7 else 2 if slots <= 1 << 15 else 4
    return 112 + slots * index + slots * 2 // 3 * (16 if slots == 8 else 24)  # noqa: PLR2004 - growing, the old table is there as well


def of_mapping(count: int) -> int:
    """Return the weight of a dict with any keys, and of checking their hashes."""
    return of_dict(count) + 64 * count


def of_set(count: int) -> int:
    """Return the weight of a set, and of checking its items' hashes."""
    return 240 + (176 * count if count > 4 else 48 * count)  # noqa: PLR2004 - five make it leave the place inside the object


def of_deque(count: int) -> int:
    """Return the weight of a deque, whose items lie in blocks of 64."""
    return 928 + 32 * count


def of_ordered(count: int) -> int:
    """Return the weight of an OrderedDict: a linked list beside the table."""
    return 400 + of_mapping(count) + 112 * count


def of_counter(count: int) -> int:
    """Return the weight of a Counter or a defaultdict."""
    return 240 + of_mapping(count)


def padded(size: int, weight: int) -> int:
    """Return the length of a payload of `size` bytes and this weight, zeros included."""
    return max(size, (weight - FREE + PER_BYTE - 1) // PER_BYTE)

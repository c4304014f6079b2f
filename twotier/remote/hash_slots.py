"""Slots: which of a cluster's 16,384 a name belongs to, and short tags by which a name can be put into one.

The slot of a name is the CRC16 (XMODEM) of the text between its first `{` and the next `}`, or of the whole name where
there is no such text. (Source: the specification of Redis Cluster.)
"""

import binascii
import functools
import itertools
from typing import Final

SLOTS: Final = 16_384


def slot_of(name: bytes) -> int:
    """Return the slot of `name`.

    >>> slot_of(b"shop:{user7}:cart") == slot_of(b"user7"), slot_of(b"123456789")
    (True, 12739)
    """
    if b"{" in name:
        name = hash_tag(name) or name
    return binascii.crc_hqx(name, 0) % SLOTS


def hash_tag(name: bytes) -> bytes:
    """Return the part of `name` that alone determines its slot; empty if the whole name does.

    >>> hash_tag(b"shop:{user7}:cart"), hash_tag(b"{}{user7}"), hash_tag(b"}{")
    (b'user7', b'', b'')
    """
    start = name.find(b"{")
    return name[start + 1 : max(start, name.find(b"}", start + 1))] if start >= 0 else b""


def tag_of(slot: int) -> bytes:
    """Return the tag that puts a name without another one before it into `slot`.

    >>> slot_of(b"shop:" + tag_of(7) + b"anything") == 7
    True
    """
    return _tags()[slot]


@functools.cache
def _tags() -> list[bytes]:
    """Return a tag for every slot: the shortest numbers that fall into each. Takes about 0.1 s, once."""
    tags = [b""] * SLOTS
    missing = SLOTS
    for number in itertools.count():
        text = b"%x" % number
        slot = binascii.crc_hqx(text, 0) % SLOTS
        if not tags[slot]:
            tags[slot] = b"{%b}" % text
            missing -= 1
            if not missing:
                return tags
    raise AssertionError("unreachable: every slot has a number")

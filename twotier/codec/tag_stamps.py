"""Stamps: the tags of an entry, each with the version that it had when the value was made, as bytes in its envelope.

Bytes: `count 1`, then for each `length 1, tag in UTF-8, version 8`. An entry is valid while all its tags have the
versions that it is stamped with. Only tagged entries have stamps, and an envelope says whether it has.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

VERSION_BYTES: Final = 8
MOST_STAMPS_BYTES: Final = 1 + 255 * (1 + 255 + VERSION_BYTES)
"""Longest stamps that fit the layout."""

Stamps = dict[str, bytes]
"""Versions by tag."""
NO_STAMPS: Final[Mapping[str, bytes]] = MappingProxyType({})


def pack_stamps(stamps: Mapping[str, bytes]) -> bytes:
    r"""Return `stamps` as bytes; b"" for none.

    >>> pack_stamps({"user": bytes(8)})
    b'\x01\x04user\x00\x00\x00\x00\x00\x00\x00\x00'
    >>> unpack_stamps(pack_stamps({"user": bytes(8)}) + b"payload")
    ({'user': b'\x00\x00\x00\x00\x00\x00\x00\x00'}, b'payload')
    """
    if not stamps:
        return b""
    parts = [bytes([len(stamps)])]
    for tag, version in stamps.items():
        name = tag.encode("utf-8", "surrogatepass")
        parts += (bytes([len(name)]), name, version)
    return b"".join(parts)


def unpack_stamps(data: bytes) -> tuple[Stamps, bytes] | None:
    """Split `data` into its leading stamps and the rest; return None if it doesn't begin with stamps."""
    stamps: Stamps = {}
    at = 1
    for _ in range(data[0] if data else 0):
        start = at + 1
        end = start + data[at] if at < len(data) else len(data)
        at = end + VERSION_BYTES
        if at > len(data):
            return None
        try:
            stamps[data[start:end].decode("utf-8", "surrogatepass")] = data[end:at]
        except UnicodeDecodeError:
            return None
    return (stamps, data[at:]) if stamps else None

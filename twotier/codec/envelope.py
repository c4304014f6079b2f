"""The envelope of a remote value identifies our format, the write that made the value, and the key it belongs to.

Bytes: `magic 3, format 1, flags 1, op id 16, key check 8, [mac 16], payload`. The key check is BLAKE2b-8 of the whole
remote key, so the reply to another command is never mistaken for the requested value. The mac (with a secret) is
BLAKE2b-16, keyed, over length-prefixed fields: namespace, kind, generation, key; then header and payload. A signed
value can therefore not be altered, moved to another key, generation or namespace, or mistaken for another kind.

Writers use format 2. Format 1, whose mac covers the whole remote key instead of its fields, is read for one release.
Format 1 is as safe where a generation's name has no colon; `core/namespace/generations.py` accepts no other name.
The magic begins with neither digit nor sign, so the first byte distinguishes it from raw integers without envelope.
"""

import hashlib
import hmac
import struct
from typing import Final, NamedTuple

from twotier.opid import OP_ID_BYTES

FORMAT: Final = 2
"""The format that is written; it and the one before it are read."""
_MAGIC: Final = b"\xf2tt" + bytes([FORMAT])
_MAGIC_1: Final = b"\xf2tt\x01"
_MAGICS: Final = frozenset((_MAGIC, _MAGIC_1))
_HEADER: Final = struct.Struct(f">4sB{OP_ID_BYTES}s8s")
_FLAGS_AT: Final = 4
_OP_ID: Final = slice(5, 5 + OP_ID_BYTES)
_CHECK: Final = slice(5 + OP_ID_BYTES, _HEADER.size)
_MAC_BYTES: Final = 16
_SIGNED: Final = 0x80
FLAGS_MASK: Final = 0x7F
"""Bits of `flags` that are the caller's; the highest says that there is a mac."""

ENVELOPE_BYTES: Final = _HEADER.size + _MAC_BYTES
"""Most bytes that an envelope adds to a payload."""


class Kind(NamedTuple):
    """Purpose of an envelope."""

    code: int
    """Its number in the MAC."""
    sign: bytes
    """Separator between generation and key in the name of its place; the first occurrence after the namespace."""


VALUE: Final = Kind(1, b":")
ABSENCE: Final = Kind(2, b"!")
ENTRY: Final = Kind(3, b"\0")
"""An entry of a write-behind's stream; the stream is in the generation's place."""
WARRANT: Final = Kind(4, b"#")
"""The warrant of a counter; the counter's number is stored raw, in a key of its own."""

_FIELDS: Final = struct.Struct(">BHI")
"""Before generation and key in a MAC: kind, and the length of each. In a cluster, hash tags belong to generations."""


class Sealed(NamedTuple):
    """Contents of an opened envelope."""

    op_id: bytes
    flags: int
    payload: bytes


class Envelope:
    """Seals and opens the values of one namespace; `secrets` sign and verify (the first signs), none leaves both out.

    >>> envelope = Envelope((), "shop")
    >>> data = envelope.seal(b"shop:1:key", bytes(16), b"payload", 0)
    >>> envelope.open(b"shop:1:key", data).payload
    b'payload'
    >>> envelope.open(b"shop:1:other", data) is None
    True
    """

    __slots__ = ("_before", "_hashes", "_stem")

    def __init__(self, secrets: tuple[bytes, ...], namespace: str) -> None:
        self._hashes = [_keyed(secret, namespace, b"twotier-envelop2") for secret in secrets]
        self._before = [_keyed(secret, namespace, b"twotier-envelope") for secret in secrets]
        """Of format 1."""
        self._stem = len(namespace.encode()) + 1

    def seal(self, place: bytes, op_id: bytes, payload: bytes, flags: int, kind: Kind = VALUE) -> bytes:
        """Return `payload` in an envelope for `place`, the name on the server, as made by write `op_id`."""
        check = hashlib.blake2b(place, digest_size=8).digest()
        if not self._hashes:
            return _HEADER.pack(_MAGIC, flags, op_id, check) + payload
        header = _HEADER.pack(_MAGIC, flags | _SIGNED, op_id, check)
        return b"".join((header, _mac(self._hashes[0], self._bound(place, kind), header, payload), payload))

    def open(self, place: bytes, data: bytes, kind: Kind = VALUE) -> Sealed | None:  # noqa: PLR0911 - one return a flaw
        """Return the contents of `data`; None if it is foreign, truncated, of another place, or has a wrong mac."""
        magic = data[:4]
        if magic not in _MAGICS or len(data) < _HEADER.size:
            return None
        if data[_CHECK] != hashlib.blake2b(place, digest_size=8).digest():
            return None
        flags = data[_FLAGS_AT]
        if not self._hashes:
            if flags & _SIGNED:
                return None
            return Sealed(data[_OP_ID], flags, data[_HEADER.size :])
        if not flags & _SIGNED or len(data) < ENVELOPE_BYTES:
            return None
        header, mac, payload = data[: _HEADER.size], data[_HEADER.size : ENVELOPE_BYTES], data[ENVELOPE_BYTES:]
        if magic == _MAGIC:
            hashes, bound = self._hashes, self._bound(place, kind)
        else:
            hashes, bound = self._before, struct.pack(">I", len(place)) + place
        for keyed in hashes:
            if hmac.compare_digest(mac, _mac(keyed, bound, header, payload)):
                return Sealed(data[_OP_ID], flags & FLAGS_MASK, payload)
        return None

    def _bound(self, place: bytes, kind: Kind) -> bytes:
        """Return the signed fields of `place` and `kind`."""
        generation, _, key = place[self._stem :].partition(kind.sign)
        return _FIELDS.pack(kind.code, len(generation), len(key)) + generation + key


def op_id_of(data: bytes) -> bytes | None:
    """Return the op id in the envelope `data`, unchecked; None where there is no envelope."""
    return data[_OP_ID] if data[:4] in _MAGICS and len(data) >= _HEADER.size else None


def flags_of(data: bytes) -> int:
    """Return the flags in the envelope `data`, unchecked; 0 where there is no envelope."""
    return data[_FLAGS_AT] if data[:4] in _MAGICS and len(data) >= _HEADER.size else 0


def _keyed(secret: bytes, namespace: str, person: bytes) -> "hashlib.blake2b":
    """Return the MAC of `namespace` under `secret`, ready to be copied and fed, with a key of its own for this use."""
    name = namespace.encode()
    key = hashlib.blake2b(secret, digest_size=32, person=person).digest()  # of a length that BLAKE2b takes
    return hashlib.blake2b(struct.pack(">I", len(name)) + name, key=key, digest_size=_MAC_BYTES)


def _mac(keyed: "hashlib.blake2b", bound: bytes, header: bytes, payload: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(bound + header)
    mac.update(payload)
    return mac.digest()

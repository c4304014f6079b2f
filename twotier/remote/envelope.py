"""The envelope of a remote value: says that it is ours, which write made it, and that it belongs under its key.

Bytes: `magic 3, format 1, flags 1, op id 16, key check 8, [mac 16], payload`. The key check is BLAKE2b-8 of the whole
remote key, so a reply that answers another command is never taken for the value asked for. The mac (with a secret) is
BLAKE2b-16, keyed, over namespace, key, header and payload: a value can't be altered, nor moved to another key.
The magic begins with no digit and no sign, so raw integers, which have no envelope, are told apart by their first byte.
"""

import hashlib
import hmac
import struct
from typing import Final, NamedTuple

from twotier.opid import OP_ID_BYTES

FORMAT: Final = 1
_MAGIC: Final = b"\xf2tt" + bytes([FORMAT])
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


class Sealed(NamedTuple):
    """What an envelope held."""

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

    __slots__ = ("_hashes",)

    def __init__(self, secrets: tuple[bytes, ...], namespace: str) -> None:
        name = namespace.encode()
        self._hashes = []
        for secret in secrets:
            # A key of its own for this use, whatever else the secret serves, and of a length that BLAKE2b takes.
            key = hashlib.blake2b(secret, digest_size=32, person=b"twotier-envelope").digest()
            keyed = hashlib.blake2b(key=key, digest_size=_MAC_BYTES)
            keyed.update(struct.pack(">I", len(name)) + name)
            self._hashes.append(keyed)

    def seal(self, key: bytes, op_id: bytes, payload: bytes, flags: int) -> bytes:
        """Return `payload` in an envelope for `key`, as made by write `op_id`."""
        check = hashlib.blake2b(key, digest_size=8).digest()
        if not self._hashes:
            return _HEADER.pack(_MAGIC, flags, op_id, check) + payload
        header = _HEADER.pack(_MAGIC, flags | _SIGNED, op_id, check)
        return b"".join((header, _mac(self._hashes[0], key, header, payload), payload))

    def open(self, key: bytes, data: bytes) -> Sealed | None:  # noqa: PLR0911 - one return a flaw
        """Return what `data` holds; None if it isn't ours, is cut short, or belongs elsewhere, or its mac is wrong."""
        if data[:4] != _MAGIC or len(data) < _HEADER.size:
            return None
        if data[_CHECK] != hashlib.blake2b(key, digest_size=8).digest():
            return None
        flags = data[_FLAGS_AT]
        if not self._hashes:
            if flags & _SIGNED:
                return None
            return Sealed(data[_OP_ID], flags, data[_HEADER.size :])
        if not flags & _SIGNED or len(data) < ENVELOPE_BYTES:
            return None
        header, mac, payload = data[: _HEADER.size], data[_HEADER.size : ENVELOPE_BYTES], data[ENVELOPE_BYTES:]
        for keyed in self._hashes:
            if hmac.compare_digest(mac, _mac(keyed, key, header, payload)):
                return Sealed(data[_OP_ID], flags & FLAGS_MASK, payload)
        return None


def op_id_of(data: bytes) -> bytes | None:
    """Return the op id in the envelope `data`, unchecked; None where there is no envelope."""
    return data[_OP_ID] if data[:4] == _MAGIC and len(data) >= _HEADER.size else None


def flags_of(data: bytes) -> int:
    """Return the flags in the envelope `data`, unchecked; 0 where there is no envelope."""
    return data[_FLAGS_AT] if data[:4] == _MAGIC and len(data) >= _HEADER.size else 0


def _mac(keyed: "hashlib.blake2b", key: bytes, header: bytes, payload: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(struct.pack(">I", len(key)) + key + header)
    mac.update(payload)
    return mac.digest()

"""Invalidation messages: which keys a write has superseded, as bytes on a namespace's channel. Never a value.

Layout, integers big-endian:

    version   1   1
    op        1   1 set, 2 delete, 3 tag, 4 clear; bit 7: signed
    op id    16   the write's (see opid.py)
    count     4   number of keys
    lengths   4 * count   bytes of each key
    keys          UTF-8, lone surrogates let through, end to end
    mac      16   only if signed: keyed BLAKE2b over the namespace and all of the above

Keys are the user's: neither the namespace nor its generation is in them. Whatever doesn't fit the layout to the last
byte is foreign. A process that has secrets takes signed messages only; one that has none can't check a signature, and
takes both, as an invalidation too many costs a miss and one too few a stale read.
"""

import hmac
import struct
from dataclasses import dataclass
from hashlib import blake2b
from itertools import accumulate, pairwise
from typing import Final, Literal

from twotier.opid import OP_ID_BYTES

Kind = Literal["set", "delete", "tag", "clear"]

VERSION: Final = 1
MAC_BYTES: Final = 16

_HEAD: Final = struct.Struct(f">BB{OP_ID_BYTES}sI")
_SIGNED: Final = 0x80
_OPS: Final[dict[Kind, int]] = {"set": 1, "delete": 2, "tag": 3, "clear": 4}
_KINDS: Final[dict[int, Kind]] = {op: kind for kind, op in _OPS.items()}


@dataclass(frozen=True, slots=True)
class Message:
    """One write: what it did, its op id, and the keys it superseded (for "tag", the tags; for "clear", none)."""

    kind: Kind
    op_id: bytes
    keys: tuple[str, ...] = ()


class MessageCodec:
    """Turns messages into bytes and back, signed if there are `secrets`: the first signs, all verify.

    >>> codec = MessageCodec((), "shop")
    >>> codec.decode(codec.encode(Message("delete", bytes(16), ("a", "b")))).keys
    ('a', 'b')
    >>> codec.decode(b"something else") is None
    True
    """

    __slots__ = ("_macs",)

    def __init__(self, secrets: tuple[bytes, ...], namespace: str) -> None:
        self._macs = tuple(_keyed(secret, namespace) for secret in secrets)

    def encode(self, message: Message) -> bytes:
        """Return `message` as bytes; ValueError for an op id of the wrong size."""
        if len(message.op_id) != OP_ID_BYTES:
            raise ValueError(f"op_id must be {OP_ID_BYTES} bytes, got {len(message.op_id)}")
        keys = [key.encode("utf-8", "surrogatepass") for key in message.keys]
        op = _OPS[message.kind] | (_SIGNED if self._macs else 0)
        head = _HEAD.pack(VERSION, op, message.op_id, len(keys))
        body = b"".join((head, struct.pack(f">{len(keys)}I", *map(len, keys)), *keys))
        return body + _mac(self._macs[0], body) if self._macs else body

    def decode(self, payload: bytes) -> Message | None:
        """Return the message in `payload`, or None if it is foreign, corrupt, or not signed as it should be."""
        if len(payload) < _HEAD.size:
            return None
        version, op, op_id, count = _HEAD.unpack_from(payload)
        kind = _KINDS.get(op & ~_SIGNED)
        if version != VERSION or kind is None:
            return None
        end = len(payload)
        if op & _SIGNED:
            end -= MAC_BYTES
        if not self._genuine(payload, end):
            return None
        keys = _split(payload, count, end)
        return None if keys is None else Message(kind, op_id, keys)

    def _genuine(self, payload: bytes, end: int) -> bool:
        """Tell whether `payload`, whose MAC is said to start at `end`, may be believed."""
        if not self._macs:
            return True
        body, mac = payload[:end], payload[end:]
        return any(hmac.compare_digest(_mac(keyed, body), mac) for keyed in self._macs)


def _split(payload: bytes, count: int, end: int) -> tuple[str, ...] | None:
    """Return the `count` keys that fill `payload` up to `end`; None if they don't."""
    start = _HEAD.size + 4 * count
    if start > end:
        return None
    lengths: tuple[int, ...] = struct.unpack_from(f">{count}I", payload, _HEAD.size)
    bounds = list(accumulate(lengths, initial=start))
    if bounds[-1] != end:
        return None
    keys = payload[start:end]
    try:
        if keys.isascii():  # one decoding for all: slicing text is several times cheaper than decoding slices
            text = keys.decode("ascii")
            return tuple([text[low - start : high - start] for low, high in pairwise(bounds)])
        return tuple([payload[low:high].decode("utf-8", "surrogatepass") for low, high in pairwise(bounds)])
    except UnicodeDecodeError:
        return None


def _keyed(secret: bytes, namespace: str) -> blake2b:
    """Return the MAC of `namespace` under `secret`, ready to be copied and fed; secrets may have any length."""
    key = blake2b(secret, digest_size=32, person=b"twotier:inv:key").digest()
    name = namespace.encode()
    return blake2b(struct.pack(">I", len(name)) + name, key=key, digest_size=MAC_BYTES, person=b"twotier:inv:v1")


def _mac(keyed: blake2b, body: bytes) -> bytes:
    mac = keyed.copy()
    mac.update(body)
    return mac.digest()

"""Invalidation messages: the keys that a write has superseded, as bytes on a namespace's channel. Never a value.

Layout, integers big-endian:

    version   1   2
    op        1   1 set, 2 delete, 3 tag, 4 clear, 5 expire; bit 7: signed
    op id    16   the write's (see opid.py)
    count     4   number of keys
    sent at   8   the writer's wall clock (us since 1970); absent in version 1, which is read but no longer written
    lengths   4 * count   bytes of each key
    keys          UTF-8, lone surrogates let through, end to end
    mac      16   only if signed: keyed BLAKE2b over the namespace and all of the above

In every version the first byte is the version, and bit 7 of the second is set if the last 16 bytes are the
MAC of those before them. So a process can verify a message of a later version without knowing the keys in
it: such a message makes every entry suspect, and a fleet stays coherent during an upgrade of any length.

Keys are the user's, without the namespace and its generation. A payload that doesn't fit the layout to the
last byte is foreign. A process with secrets accepts signed messages only. A process without secrets can't
check a signature and accepts both: a superfluous invalidation costs a miss, a missing one a stale read.
"""

import enum
import hmac
import struct
from hashlib import blake2b
from itertools import accumulate, pairwise
from typing import Final, Literal, NamedTuple

from twotier.opid import OP_ID_BYTES

Kind = Literal["set", "delete", "tag", "clear", "expire"]

VERSION: Final = 2
"""The version that is written; this version and the one before it are read."""
LATEST_VERSION: Final = 15
"""Highest first byte that is taken for a version: text and noise on the channel seldom begin with one as low."""
MAC_BYTES: Final = 16

_HEAD: Final = struct.Struct(f">BB{OP_ID_BYTES}sI")
_SENT_AT: Final = struct.Struct(">Q")
_LENGTH: Final = struct.Struct(">I")
_ONE: Final = struct.Struct(f">BB{OP_ID_BYTES}sIQI")
"""Layout before the text of a message's only key: most messages have one key, and this halves the time for them."""
_SIGNED: Final = 0x80
_OPS: Final[dict[Kind, int]] = {"set": 1, "delete": 2, "tag": 3, "clear": 4, "expire": 5}
_KINDS: Final[dict[int, Kind]] = {op: kind for kind, op in _OPS.items()}


class Message(NamedTuple):
    """One write: its kind, its op id, and the superseded keys (for "tag", the tags; for "clear", none)."""

    kind: Kind
    op_id: bytes
    keys: tuple[str, ...] = ()
    sent_at: int = 0
    """Time of the message by the writer's wall clock (us); 0 if the message has none."""


class Later(enum.Enum):
    """The type of `LATER`."""

    LATER = "a message of a later version"


LATER: Final = Later.LATER
"""Result of `decode` for a message of a later version, which this process can't read."""


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
        op = _OPS[message.kind] | (_SIGNED if self._macs else 0)
        keys = [key.encode("utf-8", "surrogatepass") for key in message.keys]
        if len(keys) == 1:
            (key,) = keys
            body = _ONE.pack(VERSION, op, message.op_id, 1, message.sent_at, len(key)) + key
        else:
            head = _HEAD.pack(VERSION, op, message.op_id, len(keys)) + _SENT_AT.pack(message.sent_at)
            body = b"".join((head, struct.pack(f">{len(keys)}I", *map(len, keys)), *keys))
        return body + _mac(self._macs[0], body) if self._macs else body

    def decode(self, payload: bytes) -> Message | Later | None:
        """Return the message in `payload`; None if it is foreign, corrupt, or not signed as it should be.

        LATER for a message of an unknown later version: every key may have been superseded.
        """
        if len(payload) < _HEAD.size:
            return None
        version, op, op_id, count = _HEAD.unpack_from(payload)
        end = len(payload) - MAC_BYTES if op & _SIGNED else len(payload)
        if not 0 < version <= LATEST_VERSION or not self._genuine(payload, end):
            return None
        if version > VERSION:
            return LATER
        kind = _KINDS.get(op & ~_SIGNED)
        if kind is None:
            return None
        start, sent_at = _HEAD.size, 0
        if version > 1:
            start += _SENT_AT.size
            if start > end:
                return None
            (sent_at,) = _SENT_AT.unpack_from(payload, _HEAD.size)
        keys = _only(payload, start, end) if count == 1 else _split(payload, start, count, end)
        return None if keys is None else Message(kind, op_id, keys, sent_at)

    def _genuine(self, payload: bytes, end: int) -> bool:
        """Return True if the MAC of `payload`, which starts at `end`, is valid, or there are no secrets."""
        if not self._macs:
            return True
        body, mac = payload[:end], payload[end:]
        return any(hmac.compare_digest(_mac(keyed, body), mac) for keyed in self._macs)


def _only(payload: bytes, start: int, end: int) -> tuple[str, ...] | None:
    """Return the only key, as `_split` would."""
    text = start + _LENGTH.size
    if text > end or text + _LENGTH.unpack_from(payload, start)[0] != end:
        return None
    try:
        return (payload[text:end].decode("utf-8", "surrogatepass"),)
    except UnicodeDecodeError:
        return None


def _split(payload: bytes, start: int, count: int, end: int) -> tuple[str, ...] | None:
    """Return the `count` keys whose lengths and texts fill `payload` from `start` to `end`; None if they don't."""
    lengths_at, start = start, start + 4 * count
    if start > end:
        return None
    lengths: tuple[int, ...] = struct.unpack_from(f">{count}I", payload, lengths_at)
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

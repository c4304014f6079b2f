"""Values as bytes and back: the codec, the envelope, and integers raw, so that INCRBY works on them.

With a secret, values are signed and may have any picklable type; without one, the plain codec limits the types.
Payloads of the former codec are read for one release and converted at once, so no other module sees an old payload.
A raw integer is the decimal text of a 64-bit int, as `str` writes it; it carries neither op id nor mac, as the server
makes it. With a secret, integers are signed as well, and a raw integer counts only beside the warrant of a counter
(`counters.py`).
"""

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from twotier.clock import SystemClock
from twotier.codec.codecs import Codec, Pickle, PlainCodec
from twotier.codec.envelope import ABSENCE, ENTRY, ENVELOPE_BYTES, WARRANT, Envelope, Sealed, flags_of
from twotier.codec.old_pickle import OldPickleReader
from twotier.codec.tag_stamps import MOST_STAMPS_BYTES, NO_STAMPS, unpack_stamps
from twotier.errors import SerializationError
from twotier.notfound import NOT_FOUND
from twotier.options import Options
from twotier.rate_limited_log import RateLimitedLog

_LOWEST: Final = -(1 << 63)
_HIGHEST: Final = (1 << 63) - 1
_LONGEST: Final = 20
_DIGITS: Final = frozenset(b"-0123456789")
_TAGGED: Final = 0x40
"""Flag of an envelope whose payload has stamps before it."""
_ABSENT: Final = 0x20
"""The flag of an envelope that says that there is no value; no codec has it."""
_WARRANT: Final = 0x10
"""The flag of an envelope that is a counter's warrant; no codec has it."""


class Loaded(NamedTuple):
    """A value that was read: itself, the write that made it (None: not known), its encoded bytes, and its stamps."""

    value: Any
    op_id: bytes | None
    payload: bytes
    stamps: Mapping[str, bytes] = NO_STAMPS
    """The tags that it carries, each with its version; see tag_stamps.py."""


class Values:
    """Encodes and decodes one cache's values. Threads may share it.

    >>> values = Values(Options())
    >>> values.dump(b"key", bytes(16), 42)
    b'42'
    >>> data = values.dump(b"key", bytes(16), ("a", None))
    >>> values.load(b"key", data).value
    ('a', None)
    >>> values.load(b"other", data) is None
    True
    """

    def __init__(self, options: Options) -> None:
        secrets = options.secrets
        self.signs: Final = bool(secrets)
        """Whether stored values are signed."""
        self._codec: Codec = Pickle() if secrets else PlainCodec(options.allow, options.max_value_bytes)
        self._old = None if secrets else OldPickleReader(options.allow)
        self._envelope = Envelope(secrets, options.namespace)
        self._namespace = options.namespace
        self._most = options.max_value_bytes
        self._longest = self._most + ENVELOPE_BYTES
        self._occasional = RateLimitedLog(options.clock or SystemClock())

    def encode(self, value: Any) -> bytes:
        """Return the payload of `value`; SerializationError if it can't be taken, or is too large."""
        if type(value) is int and _LOWEST <= value <= _HIGHEST:
            return b"%d" % value
        if value is NOT_FOUND:
            raise SerializationError("NOT_FOUND is what a loader returns, and no value: delete the key instead")
        payload = self._codec.encode(value)
        if len(payload) > self._most:
            raise SerializationError(
                f"a value of type {type(value).__qualname__} takes {len(payload)} bytes encoded, "
                f"and max_value_bytes is {self._most}"
            )
        return payload

    def decode(self, payload: bytes) -> Any:
        """Return the value of a payload; SerializationError if it isn't one."""
        if payload[:1] in _FIRST:
            value = _raw(payload)
            if value is None:
                raise SerializationError("the payload is not an integer of 64 bits")
            return value
        return self._codec.decode(payload)

    def seal(self, key: bytes, op_id: bytes, payload: bytes, stamps: bytes = b"") -> bytes:
        """Return the bytes to store under `key` for a payload of `encode`, made by write `op_id`.

        `stamps`: those of a tagged entry, packed. A tagged integer has an envelope, and can't be counted up.
        """
        if stamps:
            return self._envelope.seal(key, op_id, stamps + payload, self._codec.flag | _TAGGED)
        if payload[:1] in _FIRST and not self.signs:
            return payload
        return self._envelope.seal(key, op_id, payload, self._codec.flag)

    def is_number(self, data: bytes) -> bool:
        """Return True if `data` is a raw integer."""
        return data[:1] in _FIRST and _raw(data) is not None

    def is_bare_number(self, data: bytes) -> bool:
        """Return True if `data` is a raw integer where values are signed: then its warrant says whether it counts."""
        return self.signs and self.is_number(data)

    def signed_number(self, key: bytes, data: bytes) -> int | None:
        """Return the integer that `set` has stored under `key` as `data`; None if `data` holds none, or has tags."""
        sealed = self._envelope.open(key, data) if self.signs else None
        return None if sealed is None or sealed.flags != self._codec.flag else _raw(sealed.payload)

    def warrant(self, key: bytes, op_id: bytes) -> bytes:
        """Return the warrant of a counter, to be stored at `key` beside the counter's number."""
        return self._envelope.seal(key, op_id, b"", _WARRANT, WARRANT)

    def is_warrant(self, key: bytes, data: bytes | None) -> bool:
        """Return True if `data`, read from `key`, is the warrant of a counter."""
        sealed = None if data is None else self._envelope.open(key, data, WARRANT)
        return sealed is not None and sealed.flags == _WARRANT

    def absence(self, key: bytes, op_id: bytes, stamps: bytes = b"") -> bytes:
        """Return the envelope that records under `key` that write `op_id` found no value; `stamps` as for `seal`."""
        return self._envelope.seal(key, op_id, stamps, _ABSENT, ABSENCE)

    def absent(self, key: bytes, data: bytes) -> Mapping[str, bytes] | None:
        """Return the stamps of `data` if `data` records that `key` has no value; otherwise None."""
        sealed = self._envelope.open(key, data, ABSENCE)
        if sealed is None or sealed.flags != _ABSENT:
            return None
        if not sealed.payload:
            return NO_STAMPS
        unpacked = unpack_stamps(sealed.payload)
        return None if unpacked is None else unpacked[0]

    def dump(self, key: bytes, op_id: bytes, value: Any) -> bytes:
        """Return the bytes to store under `key` for `value`; SerializationError if its type is refused or its size."""
        return self.seal(key, op_id, self.encode(value))

    def load(self, key: bytes, data: bytes, *, counted: bool = False) -> Loaded | None:
        """Return the value stored under `key` as `data`; None if `data` is foreign or damaged.

        Such data is logged, without the key and at most once a minute. Where values are signed, a raw integer is
        accepted only if `counted` says that its warrant was found.
        """
        if data[:1] in _FIRST:
            number = _raw(data)
            if number is not None and (counted or not self.signs):
                return Loaded(number, None, data)
        elif len(data) <= self._longest or (is_tagged(data) and len(data) <= self._longest + MOST_STAMPS_BYTES):
            sealed = self._envelope.open(key, data)
            if sealed is not None and (sealed.flags == self._codec.flag or self._reads(sealed.flags & ~_TAGGED)):
                try:
                    if sealed.flags == self._codec.flag:  # as nearly all are
                        return Loaded(self.decode(sealed.payload), sealed.op_id, sealed.payload)
                    return self._opened(sealed)
                except SerializationError as error:
                    self._complain(str(error))
                    return None
        self._complain("foreign, damaged, too large, or signed with another secret")
        return None

    def wrap(self, key: bytes, op_id: bytes, payload: bytes) -> bytes:
        """Return a payload as an entry of a stream, in an envelope for `key`; integers get an envelope here, too."""
        return self._envelope.seal(key, op_id, payload, self._codec.flag, ENTRY)

    def unwrap(self, key: bytes, data: bytes) -> Sealed | None:
        """Return the envelope's contents from `data`, made by `wrap`; None if `data` is foreign or damaged."""
        sealed = self._envelope.open(key, data, ENTRY)
        return sealed if sealed is not None and self._reads(sealed.flags) else None

    def read(self, payload: bytes, flag: int) -> tuple[Any, bytes]:
        """Return the value of a payload of codec `flag`, and its payload of the codec in use."""
        if flag == self._codec.flag or payload[:1] in _FIRST:
            return self.decode(payload), payload
        if self._old is None or flag != self._old.flag:
            raise SerializationError("the payload is of another codec")
        value = self._old.decode(payload)
        return value, self._codec.encode(value)

    def _reads(self, flag: int) -> bool:
        """Return True if a payload of codec `flag` is read here: of the codec in use, or of the one before it."""
        return flag == self._codec.flag or (self._old is not None and flag == self._old.flag)

    def _opened(self, sealed: Sealed) -> Loaded:
        flag = sealed.flags & ~_TAGGED
        if not sealed.flags & _TAGGED:
            return self._loaded(sealed.payload, flag, sealed.op_id, NO_STAMPS)
        unpacked = unpack_stamps(sealed.payload)
        if unpacked is None:
            raise SerializationError("the tags of a value are damaged")
        stamps, payload = unpacked
        if len(payload) > self._most:
            raise SerializationError(f"the payload takes {len(payload)} bytes, and max_value_bytes is {self._most}")
        return self._loaded(payload, flag, sealed.op_id, stamps)

    def _loaded(self, payload: bytes, flag: int, op_id: bytes, stamps: Mapping[str, bytes]) -> Loaded:
        value, payload = self.read(payload, flag)
        return Loaded(value, op_id, payload, stamps)

    def _complain(self, reason: str) -> None:
        message = "a value of namespace %s on the server can't be used and counts as missing: %s (logged once a minute)"
        self._occasional.log(logging.WARNING, "unusable", message, self._namespace, reason)


_FIRST: Final = frozenset(bytes([byte]) for byte in _DIGITS)
"""The first byte of a raw integer; no payload and no envelope begins like that."""


def is_tagged(data: bytes) -> bool:
    """Return True if `data` has the flags of a tagged value's envelope; its contents are not checked."""
    return bool(flags_of(data) & _TAGGED)


def _raw(data: bytes) -> int | None:
    """Return the integer that `data` is the canonical form of, None for anything else."""
    if len(data) > _LONGEST:
        return None
    try:
        number = int(data)
    except ValueError:
        return None
    return number if b"%d" % number == data and _LOWEST <= number <= _HIGHEST else None

"""The entries of the stream: their keys on the server, and their bytes.

An entry has two fields: `k`, the key, and `d`, an envelope for this stream and key around one byte
(put, remove, or retry the dead letters), the entry's origin (`high_water.py`) and the encoded
value. With a secret the envelope is signed, even if the value is an integer. An entry that doesn't
open is foreign: it becomes a dead letter, and nothing in it is executed. Where there is a secret, so
does an entry of the previous version, which has no origin.

A dead letter begins with three fields of our own (`e`, the error; `n`, attempts; `i`, the id it had), which aren't
signed, then its own.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from twotier.codec.envelope import Sealed
from twotier.codec.values import Values
from twotier.core.access.keys import as_bytes, name_beside
from twotier.core.write_behind.high_water import ORIGIN_BYTES, HighWater, Origin
from twotier.core.write_behind.reports import DeadLetter
from twotier.errors import SerializationError
from twotier.options import MAX_KEY_BYTES
from twotier.remote.commands.streams import Entry
from twotier.remote.commands.write_markers import FinishedWrite

_PUT: Final = b"p"
_REMOVE: Final = b"r"
_RETRY: Final = b"a"
_BEFORE: Final = (b"P", b"R", b"A")
"""The same in the previous version, without an origin."""
_DEAD_FIELDS: Final = 6
_ENTRY_ID: Final = 5
_ID: Final = re.compile(rb"\d{1,19}-\d{1,19}")
_COUNT: Final = re.compile(rb"\d{1,9}")
LONGEST_ERROR: Final = 500
"""Characters of an error that are kept."""


@dataclass(frozen=True, slots=True)
class Change:
    """One write of one key."""

    id: bytes
    """Its id in the stream."""
    key: str
    value: Any
    """The value; None for a removal."""
    written: FinishedWrite
    """The write's op id, its payload (None for a removal), and its entry's id."""
    fields: list[bytes]
    """The entry's fields as they are in the stream."""
    origin: Origin | None = None
    """The origin of the entry; None for an entry of the previous version."""

    @property
    def removes(self) -> bool:
        """Whether the key is to be deleted."""
        return self.written.payload is None


@dataclass(frozen=True, slots=True)
class Retry:
    """A request to retry the dead letters."""

    origin: Origin | None


class Entries:
    """One stream of a namespace: the names of its keys, and its entries as bytes and back.

    Where there are several, `tag` puts the names of each into a slot, and `label` tells its dead letters from others'.
    """

    def __init__(self, namespace: str, values: Values, tag: str = "", label: str = "") -> None:
        self.label: Final = label
        self.stream: Final = f"{namespace}:wb{tag}".encode()
        """The stream. It doesn't belong to a generation: a clear loses no write."""
        self.dead: Final = self.stream + b"!dead"
        """The stream of dead letters."""
        self.lease: Final = self.stream + b"!lease"
        """The drain lock, which names the process that drains."""
        self.record: Final = self.stream + b"!seen"
        """Which entries the source has had: a `HighWater`."""
        self._values = values

    def put(self, key: str, op_id: bytes, origin: Origin, payload: bytes) -> list[bytes]:
        """Return the fields of an entry that puts an encoded value."""
        return self._sealed(as_bytes(key), op_id, _PUT + origin.pack() + payload)

    def remove(self, key: str, op_id: bytes, origin: Origin) -> list[bytes]:
        """Return the fields of an entry that deletes a key."""
        return self._sealed(as_bytes(key), op_id, _REMOVE + origin.pack())

    def retry(self, op_id: bytes, origin: Origin) -> list[bytes]:
        """Return the fields of an entry that asks for the dead letters to be tried again; it has no key."""
        return self._sealed(b"", op_id, _RETRY + origin.pack())

    def open(self, entry: Entry) -> Change | Retry | None:
        """Return the change or the retry in an entry; None if the entry is foreign."""
        found = self._unsealed(entry.fields)
        if found is None:
            return None
        fields, sealed, kind, origin = found
        if not (key := fields[1]):
            return Retry(origin) if kind == _RETRY else None
        payload = sealed.payload[1 if origin is None else 1 + ORIGIN_BYTES :]
        try:
            name = key.decode("utf-8", "surrogatepass")
            if kind == _REMOVE:
                return Change(entry.id, name, None, FinishedWrite(sealed.op_id, None, entry.id), fields, origin)
            if kind == _PUT:
                value, payload = self._values.read(payload, sealed.flags)
                return Change(entry.id, name, value, FinishedWrite(sealed.op_id, payload, entry.id), fields, origin)
        except (SerializationError, UnicodeDecodeError):
            pass
        return None

    def _unsealed(self, fields: list[bytes] | None) -> tuple[list[bytes], Sealed, bytes, Origin | None] | None:
        """Return the fields of an entry of ours, their sealed content, its kind, and its origin."""
        if fields is None or len(fields) != 4 or fields[::2] != [b"k", b"d"]:  # noqa: PLR2004 - two names, two values
            return None
        key, data = fields[1], fields[3]
        if len(key) > MAX_KEY_BYTES or (sealed := self._values.unwrap(self._place(key), data)) is None:
            return None
        kind = sealed.payload[:1]
        if kind in _BEFORE:
            if self._values.signs:
                return None  # whoever has seen the entry once could replay it
            return fields, sealed, kind.lower(), None
        origin = Origin.unpack(sealed.payload[1 : 1 + ORIGIN_BYTES])
        return None if origin is None else (fields, sealed, kind, origin)

    @staticmethod
    def bury(entry_id: bytes, fields: Iterable[bytes], error: str, attempts: int) -> list[bytes]:
        """Return the fields of the dead letter that an entry becomes."""
        said = error[:LONGEST_ERROR].encode(errors="backslashreplace")
        return [b"e", said, b"n", b"%d" % attempts, b"i", entry_id, *fields]

    def exhume(self, letter: Entry) -> Change | None:
        """Return the change in a dead letter, under the id of the letter; None if the letter is foreign."""
        fields = letter.fields
        if fields is None or not _is_letter(fields) or not _ID.fullmatch(fields[_ENTRY_ID]):
            return None
        found = self.open(Entry(letter.id, fields[_DEAD_FIELDS:]))
        if not isinstance(found, Change):
            return None
        return replace(found, written=found.written._replace(entry_id=fields[_ENTRY_ID]))

    def origin_of(self, letter: Entry) -> Origin | None:
        """Return the origin of a dead letter, also of one whose value can't be decoded here; None without one."""
        fields = letter.fields or []
        found = self._unsealed(fields[_DEAD_FIELDS:]) if _is_letter(fields) else None
        return None if found is None else found[3]

    def letter(self, letter: Entry) -> DeadLetter:
        """Return a dead letter as callers see it."""
        change, fields = self.exhume(letter), letter.fields or []
        ours = _is_letter(fields)
        error = fields[1][: 4 * LONGEST_ERROR].decode(errors="replace")[:LONGEST_ERROR] if ours else ""
        return DeadLetter(
            id=self.label + letter.id.decode(),
            key=None if change is None else change.key,
            value=None if change is None else change.value,
            deleted=change is not None and change.removes,
            error=error if ours else "not a dead letter of ours",
            attempts=int(fields[3]) if ours and _COUNT.fullmatch(fields[3]) else 0,
        )

    def seal_record(self, record: HighWater, op_id: bytes) -> tuple[bytes, bytes]:
        """Return the name and the sealed bytes of the record of entries that have reached the source."""
        return self.record, self._values.wrap(self.record, op_id, record.pack())

    def open_record(self, data: bytes) -> HighWater | None:
        """Return the record of entries that have reached the source; None if `data` isn't ours."""
        sealed = self._values.unwrap(self.record, data)
        return None if sealed is None else HighWater.unpack(sealed.payload)

    def _sealed(self, key: bytes, op_id: bytes, payload: bytes) -> list[bytes]:
        return [b"k", key, b"d", self._values.wrap(self._place(key), op_id, payload)]

    def _place(self, key: bytes) -> bytes:
        return self.stream + b"\0" + key


def _is_letter(fields: list[bytes]) -> bool:
    return len(fields) >= _DEAD_FIELDS and fields[:_DEAD_FIELDS:2] == [b"e", b"n", b"i"]


def markers_on(places: Iterable[bytes]) -> list[bytes]:
    """Return the names of the write markers of the keys at `places`; a generation's name has no tilde."""
    return [name_beside(place, b"~!") for place in places]

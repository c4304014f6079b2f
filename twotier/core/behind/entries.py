"""The entries of the stream: which keys they stand under, and how each is sealed.

An entry has two fields, `k`, the key, and `d`, an envelope for this stream and key around one byte (put, remove, or ask
for the dead letters to be tried again) and the encoded value. With a secret it is signed, also where the value is
an integer. An entry that doesn't open is foreign: it is put with the dead letters, and nothing of it is executed.

A dead letter begins with three fields of our own (`e`, the error; `n`, attempts; `i`, the id it had), then its own.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from twotier.core.behind.reports import DeadLetter
from twotier.core.generation import beside
from twotier.core.keys import as_bytes
from twotier.errors import SerializationError
from twotier.remote.marks import Written
from twotier.remote.stream import Entry
from twotier.remote.values import Values

_PUT: Final = b"P"
_REMOVE: Final = b"R"
_RETRY: Final = b"A"
_DEAD_FIELDS: Final = 6
_ENTRY_ID: Final = 5
_ID: Final = re.compile(rb"\d{1,19}-\d{1,19}")
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
    written: Written
    """What is known of the write: its op id, and its payload (None for a removal)."""
    fields: list[bytes]
    """As it stands in the stream."""

    @property
    def removes(self) -> bool:
        """Whether the key is to be deleted."""
        return self.written.payload is None


class Retry:
    """The wish that dead letters be tried again."""


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
        """Names the process that drains."""
        self._values = values

    def put(self, key: str, op_id: bytes, payload: bytes) -> list[bytes]:
        """Return the fields of an entry that puts an encoded value."""
        return self._sealed(as_bytes(key), op_id, _PUT + payload)

    def remove(self, key: str, op_id: bytes) -> list[bytes]:
        """Return the fields of an entry that deletes a key."""
        return self._sealed(as_bytes(key), op_id, _REMOVE)

    def retry(self, op_id: bytes) -> list[bytes]:
        """Return the fields of an entry that asks for the dead letters to be tried again; it has no key."""
        return self._sealed(b"", op_id, _RETRY)

    def open(self, entry: Entry) -> Change | Retry | None:
        """Return what an entry says; None if it is foreign."""
        fields = entry.fields
        if fields is None or len(fields) != 4 or fields[::2] != [b"k", b"d"]:  # noqa: PLR2004 - two names, two values
            return None
        key, data = fields[1], fields[3]
        sealed = self._values.unwrap(self._place(key), data)
        if sealed is None:
            return None
        kind, payload = sealed.payload[:1], sealed.payload[1:]
        if not key:
            return Retry() if kind == _RETRY else None
        try:
            name = key.decode("utf-8", "surrogatepass")
            if kind == _REMOVE:
                return Change(entry.id, name, None, Written(sealed.op_id, None, entry.id), fields)
            if kind == _PUT:
                value = self._values.decode(payload)
                return Change(entry.id, name, value, Written(sealed.op_id, payload, entry.id), fields)
        except (SerializationError, UnicodeDecodeError):
            pass
        return None

    @staticmethod
    def bury(entry_id: bytes, fields: Iterable[bytes], error: str, attempts: int) -> list[bytes]:
        """Return the fields of the dead letter that an entry becomes."""
        said = error[:LONGEST_ERROR].encode(errors="backslashreplace")
        return [b"e", said, b"n", b"%d" % attempts, b"i", entry_id, *fields]

    def exhume(self, letter: Entry) -> Change | None:
        """Return what a dead letter was to write, under the id of the letter; None if it is foreign."""
        fields = letter.fields
        if fields is None or fields[:_DEAD_FIELDS:2] != [b"e", b"n", b"i"] or not _ID.fullmatch(fields[_ENTRY_ID]):
            return None
        found = self.open(Entry(letter.id, fields[_DEAD_FIELDS:]))
        if not isinstance(found, Change):
            return None
        return replace(found, written=found.written._replace(entry_id=fields[_ENTRY_ID]))

    def letter(self, letter: Entry) -> DeadLetter:
        """Return a dead letter as callers see it."""
        change, fields = self.exhume(letter), letter.fields or []
        ours = fields[:_DEAD_FIELDS:2] == [b"e", b"n", b"i"]
        attempts = fields[3] if ours else b""
        return DeadLetter(
            id=self.label + letter.id.decode(),
            key=None if change is None else change.key,
            value=None if change is None else change.value,
            deleted=change is not None and change.removes,
            error=fields[1].decode(errors="replace") if ours else "not a dead letter of ours",
            attempts=int(attempts) if attempts.isdigit() else 0,
        )

    def _sealed(self, key: bytes, op_id: bytes, payload: bytes) -> list[bytes]:
        return [b"k", key, b"d", self._values.wrap(self._place(key), op_id, payload)]

    def _place(self, key: bytes) -> bytes:
        return self.stream + b"\0" + key


def marks_on(places: Iterable[bytes]) -> list[bytes]:
    """Return the names of the marks of writes of the keys at `places`; a generation's name has no tilde."""
    return [beside(place, b"~!") for place in places]

"""The twin's table maps keys to entries, and runs no foreign Python code while it changes.

A dict of the keys themselves would compare keys, which may run foreign code, in the middle of an insertion or a
removal. This table maps hashes (ints) to short lists of entries. Only `find` compares keys, and it starts over when a
comparison has changed the table.
"""

from collections.abc import Hashable, Iterator

from twotier.local.twin.eviction import Entry


class Table:
    """Entries by key."""

    __slots__ = ("_by_hash", "_changes", "_size")

    def __init__(self) -> None:
        self._by_hash: dict[int, list[Entry]] = {}
        self._changes = 0
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over the entries there are now."""
        return iter([entry for entries in self._by_hash.values() for entry in entries])

    def find(self, key: Hashable) -> Entry | None:
        """Return the entry under `key`. Runs the keys' comparisons."""
        hash_ = hash(key)
        while True:
            changes = self._changes
            for entry in self._by_hash.get(hash_, ()):
                equal = entry.key is key or entry.key == key
                if self._changes != changes:
                    break
                if equal:
                    return entry
            else:
                return None

    def add(self, entry: Entry) -> None:
        """Put an entry whose key isn't there."""
        self._changes += 1
        self._size += 1
        self._by_hash.setdefault(entry.hash, []).append(entry)

    def remove(self, entry: Entry) -> None:
        """Take an entry out."""
        self._changes += 1
        self._size -= 1
        entries = [other for other in self._by_hash[entry.hash] if other is not entry]
        if entries:
            self._by_hash[entry.hash] = entries
        else:
            del self._by_hash[entry.hash]

    def clear(self) -> list[Entry]:
        """Take all entries out, and return them."""
        entries = list(self)
        self._changes += 1
        self._size = 0
        self._by_hash = {}
        return entries

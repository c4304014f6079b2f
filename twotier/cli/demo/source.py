"""The source of truth: one SQLite table of modules, written by one process and read by all."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypedDict

from twotier.cli.demo.catalogue import Module

_PATIENCE: Final = 10.0
"""Seconds a reader waits while the file is locked."""
_COLUMNS: Final = ("name", "docstring", "size", "lines", "version", "note")
_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM module"  # noqa: S608 - constants


class Row(TypedDict):
    """A row, in the form that the source returns and the cache keeps."""

    name: str
    docstring: str
    size: int
    lines: int
    version: int
    """Number of the write that last changed the row; every write of the table has its own number."""
    note: str
    """Text of that write, which exposes a mixture of two versions."""


class Source:
    """The table, as one process sees it. Rows are known by their name, and by their position in `names()`."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)

    @classmethod
    def create(cls, path: Path, modules: Sequence[Module]) -> None:
        """Make the file and fill it: the row at position `i` has version `i + 1`."""
        connection = sqlite3.connect(path)
        try:
            connection.execute("PRAGMA journal_mode=WAL")  # readers don't wait for the writer
            connection.execute(
                "CREATE TABLE module (position INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL, "
                "docstring TEXT NOT NULL, size INTEGER NOT NULL, lines INTEGER NOT NULL, "
                "version INTEGER NOT NULL, note TEXT NOT NULL)"
            )
            connection.executemany(
                "INSERT INTO module VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        position,
                        module.name,
                        module.docstring,
                        module.size,
                        module.lines,
                        version,
                        note(module.name, version),
                    )
                    for position, module in enumerate(modules)
                    for version in (position + 1,)
                ],
            )
            connection.commit()
        finally:
            connection.close()

    def rows(self) -> list[Row]:
        """Return every row, by position."""
        return [_row(found) for found in self._connection.execute(f"{_SELECT} ORDER BY position")]

    def read(self, name: str) -> Row:
        """Return the row of the module called `name`; KeyError without one."""
        found = self._connection.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
        if found is None:
            raise KeyError(name)
        return _row(found)

    def update(self, name: str, version: int) -> None:
        """Write and commit a new version of a row."""
        self._connection.execute(
            "UPDATE module SET version = ?, note = ? WHERE name = ?", (version, note(name, version), name)
        )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def note(name: str, version: int) -> str:
    """Return the text that write number `version` puts into the row of `name`."""
    return f"{name} as of write {version}"


def _row(found: Sequence[str | int]) -> Row:
    return dict(zip(_COLUMNS, found, strict=True))  # type: ignore[return-value]

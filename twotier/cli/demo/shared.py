"""Memory that the demo's processes share: a file of 64-bit integers, mapped by each.

An aligned integer is read and written in one piece, so one writer an integer needs no lock.
"""

import mmap
from pathlib import Path
from typing import Final

WIDTH: Final = 8
"""Bytes of an integer."""


def create(path: Path, count: int) -> None:
    """Make a file of `count` integers, all zero (and sparse, where the file system can)."""
    with path.open("xb") as file:
        file.truncate(count * WIDTH)


def attach(path: Path) -> memoryview:
    """Return the integers of the file as a writable view."""
    with path.open("r+b") as file:
        return memoryview(mmap.mmap(file.fileno(), 0)).cast("q")

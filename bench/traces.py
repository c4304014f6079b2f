"""Access traces as lists of small ints: one an access, numbered by first appearance.

Read by shape, whatever the name, compressed (.xz, .gz) or not:

    NAME.u32[.xz]      little-endian uint32, one an access
    one token a line   Caffeine's and LIRS's ("*" ends a phase), libCacheSim's plain text
    four ints a line   ARC's: first block, number of blocks, and two that are ignored
    a,b,c[,...]        libCacheSim's csv: time, key, size (a header line is skipped)
"""

import array
import gzip
import itertools
import lzma
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path


def read(path: Path) -> list[int]:
    """Return the trace in a file."""
    opened = {".xz": lzma.open, ".gz": gzip.open}.get(path.suffix, open)
    with opened(path, "rb") as file:
        data: bytes = file.read()
    name = path.with_suffix("") if path.suffix in {".xz", ".gz"} else path
    return numbered(uint32(data) if name.suffix == ".u32" else tokens(data.decode(errors="replace").splitlines()))


def numbered(keys: Iterable[object]) -> list[int]:
    """Return keys as numbers, by first appearance."""
    numbers: dict[object, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def uint32(data: bytes) -> "array.array[int]":
    """Read little-endian uint32."""
    keys = array.array("I", data)
    if sys.byteorder == "big":
        keys.byteswap()
    return keys


def tokens(lines: list[str]) -> Iterator[object]:
    """Yield the keys of a text trace."""
    for number, line in enumerate(lines):
        fields = line.split()
        if len(fields) == 4 and all(field.isdigit() for field in fields):
            yield from range(int(fields[0]), int(fields[0]) + int(fields[1]))
        elif "," in line:
            columns = [column.strip() for column in line.split(",")]
            if number or columns[0].replace(".", "", 1).isdigit():
                yield columns[1]
        elif fields and fields[0] != "*":
            yield fields[0]


def synthetic() -> dict[str, list[int]]:
    """Return traces for when none is given.

    A loop; Zipf's law on its own, interrupted by scans, and with other keys from half way on, alone or with a scan
    between all of its accesses.
    """
    import random  # noqa: PLC0415 - only here

    source = random.Random(1)
    weights = [1 / (rank + 1) ** 0.9 for rank in range(20_000)]
    zipf = source.choices(range(20_000), weights, k=200_000)
    scans = itertools.count(1_000_000)
    moved = [key + 500_000 for key in source.choices(range(20_000), weights, k=200_000)]
    return {
        "zipf": numbered(zipf),
        "zipf, scanned": numbered(
            itertools.chain.from_iterable(
                [key] if i % 20_000 else [key, *itertools.islice(scans, 5_000)] for i, key in enumerate(zipf)
            )
        ),
        "zipf, moved": numbered([*zipf, *moved]),
        "zipf, moved, scanned": numbered([*zipf, *(key for pair in zip(moved, scans, strict=False) for key in pair)]),
        "loop": [i % 2_000 for i in range(100_000)],
    }

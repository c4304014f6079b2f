"""Construct `pathlib` paths from payloads without interning their parts.

`pathlib` interns each part of a path, and Python 3.12 keeps interned strings until the process ends.
A path parses itself when it is hashed or converted to text, so planted payloads could fill the memory
permanently. On Python 3.12 this module therefore sets the parts itself: the same parts that the path's
own parser finds, but not interned. Text and hash then need no parsing.
"""

import pathlib
import sys
from typing import Any, Final

KEEPS_INTERNED: Final = sys.version_info[:2] == (3, 12)
"""Whether interned strings, and so the parts of each path that was parsed, are never freed."""


def make_path(kind: type[pathlib.PurePath], text: str) -> pathlib.PurePath:
    """Return the path that `text` names."""
    path = kind(text)
    if KEEPS_INTERNED:
        _set_parts(path, text)
    return path


def _set_parts(path: Any, text: str) -> None:
    drive, root, parts = _parsed(path._flavour, text)  # noqa: SLF001 - nothing public says it
    path._drv, path._root, path._tail_cached = drive, root, parts  # noqa: SLF001 - the attributes that its parser sets
    path._str = path._format_parsed_parts(drive, root, parts) or "."  # noqa: SLF001 - as it does itself


def _parsed(flavour: Any, text: str) -> tuple[str, str, list[str]]:
    """Return drive, root and parts, as `PurePath._parse_path` of Python 3.12 does."""
    if flavour.altsep:
        text = text.replace(flavour.altsep, flavour.sep)
    drive, root, relative = flavour.splitroot(text)
    if not root and drive.startswith(flavour.sep) and not drive.endswith(flavour.sep):
        parts = drive.split(flavour.sep)
        if (len(parts) == 4 and parts[2] not in "?.") or len(parts) == 6:  # noqa: PLR2004 - //server/share, //?/unc/server/share
            root = flavour.sep
    return drive, root, [part for part in relative.split(flavour.sep) if part and part != "."]

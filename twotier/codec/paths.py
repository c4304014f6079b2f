"""Paths of payloads, made so that what is read leaves nothing behind.

`pathlib` interns each part of a path, and Python 3.12 keeps what is interned until the process ends. A path parses
itself when it is hashed, as a key is, or turned into text: whoever plants payloads could fill the memory for good. So
on 3.12 a path gets its parts here, as its own parser finds them but not interned; text and hash need no parsing then.
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
    path._drv, path._root, path._tail_cached = drive, root, parts  # noqa: SLF001 - what its parser sets
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

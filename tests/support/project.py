"""The project's own files, for the tests that read them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

SOURCES = {
    "twotier": ROOT / "twotier",
    "twotier.django": ROOT / "django_integration",
}
"""Folder of each top package, by the name it is imported under."""


def modules() -> dict[str, Path]:
    """Return every Python module that is shipped, by the name it is imported under."""
    found = {}
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            found[name] = path
    return found


def written_files() -> list[Path]:
    """Return every source file that people write and read: shipped code, the extension, tests and benches."""
    folders = (*SOURCES.values(), ROOT / "_speedups", ROOT / "tests", ROOT / "bench")
    return sorted(
        path
        for folder in folders
        for path in folder.rglob("*")
        if path.suffix in {".py", ".pyi", ".pyx", ".pxi", ".pxd", ".h"}
    )


class Stop(NamedTuple):
    """A place that CONTRIBUTING.md's map shows."""

    walk: str
    """Heading of the walk that it is on; "" in the table of changes."""
    path: str
    """A file or folder, from the project's root."""
    names: tuple[str, ...]
    """What it shows there: classes, methods, functions."""


def stops() -> list[Stop]:
    """Return the places on the map, in order: each path in code type, with the names that follow it.

    A name follows a path, or another name, after a comma; one that begins with a capital may stand anywhere up to the
    next path of its walk or line. Anything else in code type is prose.
    """
    section = (ROOT / "CONTRIBUTING.md").read_text().partition("## The map\n")[2].partition("\n## ")[0]
    found: list[Stop] = []
    walk, end, bare = "", -1, True
    for span in re.finditer(r"^\*\*(?P<walk>.+?)\*\*|^(?P<line>\| )|`(?P<code>[^`]+)`", section, flags=re.MULTILINE):
        code = span["code"]
        if code is None:
            walk, bare = span["walk"] or "", True
        elif re.fullmatch(r"[\w.]+(/[\w.]*)+", code):
            found.append(Stop(walk, code, ()))
            end, bare = span.end(), False
        elif re.fullmatch(r"[A-Za-z_][\w.]*", code) and not bare:
            chained = re.fullmatch(r",\s+", section[end : span.start()])
            if chained or code[0].isupper():
                found[-1] = found[-1]._replace(names=(*found[-1].names, code))
                end = span.end()
    return found

"""The demo's data: the modules of the running Python's own standard library, read as text, never imported."""

import ast
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from sysconfig import get_path
from typing import Final

from twotier.errors import ConfigurationError

_LEFT_OUT: Final = frozenset({"__pycache__", "idle_test", "site-packages", "dist-packages", "test", "tests"})
_LEAST: Final = 20
"""Modules under which a standard library was stripped, and there is nothing to show."""


@dataclass(frozen=True, slots=True)
class Module:
    """One module of the standard library, described from its source file."""

    name: str
    docstring: str
    size: int
    """Bytes of source."""
    lines: int


def standard_library(root: Path | None = None) -> list[Module]:
    """Return the modules whose source lies under `root` (default: the running Python's), by name.

    Tests, and files that aren't valid Python, are left out. Raises ConfigurationError where hardly any are left, as in
    a Python that ships without sources.
    """
    root = root or Path(get_path("stdlib"))
    modules = sorted(_modules(root), key=lambda module: module.name)
    if len(modules) < _LEAST:
        raise ConfigurationError(
            f"the demo reads the source of the standard library, and found {len(modules)} modules in {root}: "
            "run it on a Python that ships with its sources"
        )
    return modules


def _modules(root: Path) -> Iterator[Module]:
    for path in root.rglob("*.py"):
        parts = path.relative_to(root).with_suffix("").parts
        if not _LEFT_OUT.isdisjoint(parts) or not all(map(str.isidentifier, parts)):
            continue
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        source = path.read_bytes()
        try:
            yield Module(name, _docstring(path), len(source), source.count(b"\n"))
        except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
            continue


def _docstring(path: Path) -> str:
    """Return the docstring; only the first statement is parsed, which takes a tenth of the time."""
    with tokenize.open(path) as source:
        first: list[str] = []
        for token in tokenize.generate_tokens(source.readline):
            if token.type == tokenize.NEWLINE:
                break
            if token.type == tokenize.STRING:
                first.append(token.string)
            elif token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.ENCODING):
                return ""
    return ast.get_docstring(ast.parse(" ".join(first))) or ""

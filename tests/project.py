"""The project's own files, for the tests that read them."""

from pathlib import Path

ROOT = Path(__file__).parent.parent

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

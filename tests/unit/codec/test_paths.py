"""Paths in payloads: made as pathlib makes them, and nothing of them stays when they are gone."""

import gc
import pathlib
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twin_codecs import CODECS

from twotier.codec.paths import make_path

KINDS = (pathlib.PurePosixPath, pathlib.PureWindowsPath, type(pathlib.Path()))


@pytest.fixture(params=CODECS)
def codec(request):
    """The plain codec, compiled and in Python."""
    return CODECS[request.param]


@pytest.mark.parametrize("kind", KINDS)
def test_parts_of_hashed_paths_are_freed(codec, kind):
    """Keys and items of sets are hashed as they are read; Python 3.12 keeps for good what that interns."""

    def payload(number):
        names = [f"{number}-{part}-{'x' * 1000}" for part in range(100)]
        return codec.encode([{kind("/".join(names[:50]), "x")}, {kind(*names[50:]): 1}])

    payloads = [payload(number) for number in range(100)]  # their texts have been interned: what is read is of others
    fresh = [each.replace(b"xxx", b"yyy") for each in payloads]
    codec.decode(fresh[0])
    tracemalloc.start()
    try:
        for each in fresh:
            codec.decode(each)
        gc.collect()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 4_000_000


PIECES = st.sampled_from(["/", "\\", ".", "..", "a", "B", "c:", "?", "UNC", " ", "\0"])


def looks(path):
    """Return what can be seen of a path."""
    return str(path), hash(path), repr(path), path.parts, path.drive, path.root, path.name, path.parent, path / "x"


@given(st.lists(PIECES, max_size=10).map("".join))
def test_paths_are_what_pathlib_makes(text):
    """Their text, hash, parts, drive, root and children are those of the same path that parsed itself."""
    for kind in KINDS:
        path, made = kind(text), make_path(kind, text)
        assert type(made) is kind
        assert made == path
        assert looks(made) == looks(path)

"""Walks: how many files of the package a reader opens to follow one call, traced and never counted by hand.

    python tests/unit/test_walks.py

prints each walk's number and files. `WALKS` says how each is taken.
"""

import sys

import pytest
from walks import WALKS

from twotier.local import COMPILED
from twotier.testing import EmbeddedServer

LIMITS = {
    # walk: (most files today, goal)
    "get": (24, 16),
    "set": (29, 18),
    "get_or_set": (47, 26),
    "invalidation": (11, 9),
    "write-behind": (43, None),
}
"""The first number may only go down: to the goal, which then takes its place."""


def test_every_walk_has_limits():
    """Each walk has a ceiling, and no goal lies above its ceiling."""
    assert set(LIMITS) == set(WALKS)
    assert all(goal is None or goal <= most for most, goal in LIMITS.values())


@pytest.mark.skipif(not COMPILED, reason="the Python twin has files of its own")
@pytest.mark.parametrize("walk", LIMITS)
def test_a_call_enters_few_files(walk, server, namespace):
    """A call enters no more files than its ceiling says."""
    files = WALKS[walk](server.url, namespace)
    most, _goal = LIMITS[walk]
    print(report(walk, files))
    assert files, "nothing was traced"
    assert len(files) <= most, report(walk, files)


def report(walk, files):
    """Return the walk's number, limits and files, a line each."""
    most, goal = LIMITS[walk]
    head = f"{walk}: {len(files)} files (ceiling {most}, goal {goal or 'none'})"
    return "\n".join([head, *(f"    {each}" for each in sorted(files))])


def main():
    """Print every walk."""
    with EmbeddedServer() as server:
        for number, (walk, take) in enumerate(WALKS.items()):
            print(report(walk, take(server.url, f"walk{number}")))


if __name__ == "__main__":
    sys.exit(main())

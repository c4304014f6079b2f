"""Containers that change while the store walks them: what was a copy stays one, and no process dies."""

import enum
import subprocess
import sys
from pathlib import Path

import pytest

from twotier.clock import NEVER

RACING = Path(__file__).with_name("racing.py")


@pytest.mark.parametrize("kind", ["list", "dict", "set", "nested", "keys", "removed"])
def test_containers_that_other_threads_change(twin, kind):
    """Threads change a value, or a list of keys, while others put it, get it and remove it: no error, no crash."""
    done = subprocess.run(
        [sys.executable, str(RACING), twin.__name__, kind, "1"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_a_comparison_that_lengthens_the_list_of_keys(make_store):
    """`get_many` asks for the keys that it was given, whatever is done to their list meanwhile."""
    store = make_store(10)
    keys = []

    class Growing:
        def __hash__(self):
            keys.append(self)
            return 1

    keys.extend([Growing(), Growing()])
    assert store.get_many(keys) == {}
    assert len(keys) >= 4
    assert store.counters()["misses"] == 2


def test_what_was_judged_is_what_is_kept(make_store):
    """A list that gets another item while a later one is judged is kept as it was."""
    mutable = bytearray(b"x")
    value = [1, None]

    class Meddling(enum.EnumMeta):
        def __hash__(cls):
            value[0] = mutable
            return type.__hash__(cls)

    class Colour(enum.Enum, metaclass=Meddling):
        RED = 1

    value[:] = [1, Colour.RED]
    store = make_store(10, copy="auto")
    store.put("key", value, expires=NEVER)
    assert store.get("key") == [1, Colour.RED]
    assert value[0] is mutable


def test_values_that_are_nested_too_deeply(make_store):
    """Past 300 containers in containers is a RecursionError on every Python, and what is less deep is kept."""
    store = make_store(10, copy="auto")
    for depth, fits in ((300, True), (302, False)):
        value = []
        for _ in range(depth):
            value = [value]
        if fits:
            store.put("key", value, expires=NEVER)
        else:
            with pytest.raises(RecursionError, match="300 deep"):
                store.put("key", value, expires=NEVER)
    found, depth = store.get("key"), 0
    while found:
        found, depth = found[0], depth + 1
    assert depth == 300

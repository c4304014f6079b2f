"""Entry points of the extension check what they are called on, and stores that aren't made yet hold nothing."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from twotier import LocalCache, _speedups
from twotier.clock import NEVER

ANY_SELF = Path(__file__).with_name("any_self.py")


def test_every_entry_point_with_any_self():
    """All methods, properties and operators, with selfs and arguments of all kinds, and on what is half made."""
    command = [sys.executable, "-X", "faulthandler", str(ANY_SELF)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100_000


@pytest.mark.parametrize("name", ["set", "expiry"])
def test_a_method_of_another_type_is_refused(name):
    """The error names the method, what it needs and what was given."""
    method = getattr(LocalCache, name)
    with pytest.raises(TypeError, match=f"LocalFront.{name} needs a LocalFront, got a dict"):
        method({}, "k", 1) if name == "set" else method({})
    with pytest.raises(TypeError):
        method(5)


def test_a_store_that_is_not_made_yet():
    """Code that runs while it is made finds it empty, and can't put anything into it; then it is a store."""
    found = []

    class Clock:
        @property
        def now(self):
            known = set(map(id, before))
            store = next(s for s in gc.get_objects() if type(s) is _speedups.Store and id(s) not in known)
            found.append(store.get("key"))
            with pytest.raises(RuntimeError, match="isn't initialised yet"):
                store.put("key", 1, expires=NEVER)
            return lambda: 0

    before = [thing for thing in gc.get_objects() if type(thing) is _speedups.Store]
    store = _speedups.Store(10, clock=Clock())
    store.renew(NEVER)
    store.put("key", 3, expires=NEVER)
    assert (found, store.get("key"), len(store)) == ([None], 3, 1)
    store.validate()

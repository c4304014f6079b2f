"""Caches belong to their process: copying and pickling them is refused in words that say what to do."""

import copy
import pickle
import pydoc

import pytest

from twotier import AsyncCache, Cache, WriteBehind


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, pickle.dumps], ids=["copy", "deepcopy", "pickle"])
@pytest.mark.parametrize("kind", [Cache, AsyncCache, WriteBehind])
def test_a_cache_is_neither_copied_nor_pickled(how, kind):
    """Whichever way it is tried."""
    thing = kind.__new__(kind) if kind is WriteBehind else kind()
    with pytest.raises(TypeError, match=rf"a {kind.__name__} can't be copied or pickled.*make another one"):
        how(thing)


@pytest.mark.parametrize("kind", [Cache, AsyncCache])
def test_help_on_get_tells_what_it_does(kind):
    """It speaks of keys and values, not of how the call is made."""
    shown = pydoc.render_doc(kind.get)
    assert "Return the value under `key`, or `default`" in shown
    assert "_missed" not in shown

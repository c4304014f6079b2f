"""`get_or_set` in every mode: one load, and nothing stored that was overtaken."""

import pytest

from twotier import TwoTierError


def test_get_or_set_loads_once(cache):
    """The loader runs on a miss only."""
    loads = []
    for _ in range(3):
        assert cache.get_or_set("key", lambda: loads.append(1) or {"loaded": len(loads)}) == {"loaded": 1}
    assert loads == [1]
    assert cache.stats().loads == 1


def test_get_or_set_stores_nothing_when_the_loader_raises(cache):
    """What a loader raises comes out, and the next call loads again."""
    with pytest.raises(ZeroDivisionError):
        cache.get_or_set("key", lambda: 1 / 0)
    assert cache.get_or_set("key", lambda: 2) == 2
    assert cache.stats().load_errors == 1


def test_loader_may_use_the_cache(cache):
    """A loader that loads other keys works; one that loads its own key is told so."""
    assert cache.get_or_set("outer", lambda: cache.get_or_set("inner", lambda: 1) + 1) == 2
    assert cache.get("inner") == 1
    with pytest.raises(TwoTierError, match="wait for itself"):
        cache.get_or_set("own", lambda: cache.get_or_set("own", lambda: 1))


def test_what_is_written_while_a_loader_runs_stands(cache):
    """A set or a delete of the key during its load wins over what was loaded."""
    assert cache.get_or_set("key", lambda: cache.set("key", "written") or "loaded") == "loaded"
    assert cache.get("key") == "written"
    assert cache.get_or_set("other", lambda: cache.delete("other") or "loaded") == "loaded"
    assert "other" not in cache

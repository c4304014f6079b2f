"""The model's local tier and the real one decide alike, on both twins."""

import importlib
import itertools
import os
import random

import pytest
from protocol.bounds import QUICK
from protocol.mirror import walk

TWINS = {"compiled": "twotier._speedups", "python": "twotier.local.twin.store"}
WALKS = 60
MIRRORED = [scenario for scenario in QUICK if not (scenario.staleness or scenario.parents or scenario.budget.expiries)]


@pytest.fixture(params=list(TWINS))
def twin(request):
    """The module of one twin."""
    try:
        return importlib.import_module(TWINS[request.param])
    except ImportError:
        if os.environ.get("TWOTIER_IMPL") != "python":
            raise
        pytest.skip("the extension isn't built, and TWOTIER_IMPL=python says that this is meant")


def named(make, keys):
    """Return a name for each key, no two in one bucket of the store: what sharing one costs is tested elsewhere."""
    store, names, numbers = make(None), [], itertools.count()
    while len(names) < keys:
        name = f"key {next(numbers)}"
        before = list(map(store.token, names))
        store.begin_write(name)
        if list(map(store.token, names)) == before:
            names.append(name)
    return names


@pytest.mark.parametrize("scenario", MIRRORED, ids=lambda scenario: scenario.name)
def test_store_decides_as_the_model_does(twin, scenario):
    """On random ways through the model, every hit, suspect, op id, token and install is the store's as well."""

    def make(clock):
        return twin.Store(100, policy="lru", clock=clock, seed=1)

    names = named(make, scenario.keys)
    chance = random.Random(scenario.name)
    assert sum(walk(scenario, make, names, chance) for _ in range(WALKS)) > 500


def test_difference_is_seen(twin):
    """A store that installs whatever the token is found out, and the way to it is told."""

    class Careless:
        def __init__(self, clock):
            self._store = twin.Store(100, clock=clock)

        def __getattr__(self, name):
            return getattr(self._store, name)

        def install(self, key, value, token, *, keep, **rest):  # noqa: ARG002 - a store's signature
            self._store.put(key, value, **rest)
            return True

    scenario = next(scenario for scenario in MIRRORED if scenario.name == "two readers and two writers")
    chance = random.Random(1)
    with pytest.raises(AssertionError, match="the model says") as found:
        sum(walk(scenario, Careless, ["key"], chance) for _ in range(WALKS))
    assert "P0" in found.value.__notes__[0]

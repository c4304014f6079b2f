"""Both twins of the local tier, under one fixture; every store that a test made is validated afterwards."""

import importlib
import os
from types import ModuleType

import pytest

from twotier.clock import NEVER, ManualClock

TWINS = {"compiled": "twotier._speedups", "python": "twotier.local.twin"}


@pytest.fixture(params=list(TWINS))
def twin(request) -> ModuleType:
    """The module of one twin."""
    try:
        return importlib.import_module(TWINS[request.param])
    except ImportError:
        if os.environ.get("TWOTIER_IMPL") != "python":
            raise
        pytest.skip("the extension isn't built, and TWOTIER_IMPL=python says that this is meant")


@pytest.fixture
def clock() -> ManualClock:
    """A clock that the test moves."""
    return ManualClock()


@pytest.fixture
def make_store(twin, clock):
    """Make stores that are live for good, small, `lru` and seeded unless told otherwise; validate them at the end."""
    made = []

    def make(maxsize=100, *, live=True, **options):
        options = {"policy": "lru", "clock": clock, "seed": 1} | options
        store = twin.Store(maxsize, **options)
        if live:
            store.renew(NEVER)
        made.append(store)
        return store

    yield make
    for store in made:
        store.validate()

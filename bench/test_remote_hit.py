"""A hit on the server, for which the local tier has to be missed: 100 gets a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contenders import MISSING_LOCALLY, REMOTE, REMOTE_KEYS
from interleaved import each

if TYPE_CHECKING:
    from contenders import Make
    from pytest_benchmark.fixture import BenchmarkFixture

CONTENDERS = REMOTE | MISSING_LOCALLY


@pytest.mark.benchmark(group="remote hit: 100 gets")
@pytest.mark.parametrize("name", CONTENDERS)
def test_remote_hit(benchmark: BenchmarkFixture, contender: Make, url: str, name: str) -> None:
    """Every get asks the server, and finds its key there; twotier installs it locally, in the place of another."""
    cache = contender(CONTENDERS[name], url, REMOTE_KEYS)
    with cache.hitting("remote"):
        benchmark(each(cache.get, REMOTE_KEYS))

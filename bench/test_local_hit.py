"""A hit in this process's memory: 10,000 gets of shuffled str keys a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contenders import IN_PROCESS, LOCAL_KEYS, TWO_TIERS
from interleaved import each

if TYPE_CHECKING:
    from contenders import Make
    from pytest_benchmark.fixture import BenchmarkFixture

    from twotier.remote.deploy.embedded import EmbeddedServer

CONTENDERS = IN_PROCESS | TWO_TIERS


@pytest.mark.benchmark(group="local hit: 10,000 gets")
@pytest.mark.parametrize("name", CONTENDERS)
def test_local_hit(benchmark: BenchmarkFixture, contender: Make, server: EmbeddedServer, name: str) -> None:
    """Every get finds its key in the process; a two-tier cache's link is live."""
    cache = contender(CONTENDERS[name], server.url, LOCAL_KEYS)
    with cache.hitting("local"):
        benchmark(each(cache.get, LOCAL_KEYS))

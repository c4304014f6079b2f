"""A write: 100 sets of keys that are there already, a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from contenders import IN_PROCESS, REMOTE, REMOTE_KEYS, TWO_TIERS

if TYPE_CHECKING:
    from contenders import Make
    from pytest_benchmark.fixture import BenchmarkFixture

WITH_A_SERVER = REMOTE | TWO_TIERS


@pytest.mark.benchmark(group="set in this process: 100 sets")
@pytest.mark.parametrize("name", IN_PROCESS)
def test_set_in_process(benchmark: BenchmarkFixture, contender: Make, name: str) -> None:
    """Every set replaces a value in memory."""
    cache = contender(IN_PROCESS[name], "", REMOTE_KEYS)
    benchmark(cache.set_all(REMOTE_KEYS))


@pytest.mark.benchmark(group="set on the server: 100 sets")
@pytest.mark.parametrize("name", WITH_A_SERVER)
def test_set_on_server(benchmark: BenchmarkFixture, contender: Make, url: str, name: str) -> None:
    """Every set replaces a value on the server; twotier tells other processes, and installs it locally."""
    cache = contender(WITH_A_SERVER[name], url, REMOTE_KEYS)
    benchmark(cache.set_all(REMOTE_KEYS))

"""The pytest plugin: fixtures for tests of code that caches with twotier. Registered on installation."""

from collections.abc import Callable, Iterator

import pytest

from twotier.clock import ManualClock
from twotier.remote.deploy.embedded import EmbeddedServer
from twotier.testing import coherent
from twotier.testing.proxy import FaultProxy


@pytest.fixture
def twotier_server() -> Iterator[EmbeddedServer]:
    """Return a running server that this test has to itself: it may `kill` and `start` it. Needs the extra embedded."""
    with EmbeddedServer(tcp=True) as server:
        yield server


@pytest.fixture
def manual_clock() -> ManualClock:
    """Return a clock that moves only when a test calls `advance`; pass the clock as the option `clock`."""
    return ManualClock()


@pytest.fixture
def fault_link(twotier_server: EmbeddedServer) -> Iterator[FaultProxy]:
    """Return a proxy in front of `twotier_server`: connect to its `url`, and break its `link` and its `data` path."""
    with FaultProxy(twotier_server.url) as proxy:
        yield proxy


@pytest.fixture
def assert_coherent() -> Callable[..., None]:
    """Return the check that caches agree with their server: `twotier.testing.assert_coherent`."""
    return coherent.assert_coherent

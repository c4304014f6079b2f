"""Servers and namespaces for tests: real ones, private to the run, on free sockets."""

import itertools
import os
import signal

import pytest
from hypothesis import HealthCheck, settings
from loops import LoopThread
from private_servers import BINARY, private_server
from recording_subscriber import RecordingSubscriber

from twotier.testing import EmbeddedCluster

# Every run tries the same examples, so that what a change broke is what fails; `--hypothesis-profile=deep` tries others
# each time. A busy machine is no reason to fail; a hang still is, by the suite's timeout.
settings.register_profile("deep", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.register_profile("steady", settings.get_profile("deep"), derandomize=True, database=None)
settings.load_profile("steady")

# A shell starts what runs in its background with SIGINT ignored, and children inherit that: tests of Ctrl-C would hang.
signal.signal(signal.SIGINT, signal.default_int_handler)

_numbers = itertools.count()


def pytest_addoption(parser):
    """Take `--deep`."""
    parser.addoption(
        "--deep", action="store_true", help="what takes minutes, too: tests/model in larger bounds, twenty failovers"
    )


def pytest_collection_modifyitems(config, items):
    """Leave out what takes minutes unless `--deep` asks for it."""
    if not config.getoption("--deep"):
        for item in items:
            if item.get_closest_marker("deep"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: --deep"))


@pytest.fixture(scope="session")
def server():
    """A running server, unix socket and TCP, that the whole session shares: tests leave it running."""
    with private_server(tcp=True) as shared:
        yield shared


@pytest.fixture(scope="session")
def cluster():
    """Six nodes of a cluster that the whole session shares: tests leave them as they are."""
    with EmbeddedCluster(binary=BINARY) as shared:
        yield shared


@pytest.fixture
def own_server():
    """A running server for one test alone, which may kill, stop and restart it."""
    with private_server(tcp=True) as fresh:
        yield fresh


if BINARY is not None:

    @pytest.fixture
    def twotier_server(own_server):
        """The plugin's server, on the binary that is asked for."""
        return own_server


@pytest.fixture(scope="session")
def asyncio():
    """A running loop of asyncio's own, on a thread of its own."""
    with LoopThread() as loop:
        yield loop


@pytest.fixture(scope="session")
def uvloop():
    """A running loop of uvloop's, on a thread of its own."""
    with LoopThread(pytest.importorskip("uvloop").new_event_loop) as loop:
        yield loop


@pytest.fixture
def namespace():
    """A namespace that nothing else in the session uses."""
    return f"t{os.getpid()}-{next(_numbers)}"


@pytest.fixture(params=[2, 3], ids=["RESP2", "RESP3"])
def protocol(request):
    """Both protocols."""
    return request.param


@pytest.fixture
def ear(namespace):
    """A subscriber with a namespace of its own."""
    return RecordingSubscriber(namespace)

"""Real processes on a real server through the fault proxy: every read is checked, and all agree after quiet."""

import os
import signal
import time

import pytest
from crew import Crew
from servers import private_server
from waiting import wait_for

from twotier.testing import FaultProxy
from twotier.testing.faults import BOTH_WAYS

KEYS = 20


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """A server, a proxy, three witnesses behind it, and a writer beside it, for all faults one after the other."""
    with (
        private_server() as server,
        FaultProxy(server.url) as proxy,
        Crew(tmp_path_factory.mktemp("crew"), proxy.url, server.url, "crew") as crew,
    ):
        crew.start(3, KEYS)
        wait_for(lambda: proxy.accepted["link"] >= 3 and crew.writes > 20, "everybody works")
        yield server, proxy, crew


def kill(server, _proxy):
    """Kill the server, and start an empty one."""
    server.kill()
    time.sleep(0.5)
    server.start()


def hang(server, _proxy):
    """Stop the server for longer than it takes to notice."""
    os.kill(server.pid, signal.SIGSTOP)
    time.sleep(1.5)
    os.kill(server.pid, signal.SIGCONT)


def lose_the_link(_server, proxy):
    """Lose the links alone, without a word."""
    proxy.link.silent = BOTH_WAYS
    time.sleep(3.0)


def lose_the_data_path(_server, proxy):
    """Lose the data path alone, without a word."""
    proxy.data.silent = BOTH_WAYS
    time.sleep(1.5)


def cut_everything(_server, proxy):
    """Cut every connection, twenty times."""
    for _ in range(20):
        proxy.reset()
        time.sleep(0.05)


def slow_down(_server, proxy):
    """Slow everything down."""
    for faults in (proxy.link, proxy.data):
        faults.latency, faults.slice_bytes = 0.05, 11
    time.sleep(1.5)


@pytest.mark.parametrize(
    "fault",
    [kill, hang, lose_the_link, lose_the_data_path, cut_everything, slow_down],
    ids=lambda fault: fault.__name__,
)
def test_every_read_keeps_the_promises(stage, fault):
    """No read raises or is wrong, none is taken for fresh past the bound, and all processes agree with the server."""
    server, proxy, crew = stage
    assert crew.disagreements() == []
    crew.tally()
    fault(server, proxy)
    proxy.heal()
    healed = time.monotonic()
    wait_for(crew.usable, "the writer has recovered")
    assert time.monotonic() - healed < 5  # two seconds on a machine that has the time
    assert crew.disagreements() == []
    total = crew.tally()
    assert total.reads > 100
    assert (total.failed, total.wrong, total.late) == (0, 0, 0), total.first_complaint
    assert total.slowest < 5000
    assert total.oldest_fresh <= 2500

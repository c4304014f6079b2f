"""The crew: orders reach it, and a member that dies is missed."""

import multiprocessing
import os
import signal
import time

import pytest

from twotier.cli.demo.board import Order
from twotier.cli.demo.catalogue import Module
from twotier.cli.demo.ledger import Ledger
from twotier.cli.demo.plan import Place, Plan
from twotier.cli.demo.processes import Processes, _serve
from twotier.cli.demo.source import Source


@pytest.fixture
def crew(tmp_path, own_server):
    """One worker and the writer, on thirty rows."""
    modules = [Module(f"module{number}", "", number, number) for number in range(30)]
    place, plan = Place(tmp_path, own_server.url), Plan(seconds=4, workers=1)
    Source.create(place.source, modules)
    Ledger.create(place.ledger, len(modules), plan.versions(len(modules)))
    with Processes(place, plan) as crew:
        yield crew


def until(holds):
    """Wait until `holds()` does."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_crew_waits_runs_and_reports(crew):
    """Nobody reads before the order; after it all do; at the end every row is read once more, and all report."""
    until(lambda: all(counts.ready and counts.live_since for counts in crew.counts()))
    assert [(counts.reads, counts.writes) for counts in crew.counts()] == [(0, 0), (0, 0)]
    crew.order(Order.RUN)
    until(lambda: crew.counts()[0].reads > 200 and crew.counts()[1].writes > 2)
    assert crew.lost() == []
    crew.order(Order.FINISH)
    worker, writer = crew.reports()
    assert worker.local
    assert worker.crash == writer.crash == ""
    counts, _ = crew.counts()
    assert counts.reads == counts.local + counts.remote + counts.stale + counts.loaded
    assert (counts.failed, counts.wrong, counts.late) == (0, 0, 0)


def test_a_member_that_dies_is_missed(crew):
    """A killed worker is told by name, and its silence at the end is a report of its own."""
    until(lambda: all(counts.ready for counts in crew.counts()))
    crew.order(Order.RUN)
    os.kill(crew._processes[0].pid, signal.SIGKILL)
    until(crew.lost)
    assert crew.lost() == ["worker 1 ended with exit code -9"]
    crew.order(Order.ABANDON)
    worker, writer = crew.reports()
    assert worker.crash == "worker 1 ended with exit code -9 and no report"
    assert not writer.crash


def test_a_member_that_raises_tells_why():
    """An error in a member arrives with its traceback."""

    def fail(*_):
        raise OSError("the disk is full")

    ear, mouth = multiprocessing.Pipe(duplex=False)
    _serve(fail, None, None, 0, mouth)
    assert "OSError: the disk is full" in ear.recv().crash

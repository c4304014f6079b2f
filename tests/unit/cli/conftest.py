"""Made-up truth for the demo's parts: three rows, a ledger with room, times that a test sets."""

from types import SimpleNamespace

import pytest

from twotier.cli.demo.board import Counts
from twotier.cli.demo.catalogue import Module
from twotier.cli.demo.judge import Judge
from twotier.cli.demo.ledger import Ledger
from twotier.cli.demo.plan import Plan
from twotier.cli.demo.results import Results
from twotier.cli.demo.source import Source
from twotier.cli.demo.worker import Report

BOUND = 2_500_000_000

MODULES = [Module("abc", "Abstract base classes.", 100, 10), Module("ast", "", 200, 20), Module("csv", "CSV", 300, 30)]


@pytest.fixture
def source(tmp_path):
    """A source of three rows."""
    Source.create(tmp_path / "source", MODULES)
    source = Source(tmp_path / "source")
    yield source
    source.close()


@pytest.fixture
def ledger(tmp_path):
    """A ledger of those rows, with room for ten versions."""
    return Ledger.create(tmp_path / "ledger", rows=len(MODULES), versions=10)


@pytest.fixture
def truth(source, ledger):
    """The source, the ledger, and a judge with its counts."""
    counts = Counts()
    judge = Judge(source.rows(), ledger, BOUND, counts)
    return SimpleNamespace(source=source, ledger=ledger, judge=judge, counts=counts)


@pytest.fixture
def results():
    """Make the results of a run in which all went well, but for what is given."""

    def make(counts=(), writer=None, reports=(), plan=None, **outcome):
        workers = list(counts) or [Counts(ready=1, reads=10, local=8, remote=1, loaded=1, arrivals=2, live_since=5)]
        return Results(
            plan=plan or Plan(seconds=12, workers=len(workers)),
            modules=len(MODULES),
            elapsed=12.0,
            bound=BOUND / 1e9,
            counts=[*workers, writer or Counts(ready=1, writes=3, arrivals=2, live_since=5)],
            reports=list(reports) or [Report(local=[1000], remote=[100_000])],
            **{"returned": True, "recovery": 0.2, **outcome},
        )

    return make

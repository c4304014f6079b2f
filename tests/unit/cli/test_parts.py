"""The demo's parts, one by one: catalogue, source, ledger, board, load, latencies, rates."""

import collections
import inspect
import sys

import pytest

from twotier.cli.demo.board import Board, Counts, Order
from twotier.cli.demo.catalogue import Module, standard_library
from twotier.cli.demo.latency import Sample, percentile
from twotier.cli.demo.ledger import Ledger
from twotier.cli.demo.load import Zipf
from twotier.cli.demo.plan import Plan
from twotier.cli.demo.progress import Meter, Phase, Progress
from twotier.cli.demo.summary import duration
from twotier.errors import ConfigurationError


def test_the_catalogue_is_the_standard_library():
    """Modules and packages are there with their docstrings, nothing was imported for it, tests are left out."""
    before = set(sys.modules)
    modules = {module.name: module for module in standard_library()}
    assert all(name.startswith("encodings.") for name in set(sys.modules) - before)
    assert modules["collections"].docstring == inspect.getdoc(collections)
    assert {"json", "json.decoder", "asyncio.events"} <= set(modules)
    assert not [name for name in modules if "test" in name.split(".") or "site-packages" in name]
    assert modules["this"].lines > 20
    assert modules["this"].size > 500


def test_sources_are_read_as_python_reads_them(tmp_path):
    """Encodings, comments before the docstring, joined strings and files without one are told apart."""
    files = {
        "plain": b'"""Text."""\n',
        "commented": b'#!/usr/bin/python\n# note\n\n"""Text."""\nimport os\n',
        "latin": '# -*- coding: latin-1 -*-\n"""Text é."""\n'.encode("latin-1"),
        "joined": b'"Text" " more"\n',
        "none": b"import os\n",
        "not_one": b'x = "Text"\n',
        "sum": b'"Text" + "more"\n',
        "empty": b"",
        "in_bytes": b'b"Text"\n',
    }
    for number in range(20):
        (tmp_path / f"filler{number}.py").write_text("")
    for name, content in files.items():
        (tmp_path / f"{name}.py").write_bytes(content)
    (tmp_path / "broken.py").write_bytes(b'"""never closed\n')
    (tmp_path / "not-a-module.py").write_bytes(b"")
    found = {module.name: module.docstring for module in standard_library(tmp_path) if "filler" not in module.name}
    assert found == {
        "plain": "Text.",
        "commented": "Text.",
        "latin": "Text é.",
        "joined": "Text more",
        "none": "",
        "not_one": "",
        "sum": "",
        "empty": "",
        "in_bytes": "",
    }


def test_a_python_without_sources_is_refused(tmp_path):
    """Where there is nothing to read, the error says so."""
    with pytest.raises(ConfigurationError, match="0 modules"):
        standard_library(tmp_path)


def test_the_source_gives_what_was_written(source):
    """An update changes the version and the note of one row, and nothing else."""
    before = source.read("abc")
    source.update("abc", 9)
    assert source.read("abc") == {**before, "version": 9, "note": "abc as of write 9"}
    assert [row["version"] for row in source.rows()] == [9, 2, 3]
    with pytest.raises(KeyError):
        source.read("no such module")


def test_the_ledger_is_shared(ledger, tmp_path):
    """What the writer enters through one mapping, another sees."""
    other = Ledger(tmp_path / "ledger")
    writer = Ledger(tmp_path / "ledger")
    writer.announce(4, row=2)
    assert other.row(4) == 2
    writer.committed(4, 2, at=100)
    writer.cached(4, at=150)
    assert (other.behind_source(3, 170), other.behind_cache(3, 170), other.behind_cache(4, 170)) == (70, 20, 0)
    assert (ledger.row(5), ledger.row(0), ledger.row(-1), ledger.row(11), ledger.capacity) == (None,) * 4 + (10,)


def test_the_board_carries_orders_and_counts(tmp_path):
    """Every process has a line of its own; the order reaches all."""
    board = Board.create(tmp_path / "board", processes=3)
    other = Board(tmp_path / "board")
    assert other.order is Order.WAIT
    board.order = Order.FINISH
    assert other.order is Order.FINISH
    other.publish(1, Counts(reads=5, live_since=7))
    assert board.counts() == [Counts(), Counts(reads=5, live_since=7), Counts()]


def test_counts_add_up():
    """Counts are summed, ages take the older, and a crew is live once its last member is."""
    one = Counts(reads=5, oldest_live=10, oldest_away=1, live_since=100)
    two = Counts(reads=7, oldest_live=3, oldest_away=2, live_since=90)
    assert one + two == Counts(reads=12, oldest_live=10, oldest_away=2, live_since=100)
    assert (one + Counts(reads=1)).live_since == 0


def test_zipf_prefers_few_and_reaches_all():
    """All agree on what is popular and draw differently; the first of a hundred is about 19 % of the draws."""
    items = list(range(100))
    first, second = Zipf(items, seed=1).draw(20_000), Zipf(items, seed=2).draw(20_000)
    assert first != second
    tops = [collections.Counter(drawn).most_common(1)[0] for drawn in (first, second)]
    assert tops[0][0] == tops[1][0]
    assert tops[0][1] / 20_000 == pytest.approx(0.193, abs=0.02)
    assert set(first) == set(items)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, 1), (0.01, 1), (0.5, 50), (0.501, 51), (0.99, 99), (0.999, 100), (1.0, 100)]
)
def test_percentiles_are_nearest_rank(share, expected):
    """Of 1 to 100 in any order, the percentile is the number itself."""
    assert percentile(reversed(range(1, 101)), share) == expected


def test_a_sample_is_bounded_and_fair():
    """Of many latencies a fixed number is kept, from early and late alike."""
    sample = Sample(seed=1, size=1000)
    for latency in range(100_000):
        sample.add(latency)
    assert len(sample.kept) == 1000
    assert percentile(sample.kept, 0.5) == pytest.approx(50_000, rel=0.1)


def test_rates_look_at_the_last_second():
    """Reads a second and shares come from the last second, not from the whole run."""
    meter = Meter(window=1.0)

    def at(elapsed, **counts):
        return meter.rates(Progress(Phase.STEADY, elapsed, 12, [Counts(**counts), Counts()]))

    assert at(0.0).reads == 0
    assert at(0.5, reads=1000, loaded=1000).loaded == 1.0
    at(1.0, reads=2000, loaded=2000)
    rates = at(2.0, reads=6000, loaded=2000, local=3000, remote=1000)
    assert (rates.reads, rates.local, rates.remote, rates.loaded) == (4000, 0.75, 0.25, 0.0)


def test_the_plan_kills_half_way_and_waits_three_seconds():
    """Short runs have a shorter outage; on a lent server there is none."""
    plan, short = Plan(seconds=12, workers=4), Plan(seconds=4, workers=4)
    assert (plan.killed_at, plan.back_at, plan.outage) == (6, 9, True)
    assert (short.killed_at, short.back_at) == (2, 3)
    assert not Plan(seconds=12, workers=4, url="redis://localhost").outage
    assert Plan(seconds=12, workers=4).namespace != Plan(seconds=12, workers=4).namespace


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0"),
        (1.6e-8, "16 ns"),
        (1.23e-6, "1.23 µs"),
        (0.0451, "45.1 ms"),
        (0.9999, "1000 ms"),
        (2.5, "2.5 s"),
        (3600, "3600 s"),
    ],
)
def test_durations_suit_a_reader(seconds, written):
    """Three figures, in the unit that suits."""
    assert duration(seconds) == written


def test_a_module_is_what_its_file_says():
    """Names order the catalogue, so that positions are the same in every process."""
    names = [module.name for module in standard_library()]
    assert names == sorted(names)
    assert len(names) == len(set(names))
    assert isinstance(standard_library()[0], Module)

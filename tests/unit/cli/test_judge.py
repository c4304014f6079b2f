"""The judge, on made-up logs: what is late, what is wrong, what isn't counted against the cache."""

import pytest

from twotier.cli.demo.judge import Tier, answered_by
from twotier.stats import Stats

SECOND = 1_000_000_000
BOUND = 2.5

FRESH = pytest.mark.parametrize("tier", [Tier.LOCAL, Tier.REMOTE], ids=["local", "remote"])


def superseded(truth, committed=10, cached=11):
    """Give row "abc" a second version at those seconds, and return the row as it was before."""
    old = truth.source.read("abc")
    truth.ledger.announce(4, row=0)
    truth.source.update("abc", 4)
    truth.ledger.committed(4, 0, committed * SECOND)
    if cached is not None:
        truth.ledger.cached(4, cached * SECOND)
    return old


@FRESH
def test_a_current_row_is_counted_and_nothing_else(truth, tier):
    """A hit of the latest version is neither behind nor wrong."""
    superseded(truth)
    truth.judge.judge("abc", truth.source.read("abc"), tier, 99 * SECOND)
    truth.judge.judge("csv", truth.source.read("csv"), tier, 99 * SECOND)
    counts = truth.counts
    assert (counts.reads, counts.local + counts.remote, counts.behind, counts.wrong) == (2, 2, 0, 0)


@FRESH
def test_a_hit_within_the_bound_is_behind_but_not_late(truth, tier):
    """A superseded hit is measured; up to the bound it is what was promised."""
    old = superseded(truth)
    truth.judge.judge("abc", old, tier, int((11 + BOUND) * SECOND))
    assert (truth.counts.behind, truth.counts.late) == (1, 0)
    assert truth.counts.oldest_live == BOUND * SECOND


@FRESH
def test_a_hit_beyond_the_bound_is_late(truth, tier):
    """One nanosecond over the bound is over."""
    old = superseded(truth)
    truth.judge.judge("abc", old, tier, int((11 + BOUND) * SECOND) + 1)
    assert truth.counts.late == 1
    assert "superseded 2.500 s before" in truth.judge.complaints[0]


@FRESH
@pytest.mark.parametrize("cached", [11, None], ids=["written later", "not written yet"])
def test_time_counts_from_the_cache_write(truth, tier, cached):
    """Between the commit and the return of the cache write, the old version isn't held against the cache."""
    old = superseded(truth, committed=1, cached=cached)
    truth.judge.judge("abc", old, tier, 11 * SECOND)
    assert truth.counts.behind == 0


def test_age_is_that_of_the_first_newer_version(truth):
    """Of several newer versions, the first is the one that made the old one stale."""
    old = superseded(truth)
    truth.ledger.announce(5, row=0)
    truth.ledger.committed(5, 0, 20 * SECOND)
    truth.ledger.cached(5, 20 * SECOND)
    truth.judge.judge("abc", old, Tier.LOCAL, 12 * SECOND)
    assert truth.counts.oldest_live == SECOND


def test_a_stale_copy_is_measured_without_a_bound(truth):
    """What is served while the server is away counts from the commit, and is never late."""
    old = superseded(truth)
    truth.judge.judge("abc", old, Tier.STALE, 99 * SECOND)
    assert (truth.counts.oldest_away, truth.counts.late, truth.counts.stale) == (89 * SECOND, 0, 1)


@pytest.mark.parametrize("tier", Tier)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: None,
        lambda _: "abc",
        lambda row: {**row, "name": "csv"},
        lambda row: {**row, "docstring": "of another"},
        lambda row: {**row, "version": 2},
        lambda row: {**row, "version": 9},
        lambda row: {**row, "version": 0},
        lambda row: {**row, "version": 10**6},
        lambda row: {**row, "version": "1"},
        lambda row: {**row, "note": "abc as of write 4"},
        lambda row: {key: row[key] for key in ("name", "version", "note")},
        lambda row: {**row, "more": 1},
    ],
    ids=[
        "none", "no row", "another name", "another text", "another row's version", "a version to come", "version 0",
        "beyond the ledger", "no number", "torn", "cut short", "grown",
    ],
)  # fmt: skip
def test_a_wrong_answer_is_wrong_whoever_gave_it(truth, tier, spoil):
    """Only a whole row that was asked for, as some write left it, is right."""
    truth.judge.judge("abc", spoil(truth.source.read("abc")), tier, SECOND)
    assert truth.counts.wrong == 1
    assert "abc" in truth.judge.complaints[0]


def test_a_read_that_raises_is_failed(truth):
    """The error is told."""
    truth.judge.failed("abc", ValueError("no such luck"))
    assert (truth.counts.reads, truth.counts.failed) == (1, 1)
    assert truth.judge.complaints == ["reading abc raised ValueError: no such luck"]


def test_a_read_that_no_counter_saw_is_wrong(truth):
    """Statistics that lose a read are a broken promise as well."""
    truth.judge.judge("abc", truth.source.read("abc"), None, SECOND)
    assert truth.counts.wrong == 1


def test_complaints_are_few(truth):
    """A thousand failures are counted, a few are told."""
    for _ in range(1000):
        truth.judge.failed("abc", ValueError())
    assert truth.counts.failed == 1000
    assert len(truth.judge.complaints) == 5


@pytest.mark.parametrize(
    ("moved", "tier"),
    [
        ({"local_hits": 1}, Tier.LOCAL),
        ({"remote_hits": 1}, Tier.REMOTE),
        ({"stale_served": 1}, Tier.STALE),
        ({"loads": 1, "misses": 1}, Tier.LOADED),
        ({"remote_errors": 1, "stale_served": 1}, Tier.STALE),
        ({}, None),
    ],
)
def test_the_tier_is_told_by_the_counters(moved, tier):
    """Which counter moved tells who answered."""
    assert answered_by(Stats(), Stats(**moved)) is tier

"""From made-up logs to the exit code: each kind of broken promise is told, and ends the command with 1."""

import io
import re

import pytest
from rich.console import Console
from typer.testing import CliRunner

from twotier.cli import app as commands
from twotier.cli.demo.board import Counts
from twotier.cli.demo.judge import Tier
from twotier.cli.demo.plan import Plan
from twotier.cli.demo.summary import summarise
from twotier.cli.demo.worker import Report
from twotier.errors import RemoteUnavailable, TwoTierError

SECOND = 1_000_000_000


@pytest.fixture
def demo(monkeypatch):
    """Run the demo command with made-up results, or an error, in place of a run; give exit code and output."""

    def invoke(outcome, *arguments):
        def run(*_):
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(commands, "run", run)
        result = CliRunner().invoke(commands.app, ["demo", *arguments])
        return result.exit_code, result.output

    return invoke


def judged(truth, name, answer, tier, began):
    """Return the counts and report of a worker that has judged one read beside a good one."""
    truth.judge.judge("csv", truth.source.read("csv"), Tier.LOCAL, began)
    if isinstance(answer, BaseException):
        truth.judge.failed(name, answer)
    else:
        truth.judge.judge(name, answer, tier, began)
    truth.counts.arrivals = 1
    return {"counts": [truth.counts], "reports": [Report(complaints=truth.judge.complaints)]}


def test_a_good_run_exits_with_0(truth, results, demo):
    """When every promise was kept, the verdict says so."""
    seen = judged(truth, "abc", truth.source.read("abc"), Tier.REMOTE, SECOND)
    code, output = demo(results(**seen))
    assert code == 0
    assert "Every promise was kept." in output
    assert "BROKEN" not in output


def test_a_hit_beyond_the_bound_exits_with_1(truth, results, demo):
    """One hit that was given as fresh three seconds after it was superseded breaks the run."""
    old = truth.source.read("abc")
    truth.ledger.announce(4, row=0)
    truth.ledger.committed(4, 0, SECOND)
    truth.ledger.cached(4, SECOND)
    code, output = demo(results(**judged(truth, "abc", old, Tier.LOCAL, 4 * SECOND)))
    assert code == 1
    assert "1 hits were given as fresh more than 2.5 s after they had been superseded" in output
    assert "a local hit of abc gave write 1, superseded 3.000 s before" in output


def test_a_wrong_row_exits_with_1(truth, results, demo):
    """One row in another's place breaks the run."""
    code, output = demo(results(**judged(truth, "abc", truth.source.read("ast"), Tier.LOCAL, SECOND)))
    assert code == 1
    assert "1 reads gave a wrong row" in output


def test_a_failed_read_exits_with_1(truth, results, demo):
    """One read that raised breaks the run, and the error is shown."""
    code, output = demo(results(**judged(truth, "abc", RemoteUnavailable("gone"), Tier.LOCAL, SECOND)))
    assert code == 1
    assert "1 reads failed" in output
    assert "RemoteUnavailable: gone" in output


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        ({"recovery": None}, "not every process was live again"),
        ({"recovery": 5.1}, "not every process was live again"),
        ({"writer": Counts(writes=1, failed=1, arrivals=1)}, "1 writes failed"),
        ({"writer": Counts(arrivals=1)}, "the writer wrote nothing"),
        ({"counts": [Counts(reads=1, arrivals=1), Counts(arrivals=1)]}, "1 of the workers read nothing"),
        ({"counts": [Counts(reads=1)]}, "1 of the processes never had a live link"),
        ({"reports": [Report(crash="worker 1 ended with exit code -9 and no report")]}, "worker 1 ended"),
    ],
    ids=["no recovery", "late recovery", "failed write", "no write", "no read", "never live", "died"],
)
def test_every_other_broken_promise_exits_with_1(results, demo, outcome, told):
    """Recovery, the writer, and processes that do nothing or die count as well."""
    code, output = demo(results(**outcome))
    assert code == 1
    assert told in output.replace("\n", " ")


def test_an_interrupted_run_exits_with_130(results, demo):
    """Ctrl-C before the recovery leaves nothing broken, and says what was seen so far."""
    code, output = demo(results(interrupted=True, recovery=None))
    assert code == 130
    assert "Interrupted; up to then every promise was kept." in output
    code, _ = demo(KeyboardInterrupt())
    assert code == 130


def test_an_interrupted_run_can_still_be_broken(results, demo):
    """What was broken before Ctrl-C stays broken."""
    code, _ = demo(results(interrupted=True, counts=[Counts(reads=1, failed=1)]))
    assert code == 1


def test_what_cannot_run_exits_with_2(demo):
    """An error of ours is one line, without a traceback."""
    code, output = demo(TwoTierError("no server to be had"))
    assert (code, output) == (2, "twotier demo: no server to be had\n")


@pytest.mark.parametrize(
    "arguments", [("--seconds", "1"), ("--workers", "0"), ("--workers", "many"), ("--no-such-option",)], ids=" ".join
)
def test_bad_options_exit_with_2(demo, arguments):
    """Options out of range are refused by name."""
    code, output = demo(AssertionError("must not run"), *arguments)
    assert code == 2
    assert arguments[0] in re.sub(r"\x1b\[[0-9;]*m", "", output)


def shown(results, **console):
    """Return the summary as it is printed."""
    output = io.StringIO()
    summarise(results, Console(file=output, width=80, **console))
    return output.getvalue()


def test_the_summary_fits_a_narrow_terminal(results):
    """At 80 columns no line of either table wraps, even for a run of billions."""
    many = Counts(
        reads=10**10,
        local=9 * 10**9,
        remote=10**9,
        loaded=10**8,
        oldest_live=1_234_567_890,
        oldest_away=10**12,
        arrivals=1,
    )
    text = shown(results(counts=[many], writer=Counts(writes=10**8, arrivals=1)))
    assert all(len(line) <= 80 for line in text.splitlines())
    assert len(text.splitlines()) == 17


def test_the_summary_of_a_lent_server_says_what_was_skipped(results):
    """With --url there was no outage: the summary says so, and claims nothing about it."""
    plan = Plan(seconds=12, workers=1, url="redis://localhost")
    text = shown(results(plan=plan, returned=False, recovery=None))
    assert re.search(r"outage +skipped +only our own is killed *$", text, re.MULTILINE)
    assert "recover" not in text
    assert "Every promise was kept." in text


def test_a_run_without_reads_has_a_summary(results):
    """Interrupted before the first read, there are no shares and no latencies to show."""
    text = shown(results(counts=[Counts()], reports=[Report()], interrupted=True, returned=False, recovery=None))
    assert "Interrupted" in text

"""One run of the demo: start the processes, play the phases, kill the server, and measure the results."""

import contextlib
import tempfile
import time
from pathlib import Path
from typing import Final

from twotier.cli.demo import server
from twotier.cli.demo.board import Counts, Order
from twotier.cli.demo.catalogue import standard_library
from twotier.cli.demo.ledger import Ledger
from twotier.cli.demo.plan import RECOVERY, Place, Plan
from twotier.cli.demo.processes import Processes
from twotier.cli.demo.progress import Phase, Progress
from twotier.cli.demo.results import Results
from twotier.cli.demo.screen import Screen
from twotier.cli.demo.source import Source
from twotier.clock import SECOND
from twotier.errors import TwoTierError
from twotier.local import COMPILED
from twotier.remote.deploy.embedded import EmbeddedServer

_TICK: Final = 0.05
_START: Final = 60.0
"""Seconds in which every process must be up."""
_WARM: Final = 0.125
"""Share of the run that counts as warming up."""


def run(plan: Plan, screen: Screen) -> Results:
    """Run the demo as planned, with its progress on `screen`. Ctrl-C ends it early, with the results so far.

    Raises ConfigurationError or RemoteError where it can't begin, TwoTierError where its processes don't start.
    """
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twotier-demo-")))
        with screen.busy("reading the source of Python's standard library"):
            modules = standard_library()
        options = plan.options(len(modules))
        if plan.url is None:
            own = stack.enter_context(server.own())
            meeting = Place(place, own.url)
        else:
            own = None
            meeting = Place(place, stack.enter_context(server.lent(plan.url, options, modules)))
        Source.create(meeting.source, modules)
        Ledger.create(meeting.ledger, len(modules), plan.versions(len(modules)))
        tier = "compiled" if COMPILED else "pure-Python"
        screen.title(
            f"{len(modules)} modules of Python's standard library, {options.maxsize} in each {tier} local tier"
        )
        crew = stack.enter_context(Processes(meeting, plan))
        stack.enter_context(screen)
        return _Run(plan, crew, own, screen).play(len(modules), options.max_staleness)


class _LostError(TwoTierError):
    """A process ended without an order."""


class _Run:
    """A run under way."""

    def __init__(self, plan: Plan, crew: Processes, own: EmbeddedServer | None, screen: Screen) -> None:
        self._plan = plan
        self._crew = crew
        self._server = own
        self._screen = screen
        self._began = time.monotonic()
        self._returned_at: int | None = None
        self._recovery: float | None = None

    def play(self, modules: int, bound: float) -> Results:
        """Play the run to its end, and return its results."""
        interrupted = False
        try:
            self._assemble()
            self._began = time.monotonic()
            self._crew.order(Order.RUN)
            self._go()
            self._crew.order(Order.FINISH)
        except KeyboardInterrupt:
            interrupted = True
            self._crew.order(Order.ABANDON)
        except _LostError:
            self._crew.order(Order.ABANDON)
        elapsed = self._elapsed()
        reports = self._crew.reports()
        return Results(
            plan=self._plan,
            modules=modules,
            elapsed=elapsed,
            bound=bound,
            counts=self._crew.counts(),
            reports=reports,
            returned=self._returned_at is not None,
            recovery=self._recovery,
            interrupted=interrupted,
        )

    def _assemble(self) -> None:
        """Wait until every process is ready."""
        with self._screen.busy(f"starting {self._plan.workers} workers and the writer"):
            deadline = time.monotonic() + _START
            while not all(counts.ready for counts in self._crew.counts()):
                self._check()
                if time.monotonic() > deadline:
                    raise TwoTierError(f"the demo's processes weren't up within {_START:g} s")
                time.sleep(_TICK)

    def _go(self) -> None:
        plan, screen = self._plan, self._screen
        screen.event("the workers read, the writer writes")
        self._watch(Phase.WARM, plan.seconds * _WARM)
        if self._server is not None:
            self._watch(Phase.STEADY, plan.killed_at)
            killed = time.monotonic_ns()
            self._server.kill()
            screen.event("the server is killed (SIGKILL)", self._elapsed())
            self._watch(Phase.AWAY, plan.back_at)
            self._server.start()
            self._returned_at = time.monotonic_ns()
            screen.event("the server is back, empty", self._elapsed())
            self._watch(Phase.RECOVERING, self._elapsed() + RECOVERY, killed)
            if self._recovery is not None:
                screen.event("every process is live again", self._elapsed())
        self._watch(Phase.STEADY, plan.seconds)

    def _watch(self, phase: Phase, until: float, killed: int | None = None) -> None:
        """Show progress until second `until`, or, after a kill at `killed` (ns), until every process is live again."""
        while (elapsed := self._elapsed()) < until:
            counts = self._crew.counts()
            self._screen.show(Progress(phase, elapsed, self._plan.seconds, counts))
            self._check()
            if killed is not None and self._all_live(counts, killed):
                return
            time.sleep(min(_TICK, until - elapsed))

    def _all_live(self, counts: list[Counts], killed: int) -> bool:
        """Return True if every process has become live after `killed`, and record the time that this took."""
        since = [line.live_since for line in counts]
        if self._returned_at is None or min(since) <= killed:
            return False
        self._recovery = max(0, max(since) - self._returned_at) / SECOND
        return True

    def _check(self) -> None:
        if lost := self._crew.lost():
            raise _LostError(", ".join(lost))

    def _elapsed(self) -> float:
        return time.monotonic() - self._began

"""The results of a run, and the promises that it broke."""

import functools
from dataclasses import dataclass

from twotier.cli.demo.board import Counts
from twotier.cli.demo.plan import RECOVERY, Plan
from twotier.cli.demo.worker import Report


@dataclass(frozen=True, slots=True)
class Results:
    """The outcome of a run. Times are seconds, except the nanoseconds in counts and reports."""

    plan: Plan
    modules: int
    """Rows that were read."""
    elapsed: float
    bound: float
    """How long a fresh hit may have been superseded."""
    counts: list[Counts]
    """One for each worker, and the writer's."""
    reports: list[Report]
    returned: bool = False
    """Whether the server was killed and came back."""
    recovery: float | None = None
    """Time from the server's return until every process was live again; None if the run didn't get there."""
    interrupted: bool = False

    @property
    def workers(self) -> list[Counts]:
        """The counts of each worker."""
        return self.counts[:-1]

    @property
    def writer(self) -> Counts:
        """The counts of the writer."""
        return self.counts[-1]

    @property
    def total(self) -> Counts:
        """The workers' counts as one."""
        return functools.reduce(Counts.__add__, self.workers)

    @property
    def local_latencies(self) -> list[int]:
        """A sample of the local hits' latencies (ns)."""
        return [latency for report in self.reports for latency in report.local]

    @property
    def remote_latencies(self) -> list[int]:
        """A sample of the remote hits' latencies (ns)."""
        return [latency for report in self.reports for latency in report.remote]

    @property
    def loads_saved(self) -> float:
        """Share of the reads that the cache kept from the source."""
        total = self.total
        return 1 - total.loaded / total.reads if total.reads else 0.0

    @property
    def recovered(self) -> bool:
        """Whether every process was live again in time, if the server was killed and came back."""
        called_for = self.returned and not (self.interrupted and self.recovery is None)
        return not called_for or (self.recovery is not None and self.recovery <= RECOVERY)

    def broken(self) -> list[str]:
        """Return every promise that was broken, in words; nothing if all were kept."""
        total = self.total
        found = [report.crash for report in self.reports if report.crash]
        if total.failed:
            found.append(f"{total.failed:,} reads failed")
        if self.writer.failed:
            found.append(f"{self.writer.failed:,} writes failed")
        if total.wrong:
            found.append(f"{total.wrong:,} reads gave a wrong row")
        if total.late:
            found.append(
                f"{total.late:,} hits were given as fresh more than {self.bound:g} s after they had been superseded, "
                f"the oldest {total.oldest_live / 1e9:.1f} s"
            )
        if not self.recovered:
            found.append(f"not every process was live again {RECOVERY:g} s after the server's return")
        if not self.interrupted:
            if idle := sum(not counts.reads for counts in self.workers):
                found.append(f"{idle} of the workers read nothing")
            if never := sum(not counts.arrivals for counts in self.counts):
                found.append(f"{never} of the processes never had a live link and a closed breaker")
            if not self.writer.writes:
                found.append("the writer wrote nothing")
        return found

    def complaints(self) -> list[str]:
        """Return examples of wrong, late and failed reads."""
        return [complaint for report in self.reports for complaint in report.complaints]

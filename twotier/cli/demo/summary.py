"""The summary at the end of a run: the share of each tier, each promise with its measurement, and the verdict."""

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from twotier.cli.demo.latency import percentile
from twotier.cli.demo.plan import RECOVERY
from twotier.cli.demo.results import Results

_UNITS: Final = (("s", 1.0), ("ms", 1e3), ("µs", 1e6), ("ns", 1e9))


def summarise(results: Results, console: Console) -> None:
    """Print the summary of a run."""
    console.print(_answers(results))
    console.print()
    console.print(_promises(results))
    console.print()
    for complaint in results.complaints():
        console.print(Text(f"  {complaint}", style="red"))
    broken = results.broken()
    if broken:
        console.print(Text.assemble(("BROKEN: ", "bold red"), "; ".join(broken)), soft_wrap=True)
    elif results.interrupted:
        console.print(Text("Interrupted; up to then every promise was kept.", style="bold yellow"), soft_wrap=True)
    else:
        console.print(Text("Every promise was kept.", style="bold green"), soft_wrap=True)


def _answers(results: Results) -> Table:
    total = results.total
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("reads answered by")
    for heading in ("reads", "share", "p50", "p99"):
        table.add_column(heading, justify="right")
    for name, reads, latencies in (
        ("local tier", total.local, results.local_latencies),
        ("remote tier", total.remote, results.remote_latencies),
        ("stale copies", total.stale, []),
        ("source (loader)", total.loaded, []),
    ):
        table.add_row(
            name,
            f"{reads:,}",
            f"{reads / total.reads:.2%}" if total.reads else "",
            latency(percentile(latencies, 0.50)),
            latency(percentile(latencies, 0.99)),
        )
    table.add_row(
        Text("all", style="bold"),
        Text(f"{total.reads:,}", style="bold"),
        Text(f"{total.reads / results.elapsed:,.0f}/s", style="dim") if results.elapsed else "",
    )
    return table


def _promises(results: Results) -> Table:
    total, plan = results.total, results.plan
    table = Table(box=None, padding=(0, 2), header_style="dim")
    table.add_column("promise")
    table.add_column("seen", justify="right")
    table.add_column("bound")
    table.add_column("")

    def add(promise: str, seen: str, bound: str, kept: bool | None) -> None:
        marks = {True: Text("kept", style="green"), False: Text("BROKEN", style="bold red"), None: Text("")}
        table.add_row(promise, seen, Text(bound, style="dim"), marks[kept])

    add("reads that failed", f"{total.failed:,}", "0", not total.failed)
    add("reads that gave a wrong row", f"{total.wrong:,}", "0", not total.wrong)
    add("oldest stale read while live", duration(total.oldest_live / 1e9), f"{results.bound:g} s", not total.late)
    if plan.outage:
        add("oldest stale read, server away", duration(total.oldest_away / 1e9), "none", None)
        seen = "not seen" if results.recovery is None else duration(results.recovery)
        add("time to recover", seen, f"{RECOVERY:g} s", results.recovered if results.returned else None)
    else:
        add("outage", "skipped", "only our own is killed", None)
    add("source loads saved", f"{results.loads_saved:.2%}", "", None)
    add("rows written meanwhile", f"{results.writer.writes:,}", "", None)
    return table


def latency(nanoseconds: int | None) -> str:
    """Return a latency in a suitable unit; an empty str for None."""
    return "" if nanoseconds is None else duration(nanoseconds / 1e9)


def duration(seconds: float) -> str:
    """Return a duration to about three significant digits.

    >>> duration(0), duration(1.234e-6), duration(0.00025), duration(3.21)
    ('0', '1.23 µs', '250 µs', '3.21 s')
    """
    if seconds == 0:
        return "0"
    unit, scale = next((unit, scale) for unit, scale in _UNITS if seconds * scale >= 1 or unit == "ns")
    return f"{float(f'{seconds * scale:.3g}'):g} {unit}"

"""The screen shows a run's progress, live on a terminal and as plain lines elsewhere."""

import contextlib
from collections.abc import Iterator
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from twotier.cli.demo.board import Counts
from twotier.cli.demo.progress import Meter, Phase, Progress, Rates

_COLOURS: Final = {Phase.WARM: "yellow", Phase.STEADY: "green", Phase.AWAY: "red", Phase.RECOVERING: "yellow"}
_LINE_EVERY: Final = 1.0
"""Seconds between two plain lines."""


class Screen:
    """Shows a run on `console`; entered while there is progress to show."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._meter = Meter()
        self._live: Live | None = None
        self._next_line = 0.0

    def __enter__(self) -> Self:
        if self._console.is_interactive:
            self._live = Live(console=self._console, refresh_per_second=10, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        live, self._live = self._live, None
        if live is not None:
            live.stop()
        self._console.print()

    @contextlib.contextmanager
    def busy(self, doing: str) -> Iterator[None]:
        """Show `doing` while the block runs."""
        if self._live is not None:
            self._live.update(Text(f"{doing} ...", style="dim"), refresh=True)
            yield
        elif self._console.is_interactive:
            with self._console.status(doing):
                yield
        else:
            self._console.print(f"{doing} ...")
            yield

    def title(self, text: str) -> None:
        """Print the title of the run."""
        self._console.print(Text(text, style="bold"), soft_wrap=True)

    def event(self, what: str, at: float = 0.0) -> None:
        """Print a permanent line about an event, with the second of the run."""
        self._console.print(Text.assemble((f"{at:6.1f} s  ", "dim"), what), soft_wrap=True)

    def show(self, progress: Progress) -> None:
        """Show the progress of the run."""
        rates = self._meter.rates(progress)
        if self._live is not None:
            self._live.update(_panel(progress, rates))
        elif progress.elapsed >= self._next_line:
            self._next_line = progress.elapsed + _LINE_EVERY
            line = f"{progress.elapsed:6.1f} s  {progress.phase.value:<13}{_figures(progress, rates)}"
            self._console.print(line, soft_wrap=True)


def _figures(progress: Progress, rates: Rates) -> str:
    total = progress.total
    return (
        f"{rates.reads:>7,.0f} reads/s  local {rates.local:4.0%}  remote {rates.remote:4.0%}  "
        f"stale {rates.stale:4.0%}  source {rates.loaded:4.0%}  failed {total.failed + total.wrong}"
    )


def _panel(progress: Progress, rates: Rates) -> RenderableType:
    colour = _COLOURS[progress.phase]
    head = Table.grid(padding=(0, 2))
    head.add_row(
        Text(f"{progress.phase.value:<11}", style=f"bold {colour}"),
        ProgressBar(total=progress.seconds, completed=min(progress.elapsed, progress.seconds), width=40),
        Text(f"{progress.elapsed:.1f} of {progress.seconds:g} s", style="dim"),
    )
    processes = Text("link  ", style="dim")
    for number, counts in enumerate(progress.counts, start=1):
        name = "writer" if number == len(progress.counts) else f"worker {number}"
        processes.append_text(_lamp(name, counts))
    return Padding(Group(head, Text(_figures(progress, rates)), processes), (1, 0, 0, 2))


def _lamp(name: str, counts: Counts) -> Text:
    if counts.live_since:
        return Text.assemble(("● ", "green"), f"{name}  ")
    return Text.assemble(("○ ", "red"), (f"{name}  ", "dim"))

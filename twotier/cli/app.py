"""The commands of `twotier`."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from twotier.cli.demo.plan import Plan
from twotier.cli.demo.run import run
from twotier.cli.demo.screen import Screen
from twotier.cli.demo.summary import summarise
from twotier.cli.doctor import examine
from twotier.errors import TwoTierError
from twotier.remote.io.errors import one_line

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)

_BROKEN = 1
_CANNOT_RUN = 2
_INTERRUPTED = 130


@app.callback()
def about() -> None:
    """Try twotier, a two-tier cache: a compiled local tier in front of Redis or Valkey."""


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=4.0, max=86_400.0, help="How long to read and write.")] = 12.0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that read.")] = 4,
    url: Annotated[
        str | None,
        typer.Option(help="A server to use, e.g. redis://localhost:6379/0; it isn't killed, and left as it was found."),
    ] = None,
) -> None:
    """Try the cache's promises on real data: several processes, a writer, and a server that dies half-way.

    The source of truth is an SQLite file with the modules of Python's standard library. The workers read them through
    the cache while the writer changes them; half-way the server is killed, and comes back empty. Every read is checked.

    Exits with 1 if a promise was broken, 2 if the demo can't run, 130 if it was interrupted.
    """
    console = Console(highlight=False)
    try:
        with _requests_to_end_as_interrupts():
            results = run(Plan(seconds=seconds, workers=workers, url=url), Screen(console))
    except TwoTierError as error:
        _leave(f"twotier demo: {one_line(str(error))}", _CANNOT_RUN)
    except KeyboardInterrupt:
        _leave("twotier demo: interrupted", _INTERRUPTED)
    summarise(results, console)
    if results.broken():
        raise typer.Exit(_BROKEN)
    if results.interrupted:
        raise typer.Exit(_INTERRUPTED)


@app.command()
def doctor(
    url: Annotated[str | None, typer.Argument(help="A server to try, e.g. redis://localhost:6379/0.")] = None,
) -> None:
    """Say whether the local tier is compiled, and whether a cache could use the server at URL; write nothing there.

    Exits with 1 if something is wrong.
    """
    well = True
    for finding in examine(url):
        typer.echo(f"{'ok   ' if finding.well else 'WRONG'} {finding.text}")
        well = well and finding.well
    if not well:
        raise typer.Exit(_BROKEN)


@contextlib.contextmanager
def _requests_to_end_as_interrupts() -> Iterator[None]:
    """Handle SIGTERM and SIGHUP like Ctrl-C: their default action would leave the server running."""
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(why: str, code: int) -> NoReturn:
    typer.echo(why, err=True)
    raise typer.Exit(code)

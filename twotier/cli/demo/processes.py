"""The demo's processes: spawn them, order them over the board, and collect their reports."""

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Final, Self

from twotier.cli.demo.board import Board, Counts, Order
from twotier.cli.demo.plan import Place, Plan
from twotier.cli.demo.worker import Report, work
from twotier.cli.demo.writer import write
from twotier.remote.io.errors import one_line

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

Job = Callable[[Place, Plan, int], Report]

_PATIENCE: Final = 10.0
"""Seconds in which a process must end after the order to end."""


class Processes:
    """The workers and, last, the writer. Spawned, not forked: each is a program of its own, as behind a web server."""

    def __init__(self, place: Place, plan: Plan) -> None:
        self._place = place
        self._plan = plan
        self._jobs: list[tuple[str, Job]] = [(f"worker {number}", work) for number in range(1, plan.workers + 1)]
        self._jobs.append(("the writer", write))
        self._board = Board.create(place.board, len(self._jobs))
        self._processes: list[SpawnProcess] = []
        self._ears: list[Connection] = []

    def __enter__(self) -> Self:
        """Start every process."""
        context = multiprocessing.get_context("spawn")
        with _interrupts_held():
            for line, (name, job) in enumerate(self._jobs):
                ear, mouth = context.Pipe(duplex=False)
                arguments = (job, self._place, self._plan, line, mouth)
                process = context.Process(target=_serve, args=arguments, name=name, daemon=True)
                process.start()
                mouth.close()
                self._processes.append(process)
                self._ears.append(ear)
        return self

    def __exit__(self, *_: object) -> None:
        """End every process that is still there."""
        for process in self._processes:
            if process.is_alive():
                process.kill()
            process.join()

    def order(self, order: Order) -> None:
        """Give all processes an order."""
        self._board.order = order

    def counts(self) -> list[Counts]:
        """Return the counts of each process, the writer's last."""
        return self._board.counts()

    def lost(self) -> list[str]:
        """Return a line for each process that has ended; none should end before the order to end."""
        return [
            f"{process.name} ended with exit code {process.exitcode}"
            for process in self._processes
            if process.exitcode is not None
        ]

    def reports(self) -> list[Report]:
        """Wait for all processes to end, and return their reports, with a crash report for a silent process."""
        deadline = time.monotonic() + _PATIENCE
        reports = []
        for process, ear in zip(self._processes, self._ears, strict=True):
            try:
                heard = ear.poll(max(0.0, deadline - time.monotonic()))
                reports.append(ear.recv() if heard else Report(crash=f"{process.name} didn't end when it was told to"))
            except EOFError:
                process.join(_PATIENCE)
                reports.append(Report(crash=f"{process.name} ended with exit code {process.exitcode} and no report"))
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
        return reports


def _serve(job: Job, place: Place, plan: Plan, line: int, mouth: Connection) -> None:
    threading.Thread(target=_end_with_parent, name="twotier-demo-parent", daemon=True).start()
    # The demo itself causes the outage: the cache's log lines about it would only disturb the display.
    logging.getLogger("twotier").addHandler(logging.NullHandler())
    try:
        report = job(place, plan, line)
    except Exception:  # noqa: BLE001 - reported to the parent, which shows it
        report = Report(crash="\n".join(map(one_line, traceback.format_exc().splitlines())))
    mouth.send(report)
    mouth.close()


def _end_with_parent() -> None:
    """End this process after the parent has ended for any reason: no other process gives the order to stop."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Block Ctrl-C meanwhile. Processes started here never get it: the parent handles it and gives the order."""
    resource_tracker.ensure_running()  # else the first start would, and lets interrupts through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

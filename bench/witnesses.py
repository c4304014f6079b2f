"""Witness processes behind a fault proxy, and a writer beside it whose every write is entered in the ledger."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from witness import Tally

from twotier import Cache
from twotier.cli.demo.ledger import Ledger

VERSIONS = 100_000


class Witnesses:
    """Several witnesses of `namespace` at `url`, and a writer at `writer_url`."""

    def __init__(self, folder: Path, url: str, writer_url: str, namespace: str, **settings: Any) -> None:
        self._path = folder / "ledger"
        self._url, self._namespace, self._settings = url, namespace, settings
        self._writer = Cache(writer_url, namespace=namespace, **settings)
        self._witnesses: list[subprocess.Popen[str]] = []
        self._turn = threading.Lock()
        """Held during a write, and by who wants none."""
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.writes = 0
        self.in_doubt = 0
        """Writes that may not have arrived."""

    def start(self, witnesses: int, keys: int) -> Self:
        """Fill the keys, and start reading and writing."""
        self._keys = keys
        self._ledger = Ledger.create(self._path, keys, VERSIONS)
        self._versions = iter(range(keys + 1, VERSIONS))
        for row in range(keys):
            self._writer.set(f"key {row}", (row, row + 1), ttl=None)
        for _ in range(witnesses):
            script = [sys.executable, str(Path(__file__).with_name("witness.py"))]
            arguments = [self._url, self._namespace, str(self._path), str(keys), json.dumps(self._settings)]
            self._witnesses.append(
                subprocess.Popen(  # noqa: S603 - our own script
                    script + arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            )
        self._thread.start()
        return self

    def ask(self, word: str) -> list[dict[str, Any]]:
        """Put a word to every witness, and return their answers."""
        for each in self._witnesses:
            print(word, file=each.stdin, flush=True)
        return [json.loads(each.stdout.readline()) for each in self._witnesses if each.stdout is not None]

    def tally(self) -> Tally:
        """Return what all witnesses counted since the last call: sums, and the worst of each."""
        return sum((Tally(**answer) for answer in self.ask("tally")), Tally())

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Stop writing for as long as the block lasts."""
        with self._turn:
            yield

    def disagreements(self) -> list[str]:
        """Stop writing, let everyone recover, and return where a witness or the writer differs from the server."""
        with self.quiet():
            return [answer["disagreement"] for answer in self.ask("settle") if answer["disagreement"]]

    def usable(self) -> bool:
        """Return True if the writer and every witness have recovered."""
        health = self._writer.health()
        usable = health.link == "live" and health.breaker == "closed" and health.journal == 0
        return usable and all(answer["usable"] for answer in self.ask("health"))

    def wait_until_usable(self, patience: float = 20.0) -> None:
        """Wait until everyone has recovered; TimeoutError if that takes longer than `patience` s."""
        deadline = time.monotonic() + patience
        while not self.usable():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not recovered within {patience} s")
            time.sleep(0.005)

    def wait_until_rewritten(self) -> None:
        """Wait until every key has been written again: a recovery removes what was written in an outage."""
        enough = self.writes + 2 * self._keys
        while self.writes < enough:
            time.sleep(0.005)

    def close(self) -> None:
        """End every process and thread."""
        self._ending.set()
        self._thread.join()
        for each in self._witnesses:
            each.communicate()
        self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self) -> None:
        """Write a new version of a key, over and over; only what has surely arrived counts against readers."""
        for version in self._versions:
            if self._ending.wait(0.005):
                return
            with self._turn:
                self._write_one(version)

    def _write_one(self, version: int) -> None:
        row = version * 7 % self._keys
        self._ledger.announce(version, row)
        errors = self._writer.stats().remote_errors
        self._writer.set(f"key {row}", (row, version), ttl=None)
        self.writes += 1
        if self._writer.stats().remote_errors == errors:
            now = time.monotonic_ns()
            self._ledger.committed(version, row, now)
            self._ledger.cached(version, now)
        else:
            self.in_doubt += 1

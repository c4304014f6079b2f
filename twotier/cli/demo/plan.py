"""The plan of a run: its length, rates, outage and shared files."""

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from twotier.options import Options

WRITES: Final = 200
"""Rows updated a second."""
READS: Final = 8_000
"""Target of reads per second and worker; leaves the machine spare capacity, so that latencies are meaningful."""
AWAY: Final = 3.0
"""Seconds the server stays away; in runs shorter than 12 s, a quarter of the run."""
RECOVERY: Final = 5.0
"""Seconds after the server's return in which every process must be live again."""
_SPARE: Final = 60.0
"""Seconds beyond the plan for which entries live and the ledger has room."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A run: `seconds` long, with `workers` reading processes, on the server at `url` (None: one of our own)."""

    seconds: float
    workers: int
    url: str | None = None
    namespace: str = field(default_factory=lambda: f"twotier-demo-{secrets.token_hex(4)}")

    @property
    def outage(self) -> bool:
        """Whether the run kills the server: only the demo's own server is killed."""
        return self.url is None

    @property
    def killed_at(self) -> float:
        """When the server is killed (s from the start)."""
        return self.seconds / 2

    @property
    def back_at(self) -> float:
        """When the server comes back (s from the start)."""
        return self.killed_at + min(AWAY, self.seconds / 4)

    def versions(self, rows: int) -> int:
        """Return how many versions the ledger needs room for."""
        return rows + round(WRITES * (self.seconds + _SPARE))

    def options(self, rows: int) -> Options:
        """Return the settings of every process's cache: its local tier holds half of the rows."""
        return Options(namespace=self.namespace, maxsize=max(1, rows // 2), ttl=self.seconds + _SPARE)


@dataclass(frozen=True, slots=True)
class Place:
    """Where the processes meet: the files in `directory`, and the server at `url`."""

    directory: Path
    url: str

    @property
    def source(self) -> Path:
        """The SQLite file."""
        return self.directory / "modules.sqlite"

    @property
    def ledger(self) -> Path:
        """The ledger's shared memory."""
        return self.directory / "ledger"

    @property
    def board(self) -> Path:
        """The board's shared memory."""
        return self.directory / "board"

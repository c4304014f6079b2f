"""Back-off for replicas: after a failure none is asked for a while."""

import time
from typing import Final

from twotier.errors import RemoteUnavailable
from twotier.remote.io.breaker import State

REST: Final = 1.0
"""Seconds for which no replica is asked after one has failed: a miss may cost one deadline then, not each."""


class ReplicaBackOff:
    """Stands where a circuit breaker does: after a failure nobody is asked for `REST` seconds."""

    def __init__(self) -> None:
        self._until = 0.0

    @property
    def state(self) -> State:
        """Open while at rest, as a breaker."""
        return "open" if time.monotonic() < self._until else "closed"

    def check(self) -> None:
        """Raise RemoteUnavailable while at rest."""
        if self.state == "open":
            raise RemoteUnavailable("a replica has failed a moment ago")

    def failed(self) -> None:
        """Begin to rest."""
        self._until = time.monotonic() + REST

    def succeeded(self) -> None:
        """Do nothing: failures aren't counted."""

"""Back-off for replicas: after a failure no replica is read for a while."""

import time
from typing import Final

from twotier.errors import RemoteUnavailable
from twotier.remote.io.breaker import State

REST: Final = 1.0
"""Seconds for which no replica is read after a failure, so that not every miss waits for a whole deadline."""


class ReplicaBackOff:
    """Takes the place of a circuit breaker: after a failure no replica is read for `REST` seconds."""

    def __init__(self) -> None:
        self._until = 0.0

    @property
    def state(self) -> State:
        """State in the terms of a breaker: "open" during the back-off, else "closed"."""
        return "open" if time.monotonic() < self._until else "closed"

    def check(self) -> None:
        """Raise RemoteUnavailable during the back-off."""
        if self.state == "open":
            raise RemoteUnavailable("a replica has failed a moment ago")

    def failed(self) -> None:
        """Begin the back-off."""
        self._until = time.monotonic() + REST

    def succeeded(self) -> None:
        """Do nothing: failures aren't counted."""

"""Single-flight: of the callers that miss one key at the same time, one loads and the others wait for it.

A flight is a `concurrent.futures.Future`, which threads wait for and which tasks can await. A caller joins a flight
only under the fill token it was opened with: a write in between voids the token, so no caller is handed what was
read before that write.
"""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from twotier.errors import TwoTierError


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """One load under way."""

    token: int
    owner: int
    """Identifier of the thread that loads."""
    future: Future[Any] = field(default_factory=Future)


class SingleFlight:
    """The loads under way in this process, at most one a key and token."""

    __slots__ = ("_flights", "_lock")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}

    def join(self, key: str, token: int) -> tuple[Flight, bool]:
        """Return the flight to follow, and whether the caller leads it: a leader must `land` it.

        Raises TwoTierError when the caller's own thread is loading `key`: waiting for itself, it would never return.
        """
        owner = threading.get_ident()
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and flight.token == token:
                if flight.owner == owner:
                    raise TwoTierError(
                        f"the loader of {key!r} asked the cache to load {key!r}: it would wait for itself"
                    )
                return flight, False
            flight = self._flights[key] = Flight(token, owner)
            return flight, True

    def land(self, key: str, flight: Flight, result: Any = None, error: BaseException | None = None) -> None:
        """End `flight` with a result or an error, which its followers get."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
        if error is None:
            flight.future.set_result(result)
        else:
            flight.future.set_exception(error)

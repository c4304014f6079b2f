"""Single-flight: of the callers that miss one key at the same time, one loads and the others wait for it.

A flight is a `concurrent.futures.Future`, which threads wait for and which tasks can await. A caller joins a flight
only under the fill token it was opened with: a write in between voids the token, so no caller is handed what was
read before that write.

Loaders may load other keys. A caller whose wait would close a circle (two loaders that ask for each other's keys) isn't
made to wait: it leads a flight of its own, beside the one it would have waited for.
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
    circular: bool = False
    """Led beside another of the same key, since waiting for that one would never end."""
    future: Future[Any] = field(default_factory=Future)


class SingleFlight:
    """The loads under way in this process, at most one a key and token, but for circles."""

    __slots__ = ("_flights", "_lock", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flights: dict[str, Flight] = {}
        self._waiting: dict[int, Flight] = {}
        """What each waiting thread waits for; an entry may be left over from a wait that has ended."""

    def join(self, key: str, token: int) -> tuple[Flight, bool]:
        """Return the flight to follow, and whether the caller leads it: a leader must `land` it.

        Raises TwoTierError when the caller's own thread is loading `key`: its loader would need its own result.
        """
        caller = threading.get_ident()
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None and flight.owner == caller:
                raise TwoTierError(f"the loader of {key!r} asked the cache to load {key!r}: it would wait for itself")
            if flight is not None and flight.token == token and not self._leads_back(flight, caller):
                self._waiting[caller] = flight
                return flight, False
            circular = flight is not None and flight.token == token
            led = Flight(token, caller, circular)
            if not circular:
                self._flights[key] = led
            self._waiting.pop(caller, None)
            return led, True

    def land(self, key: str, flight: Flight, result: Any = None, error: BaseException | None = None) -> None:
        """End `flight` with a result or an error, which its followers get."""
        with self._lock:
            if self._flights.get(key) is flight:
                del self._flights[key]
            for thread in [thread for thread, awaited in self._waiting.items() if awaited is flight]:
                del self._waiting[thread]
        if error is None:
            flight.future.set_result(result)
        else:
            flight.future.set_exception(error)

    def _leads_back(self, flight: Flight, caller: int) -> bool:
        """Tell whether the one who leads `flight` waits, through others perhaps, for a flight that `caller` leads."""
        awaited: Flight | None = flight
        while awaited is not None:
            if awaited.owner == caller:
                return True
            awaited = self._waiting.get(awaited.owner)
        return False

"""Single-flight: of the callers that miss one key at the same time, one loads and the others wait for it.

A flight is a `concurrent.futures.Future`, which threads wait for and which tasks can await. It is opened with a fill
token, and joined only while that stands: a write voids it, so no caller is handed what was read before that write. A
flight whose leader is cancelled or killed is abandoned: its followers look again, and one of them takes over.

Loaders may load other keys. Which loads a caller is part of is kept in a context variable, so that it follows a loader
into its tasks and into the background. A caller whose wait would close a circle (two loaders that ask for each other's
keys) isn't made to wait: it leads a flight of its own, beside the one it would have waited for. Nor is one who would
hold up the event loop that may have to bring the result.
"""

import contextlib
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

from twotier.core.blocking import holds_up_a_loop
from twotier.errors import TwoTierError
from twotier.local import Store

ABANDONED: Final = object()
"""What a flight gives whose leader was stopped: look again."""

_within: Final[contextvars.ContextVar[tuple["Flight", ...]]] = contextvars.ContextVar("loads under way", default=())


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """One load under way."""

    home: "SingleFlight"
    key: str
    token: int
    circular: bool = False
    """Led beside another of the same key, since waiting for that one would never end."""
    future: Future[Any] = field(default_factory=Future)
    awaited: set["Flight"] = field(default_factory=set)
    """What its loader waits for; those that have landed may be left over."""

    def leads_to(self, goals: tuple["Flight", ...]) -> bool:
        """Tell whether this load waits, through others perhaps, for one of `goals`."""
        seen: set[Flight] = set()
        todo = [self]
        while todo:
            flight = todo.pop()
            if flight in goals:
                return True
            if flight not in seen and not flight.future.done():
                seen.add(flight)
                todo += list(flight.awaited)
        return False


class SingleFlight:
    """The loads under way in this process, at most one a key while nobody writes it, but for circles.

    `store` gives tokens.

    >>> flights = SingleFlight(Store(1))
    >>> flight, leads = flights.join("key")
    >>> leads, flights.join("key") == (flight, False)
    (True, True)
    >>> flights.land(flight, "result")
    >>> flight.future.result()
    'result'
    """

    __slots__ = ("_flights", "_lock", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        # Re-entrant, as the garbage collector may close an abandoned coroutine, and land its flight, anywhere.
        self._lock = threading.RLock()
        self._flights: dict[str, Flight] = {}

    def join(self, key: str) -> tuple[Flight, bool]:
        """Return the flight to follow, and whether the caller leads it: a leader must `land` or `abandon` it.

        Raises TwoTierError when the caller is part of the load of `key`: its loader would need its own result.
        """
        within = _within.get()
        if any(outer.key == key and outer.home is self for outer in within):
            raise TwoTierError(f"the loader of {key!r} asked the cache to load {key!r}: it would wait for itself")
        while True:
            # Without our lock: the collector, which may land a flight, runs while the store holds its own, too.
            token, flight = self._store.token(key), self._flights.get(key)
            current = flight is not None and self._store.stands(key, flight.token)
            with self._lock:
                if self._flights.get(key) is flight:
                    return self._joined(key, token, flight if current else None, within)

    def _joined(self, key: str, token: int, flight: Flight | None, within: tuple[Flight, ...]) -> tuple[Flight, bool]:
        """Do so under the lock; `flight` is the one that can be joined, if there is one."""
        circular = False
        if flight is not None:
            circular = holds_up_a_loop() or (bool(within) and flight.leads_to(within))
            if not circular:
                for outer in within:
                    outer.awaited.difference_update([each for each in outer.awaited if each.future.done()])
                    outer.awaited.add(flight)
                return flight, False
        led = Flight(self, key, token, circular)
        if not circular:
            self._flights[key] = led
        return led, True

    def land(self, flight: Flight, result: Any = None, error: BaseException | None = None) -> None:
        """End `flight` with a result or an error, which its followers get; one that has ended stays as it is."""
        with self._lock:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]
            if flight.future.done():
                return
        if error is None:
            flight.future.set_result(result)
        else:
            flight.future.set_exception(error)

    def abandon(self, flight: Flight) -> None:
        """End `flight` without a result: its followers look again."""
        self.land(flight, ABANDONED)


@contextlib.contextmanager
def leading(flights: Iterable[Flight]) -> Iterator[None]:
    """Make what runs inside part of the loads of `flights`."""
    mark = _within.set((*flights, *_within.get()))
    try:
        yield
    finally:
        _within.reset(mark)


def part_of(flights: Iterable[Flight], loader: Callable[[], Any]) -> Callable[[], Any]:
    """Return a loader that calls `loader`, and awaits what it gives if that is to be awaited, as part of `flights`.

    Only the loader itself is: the flow that asks for it may share its context with others while it is suspended.
    """

    def call() -> Any:
        with leading(flights):
            result = loader()
        return _Part(flights, result) if inspect.isawaitable(result) else result

    return call


class _Part:
    """What a loader gave to be awaited, awaited as part of `flights`; or closed, where nobody can await it."""

    def __init__(self, flights: Iterable[Flight], result: Awaitable[Any]) -> None:
        self._flights = flights
        self._result = result

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        with leading(self._flights):
            return await self._result

    def close(self) -> None:
        if hasattr(self._result, "close"):
            self._result.close()


def inside_loader() -> bool:
    """Tell whether the caller is part of a load."""
    return bool(_within.get())


def stand_apart() -> None:
    """Make the rest of this context part of no load: for what a loader started, and doesn't wait for."""
    _within.set(())

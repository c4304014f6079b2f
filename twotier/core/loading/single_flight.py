"""Single-flight: of the callers that miss one key at the same time, one loads and the others wait for it.

A flight is a `concurrent.futures.Future`, which threads wait for and which tasks can await. It is
opened with a fill token, and joined only while the token is valid: a write voids the token, so no
caller receives a value that was read before the write. A flight whose leader is cancelled or killed
is abandoned: its followers look again, and one of them takes over. So is a flight whose leader is a
task of an event loop that was closed or stopped. A flight that is older than a load may be isn't
joined.

A leader creates its flight first, and takes the key with it by one operation on a dict. It can thus
end its flight at any moment, whether the flight has the key or not, and an exception that comes
between two lines leaves no key behind. There is no lock: if two callers take back one key at the
same moment, a load may run twice.

Loaders may load other keys. A context variable holds the loads that a caller is part of, so that
they follow a loader into its tasks and into the background. A caller whose wait would close a circle
(two loaders that ask for each other's keys) doesn't wait: it leads a flight of its own, beside the
one that it would have waited for. So does a caller that would hold up the event loop which may have
to bring the result.
"""

import asyncio
import contextlib
import contextvars
import inspect
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any, Final

from twotier.clock import NEVER, Clock, SystemClock
from twotier.core.flow.blocking import holds_up_a_loop, is_gone, running_loop
from twotier.errors import TwoTierError
from twotier.local import Store

ABANDONED: Final = object()
"""The result of a flight whose leader was stopped: the followers look again."""

_within: Final[contextvars.ContextVar[tuple["Flight", ...]]] = contextvars.ContextVar("loads under way", default=())


@dataclass(slots=True, eq=False)
class Flight:
    """One load under way, or about to begin."""

    home: "SingleFlight"
    key: str
    token: int = 0
    began: int = 0
    """Instant (ns)."""
    circular: bool = False
    """Whether it is led beside another flight of the key, since waiting for that one would never end."""
    loop: asyncio.AbstractEventLoop | None = None
    """The event loop of the task that leads, if a task does."""
    loading: bool = False
    """Whether the loader was called."""
    when_lost: Callable[[], object] | None = None
    """Releases the leader's other resources; called when the leader's loop was closed or stopped."""
    looked: int = 0
    """Instant (ns) at which a follower last asked the remote tier for the key."""
    future: Future[Any] = field(default_factory=Future)
    awaited: set["Flight"] = field(default_factory=set)
    """The flights that its loader waits for; landed flights may be left over."""

    @property
    def is_lost(self) -> bool:
        """Whether the leader is a task of an event loop that was closed or stopped."""
        return is_gone(self.loop)

    def leads_to(self, goals: tuple["Flight", ...]) -> bool:
        """Return True if this load waits, directly or through others, for one of `goals`."""
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
    """The loads under way in this process, at most one a key between two writes of it, except for circles.

    `store` gives tokens. Flights that are older than `lasts` (ns of `clock`) aren't joined.

    >>> flights = SingleFlight(Store(1))
    >>> flight, leads = flights.join("key")
    >>> leads, flights.join("key") == (flight, False)
    (True, True)
    >>> flights.land(flight, "result")
    >>> flight.future.result()
    'result'
    """

    __slots__ = ("_clock", "_flights", "_store", "lasts")

    def __init__(self, store: Store, clock: Clock | None = None, lasts: int = NEVER) -> None:
        self._store = store
        self._clock = clock or SystemClock()
        self.lasts = lasts
        self._flights: dict[str, Flight] = {}

    def flight(self, key: str) -> Flight:
        """Return a flight to `join` with; the caller can `abandon` it at any moment."""
        return Flight(self, key, loop=running_loop())

    def join(self, key: str, mine: Flight | None = None) -> tuple[Flight, bool]:
        """Return the flight to follow, and True if the caller leads it: a leader must `land` or `abandon` it.

        A leader leads `mine`. Raises TwoTierError if the caller is part of the load of `key`: its loader
        would need its own result.
        """
        within = _loads_around()
        if any(outer.key == key and outer.home is self for outer in within):
            raise TwoTierError(f"the loader of {key!r} asked the cache to load {key!r}: it would wait for itself")
        if mine is None:
            mine = self.flight(key)
        mine.began = self._clock.now()
        while True:
            mine.token = self._store.token(key)
            flight = self._flights.setdefault(key, mine)
            if flight is mine:
                return mine, True
            if self._may_be_joined(flight):
                break
            self._remove(flight)
        if holds_up_a_loop() or (within and _closes_circle(within, flight)):
            mine.circular = True
            return mine, True
        return flight, False

    def lead_beside(self, mine: Flight) -> tuple[Flight, bool]:
        """Lead `mine` beside the flight that has the key; return the same as `join` returns to leaders."""
        mine.token, mine.began, mine.circular = self._store.token(mine.key), self._clock.now(), True
        return mine, True

    def _may_be_joined(self, flight: Flight) -> bool:
        if flight.is_lost:
            self.lose(flight)
            return False
        return (
            not flight.future.done()
            and self._store.stands(flight.key, flight.token)
            and self._clock.now() - flight.began < self.lasts
        )

    def land(self, flight: Flight, result: Any = None, error: BaseException | None = None) -> None:
        """End `flight` with a result or an error, which its followers get; do nothing if it has ended."""
        self._remove(flight)
        if flight.future.done():
            return
        with contextlib.suppress(InvalidStateError):  # another caller has ended it at this moment
            if error is None:
                flight.future.set_result(result)
            else:
                flight.future.set_exception(error)

    def abandon(self, flight: Flight) -> None:
        """End `flight` without a result: its followers look again."""
        self.land(flight, ABANDONED)

    def lose(self, flight: Flight) -> None:
        """Abandon a flight whose event loop was closed or stopped, and release its leader's resources."""
        give_back = flight.when_lost
        if give_back is not None:
            give_back()
        self.abandon(flight)

    def _remove(self, flight: Flight) -> None:
        """Let others lead the key of `flight` if `flight` has the key."""
        if self._flights.get(flight.key) is flight:
            removed = self._flights.pop(flight.key, None)
            if removed is not None and removed is not flight:  # another has come in between
                self._flights.setdefault(flight.key, removed)


def _loads_around() -> tuple[Flight, ...]:
    """Return the loads that the caller is part of, without ended loads that an exception has left behind."""
    within = _within.get()
    return tuple([flight for flight in within if not flight.future.done()]) if within else within


def _closes_circle(within: tuple[Flight, ...], flight: Flight) -> bool:
    """Return True if the caller's loads `within` would wait for `flight` for ever; else note that they wait.

    The wait is noted before the check: of two callers that close a circle at the same moment, at least one sees it.
    """
    for outer in within:
        outer.awaited.difference_update([each for each in list(outer.awaited) if each.future.done()])
        outer.awaited.add(flight)
    if not flight.leads_to(within):
        return False
    for outer in within:
        outer.awaited.discard(flight)
    return True


@contextlib.contextmanager
def leading(flights: Iterable[Flight]) -> Iterator[None]:
    """Make the code in the block part of the loads of `flights`."""
    before = _within.get()
    try:
        _within.set((*flights, *before))
        yield
    finally:
        _within.set(before)


def part_of(flights: Iterable[Flight], loader: Callable[[], Any]) -> Callable[[], Any]:
    """Return a loader that calls `loader`, and awaits an awaitable result, as part of `flights`.

    Only the loader itself is part of `flights`: the calling flow may share its context with others while suspended.
    """

    def call() -> Any:
        before = _within.get()
        try:
            with leading(flights):
                result = loader()
        finally:
            _within.set(before)  # again, as the first time may have been interrupted
        return _Part(flights, result) if inspect.isawaitable(result) else result

    return call


class _Part:
    """The awaitable that a loader returned, awaited as part of `flights`; or closed if nothing can await it."""

    def __init__(self, flights: Iterable[Flight], result: Awaitable[Any]) -> None:
        self._flights = flights
        self._result = result

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._awaited().__await__()

    async def _awaited(self) -> Any:
        before = _within.get()
        try:
            with leading(self._flights):
                return await self._result
        finally:
            _within.set(before)  # as above

    def close(self) -> None:
        if hasattr(self._result, "close"):
            self._result.close()


def inside_loader() -> bool:
    """Return True if the caller is part of a load."""
    return bool(_loads_around())


def leave_flights() -> None:
    """Make the rest of this context part of no load: for work that a loader started, and doesn't wait for."""
    _within.set(())

"""Loading for oneself and for all who miss the same keys: leading flights, following them, and for how long.

Who leads takes a place at the gate, loads, and lands the flights, on the caller's thread or, where callers don't wait
for as long as it takes, in the background. Who follows waits for the flight, as long as the policy says.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from twotier.clock import SECOND
from twotier.core.blocking import holds_up_a_loop
from twotier.core.commands import Spawn, Wait
from twotier.core.drive import Flow
from twotier.core.leases import Others, TwoTier
from twotier.core.loadgate import Place
from twotier.core.loading.sources import Held, Made, Source
from twotier.core.local_only import LocalOnly
from twotier.core.missing import MISSING
from twotier.core.namespace import Namespace
from twotier.core.singleflight import ABANDONED, Flight, inside_loader, stand_apart
from twotier.errors import LoadShed, LoadTimeout, TwoTierError
from twotier.load_policy import LoadPolicy
from twotier.notfound import NOT_FOUND


class Leading:
    """Loads of one namespace."""

    def __init__(self, tiers: TwoTier | LocalOnly, namespace: Namespace) -> None:
        self._tiers = tiers
        self._namespace = namespace

    def _admit(self, led: dict[str, Flight], policy: LoadPolicy, *, stale: bool) -> tuple[Place, dict[str, Any]]:
        """Take a place at the gate for the flights we lead; over the cap, do as the policy says.

        Returns the place, and the stale copies of keys (if `stale` allows) that needn't be loaded then: their flights
        are abandoned, and taken out of `led`. Raises LoadShed.
        """
        if inside_loader() or holds_up_a_loop():
            return Place(None), {}
        namespace = self._namespace
        place = namespace.load_gate.enter()
        if place.turn is None or policy.when_busy == "wait":
            return place, {}
        served: dict[str, Any] = {}
        if policy.when_busy == "stale":
            if stale:
                served = {key: value for key in led if (value := self._tiers.spare(key)) is not MISSING}
            for key in served:
                namespace.flights.abandon(led.pop(key))
            if not led:
                place.leave()
            return place, served
        place.leave()
        self._abandon(led)
        namespace.counters.loads_shed += 1
        limit = namespace.options.max_concurrent_loads
        raise LoadShed(f"{limit} loaders run already, which is max_concurrent_loads; try again later")

    def _launch(
        self, led: dict[str, Flight], place: Place, source: Source, policy: LoadPolicy, *, anew: bool
    ) -> Flow[dict[str, Made]]:
        """Load the keys of the flights we lead. Returns nothing where they are to be followed, like those of others."""
        impatient = policy.hard_timeout is not None or (
            policy.soft_timeout is not None and any(self._tiers.held(key) is not MISSING for key in led)
        )
        if not impatient:
            return (yield from self._fly(led, place, source, anew=anew))
        try:
            yield Spawn(self._fly_behind(led, place, source, anew=anew))
        except BaseException:
            place.leave()
            self._abandon(led)
            raise
        return {}

    def _fly(
        self,
        led: Mapping[str, Flight],
        place: Place,
        source: Source,
        *,
        anew: bool,
        others: Others = "wait",
        failures: tuple[type[BaseException], ...] = (Exception,),
    ) -> Flow[dict[str, Made]]:
        """Load the keys of the flights we lead, and land each as soon as its result is there.

        Followers are told of `failures`; whatever else ends the load has stopped its leader, and they take over.
        """
        namespace, flights = self._namespace, self._namespace.flights
        landed: dict[str, Made] = {}

        def tell(made: Mapping[str, Made]) -> None:
            landed.update(made)
            for key, each in made.items():
                flights.land(led[key], each.payload)  # followers each decode a value of their own

        def load(keys: Sequence[str], held: Held) -> Flow[dict[str, Made]]:
            nonlocal place
            if place.is_over:  # what others were loading is left to us
                place = Place(None) if inside_loader() or holds_up_a_loop() else namespace.load_gate.enter()
                yield from _await_turn(place)
            try:
                return (yield from source.load(tuple(led.values()), keys, held))
            finally:
                place.leave()  # the source is done; storing what it gave is no load of its own

        try:
            yield from _await_turn(place)
            if not anew:
                # Flights that we missed may have landed between our look and our taking the lead.
                found = namespace.store.get_many(list(led))
                tell({key: Made(value, namespace.values.encode(value)) for key, value in found.items()})
            missing = [key for key in led if key not in landed]
            if missing:
                patient = others if not any(flight.circular for flight in led.values()) else "ignore"
                yield from self._tiers.load(missing, load, tell, source.terms, others=patient, anew=anew)
        except failures as error:
            for flight in led.values():
                flights.land(flight, error=error)
            raise
        finally:
            place.leave()
            self._abandon(led)
        return landed

    def _fly_behind(
        self, led: Mapping[str, Flight], place: Place, source: Source, *, anew: bool, others: Others = "wait"
    ) -> Flow[dict[str, Made]]:
        """Do so in the background, and log what is raised: those who follow are told, but there may be none."""
        failures = (Exception, SystemExit, KeyboardInterrupt)  # here they stop nobody
        try:
            return (yield from self._fly(led, place, source, anew=anew, others=others, failures=failures))
        except failures as error:
            log = self._namespace.log
            if not self._namespace.closed:  # else it could but fail
                log.log(logging.WARNING, "load", "a load in the background failed: %r", error, trace=True)
            return {}

    def _follow(self, flight: Flight, policy: LoadPolicy, began: int, *, stale: bool) -> Flow[Any]:
        """Wait for a flight; return its value, or the stale copy past soft_timeout, or ABANDONED.

        Raises LoadTimeout past hard_timeout, both counted from `began`; and what the loader has raised.
        """
        namespace, soft, hard = self._namespace, policy.soft_timeout, policy.hard_timeout
        if soft is not None and stale:
            ended, payload = yield from _wait(flight.future, self._left(soft, began))
            if ended:
                return self._value(payload)
            value = self._tiers.spare(flight.key)
            if value is not MISSING:
                namespace.counters.load_timeouts += 1
                return value
        ended, payload = yield from _wait(flight.future, None if hard is None else self._left(hard, began))
        if ended:
            return self._value(payload)
        namespace.counters.load_timeouts += 1
        raise LoadTimeout(f"the loader of {flight.key!r} took longer than hard_timeout ({hard} s); it goes on")

    def _behind(self, wanted: Iterable[str], source: Source, *, anew: bool) -> Flow[int]:
        """Load keys in the background, but for those that are being loaded there; return how many it will be.

        That is nobody's load: where every place at the gate is taken, or another process loads, it is left out.
        """
        namespace, attempts = self._namespace, self._namespace.attempts
        keys = [key for key in wanted if attempts.begin(key)]
        place = namespace.load_gate.enter_at_once() if keys else None
        if place is not None:
            try:
                yield Spawn(self._apart(keys, place, source, anew=anew))
            except (TwoTierError, RuntimeError):  # closed, or no thread to be had: what is here was served
                place.leave()
            else:
                return len(keys)
        for key in keys:
            attempts.end(key)
        return 0

    def _apart(self, keys: list[str], place: Place, source: Source, *, anew: bool) -> Flow[None]:
        namespace = self._namespace
        stand_apart()
        led: dict[str, Flight] = {}
        landed: dict[str, Made] = {}
        try:
            for key in keys:
                flight, leads = namespace.flights.join(key)
                if leads:
                    led[key] = flight
            if led:
                landed = yield from self._fly_behind(led, place, source, anew=anew, others="leave")
        finally:
            place.leave()
            self._abandon(led)
            for key in keys:
                if key not in landed:
                    namespace.attempts.failed(key)
                namespace.attempts.end(key)

    def _abandon(self, led: Mapping[str, Flight]) -> None:
        for flight in led.values():
            self._namespace.flights.abandon(flight)

    def _value(self, payload: Any) -> Any:
        if payload is ABANDONED:
            return ABANDONED
        return self._namespace.values.decode(payload) if payload else NOT_FOUND

    def _left(self, seconds: float, began: int) -> float:
        return max(0.0, seconds - (self._namespace.clock.now() - began) / SECOND)


def _await_turn(place: Place) -> Flow[None]:
    if place.turn is not None:
        yield Wait(place.turn)


def _wait(future: Future[Any], seconds: float | None) -> Flow[tuple[bool, Any]]:
    """Wait for a flight; return whether it has landed, and its result. What it raises may well be a TimeoutError."""
    try:
        return True, (yield Wait(future, seconds))
    except TimeoutError:
        if future.done():
            return True, future.result()
        return False, None

"""Leading flights: loading keys, for the caller and for all callers that miss the same keys.

The leader takes a place at the gate once the load is its to do, loads, and lands the flights: on
the caller's thread or, if callers may stop waiting before the load ends, in the background.

A load notes each resource (flights, a place, attempts) before it takes it. Two nested `finally` blocks release them: if
an exception arrives between two lines of the inner block, the outer one completes it.
"""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from twotier.core.access.missing import MISSING
from twotier.core.access.reads import held_here
from twotier.core.flow.drive import Flow
from twotier.core.flow.requests import Spawn
from twotier.core.flow.stop_iteration import as_raised
from twotier.core.flow.turns import Turns, parts
from twotier.core.loading.admission import Admission
from twotier.core.loading.flight_followers import FlightFollower
from twotier.core.loading.load_locks import Others
from twotier.core.loading.loader_call import Held, LoaderCall, LoaderResult
from twotier.core.loading.single_flight import Flight, inside_loader, leave_flights
from twotier.core.loading.wait_budget import WaitBudget
from twotier.errors import LoadShed, TwoTierError
from twotier.load_policy import LoadPolicy


class StartedLoad(NamedTuple):
    """Result of asking for loads in the background."""

    keys: int
    """Number of loads that were begun."""
    made: Mapping[str, LoaderResult]
    """Values that the caller has loaded itself."""


class FlightLeader(FlightFollower):
    """Loads of one namespace."""

    def _patience(self) -> WaitBudget:
        return WaitBudget(self._namespace.clock, self._namespace.options.load_lease)

    def _launch(
        self,
        led: dict[str, Flight],
        source: LoaderCall,
        policy: LoadPolicy,
        patience: WaitBudget,
        *,
        anew: bool,
        apart: bool = False,
    ) -> Flow[dict[str, Any]]:
        """Load the keys of the flights that the caller leads; return the values that were loaded or are served stale.

        If callers may stop waiting, the load runs in the background: `led` is empty afterwards, and the
        caller follows its flights as it follows those of others. `apart`: the caller must no longer wait,
        neither for a place nor for another process.
        """
        admission = Admission(self._namespace.load_gate, patience, passes=apart)
        served: dict[str, Any] = {}
        try:
            try:
                if policy.when_busy != "wait":
                    admission.instead(lambda keys: self._serve_or_shed(led, keys, policy, served, stale=not anew))
                if not self._is_impatient(led, policy, apart=apart):
                    landed = yield from self._lead_flight(led, admission, source, anew=anew)
                    turns = Turns()
                    for part in parts(list(landed)):
                        served.update({key: landed.pop(key).value for key in part})
                        yield from turns.give(len(part))
                    return served
                if admission.is_barred and policy.when_busy != "wait":
                    self._serve_or_shed(led, list(led), policy, served, stale=not anew)
                if led:
                    spawned = dict(led)
                    behind = Admission(self._namespace.load_gate, self._patience(), passes=admission.passes)
                    flow = self._lead_in_background(spawned, behind, source, anew=anew)
                    yield Spawn(flow, lambda: self._give_back(spawned, behind), is_awaited=True)
                    led.clear()
                return served
            finally:
                admission.leave()
        finally:
            admission.leave()

    def _is_impatient(self, led: Mapping[str, Flight], policy: LoadPolicy, *, apart: bool) -> bool:
        """Return True if callers may stop waiting before the load has ended."""
        if policy.hard_timeout is not None:
            return True
        if policy.soft_timeout is None or apart:
            return False
        return any(self._tiers.held(key) is not MISSING for key in led)

    def _serve_or_shed(
        self, led: dict[str, Flight], keys: Sequence[str], policy: LoadPolicy, served: dict[str, Any], *, stale: bool
    ) -> list[str]:
        """Apply the policy for the case that every place is taken; return the keys that are to be loaded all the same.

        Keys whose stale copies are served leave `led`, and their followers look again. Raises LoadShed.
        """
        namespace = self._namespace
        if policy.when_busy == "shed":
            namespace.counters.loads_shed += 1
            limit = namespace.options.max_concurrent_loads
            raise LoadShed(f"{limit} loaders run already, which is max_concurrent_loads; try again later")
        left = []
        for key in keys:
            value = self._tiers.spare(key) if stale else MISSING
            if value is MISSING:
                left.append(key)
            else:
                served[key] = value
                namespace.flights.abandon(led[key])
                del led[key]
        return left

    def _lead_flight(
        self,
        led: dict[str, Flight],
        admission: Admission,
        source: LoaderCall,
        *,
        anew: bool,
        others: Others = "wait",
        failures: tuple[type[BaseException], ...] = (Exception,),
    ) -> Flow[dict[str, LoaderResult]]:
        """Load the keys of the flights in `led`; land each flight, and remove it from `led`, when its result arrives.

        Followers receive errors of the types `failures`; any other exception has stopped the leader, and a
        follower takes over.
        """
        flights = self._namespace.flights
        landed: dict[str, LoaderResult] = {}
        turns = Turns()

        def tell(made: Mapping[str, LoaderResult]) -> None:
            landed.update(made)
            self._land(led, made)

        def load(keys: Sequence[str], held: Held) -> Flow[dict[str, LoaderResult]]:
            ours = tuple(led.values())
            try:
                for part in parts(ours):
                    for flight in part:
                        flight.loading = True
                    yield from turns.give(len(part))
                return (yield from source.load(ours, keys, held))
            finally:
                admission.leave()  # the source is done; storing its values takes no place

        try:
            try:
                for flight in list(led.values()):
                    flight.when_lost = admission.give_back
                yield from turns.give(len(led))
                missing = yield from self._missing(led, admission, tell, anew=anew)
                yield from turns.give(len(missing))
                if missing:
                    circular = any(flight.circular for flight in led.values())
                    patient: Others = "ignore" if circular else others
                    yield from self._tiers.load(missing, load, tell, source.terms, admission, others=patient, anew=anew)
            except failures as error:
                if admission.was_shed:
                    raise  # the leader's alone: followers look again
                for flight in list(led.values()):
                    flights.land(flight, error=as_raised(error))
                raise
            finally:
                self._give_back(led, admission)
        finally:
            self._give_back(led, admission)
        return landed

    def _land(self, led: dict[str, Flight], made: Mapping[str, LoaderResult]) -> None:
        """Land the flights of keys that have results; an exception in between leaves no flight behind."""
        for key, each in made.items():
            if (flight := led.get(key)) is not None:
                self._namespace.flights.land(flight, each.payload)  # followers each decode a value of their own
                led.pop(key, None)

    def _missing(
        self,
        led: Mapping[str, Flight],
        admission: Admission,
        tell: Callable[[Mapping[str, LoaderResult]], None],
        *,
        anew: bool,
    ) -> Flow[list[str]]:
        """Return the keys that are to be loaded; queue for a place at once if every place is taken."""
        namespace = self._namespace
        missing = list(led)
        if not anew:
            # Other flights may have landed between the caller's miss and its taking the lead.
            found = yield from held_here(namespace.store, missing)
            turns = Turns()
            for part in parts(found.items()):
                tell({key: LoaderResult(value, namespace.values.encode(value)) for key, value in part})
                yield from turns.give(len(part))
            missing = [key for key in missing if key not in found]
        if missing and admission.is_barred:
            missing = yield from admission.queue(missing)
        return missing

    def _lead_in_background(
        self,
        led: dict[str, Flight],
        admission: Admission,
        source: LoaderCall,
        *,
        anew: bool,
        others: Others = "wait",
    ) -> Flow[dict[str, LoaderResult]]:
        """Lead in the background, and log errors: followers receive the errors, but there may be no follower."""
        failures = (Exception, SystemExit, KeyboardInterrupt)  # here they stop no caller
        keys = list(led)
        try:
            return (yield from self._lead_flight(led, admission, source, anew=anew, others=others, failures=failures))
        except failures as error:
            log = self._namespace.log
            if not self._namespace.closed:  # a load of a closed cache is bound to fail
                log.log(logging.WARNING, "load", "a load in the background failed: %r", as_raised(error), trace=True)
            return {}
        except BaseException:
            self._note_stopped(keys)
            raise

    def _start_in_background(self, wanted: Iterable[str], source: LoaderCall, *, anew: bool) -> Flow[StartedLoad]:
        """Load keys in the background, except keys that are being loaded there already.

        No caller waits for this load: it is left out if every place at the gate is taken, or another
        process loads. If an earlier attempt was stopped, the caller makes this one.
        """
        attempts, asked = self._namespace.attempts, list(wanted)
        own = not inside_loader() and sum(attempts.take_stopped(key) for key in asked) > 0
        admission = Admission(self._namespace.load_gate, self._patience())
        begun: list[str] = []
        try:
            try:
                keys = [key for key in asked if attempts.begin(key, admission)]
                if not keys or not admission.take_at_once():
                    return StartedLoad(0, {})
                if own:
                    return StartedLoad(len(keys), (yield from self._attempt(keys, admission, source, anew=anew)))
                yield from self._begin(keys, admission, source, begun, anew=anew)
                return StartedLoad(len(begun), {})
            finally:
                if not begun:
                    self._end_attempts(asked, admission)
        finally:
            if not begun:
                self._end_attempts(asked, admission)

    def _begin(
        self, keys: list[str], admission: Admission, source: LoaderCall, begun: list[str], *, anew: bool
    ) -> Flow[None]:
        """Load keys in the background; keys added to `begun` are ended by their task, no longer by the caller."""
        ran: list[str] = []

        def undo() -> None:
            if not ran:  # its loop has ended before its first step
                self._note_stopped(keys)
            self._end_attempts(keys, admission)

        with contextlib.suppress(TwoTierError, RuntimeError):  # closed, or no thread available: the caller has a value
            yield Spawn(self._load_outside_flight(keys, admission, source, ran, anew=anew), undo)
            begun += keys

    def _load_outside_flight(
        self, keys: list[str], admission: Admission, source: LoaderCall, ran: list[str], *, anew: bool
    ) -> Flow[None]:
        ran += keys
        try:
            leave_flights()
            yield from self._attempt(keys, admission, source, anew=anew)
        finally:
            self._end_attempts(keys, admission)

    def _note_stopped(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._namespace.attempts.stopped(key)

    def _attempt(
        self, keys: list[str], admission: Admission, source: LoaderCall, *, anew: bool
    ) -> Flow[Mapping[str, LoaderResult]]:
        """Load keys whose attempts were begun; return the results."""
        namespace = self._namespace
        led: dict[str, Flight] = {}
        landed: dict[str, LoaderResult] = {}
        note = namespace.attempts.failed
        try:
            try:
                for key in keys:
                    led[key] = mine = namespace.flights.flight(key)
                    if not namespace.flights.join(key, mine)[1]:
                        del led[key]
                if led:
                    landed = yield from self._lead_in_background(led, admission, source, anew=anew, others="leave")
            except BaseException as error:
                if not isinstance(error, Exception):
                    note = namespace.attempts.stopped
                raise
            finally:
                for key in keys:
                    if key not in landed:
                        note(key)
                self._abandon(led)
                self._end_attempts(keys, admission)
        finally:
            self._abandon(led)
            self._end_attempts(keys, admission)
        return landed

    def _end_attempts(self, keys: Iterable[str], admission: Admission) -> None:
        admission.leave()
        for key in keys:
            self._namespace.attempts.end(key, admission)

    def _give_back(self, led: Mapping[str, Flight], admission: Admission) -> None:
        admission.leave()
        self._abandon(led)

    def _abandon(self, led: Mapping[str, Flight]) -> None:
        for flight in list(led.values()):
            self._namespace.flights.abandon(flight)

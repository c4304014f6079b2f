"""`get_or_set_many`: several keys, of which one call of the loader loads the missing ones.

Each key has its flight and its load lock. Keys that other callers or processes are loading are left
to them. The call waits for these keys after it has loaded its own, and has passed the values to its
followers; so two such calls never wait for each other.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twotier.core.access.keys import checked_in_turns
from twotier.core.access.missing import MISSING
from twotier.core.access.reads import held_here
from twotier.core.flow.drive import Flow
from twotier.core.flow.stop_iteration import as_raised
from twotier.core.flow.turns import Turns, in_order, parts
from twotier.core.loading.call_policy import CallPolicy
from twotier.core.loading.flight_followers import WaitRounds, is_in_vain
from twotier.core.loading.load_one import SingleLoads
from twotier.core.loading.loader_call import BulkLoaderCall, LoaderCall
from twotier.core.loading.single_flight import ABANDONED, Flight
from twotier.errors import LoaderError, LoadShed, LoadTimeout, TwoTierError
from twotier.load_policy import LoadPolicy
from twotier.notfound import NOT_FOUND
from twotier.options import ttl_ns


class Loads(SingleLoads):
    """All loads of one namespace."""

    def get_or_set_many(
        self, keys: Iterable[str], loader: Callable[[list[str]], Mapping[str, Any]], terms: CallPolicy
    ) -> Flow[dict[str, Any]]:
        """Return the values under `keys`, in the order of `keys`; load the missing ones by one call of `loader`."""
        namespace, policy, tiers = self._namespace, terms.policy, self._tiers
        namespace.check_open()
        wanted = yield from checked_in_turns(keys)
        source = BulkLoaderCall(namespace, loader, terms)
        found = yield from held_here(namespace.store, wanted)
        if policy.early_refresh is not None:
            due = [key for key in found if namespace.durations.is_due(key, policy.early_refresh)]
            begun = yield from self._start_in_background(due, source, anew=True)
            namespace.counters.early_refreshes += begun.keys
            found.update({key: each.value for key, each in begun.made.items()})
        missed = self._known(wanted, found)
        if policy.stale_while_revalidate is not None:
            window = ttl_ns(policy.stale_while_revalidate)
            lapsed = {key: value for key in missed if (value := tiers.lapsed(key, window)) is not MISSING}
            begun = yield from self._start_in_background(list(lapsed), source, anew=False)
            for key, each in begun.made.items():
                del lapsed[key]
                found[key] = each.value
            namespace.counters.stale_while_revalidating += len(lapsed)
            self._serve(lapsed, found)
            missed = [key for key in missed if key not in found]
        if missed:
            yield from tiers.fetch_many(missed, found, keep=True)
            missed = [key for key in missed if key not in found]
        if missed and policy.stale_on_error:
            spares = {key: tiers.spare(key) for key in missed if namespace.attempts.is_backing_off(key)}
            found.update({key: value for key, value in spares.items() if value is not MISSING})
            missed = [key for key in missed if key not in found]
        if missed:
            found.update((yield from self._load_many(missed, source, policy)))
        return (yield from in_order(wanted, found, NOT_FOUND))

    def _known(self, wanted: list[str], found: dict[str, Any]) -> list[str]:
        """Return the keys about which nothing is known; count the keys that are known to be absent."""
        absences, missed = self._namespace.absences, []
        for key in wanted:
            if key not in found:
                if absences.holds(key):
                    self._namespace.found_absent()
                else:
                    missed.append(key)
        return missed

    def _serve(self, stale: dict[str, Any], found: dict[str, Any]) -> None:
        for key, value in stale.items():
            self._namespace.served_stale()
            found[key] = value

    def _load_many(self, keys: list[str], source: LoaderCall, policy: LoadPolicy) -> Flow[dict[str, Any]]:
        """Load keys except those that others are loading, then wait for these; take over abandoned loads."""
        rounds, results = WaitRounds(self._patience()), _Results()
        while keys:
            outcomes = yield from self._load_round(keys, source, policy, rounds, results)
            rounds.another(outcomes)
            keys = list(outcomes)
        for key, raised in list(results.errors.items()):
            value = self._excused(key, raised, policy)
            if value is not MISSING:
                results.values[key] = value
                del results.errors[key]
        if results.errors:
            raise _joined(list(results.errors.values()))
        return results.values

    def _load_round(
        self, keys: list[str], source: LoaderCall, policy: LoadPolicy, rounds: WaitRounds, results: "_Results"
    ) -> Flow[dict[str, object]]:
        """Lead or follow each key once; return the keys that need another round, each with its outcome."""
        led: dict[str, Flight] = {}  # the caller must end them until they are spawned
        again: dict[str, object] = {}
        try:
            try:
                followed = yield from self._join(keys, led, rounds.apart)
                owned = set(led)
                attempts = self._namespace.attempts
                overtime = {key for key in owned if policy.is_timed and attempts.take_overtime(key)}
                if led:
                    followed |= yield from self._lead(led, source, policy, rounds, results)
                for key, flight in followed.items():
                    own = key in owned
                    try:
                        if key in overtime:
                            value = yield from self._follow_in_overtime(flight, policy, rounds.patience)
                        else:
                            value = yield from self._follow(flight, policy, rounds.patience, stale=True, own=own)
                    except Exception as error:  # noqa: BLE001 - raised later, with those of others
                        results.errors[key] = error
                        continue
                    if value is ABANDONED and own:
                        results.errors[key] = TwoTierError(f"the load of {key!r} was stopped")
                    else:
                        (again if is_in_vain(value) else results.values)[key] = value
            finally:
                self._abandon(led)
        finally:
            self._abandon(led)
        return again

    def _lead(
        self,
        led: dict[str, Flight],
        source: LoaderCall,
        policy: LoadPolicy,
        rounds: WaitRounds,
        results: "_Results",
    ) -> Flow[dict[str, Flight]]:
        """Load the keys of the flights that the caller leads; return the flights that it must follow all the same."""
        flights, apart = dict(led), not rounds.apart.isdisjoint(led)
        try:
            values = yield from self._launch(led, source, policy, rounds.patience, anew=False, apart=apart)
        except LoadShed:
            raise
        except Exception as error:
            failed = [key for key, flight in flights.items() if _has_raised(flight, error)]
            if not failed:
                raise  # not a loader's error: it has stopped the caller
            self._abandon(led)  # no caller waits for a flight of its own
            results.errors.update(dict.fromkeys(failed, error))
            return {key: flight for key, flight in flights.items() if key not in results.errors}
        results.values.update(values)
        turns = Turns()
        for part in parts(values):  # the last references to many flights go, which takes longer than all else here
            for key in part:
                flights.pop(key, None)
            yield from turns.give(len(part))
        return flights

    def _join(self, keys: list[str], led: dict[str, Flight], apart: set[str]) -> Flow[dict[str, Flight]]:
        """Put the flights that the caller leads into `led`, and return those that it follows."""
        flights, turns = self._namespace.flights, Turns()
        followed: dict[str, Flight] = {}
        for part in parts(keys):
            for key in part:
                led[key] = mine = flights.flight(key)
                if key in apart:
                    flights.lead_beside(mine)
                    continue
                flight, leads = flights.join(key, mine)
                if not leads:
                    del led[key]
                    followed[key] = flight
            yield from turns.give(len(part))
        return followed


@dataclass(slots=True)
class _Results:
    """The results of keys so far."""

    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


def _has_raised(flight: Flight, error: Exception) -> bool:
    """Return True if a flight has landed with `error`."""
    return flight.future.done() and flight.future.exception() is as_raised(error)


def _joined(errors: list[Exception]) -> Exception:
    """Return one error for several keys: a single loader's error as it is, a LoaderError for several loaders'."""
    distinct = list({id(error): error for error in errors}.values())
    if len(distinct) == 1 or all(isinstance(error, LoadTimeout) for error in distinct):
        return distinct[0]
    raised = [as_raised(error) for error in distinct]
    joined = LoaderError(f"{len(raised)} loaders failed: {', '.join(type(error).__name__ for error in raised)}")
    joined.__cause__ = ExceptionGroup("what the loaders raised", raised)
    return joined

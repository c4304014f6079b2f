"""`get_or_set_many`: several keys, those that are missing loaded in one call of the loader.

Each key has its flight and its lease. Keys that other callers or processes are loading are left to them and waited for,
after what is ours to load was loaded and given to those who wait for it: so two such calls never wait for each other.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from twotier.core.drive import Flow
from twotier.core.keys import checked_many
from twotier.core.loading.single import SingleLoads
from twotier.core.loading.sources import Several, Source
from twotier.core.loading.terms import Terms
from twotier.core.missing import MISSING
from twotier.core.singleflight import ABANDONED, Flight
from twotier.errors import LoaderError, LoadTimeout, TwoTierError
from twotier.load_policy import LoadPolicy
from twotier.notfound import NOT_FOUND
from twotier.options import ttl_ns


class Loads(SingleLoads):
    """All loads of one namespace."""

    def get_or_set_many(
        self, keys: Iterable[str], loader: Callable[[list[str]], Mapping[str, Any]], terms: Terms
    ) -> Flow[dict[str, Any]]:
        """Return the values under `keys`, in their order; load those that are missing, in one call of `loader`."""
        namespace, policy, tiers = self._namespace, terms.policy, self._tiers
        namespace.check_open()
        wanted = checked_many(keys)
        source = Several(namespace, loader, terms)
        found = namespace.store.get_many(wanted)
        if policy.early_refresh is not None:
            due = [key for key in found if namespace.durations.is_due(key, policy.early_refresh)]
            namespace.counters.early_refreshes += yield from self._behind(due, source, anew=True)
        missed = self._known(wanted, found)
        if policy.stale_while_revalidate is not None:
            window = ttl_ns(policy.stale_while_revalidate)
            lapsed = {key: value for key in missed if (value := tiers.lapsed(key, window)) is not MISSING}
            yield from self._behind(list(lapsed), source, anew=False)
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
        return {key: found[key] for key in wanted if found.get(key, NOT_FOUND) is not NOT_FOUND}

    def _known(self, wanted: list[str], found: dict[str, Any]) -> list[str]:
        """Return the keys of which nothing is known; those that are known to be absent are counted."""
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

    def _load_many(self, keys: list[str], source: Source, policy: LoadPolicy) -> Flow[dict[str, Any]]:
        """Load keys, those that others are loading excepted; then wait for those. Take over what is abandoned."""
        began = self._namespace.clock.now()
        results = _Results()
        while keys:
            led, followed = self._join(keys)
            if led:
                followed.update((yield from self._lead(led, source, policy, results)))
            keys = []
            for key, flight in followed.items():
                try:
                    value = yield from self._follow(flight, policy, began, stale=True)
                except Exception as error:  # noqa: BLE001 - raised below, with those of others
                    results.errors[key] = error
                    continue
                if value is not ABANDONED:
                    results.values[key] = value
                elif key in led:
                    results.errors[key] = TwoTierError(f"the load of {key!r} was stopped")
                else:
                    keys.append(key)
        for key, raised in list(results.errors.items()):
            value = self._excused(key, raised, policy)
            if value is not MISSING:
                results.values[key] = value
                del results.errors[key]
        if results.errors:
            raise _joined(list(results.errors.values()))
        return results.values

    def _lead(
        self, led: dict[str, Flight], source: Source, policy: LoadPolicy, results: "_Results"
    ) -> Flow[dict[str, Flight]]:
        """Load the keys of the flights we lead; return those that are to be followed all the same."""
        place, served = self._admit(led, policy, stale=True)
        results.values.update(served)
        if not led:
            return {}
        try:
            made = yield from self._launch(led, place, source, policy, anew=False)
        except Exception as error:  # noqa: BLE001 - raised later, with those of others
            failed = [key for key, flight in led.items() if flight.future.exception() is error]
            results.errors.update(dict.fromkeys(failed, error))
            return {key: flight for key, flight in led.items() if key not in results.errors}
        results.values.update({key: each.value for key, each in made.items()})
        return {key: flight for key, flight in led.items() if key not in made}

    def _join(self, keys: list[str]) -> tuple[dict[str, Flight], dict[str, Flight]]:
        """Return the flights that we lead, and those that we follow."""
        namespace = self._namespace
        led: dict[str, Flight] = {}
        followed: dict[str, Flight] = {}
        try:
            for key in keys:
                flight, leads = namespace.flights.join(key)
                (led if leads else followed)[key] = flight
        except BaseException:
            self._abandon(led)
            raise
        return led, followed


@dataclass(slots=True)
class _Results:
    """What has come of keys so far."""

    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, Exception] = field(default_factory=dict)


def _joined(errors: list[Exception]) -> Exception:
    """Return one error for several keys: what one loader raised as it is, a LoaderError for those of several."""
    distinct = list({id(error): error for error in errors}.values())
    if len(distinct) == 1 or all(isinstance(error, LoadTimeout) for error in distinct):
        return distinct[0]
    joined = LoaderError(f"{len(distinct)} loaders failed: {', '.join(type(error).__name__ for error in distinct)}")
    joined.__cause__ = ExceptionGroup("what the loaders raised", distinct)
    return joined

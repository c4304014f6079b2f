"""The public calls of a cache: each checks its arguments and returns the flow that does the work.

The sync and async caches hold one `Calls` each and only drive its flows. A local hit doesn't come here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from twotier.core.access.acknowledgements import Acknowledgements
from twotier.core.access.keys import INT64, checked, checked_mapping
from twotier.core.access.local_only import LocalOnly
from twotier.core.access.missing import MISSING
from twotier.core.access.write_through import LocalThrough, TwoTierThrough
from twotier.core.flow.drive import Flow
from twotier.core.loading.call_policy import CallPolicy, LoadPolicies
from twotier.core.loading.context import checked_loader
from twotier.core.loading.load_locks import TwoTier
from twotier.core.loading.load_many import Loads
from twotier.core.namespace.namespace import Namespace, TwoTierNamespace
from twotier.core.tags.tag_index import checked_tags, distinct_tags
from twotier.errors import TwoTierError
from twotier.load_policy import LoadPolicy, LoadPolicyDict
from twotier.options import DEFAULT_TTL, Options, OptionsDict, Ttl, ttl_ns
from twotier.remote.deploy.factory import Target, connect

R = TypeVar("R")


class Calls:
    """The calls of one cache, on two tiers or (without a target) on the local tier alone."""

    __slots__ = (
        "_acknowledgements",
        "_loads",
        "_policies",
        "_through",
        "namespace",
        "options",
        "tiers",
        "ttl_default",
    )

    def __init__(self, target: Target | None, options: Options | None, settings: OptionsDict) -> None:
        if options is not None and settings:
            raise TypeError(f"give either options or keyword settings, not both; got options and {sorted(settings)}")
        if options is not None and not isinstance(options, Options):
            raise TypeError(f"options must be an Options, got {type(options).__name__}: {options!r:.100}")
        self.options = options or Options(**settings)
        self.namespace: Namespace
        self.tiers: TwoTier | LocalOnly
        self._through: TwoTierThrough | LocalThrough | None = None
        writer = self.options.writer
        if target is None:
            self.namespace = Namespace(self.options)
            if writer is None:
                self.tiers = LocalOnly(self.namespace)
            else:
                self.tiers = self._through = LocalThrough(self.namespace, writer)
        else:
            self.namespace = two_tiers = TwoTierNamespace(connect(target, self.options), self.options)
            if writer is None:
                self.tiers = TwoTier(two_tiers)
            else:
                self.tiers = self._through = TwoTierThrough(two_tiers, writer)
            if self.options.connect == "eager":
                two_tiers.reach()
        self.options = self.namespace.options
        self._acknowledgements: Acknowledgements | None = None
        if self.options.wait_replicas:
            self._acknowledgements = Acknowledgements(self.options, self.namespace.counters)
        self.ttl_default = ttl_ns(self.options.ttl)
        self._policies = LoadPolicies(self.options)
        self._loads = Loads(self.tiers, self.namespace)

    def acknowledged(self, flow: Flow[R]) -> Flow[R]:
        """Return `flow`, with writes that wait for replicas if the options say so."""
        return flow if self._acknowledgements is None else self._acknowledgements.of(flow)

    def get(self, key: str) -> Flow[Any]:
        """Return the value that the local tier missed under `key`, or MISSING."""
        exact = checked(key)
        if exact is not key:  # the local tier compared keys by the equality of a subclass
            found = self.namespace.store.get(exact, MISSING)
            if found is not MISSING:
                return found
        return (yield from self.tiers.get(exact))

    def get_many(self, keys: Iterable[str]) -> Flow[dict[str, Any]]:
        """Return the values of the keys that exist, in the order of `keys`."""
        return self.tiers.get_many(keys)

    def set(self, key: str, value: Any, ttl: Ttl, tags: Iterable[str] = ()) -> Flow[bool]:
        """Put `value`."""
        if self._through is None:
            return (yield from self.tiers.set(checked(key), value, self.life(ttl), tags=checked_tags(tags)))
        yield from self._through.put_through({key: value}, self.life(ttl), tags=checked_tags(tags))
        return True

    def set_many(self, values: Mapping[str, Any], ttl: Ttl, tags: Iterable[str] = ()) -> Flow[None]:
        """Put every value of a mapping."""
        put = self.tiers.set_many if self._through is None else self._through.put_through
        return put(checked_mapping(values), self.life(ttl), tags=checked_tags(tags))

    def add(self, key: str, value: Any, ttl: Ttl, tags: Iterable[str] = ()) -> Flow[bool]:
        """Put `value` unless `key` exists; return True if it was put."""
        self._refuse_through("add")
        return self.tiers.set(checked(key), value, self.life(ttl), absent=True, tags=checked_tags(tags))

    def delete(self, key: str) -> Flow[bool]:
        """Remove `key`; return True if it existed."""
        return (yield from self.delete_many((key,))) == 1

    def delete_many(self, keys: Iterable[str]) -> Flow[int]:
        """Remove `keys`; return how many existed."""
        if self._through is not None:
            return self._through.remove_through(keys)
        return self.tiers.delete_many(keys)

    def invalidate(self, key: str) -> Flow[bool]:
        """Expire `key`, keeping stale copies for outages; return True if it existed."""
        return (yield from self.tiers.delete_many((key,), kept=True)) == 1

    def invalidate_many(self, keys: Iterable[str]) -> Flow[int]:
        """Expire `keys`; return how many existed."""
        return self.tiers.delete_many(keys, kept=True)

    def invalidate_tag(self, tags: Iterable[str]) -> Flow[None]:
        """Expire every entry that carries any of `tags`."""
        return self.tiers.invalidate_tags(distinct_tags(tags))

    def touch(self, key: str, ttl: Ttl) -> Flow[bool]:
        """Set a new ttl for `key`; return True if it exists."""
        return self.tiers.touch(checked(key), self.life(ttl))

    def ttl(self, key: str) -> Flow[float | None]:
        """Return the seconds that `key` has left."""
        return self.tiers.ttl(checked(key))

    def incr(self, key: str, delta: int, ttl: Ttl, *, create: bool) -> Flow[int]:
        """Add `delta` to the integer under `key`, and return the sum."""
        self._refuse_through("incr")
        return self._added(key, _checked_delta(delta), ttl, create=create)

    def decr(self, key: str, delta: int, ttl: Ttl, *, create: bool) -> Flow[int]:
        """Subtract `delta` from the integer under `key`, and return the difference."""
        self._refuse_through("decr")
        return self._added(key, -_checked_delta(delta), ttl, create=create)

    def _added(self, key: str, delta: int, ttl: Ttl, *, create: bool) -> Flow[int]:
        if delta not in INT64:  # the least integer has no opposite
            raise OverflowError(f"delta must have an opposite of 64 bits, got {-delta}")
        value = yield from self.tiers.incr(checked(key), delta, self.life(ttl), create=create)
        if value is None:
            raise KeyError(key)
        return value

    def contains(self, key: str) -> Flow[bool]:
        """Return True if `key` exists."""
        return self.tiers.contains(checked(key))

    def clear(self) -> Flow[None]:
        """Remove every entry of the namespace."""
        return self.tiers.clear()

    def get_or_set(
        self, key: str, loader: Callable[..., Any], ttl: Ttl, tags: Iterable[str], policy: LoadPolicyDict
    ) -> Flow[Any]:
        """Return the value under `key`, which the local tier missed, or the value that `loader` loads."""
        return self._loads.get_or_set(checked(key), checked_loader(loader), self._terms(ttl, tags, policy))

    def get_or_set_many(
        self,
        keys: Iterable[str],
        loader: Callable[[list[str]], Mapping[str, Any]],
        ttl: Ttl,
        tags: Iterable[str],
        policy: LoadPolicyDict,
    ) -> Flow[dict[str, Any]]:
        """Return the values under `keys`; one call of `loader` loads the missing ones."""
        return self._loads.get_or_set_many(keys, checked_loader(loader), self._terms(ttl, tags, policy))

    def refresh(
        self, key: str, loader: Callable[..., Any], ttl: Ttl, tags: Iterable[str], policy: LoadPolicyDict
    ) -> Flow[Any]:
        """Load `key` now, even if it exists."""
        return self._loads.refresh(checked(key), checked_loader(loader), self._terms(ttl, tags, policy))

    def is_due(self, key: str, policy: LoadPolicyDict) -> bool:
        """Decide at random whether to load `key`, which the local tier has, again before it expires."""
        beta = self._policies.of(policy).early_refresh
        return beta is not None and self.namespace.durations.is_due(key, beta)

    def refresh_ahead(
        self, key: str, loader: Callable[..., Any], ttl: Ttl, tags: Iterable[str], policy: LoadPolicyDict
    ) -> Flow[None]:
        """Load `key`, which is due, in the background."""
        return self._loads.refresh_ahead(checked(key), checked_loader(loader), self._terms(ttl, tags, policy))

    def policy(self, overrides: LoadPolicyDict) -> LoadPolicy:
        """Return the load policy with `overrides`; ConfigurationError or TypeError names a bad one."""
        return self._policies.of(overrides)

    def _terms(self, ttl: Ttl, tags: Iterable[str], policy: LoadPolicyDict) -> CallPolicy:
        return CallPolicy(self._policies.of(policy), self.life(ttl), checked_tags(tags))

    def life(self, ttl: Ttl) -> int:
        """Return a caller's ttl in ns; DEFAULT_TTL means the cache's own."""
        return self.ttl_default if ttl is DEFAULT_TTL else ttl_ns(ttl)

    def _refuse_through(self, call: str) -> None:
        """Refuse a call that is atomic in the cache alone, and would leave the source out of date."""
        if self._through is not None:
            raise TwoTierError(
                f"{call} can't write through to the source (writer=): do it there, then set the key or invalidate it"
            )


def _checked_delta(delta: int) -> int:
    if not isinstance(delta, int) or isinstance(delta, bool):
        raise TypeError(f"delta must be an int, got {delta!r}")
    if delta not in INT64:
        raise OverflowError(f"delta must be an int of 64 bits, got {delta}")
    return delta

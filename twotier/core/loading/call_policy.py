"""The terms of a load: the policy of the call, and the ttl and tags of the result."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Final

from twotier.core.tags.tag_index import ANY_TAG
from twotier.load_policy import LoadPolicy, LoadPolicyDict
from twotier.options import Options

MOST: Final = 256
"""Policies kept; creating one takes some microseconds."""

_FIELDS: Final = tuple(field.name for field in dataclasses.fields(LoadPolicy))


@dataclass(frozen=True, slots=True)
class CallPolicy:
    """Policy, ttl (ns; NEVER for none) and tags of one call."""

    policy: LoadPolicy
    ttl: int
    tags: tuple[str, ...] = ()
    may_add_tags: bool = False
    """Whether the loader may name tags."""

    @property
    def noted(self) -> tuple[str, ...]:
        """The tags under which keys are noted during their load."""
        return (ANY_TAG, *self.tags) if self.may_add_tags else self.tags


class LoadPolicies:
    """The policies of one cache: its own, and those of calls that override it, each created once.

    >>> policies = LoadPolicies(Options(stale_on_error=True))
    >>> policies.of({"soft_timeout": 0.1}).stale_on_error, policies.of({}) is policies.default
    (True, True)
    """

    __slots__ = ("_made", "_options", "default")

    def __init__(self, options: Options) -> None:
        self._options = options
        self.default = LoadPolicy(**{name: getattr(options, name) for name in _FIELDS})
        """The policy of a call without overrides."""
        self._made: dict[Any, LoadPolicy] = {}

    def of(self, overrides: LoadPolicyDict) -> LoadPolicy:
        """Return the cache's policy with some settings replaced; ConfigurationError names a bad one."""
        if not overrides:
            return self.default
        asked = tuple(overrides.items())
        try:
            found = self._made.get(asked)
        except TypeError:  # a value of a type that no setting has
            return self._make(overrides)
        if found is None:
            found = self._make(overrides)
            if len(self._made) >= MOST:
                self._made.clear()
            self._made[asked] = found
        return found

    def _make(self, overrides: LoadPolicyDict) -> LoadPolicy:
        for name in overrides:
            if name not in _FIELDS:
                raise TypeError(f"a load takes no setting {name!r}, but {', '.join(_FIELDS)}")
        policy = dataclasses.replace(self.default, **overrides)
        self._options.check_held(policy)
        return policy

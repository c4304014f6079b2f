"""What a load may be told, and what it may not."""

import dataclasses
from typing import get_type_hints

import pytest

from twotier import Cache, ConfigurationError, LoadPolicy, Options
from twotier.core.loading.call_policy import MOST, LoadPolicies
from twotier.load_policy import LoadPolicyDict


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"early_refresh": 0}, "early_refresh must be None or a number > 0, got 0"),
        ({"early_refresh": True}, "early_refresh must be None or a number > 0, got True"),
        (
            {"stale_while_revalidate": -1},
            "stale_while_revalidate must be None or seconds >= 0.001, up to 100 years, got -1",
        ),
        ({"stale_while_revalidate": 9999}, r"at most stale_ttl \(3600.0\), for which stale copies are held, got 9999"),
        ({"soft_timeout": "1"}, "soft_timeout must be None or seconds >= 0.001, up to 100 years, got '1'"),
        (
            {"hard_timeout": float("nan")},
            "hard_timeout must be None or seconds >= 0.001, up to 100 years, got nan",
        ),
        ({"soft_timeout": 2, "hard_timeout": 1}, r"soft_timeout must be less than hard_timeout \(1\), got 2"),
        ({"stale_on_error": 1}, "stale_on_error must be True or False, got 1"),
        ({"negative_ttl": 0}, "negative_ttl must be None or seconds >= 0.001, up to 100 years, got 0"),
        ({"load_jitter": 1}, "load_jitter must be a share >= 0 and < 1, got 1"),
        ({"when_busy": "fail"}, r"when_busy must be one of \('wait', 'stale', 'shed'\), got 'fail'"),
        ({"when_busy": ["wait"]}, r"when_busy must be one of .*, got \['wait'\]"),
    ],
)
def test_bad_settings_are_named(setting, message):
    """A setting that can't work is refused, for the cache and for one call, before anything is loaded."""
    with pytest.raises(ConfigurationError, match=message):
        Options(**setting)
    with Cache() as cache:
        for call in (cache.get_or_set, cache.refresh, cache.get_or_set_many):
            with pytest.raises(ConfigurationError, match=message):
                call("key", lambda: pytest.fail("loaded"), **setting)


def test_unknown_settings_are_refused():
    """A call takes the settings of loads, and no others."""
    with Cache() as cache, pytest.raises(TypeError, match="a load takes no setting 'jitter', but early_refresh"):
        cache.get_or_set("key", lambda: 1, jitter=0.1)


def test_policies_are_made_once():
    """One policy for equal overrides, on top of the cache's own; they are bounded in number."""
    policies = LoadPolicies(Options(hard_timeout=9, stale_on_error=True))
    mine = policies.of({"soft_timeout": 1})
    assert mine is policies.of({"soft_timeout": 1})
    assert (mine.soft_timeout, mine.hard_timeout, mine.stale_on_error) == (1, 9, True)
    assert policies.of({"hard_timeout": None}).hard_timeout is None
    for number in range(1, 3 * MOST):
        policies.of({"negative_ttl": number})
    assert len(policies._made) <= MOST


def test_a_call_is_checked_against_the_whole_policy():
    """What one call asks for must fit what the cache was told."""
    with Cache(hard_timeout=1) as cache, pytest.raises(ConfigurationError, match="soft_timeout must be less than"):
        cache.get_or_set("key", lambda: 1, soft_timeout=2)


def test_the_keyword_form_is_the_policy():
    """`LoadPolicyDict`, which types keyword settings, has the fields and the types of `LoadPolicy`."""
    assert get_type_hints(LoadPolicyDict) == get_type_hints(LoadPolicy)
    assert {field.name for field in dataclasses.fields(LoadPolicy)} <= set(Options.__dataclass_fields__)

"""The load policy: early refresh, stale copies, timeouts of loaders, and the bound on concurrent loads."""

from dataclasses import dataclass
from typing import Final, Literal, TypedDict

from twotier.checking import expect, is_seconds

LEAST: Final = 0.001
"""The shortest time that can be asked for (s)."""


class LoadPolicyDict(TypedDict, total=False):
    """The fields of `LoadPolicy` as keyword arguments (a test holds the two equal)."""

    early_refresh: float | None
    stale_while_revalidate: float | None
    soft_timeout: float | None
    hard_timeout: float | None
    stale_on_error: bool
    negative_ttl: float | None
    load_jitter: float
    when_busy: Literal["wait", "stale", "shed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPolicy:
    """Settings of loads, for a cache or one call; times in seconds. ConfigurationError names an invalid setting.

    A *stale copy* is a local entry past its expiry that is still held (`stale_ttl`). A deleted entry leaves none.

    >>> LoadPolicy(soft_timeout=0.2, hard_timeout=2).soft_timeout
    0.2
    >>> LoadPolicy(early_refresh=0)
    Traceback (most recent call last):
    twotier.errors.ConfigurationError: early_refresh must be None or a number > 0, got 0
    """

    early_refresh: float | None = None
    """Load again in the background before the entry expires, at a moment drawn by chance on each hit, the sooner the
    longer the load takes: 1.0 is the optimum of XFetch (Vattani, Chierichetti, Lowenstein 2015), more is earlier."""

    stale_while_revalidate: float | None = None
    """How long past its expiry a stale copy that nothing contradicts is served at once, while it is loaded again in the
    background (s)."""

    soft_timeout: float | None = None
    """Past this, a caller who waits for a loader gets the stale copy, if there is one; the load goes on (s)."""

    hard_timeout: float | None = None
    """Past this, a caller who waits for a loader gets a LoadTimeout; the load goes on (s)."""

    stale_on_error: bool = False
    """When the loader raises, or outlasts hard_timeout: serve the stale copy, and load again after a second."""

    negative_ttl: float | None = None
    """How long both tiers remember that a loader returned NOT_FOUND (s); None: not at all."""

    load_jitter: float = 0.0
    """Largest share of a loaded value's ttl subtracted at random, so that values loaded together expire apart."""

    when_busy: Literal["wait", "stale", "shed"] = "stale"
    """For callers over `max_concurrent_loads`: "wait" in a queue; "stale": get the stale copy, which may be long past
    its ttl, or queue without one; "shed": get a LoadShed."""

    def __post_init__(self) -> None:
        """Check every field, and those that must fit each other."""
        early = self.early_refresh
        expect(
            early is None or (is_seconds(early, 0) and early > 0), "early_refresh", early, "None or a number > 0"
        )  # fmt: skip
        for name in ("stale_while_revalidate", "soft_timeout", "hard_timeout", "negative_ttl"):
            given = getattr(self, name)
            expect(
                given is None or is_seconds(given, LEAST),
                name,
                given,
                f"None or seconds >= {LEAST}, up to 100 years",
            )
        soft, hard = self.soft_timeout, self.hard_timeout
        expect(
            soft is None or hard is None or soft < hard, "soft_timeout", soft, f"less than hard_timeout ({hard})"
        )  # fmt: skip
        expect(isinstance(self.stale_on_error, bool), "stale_on_error", self.stale_on_error, "True or False")
        jitter = self.load_jitter
        expect(is_seconds(jitter, 0) and jitter < 1, "load_jitter", jitter, "a share >= 0 and < 1")
        choices = ("wait", "stale", "shed")
        expect(self.when_busy in choices, "when_busy", self.when_busy, f"one of {choices}")

    @property
    def is_timed(self) -> bool:
        """Whether callers may stop waiting for a loader before it has ended."""
        return self.soft_timeout is not None or self.hard_timeout is not None

    @property
    def keeps_stale(self) -> bool:
        """Whether the policy serves stale copies, for which entries must be held past their expiry."""
        return self.stale_while_revalidate is not None or self.soft_timeout is not None or self.stale_on_error

"""Known mistakes, each with the smallest scenario in which it shows, and the invariant that it breaks there.

The first group are mistakes that others make, or that the protocol's own steps guard against. The second are twotier's
own: its first code made them, and this model found them (`tests/interleavings/test_interleavings.py` has them on real
flows).
"""

from dataclasses import dataclass
from typing import Any, Final

from protocol.bounds import then
from protocol.rules import Rules
from protocol.scenario import Program, Scenario
from protocol.state import Budget

GET: Final = then("get 0")
SET: Final = then("set 0")
DELETE: Final = then("delete 0")
CUT: Final = Budget(cuts=1)


@dataclass(frozen=True)
class Trap:
    """A mistake, where it shows, and what it breaks."""

    name: str
    rules: Rules
    breaks: str
    """The invariant that is checked, alone: what follows from the mistake, not the mistake itself."""
    scenario: Scenario
    large: bool = False
    """Whether the scenario has so many states that holding it with the right rules is left to `bounds.DEEP`."""


def scenario(*programs: tuple[Program, ...], **bounds: Any) -> Scenario:
    """Return the scenario of these programs, by process and thread."""
    return Scenario("where the trap is", programs, **bounds)


TRAPS = (
    Trap("a fill without a token", Rules(fill="naive"), "I1", scenario((GET,), (SET,), cold=True)),
    Trap("a fill without a token, at rest", Rules(fill="naive"), "I2", scenario((GET,), (SET,), cold=True)),
    Trap("an own set without a token", Rules(own_set="naive"), "I1", scenario((SET,), (SET,))),
    Trap("the placeholder of Redis's page", Rules(fill="placeholder"), "I1", scenario((GET, GET), (SET,), cold=True)),
    Trap(
        "an install across epochs",
        Rules(token_has_epoch=False),
        "I2",
        scenario((GET,), (SET,), cold=True, budget=CUT),
    ),
    Trap(
        "no new epoch after the subscription is confirmed",
        Rules(confirmation_bumps_epoch=False),
        "I2",
        scenario((then("get 0", "refresh 0"),), (SET,), budget=CUT),
    ),
    Trap(
        "no new epoch at the loss of the link",
        Rules(loss_bumps_epoch=False, confirmation_bumps_epoch=False),
        "I2",
        scenario((), (SET,), budget=CUT),
    ),
    Trap(
        "an install while the link isn't live",
        Rules(install_needs_lease=False, confirmation_bumps_epoch=False),
        "I2",
        scenario((GET,), (SET,), cold=True, budget=CUT),
    ),
    Trap(
        "a delete that leaves the reply to the echo",
        Rules(reply_applies="never"),
        "I5",
        scenario((then("delete 0", "get 0"), GET)),
    ),
    Trap("op ids compared by order", Rules(equality=False), "I1", scenario((SET,), (SET,))),
    Trap(
        "a lease that runs from the answer's arrival",
        Rules(lease_from_asking=False),
        "I3",
        scenario((), (SET,), staleness=2, budget=CUT),
    ),
    Trap(
        "a lease that overtakes invalidations",
        Rules(ordered_lease=False),
        "I3",
        scenario((), (SET,), staleness=2),
    ),
    Trap(
        "a forked child that keeps its parent's lease",
        Rules(fork_drops_link=False),
        "I2",
        scenario((SET,), (), parents=(0, 0), budget=Budget(forks=1)),
    ),
    Trap(
        "a forked child that keeps its parent's socket",
        Rules(fork_drops_link=False),
        "I7",
        scenario((SET,), (), parents=(0, 0), budget=Budget(forks=1)),
    ),
    Trap(
        "a load stored by the local token alone",
        Rules(load="token"),
        "I8",
        scenario((then("load 0"),), (then("update 0"),), empty=True),
    ),
    Trap(
        "a lease on loading that writes don't end",
        Rules(load="unvoided"),
        "I8",
        scenario((then("load 0"),), (then("update 0"),), empty=True),
    ),
)

FOUND = (
    Trap(
        "a set whose install lets older fills in after it",
        Rules(reply_applies="unless installed"),
        "I5",
        scenario((then("set 0", "get 0"), GET), cold=True),
    ),
    Trap(
        "a write into a generation that a clear has ended",
        Rules(fenced_writes=False),
        "I5",
        scenario((then("delete 0", "get 0"),), (then("clear 0", "set 0"),), asks=True),
        large=True,
    ),
    Trap(
        "a generation from a lease exchange that an own clear overtook",
        Rules(lease_names_generation=True),
        "I5",
        scenario((then("clear 0", "get 0"),), asks=True),
    ),
    Trap(
        "a clear that leaves the copies of the name",
        Rules(clears_write_copies=False),
        "I5",
        scenario((then("clear 0", "get 0"),), asks=True, budget=Budget(evictions=1)),
    ),
    Trap(
        "an evicted name restored without WATCH",
        Rules(restored="unwatched"),
        "I5",
        scenario((then("clear 0", "get 0"),), (then("touch 0"),), asks=True, budget=Budget(evictions=1)),
        large=True,
    ),
    Trap(
        "an evicted name put back by who knows it",
        Rules(restored="known"),
        "I5",
        scenario((then("clear 0", "get 0"),), (then("touch 0"),), asks=True, budget=Budget(evictions=1)),
    ),
    Trap(
        "two answers for the generation that aren't compared",
        Rules(generations_compared=False),
        "I1",
        scenario((GET, GET), asks=True, cold=True, budget=Budget(flushes=1)),
    ),
    Trap(
        "a write that takes another's doubt from the journal",
        Rules(forgets_what_it_saw=False),
        "I6",
        scenario((SET, DELETE), budget=Budget(failures=1)),
    ),
    Trap(
        "a read that looks into the journal before it takes its token",
        Rules(token_before_journal=False),
        "I5",
        scenario((GET, then("delete 0", "get 0")), cold=True, budget=Budget(failures=1)),
    ),
    Trap(
        "a replayed clear that waits for its echo",
        Rules(replayed_clear_bumps_epoch=False),
        "I5",
        scenario((then("clear 0", "get 0"), then("touch 0")), asks=True, budget=Budget(failures=1)),
        large=True,
    ),
    Trap(
        "a replay under a generation that its process doesn't know",
        Rules(replay_compares_generations=False),
        "I5",
        scenario((then("set 0", "get 0"),), (then("clear 0"),), asks=True, budget=Budget(failures=1)),
        large=True,
    ),
    Trap(
        "what was read without a link, kept whatever its token",
        Rules(kept_unlinked="any"),
        "I5",
        scenario((GET, then("delete 0", "get 0")), cold=True, budget=Budget(failures=1, cuts=1)),
    ),
    Trap(
        "a load that couldn't be stored, kept whatever its token",
        Rules(kept_loads_checked=False),
        "I5",
        scenario((then("update 0"), then("load 0", "get 0")), empty=True, budget=Budget(failures=2)),
        large=True,
    ),
)

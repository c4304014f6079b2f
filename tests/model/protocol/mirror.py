"""Walks the model and a real store side by side, and compares every decision: hit, miss, suspect, put, refused.

A `Mirror` is a model tier that does each operation on a real store as well. What the model knows only as a difference
(a token of another epoch, a key voided twice) the store has to find out from its own counters. Not mirrored: what
happens to entries by time alone, and forks.
"""

import random
from collections.abc import Callable, Sequence
from typing import Final

from protocol.explorer import after, moves
from protocol.rules import Rules
from protocol.scenario import DEFAULT, Scenario
from protocol.state import TierState, Value
from protocol.tier import Tier

from twotier.clock import NEVER, SECOND, ManualClock
from twotier.local import Store

LIFE: Final = 3600.0
"""Seconds that an entry lives here; walks are done before."""
MISSING: Final = object()


class Real:
    """The real store of one process, and the tokens of its threads."""

    def __init__(self, make: Callable[[ManualClock], Store], keys: Sequence[str]) -> None:
        self.clock = ManualClock()
        self.store: Store = make(self.clock)
        self.keys = keys
        self.tokens: dict[int, int] = {}
        self.compared = 0

    def adopt(self, state: TierState) -> None:
        """Take over the entries and the lease with which a process begins."""
        self.renew(state.lease)
        for key, entry in enumerate(state.entries):
            if entry is not None:
                self.store.put(
                    self.keys[key], entry.data, op=entry.op, expires=self.end(expired=entry.expired), stale=NEVER
                )
                if not entry.current:
                    self.store.bump_epoch()

    def renew(self, lease: int) -> None:
        """Be live, or not."""
        self.store.renew(NEVER if lease else 0)

    def end(self, *, expired: bool) -> int:
        """Return when an entry expires."""
        return self.clock.now() + (0 if expired else round(LIFE * SECOND))

    def agree(self, what: str, expected: object, found: object) -> None:
        """Compare one decision."""
        self.compared += 1
        assert expected == found, f"{what}: the model says {expected}, the store {found}"


class Mirror(Tier):
    """A model tier under change, whose every operation is done by a real store as well."""

    __slots__ = ("_real",)

    def __init__(self, state: TierState, rules: Rules, process: int, real: Real) -> None:
        super().__init__(state, rules, process)
        self._real = real

    def compare(self) -> None:
        """Compare what can be seen of every key, and of every token."""
        real = self._real
        for key, name in enumerate(real.keys):
            entry, suspect = self.get(key), super().suspect(key)
            data = None if entry is None else entry.data
            stored = real.store.get(name, MISSING)
            real.agree(f"get {name}", data, None if stored is MISSING else stored)
            kept = real.store.suspect(name, MISSING)
            real.agree(f"suspect {name}", None if suspect is None else suspect.data, None if kept is MISSING else kept)
            real.agree(f"op {name}", super().op(key), real.store.op(name))
        for thread, token in enumerate(self.tokens):
            if token is not None and thread in real.tokens:
                stands = token.current and token.voids == 0
                stored = real.store.stands(real.keys[token.key], real.tokens[thread])
                real.agree(f"token of thread {thread}", stands, stored)

    def token(self, thread: int, key: int) -> None:
        """Take a token."""
        super().token(thread, key)
        self._real.tokens[thread] = self._real.store.token(self._real.keys[key])

    def begin_write(self, thread: int, key: int) -> None:
        """Begin a write."""
        super().begin_write(thread, key)
        self._real.tokens[thread] = self._real.store.begin_write(self._real.keys[key])

    def release(self, thread: int) -> None:
        """Forget a token."""
        super().release(thread)
        self._real.tokens.pop(thread, None)

    def install(self, thread: int, key: int, value: Value, rule: str, *, expired: bool) -> bool:
        """Install, or not."""
        put = super().install(thread, key, value, rule, expired=expired)
        real = self._real
        assert value.op is not None
        ends = real.end(expired=expired)
        name, token = real.keys[key], real.tokens[thread]
        stored = real.store.install(name, value.data, token, op=value.op, expires=ends, stale=NEVER, keep=True)
        real.agree(f"install v{value.data} under {name}", put, stored)
        return put

    def put(self, key: int, op: int, data: int) -> None:
        """Keep a value in doubt."""
        super().put(key, op, data)
        real = self._real
        real.store.put(real.keys[key], data, op=op, expires=real.end(expired=True), stale=NEVER)

    def expire(self) -> None:
        """Let every life end."""
        super().expire()
        self._real.clock.advance(LIFE)

    def discard(self, key: int) -> None:
        """Remove an entry."""
        super().discard(key)
        self._real.store.discard(self._real.keys[key])

    def clear(self) -> None:
        """Remove every entry."""
        super().clear()
        self._real.store.clear()

    def apply(self, key: int, op: int) -> None:
        """Apply an invalidation."""
        super().apply(key, op)
        self._real.store.apply((self._real.keys[key],), op)

    def bump_epoch(self) -> None:
        """Put everything in doubt."""
        super().bump_epoch()
        self._real.store.bump_epoch()

    def lose(self) -> None:
        """Lose the link."""
        super().lose()
        self._real.store.lose()

    def renew(self, lease: int) -> None:
        """Be live."""
        super().renew(lease)
        self._real.renew(lease)


def walk(scenario: Scenario, make: Callable[[ManualClock], Store], keys: Sequence[str], chance: random.Random) -> int:
    """Take one random way through `scenario`; return how many decisions were compared."""
    state = scenario.first()
    reals = [Real(make, keys) for _ in state.processes]
    for real, process in zip(reals, state.processes, strict=True):
        real.adopt(process.tier)
    done: list[str] = []
    opened: list[Mirror] = []

    def open_tier(tier: TierState, rules: Rules, process: int) -> Mirror:
        opened.append(Mirror(tier, rules, process, reals[process]))
        return opened[-1]

    while choices := list(moves(state, scenario, DEFAULT)):
        move = chance.choice(choices)
        done.append(f"{move.who} {move.what}")
        opened.clear()
        try:
            state = after(state, move, scenario, DEFAULT, open_tier)
            for mirror in opened:
                mirror.compare()
        except AssertionError as difference:
            difference.add_note("\n".join(done))
            raise
    for real in reals:
        real.store.validate()
    return sum(real.compared for real in reals)

"""Leases that this process holds, or may hold: none is forgotten while its grant or release is uncertain.

A call (a load, or a write-through) claims leases before it asks for them, and disclaims each lease once the server has
said that the call no longer holds it. Claims that are left when the call ends are abandoned: the server may have the
lease, or may grant it when a delayed request arrives, and it would block every load of its key until it expires. So
the process remembers the claim, and recovery releases the lease: at once, and again after growing pauses, since a
delayed request may arrive after the first look. Until then this process takes its own abandoned lease for free.

Abandoned leases are bounded by `MOST`, for those of calls for one key and those of bulk calls each (the oldest are
forgotten: they end by themselves), and by twice the life of a lease. About 300 bytes a call, and 100 a lease.
"""

from collections.abc import Callable, Iterable
from typing import Final

from twotier.clock import SECOND, Clock
from twotier.core.flow.blocking import running_loop

MOST: Final = 10_000
"""Abandoned leases that are remembered."""
LOOKS: Final = 6
"""How often recovery looks for a lease that isn't there, before it leaves it to whoever needs the key."""
FIRST_PAUSE: Final = SECOND // 20
"""Pause (ns) between the first and the second of these looks; doubled from one to the next."""


class Claim:
    """The leases that one call has, or may have, under one token. End it with `close`, whatever happens."""

    __slots__ = ("_claims", "expires", "leases", "looks", "loop", "next_look", "token")

    def __init__(self, claims: "Claims", token: bytes) -> None:
        self._claims = claims
        self.loop = running_loop()
        """The event loop whose task makes the call, if one does."""
        self.token = token
        self.leases: dict[bytes, None] = {}
        """By name."""
        self.expires = self.next_look = self.looks = 0

    def add(self, leases: Iterable[bytes]) -> None:
        """Claim leases that are about to be asked for."""
        self._claims.under_way[self.token] = self
        self.leases.update(dict.fromkeys(leases))

    def drop(self, leases: Iterable[bytes]) -> None:
        """Disclaim leases of which the server has said that they aren't ours, or not any more."""
        for lease in leases:
            self.leases.pop(lease, None)

    def close(self) -> None:
        """End the call: what is still claimed is abandoned. Once more does nothing."""
        self._claims.under_way.pop(self.token, None)
        if self.leases:
            self._claims.abandon(self)


class Claims:
    """The abandoned claims of one process in one namespace. Threads may share it."""

    __slots__ = ("_abandoned", "_clock", "_life", "_most", "_when_abandoned", "under_way")

    def __init__(self, clock: Clock, lease: int, when_abandoned: Callable[[], object], most: int = MOST) -> None:
        self._most = most
        self._clock = clock
        self._when_abandoned = when_abandoned
        self._life = 2 * lease
        self._abandoned: dict[bytes, Claim] = {}
        self.under_way: dict[bytes, Claim] = {}
        """The claims of calls under way, by token."""

    def __bool__(self) -> bool:
        """Return True if recovery is to look for leases, now or in a moment."""
        return any(claim.looks for claim in list(self._abandoned.values()))

    def abandon(self, claim: Claim) -> None:
        """Remember a claim whose call has ended."""
        if self._abandoned.get(claim.token) is claim:
            return
        now = self._clock.now()
        claim.expires, claim.next_look, claim.looks = now + self._life, now, LOOKS
        self._abandoned[claim.token] = claim
        while len(self._abandoned) > self._most:
            self._abandoned.pop(next(iter(list(self._abandoned)), b""), None)
        if len(claim.leases) > 1:
            self._forget_excess()
        self._when_abandoned()

    def _forget_excess(self) -> None:
        """Forget the oldest leases over the bound."""
        claims = list(self._abandoned.values())
        excess = sum(len(claim.leases) for claim in claims) - self._most
        for claim in claims:
            if excess <= 0:
                return
            oldest = list(claim.leases)[:excess]
            excess -= len(oldest)
            claim.drop(oldest)
            if not claim.leases:
                self._abandoned.pop(claim.token, None)

    def is_abandoned(self, lease: bytes, holder: bytes | None) -> bool:
        """Return True if `holder`, which stands in the place of `lease`, is a token that this process has abandoned."""
        if holder is None or (claim := self._abandoned.get(holder)) is None:
            return False
        return lease in claim.leases

    def settled(self, lease: bytes, token: bytes) -> None:
        """Forget a lease that was seen on the server and isn't there any more."""
        claim = self._abandoned.get(token)
        if claim is not None:
            claim.drop((lease,))
            if not claim.leases:
                self._abandoned.pop(token, None)

    def due(self) -> list[Claim]:
        """Return the claims whose leases are to be looked for now; forget those that can't stand any more."""
        now = self._clock.now()
        due = []
        for claim in list(self._abandoned.values()):
            if now >= claim.expires:
                self._abandoned.pop(claim.token, None)
            elif claim.looks and now >= claim.next_look:
                due.append(claim)
        return due

    def looked(self, claim: Claim) -> None:
        """Note a look for the leases of `claim`: those that were found are settled, the others may still arrive."""
        claim.looks -= 1
        claim.next_look = self._clock.now() + (FIRST_PAUSE << (LOOKS - claim.looks - 1))

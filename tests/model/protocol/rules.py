"""The protocol's decisions, each a switch: the defaults are what twotier does, any other setting is a known mistake.

`traps.py` turns them one at a time, and shows the execution in which each goes wrong.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Rules:
    """What a process does at each decision of DESIGN section 5."""

    fill: Literal["token", "naive", "placeholder"] = "token"
    """Step 2: what an install of a value that was read depends on; "placeholder" is the scheme of Redis's own page on
    client-side caching: a mark is left before the read, an invalidation removes it, and the install needs it."""
    own_set: Literal["token", "naive"] = "token"
    """Step 3: what an install of a value that was written depends on."""
    token_has_epoch: bool = True
    """Step 2: a token of an older epoch has fallen."""
    install_needs_lease: bool = True
    """Step 2: nothing is installed while the link isn't live."""
    reply_applies: Literal["always", "unless installed", "never"] = "always"
    """Step 3: at a write's reply, its invalidation is applied here, without waiting for the echo."""
    equality: bool = True
    """Step 4: a message removes the entry unless it was made by that write; else, unless its write counts as newer."""
    lease_from_asking: bool = True
    """Step 5: a lease runs from the time of asking; else from the answer's arrival."""
    ordered_lease: bool = True
    """Step 5: the question goes over the link itself; else over a connection of its own."""
    loss_bumps_epoch: bool = True
    """Step 6: a loss of the link puts everything in doubt."""
    confirmation_bumps_epoch: bool = True
    """Step 7: the epoch is bumped (again) after the subscription is confirmed."""
    token_before_journal: bool = True
    """Step 8: a read takes its token before it looks into the journal; else after."""
    forgets_what_it_saw: bool = True
    """Step 9: a write that arrived takes from the journal only what was there when it began; else whatever is there."""
    replayed_clear_bumps_epoch: bool = True
    """Step 9: a process that replays a clear forgets the generation that it knows, without waiting for the echo."""
    replay_compares_generations: bool = True
    """Step 9: a replay that finds another generation than the known one puts everything in doubt here."""
    fenced_writes: bool = True
    """A write reads the generation in the trip that changes something, and is done again if it was a dead one's."""
    clears_write_copies: bool = True
    """A clear writes the copies of the generation's name in the transaction that writes the name."""
    restored: Literal["watched", "unwatched", "known"] = "watched"
    """An evicted name is restored from a copy, if neither has changed since the copy was read; or whatever has changed
    since; or a write puts back the name that its process knows, as no clear has been heard of."""
    generations_compared: bool = True
    """Two answers to the question for the generation that differ within one epoch put everything in doubt."""
    lease_names_generation: bool = False
    """Step 5: the generation that a lease exchange found is taken for known where none is; else only compared."""
    fork_drops_link: bool = True
    """Step 10: a forked child isn't live."""
    load: Literal["leased", "token", "unvoided"] = "leased"
    """Section 6: what the store of a loaded value depends on: a lease on the server, which writes end; the local token
    alone; or a lease that writes don't end."""
    kept_unlinked: Literal["standing", "any"] = "standing"
    """Step 2: what is read or written without a link is kept as a suspect if its token stands; or whatever it is."""
    kept_loads_checked: bool = True
    """Section 6: a loaded value that couldn't be stored is kept as a suspect only if its token stands."""

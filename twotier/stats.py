"""A cache's report about itself: counters since its start, and its current state."""

from dataclasses import dataclass
from typing import Literal

from twotier.histogram import NOTHING, Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counters since the cache was made (in this process), and the number of local entries now.

    >>> Stats(hits=3, misses=1).hit_ratio
    0.75
    """

    hits: int = 0
    """Reads that found a value, in either tier."""
    misses: int = 0
    """Reads that found none."""
    local_hits: int = 0
    """Reads answered by the local tier as fresh."""
    remote_hits: int = 0
    """Reads answered by the remote tier."""
    loads: int = 0
    """Loader calls."""
    load_errors: int = 0
    """Loader calls that raised."""
    stale_served: int = 0
    """Reads answered with a stale copy, because the remote tier was away or the load policy allowed it."""
    stale_while_revalidating: int = 0
    """Stale reads answered within `stale_while_revalidate`, while the key was loaded again."""
    stale_on_error: int = 0
    """Stale reads answered because a loader had raised (`stale_on_error`)."""
    early_refreshes: int = 0
    """Loads begun before the entry had expired (`early_refresh`)."""
    negative_hits: int = 0
    """Reads answered from a remembered absence (`negative_ttl`); they count as misses, too."""
    loads_shed: int = 0
    """Calls that were refused, as too many loaders ran (`when_busy="shed"`)."""
    load_timeouts: int = 0
    """Times that a caller stopped waiting for a loader (`soft_timeout`, `hard_timeout`)."""
    evictions: int = 0
    """Local entries that left for want of room."""
    expirations: int = 0
    """Local entries that left after their time."""
    invalidations_sent: int = 0
    """Keys in invalidations that this process has sent."""
    invalidations_received: int = 0
    """Keys in invalidations that this process has received (including the echo of its own)."""
    remote_errors: int = 0
    """Commands that the remote tier refused, or didn't answer in time."""
    corrupt: int = 0
    """Remote values that were foreign, truncated, or failed their check; each was read as a miss."""
    unverified: int = 0
    """Unreadable messages, and messages that no secret of ours has signed; each makes every local entry suspect."""
    few_replicas: int = 0
    """Calls whose writes fewer replicas had in time than `wait_replicas` asks for."""
    replica_reads: int = 0
    """Reads answered by a replica while the primary was away (`replica_fallback`); counted in `stale_served` too."""
    outages: int = 0
    """Times that a circuit breaker opened because the server, or a node of the cluster, didn't answer."""
    journal_overflows: int = 0
    """Times that the journal was too full, and groups of keys (the namespace, outside clusters) had to be cleared."""
    late_writes: int = 0
    """Keys whose write took place after its call had given up, and after a later write or a replay: it was undone."""
    entries: int = 0
    """Local entries now."""
    bytes: int = 0
    """Total weight of the local entries now; 0 without `max_bytes`, as nothing is weighed then."""
    removal_errors: int = 0
    """Times that `on_removal` raised."""

    audited: int = 0
    """Local entries that the audit has compared with the remote tier (`audit_interval`)."""
    audit_mismatches: int = 0
    """Audited entries that were fresh but differed from the remote tier."""
    swept: int = 0
    """Keys of cleared generations that this process has removed from the server."""
    lag: Histogram = NOTHING
    """Time from an invalidation's creation by its writer to its application here, by both machines' wall clocks."""
    stale_age: Histogram = NOTHING
    """Age, at each serving of a suspect, of the last proof that every invalidation had arrived."""

    @property
    def hit_ratio(self) -> float:
        """Share of reads that found a value; 0.0 before the first read."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The state of a cache at one moment."""

    link: Literal["live", "sync", "down", "none", "local"]
    """"live": invalidations are arriving, and local entries are fresh; "sync": connecting; "down": no link; "none":
    none is wanted (`coherence="none"`); "local": there is no remote tier."""
    staleness: float
    """Seconds since the last proof that every invalidation had arrived; inf before the first, 0.0 when "local"."""
    breaker: Literal["closed", "open", "half-open"]
    """"closed": the remote tier is used; "open": it is away and not asked; "half-open": it is being tried."""
    journal: int
    """Keys waiting to be invalidated on the remote tier when it is back."""
    compiled: bool
    """Whether the local tier runs compiled; False on the pure-Python twin."""
    epoch: int
    """Times that the whole local tier became suspect (link loss, reconnect, clear, fork)."""
    conflicts: tuple[str, ...] = ()
    """Settings of other processes of the namespace that contradict this one's, a sentence each."""

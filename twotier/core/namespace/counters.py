"""The counters that a namespace keeps outside the local tier.

The counters are plain attributes, raised with `+=`: the interpreter switches threads only at calls
and jumps, so the load, the addition and the store of such a statement aren't split, and no count is
lost.
"""

from typing import Final

from twotier.histogram import Recorder

HISTOGRAMS: Final = ("lag", "stale_age")


class Counters:
    """Reads, loads and messages, counted since the namespace was created."""

    __slots__ = (
        "audit_mismatches",
        "audited",
        "corrupt",
        "early_refreshes",
        "few_replicas",
        "invalidations_received",
        "invalidations_sent",
        "journal_overflows",
        "lag",
        "late_writes",
        "load_errors",
        "load_timeouts",
        "loads",
        "loads_shed",
        "misses",
        "negative_hits",
        "remote_errors",
        "remote_hits",
        "replica_reads",
        "stale_age",
        "stale_on_error",
        "stale_served",
        "stale_while_revalidating",
        "swept",
        "unverified",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, Recorder() if name in HISTOGRAMS else 0)

    audit_mismatches: int
    audited: int
    corrupt: int
    early_refreshes: int
    few_replicas: int
    invalidations_received: int
    invalidations_sent: int
    journal_overflows: int
    lag: Recorder
    late_writes: int
    load_errors: int
    load_timeouts: int
    loads: int
    loads_shed: int
    misses: int
    negative_hits: int
    remote_errors: int
    remote_hits: int
    replica_reads: int
    stale_age: Recorder
    stale_on_error: int
    stale_served: int
    stale_while_revalidating: int
    swept: int
    unverified: int

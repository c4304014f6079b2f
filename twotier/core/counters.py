"""The counters that a namespace keeps outside the local tier.

Plain attributes, raised with `+=`: the interpreter switches threads at calls and jumps only, so that the load, the
addition and the store of such a statement aren't parted, and no count is lost.
"""

from typing import Final

from twotier.histogram import Recorder

HISTOGRAMS: Final = ("lag", "stale_age")


class Counters:
    """Reads, loads and messages, counted since the namespace was made."""

    __slots__ = (
        "audit_mismatches",
        "audited",
        "corrupt",
        "few_replicas",
        "invalidations_received",
        "invalidations_sent",
        "lag",
        "load_errors",
        "loads",
        "misses",
        "remote_errors",
        "remote_hits",
        "replica_reads",
        "stale_age",
        "stale_served",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, Recorder() if name in HISTOGRAMS else 0)

    audit_mismatches: int
    audited: int
    corrupt: int
    few_replicas: int
    invalidations_received: int
    invalidations_sent: int
    lag: Recorder
    load_errors: int
    loads: int
    misses: int
    remote_errors: int
    remote_hits: int
    replica_reads: int
    stale_age: Recorder
    stale_served: int

"""The counters that a namespace keeps outside the local tier.

Plain attributes, raised with `+=`: the interpreter switches threads at calls and jumps only, so that the load, the
addition and the store of such a statement aren't parted, and no count is lost.
"""


class Counters:
    """Reads, loads and messages, counted since the namespace was made."""

    __slots__ = (
        "corrupt",
        "invalidations_received",
        "invalidations_sent",
        "load_errors",
        "loads",
        "misses",
        "remote_errors",
        "remote_hits",
        "stale_served",
    )

    def __init__(self) -> None:
        for name in self.__slots__:
            setattr(self, name, 0)

    corrupt: int
    invalidations_received: int
    invalidations_sent: int
    load_errors: int
    loads: int
    misses: int
    remote_errors: int
    remote_hits: int
    stale_served: int

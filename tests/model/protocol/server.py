"""The model's server: every method is one transaction."""

from protocol.state import NO_GENERATION, NONE_HELD, NOTHING, ServerState, Value, bit, nothing_by


class Server:
    """The server under change."""

    __slots__ = ("_leases", "_rows", "copy", "expired", "generation", "past", "source")

    def __init__(self, state: ServerState) -> None:
        rows, leases, self.generation, self.copy, self.past, self.expired, source = state
        self._rows = [list(row) for row in rows]
        self._leases = [list(row) for row in leases]
        self.source = list(source)

    def freeze(self) -> ServerState:
        """Return the state."""
        return ServerState(
            tuple(map(tuple, self._rows)),
            tuple(map(tuple, self._leases)),
            self.generation,
            self.copy,
            self.past,
            self.expired,
            tuple(self.source),
        )

    # Values

    @property
    def in_force(self) -> int:
        """The generation in force: the name may be evicted, and its copy not."""
        return in_force(self)

    def row(self) -> list[Value]:
        """Return what stands under each key of the generation in force."""
        return self._rows[self.in_force] if self.in_force != NO_GENERATION else [NOTHING] * len(self.source)

    def value(self, key: int) -> Value:
        """Return what stands under `key` now."""
        return self.row()[key]

    def read(self, generation: int, key: int) -> Value:
        """Return what stands under `key` of a generation, dead or not."""
        return self._rows[generation][key]

    def mask(self, key: int) -> int:
        """Return the values that a write of `key` would supersede now."""
        return self.past | bit(key, self.value(key).data)

    def change(self, generation: int, key: int, value: Value) -> None:
        """Put `value`, in a generation that may be dead."""
        old = self._rows[generation][key]
        self._rows[generation][key] = value
        if generation == self.in_force and old.data != value.data:
            self.past |= bit(key, old.data)

    def expire(self, key: int) -> None:
        """End the life of what stands under `key`."""
        self.expired |= 1 << self.value(key).version
        self._rows[self.generation][key] = NOTHING

    # Leases

    def lease(self, generation: int, key: int) -> int:
        """Return who has the lease on loading `key`."""
        return self._leases[generation][key]

    def set_lease(self, generation: int, key: int, holder: int) -> None:
        """Give the lease to `holder`, or with NONE_HELD end it."""
        self._leases[generation][key] = holder

    # Generations

    def ask_generation(self) -> int:
        """Return the generation: its name is restored from the copy if it is gone, and a new one without a copy."""
        if self.generation == NO_GENERATION:
            self.generation = self.copy
        if self.generation == NO_GENERATION:
            self._begin(NOTHING)
        return self.generation

    def keep_copy(self) -> None:
        """Write what is missing of name and copy."""
        self.copy = self.ask_generation()

    def clear(self, op: int, *, copies: bool) -> None:
        """Begin a new generation, by the write `op`; leave the copy as it is unless it `copies` the name."""
        copy = self.copy
        if self.in_force != NO_GENERATION:
            for key, value in enumerate(self.row()):
                self.past |= bit(key, value.data)
        self._begin(nothing_by(op))
        if not copies:
            self.copy = copy

    def flush(self) -> None:
        """Lose everything."""
        size = len(self.source)
        self._rows = [[NOTHING] * size for _ in self._rows]
        self._leases = [[NONE_HELD] * size for _ in self._leases]
        self.generation = self.copy = NO_GENERATION

    def _begin(self, value: Value) -> None:
        size = len(self.source)
        self._rows.append([value] * size)
        self._leases.append([NONE_HELD] * size)
        self.generation = self.copy = len(self._rows) - 1


def in_force(server: ServerState | Server) -> int:
    """Return the generation in force."""
    return server.generation if server.generation != NO_GENERATION else server.copy

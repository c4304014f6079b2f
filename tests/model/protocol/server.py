"""The model's server: every method is one transaction."""

from protocol.state import NO_GENERATION, NONE_HELD, NOTHING, ServerState, Value, bit, nothing_by


class Server:
    """The server under change."""

    __slots__ = ("_leases", "_rows", "expired", "generation", "past", "source")

    def __init__(self, state: ServerState) -> None:
        rows, leases, self.generation, self.past, self.expired, source = state
        self._rows = [list(row) for row in rows]
        self._leases = [list(row) for row in leases]
        self.source = list(source)

    def freeze(self) -> ServerState:
        """Return the state."""
        return ServerState(
            tuple(map(tuple, self._rows)),
            tuple(map(tuple, self._leases)),
            self.generation,
            self.past,
            self.expired,
            tuple(self.source),
        )

    # Values

    def row(self) -> list[Value]:
        """Return what stands under each key of the generation in force."""
        return self._rows[self.generation] if self.generation != NO_GENERATION else [NOTHING] * len(self.source)

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
        if generation == self.generation and old.data != value.data:
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
        """Return the generation, a new one if there is none."""
        if self.generation == NO_GENERATION:
            self._begin(NOTHING)
        return self.generation

    def clear(self, op: int) -> None:
        """Begin a new generation, by the write `op`."""
        if self.generation != NO_GENERATION:
            for key, value in enumerate(self.row()):
                self.past |= bit(key, value.data)
        self._begin(nothing_by(op))

    def flush(self) -> None:
        """Lose everything."""
        size = len(self.source)
        self._rows = [[NOTHING] * size for _ in self._rows]
        self._leases = [[NONE_HELD] * size for _ in self._leases]
        self.generation = NO_GENERATION

    def _begin(self, value: Value) -> None:
        size = len(self.source)
        self._rows.append([value] * size)
        self._leases.append([NONE_HELD] * size)
        self.generation = len(self._rows) - 1

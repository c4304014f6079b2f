"""The model's local tier: the methods of `twotier.local.Store` that the protocol uses, on the model's state.

It decides as the store does, by differences in place of counters. `test_model_mirrors_store.py` holds the two equal.
"""

from protocol.rules import Rules
from protocol.state import Entry, TierState, Token, Value

MANY = 2
"""Voids from which on a token has fallen whatever the last op."""


class Tier:
    """A local tier under change; `freeze` gives the state."""

    __slots__ = ("asking", "crossed", "entries", "last_ops", "lease", "marks", "process", "rules", "tokens")

    def __init__(self, state: TierState, rules: Rules, process: int) -> None:
        entries, tokens, last_ops, self.lease, self.marks, self.asking = state
        self.entries, self.tokens, self.last_ops = list(entries), list(tokens), list(last_ops)
        self.rules = rules
        self.process = process
        self.crossed = False
        """Whether something was installed across epochs."""

    def freeze(self) -> TierState:
        """Return the state, without last ops that no token depends on."""
        last_ops = tuple(self.last_ops)
        if any(last_ops):
            undecided = {token.key for token in self.tokens if token is not None and token.voids == 1}
            last_ops = tuple([op if key in undecided else 0 for key, op in enumerate(last_ops)])
        return TierState(tuple(self.entries), tuple(self.tokens), last_ops, self.lease, self.marks, self.asking)

    # Reading

    def get(self, key: int) -> Entry | None:
        """Return the fresh entry."""
        entry = self.entries[key]
        return entry if entry is not None and self.lease and entry.current and not entry.expired else None

    def suspect(self, key: int) -> Entry | None:
        """Return the entry, fresh or not; stale windows don't end here."""
        return self.entries[key]

    def op(self, key: int) -> int | None:
        """Return the op id of the entry, fresh or not."""
        entry = self.entries[key]
        return None if entry is None else entry.op

    # Installing

    def token(self, thread: int, key: int) -> None:
        """Take a token for `thread`."""
        self.tokens[thread] = Token(key, True, 0)
        self.marks |= 1 << key

    def begin_write(self, thread: int, key: int) -> None:
        """Drop the entry, void tokens, and take one for `thread`."""
        self._remove(key)
        self.void(key, 0)
        self.tokens[thread] = Token(key, True, 0)

    def release(self, thread: int) -> None:
        """Forget a token that won't be used again."""
        self.tokens[thread] = None

    def stands(self, thread: int, op: int) -> bool:
        """Tell whether the thread's token still lets a value by `op` in."""
        token = self.tokens[thread]
        assert token is not None
        if self.rules.token_has_epoch and not token.current:
            return False
        return token.voids == 0 or (token.voids == 1 and op != 0 and self.last_ops[token.key] == op)

    def install(self, thread: int, key: int, value: Value, rule: str, *, expired: bool) -> bool:
        """Put `value` as `rule` lets it; tell whether it was put."""
        token = self.tokens[thread]
        op = value.op
        assert token is not None
        assert op is not None
        if self.rules.install_needs_lease and not self.lease:
            if self.rules.kept_unlinked == "any" or self.stands(thread, op):
                self.entries[key] = Entry(value.version, value.data, op, current=False, expired=expired)
            return False
        if (rule == "token" and not self.stands(thread, op)) or (rule == "placeholder" and not self.marks >> key & 1):
            return False
        self.crossed = self.crossed or not token.current
        self.entries[key] = Entry(value.version, value.data, op, True, expired)
        self.marks &= ~(1 << key)
        return True

    def put(self, key: int, op: int, data: int) -> None:
        """Keep a value that may not have arrived, as expired."""
        self.void(key, 0)
        self.entries[key] = Entry(op, data, op, True, True)

    def expire(self) -> None:
        """Let the life of every entry be over."""
        self.entries = [None if entry is None else entry._replace(expired=True) for entry in self.entries]

    # Removing

    def discard(self, key: int) -> None:
        """Remove the entry and void tokens."""
        self.void(key, 0)
        self._remove(key)

    def clear(self) -> None:
        """Remove every entry, and bump the epoch."""
        self._doubt()
        self.entries = [None] * len(self.entries)
        self.marks = 0

    def apply(self, key: int, op: int) -> None:
        """Apply an invalidation of `key` by `op`."""
        self.void(key, op)
        entry = self.entries[key]
        if entry is None:
            self.marks &= ~(1 << key)
        elif op == 0 or ((entry.op != op) if self.rules.equality else (entry.op < op)):
            self._remove(key)

    def bump_epoch(self) -> None:
        """Put everything in doubt."""
        self._doubt()

    def lose(self) -> None:
        """End the lease, and put everything in doubt."""
        self.lease = 0
        if self.rules.loss_bumps_epoch:
            self._doubt()

    def renew(self, lease: int) -> None:
        """Be live for `lease` ticks."""
        self.lease = lease

    def void(self, key: int, op: int) -> None:
        """Void the tokens of a key."""
        for thread, token in enumerate(self.tokens):
            if token is not None and token.key == key and token.voids < MANY:
                self.tokens[thread] = token._replace(voids=token.voids + 1)
        self.last_ops[key] = op

    def _remove(self, key: int) -> None:
        self.entries[key] = None
        self.marks &= ~(1 << key)

    def _doubt(self) -> None:
        self.entries = [None if entry is None else entry._replace(current=False) for entry in self.entries]
        self.tokens = [None if token is None else token._replace(current=False) for token in self.tokens]
        self.asking = 0

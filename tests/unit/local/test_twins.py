"""The twins under equal operations: Hypothesis drives both, and they must tell and hold the same."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from twotier import _speedups
from twotier.clock import NEVER, SECOND, ManualClock
from twotier.local.twin import store as twin_store

KEYS = st.sampled_from(["a", "b", "c", "dd", "é", "\ud800", 1, 2.5, (1, "x"), b"k", None, -1, 10**30])
VALUES = st.one_of(st.integers(), st.text(max_size=4), st.none())
LIVES = st.one_of(st.just(NEVER), st.integers(-1, 20).map(lambda seconds: seconds * SECOND))
STALES = st.integers(0, 10).map(lambda seconds: seconds * SECOND)
OPS = st.integers(0, 3)


class Twins(RuleBasedStateMachine):
    """One store of each kind on one clock, whose instants keep clear of ticks."""

    @initialize(policy=st.sampled_from(["lru", "lfu", "adaptive"]), maxsize=st.integers(1, 8), bound=st.booleans())
    def make(self, policy, maxsize, bound):
        self.clock = ManualClock(1000 * SECOND + SECOND // 2)
        self.left = []
        self.stores = []
        for twin in (_speedups, twin_store):
            left = []
            options = {"max_bytes": 40, "weigher": lambda _, value: len(repr(value))} if bound else {}
            options |= {"policy": policy, "clock": self.clock, "seed": 5}
            self.stores.append(twin.Store(maxsize, on_removal=lambda *told, left=left: left.append(told), **options))
            self.left.append(left)
        self.both(lambda store: store.renew(NEVER))
        self.tokens = []

    def both(self, call):
        """Make a call on both, compare what it returned or raised, and return it."""
        told = []
        for store in self.stores:
            try:
                told.append(("returned", call(store)))
            except Exception as error:  # noqa: BLE001 - whatever it is, it must be the same
                told.append(("raised", type(error), str(error)))
        assert told[0] == told[1]
        return told[0][1]

    def expires(self, life):
        return NEVER if life == NEVER else self.clock.now() + life

    @rule(key=KEYS)
    def get(self, key):
        self.both(lambda store: store.get(key, "none"))

    @rule(keys=st.lists(KEYS, max_size=4))
    def get_many(self, keys):
        self.both(lambda store: store.get_many(keys))

    @rule(key=KEYS)
    def look(self, key):
        self.both(lambda store: (key in store, store.suspect(key, "none"), store.op(key), store.expires(key)))
        self.both(lambda store: store.lapsed(key, 4 * SECOND, "none"))
        self.both(lambda store: store.demoted(key))

    @rule(key=KEYS, value=VALUES, life=LIVES, stale=STALES, op=OPS)
    def put(self, key, value, life, stale, op):
        self.both(lambda store: store.put(key, value, op=op, expires=self.expires(life), stale=stale))

    @rule(key=KEYS, value=VALUES, life=LIVES, stale=STALES)
    def add(self, key, value, life, stale):
        self.both(lambda store: store.add(key, value, expires=self.expires(life), stale=stale))

    @rule(key=KEYS, life=LIVES, stale=STALES)
    def touch(self, key, life, stale):
        self.both(lambda store: store.touch(key, expires=self.expires(life), stale=stale))

    @rule(key=KEYS, write=st.booleans())
    def take(self, key, write):
        # Tokens are opaque: each store gets its own back.
        taken = {id(s): s.begin_write(key) if write else s.token(key) for s in self.stores}
        self.tokens.append((key, taken))

    @precondition(lambda self: self.tokens)
    @rule(data=st.data(), value=VALUES, life=LIVES, stale=STALES, op=OPS, keep=st.booleans())
    def install(self, data, value, life, stale, op, keep):
        key, taken = data.draw(st.sampled_from(self.tokens[-6:]))
        times = {"expires": self.expires(life), "stale": stale}
        self.both(lambda store: store.install(key, value, taken[id(store)], op=op, keep=keep, **times))

    @rule(keys=st.lists(KEYS, max_size=3), op=OPS, keep=st.booleans())
    def apply(self, keys, op, keep):
        self.both(lambda store: store.apply(keys, op, keep=keep))

    @rule(keys=st.lists(KEYS, max_size=3), op=OPS)
    def demote(self, keys, op):
        self.both(lambda store: store.demote(keys, op))

    @rule(key=KEYS)
    def discard(self, key):
        self.both(lambda store: store.discard(key))

    @rule()
    def clear(self):
        self.both(lambda store: store.clear())
        for left in self.left:
            left.sort(key=repr)

    @rule()
    def bump_epoch(self):
        self.both(lambda store: store.bump_epoch())

    @rule()
    def lose(self):
        self.both(lambda store: store.lose())

    @rule(life=LIVES)
    def renew(self, life):
        self.both(lambda store: store.renew(max(0, self.expires(life))))

    @rule(maxsize=st.integers(1, 12))
    def resize(self, maxsize):
        self.both(lambda store: store.resize(maxsize))

    @rule(seconds=st.integers(1, 30))
    def wait(self, seconds):
        """Time passes, and what is over leaves (before a write could reclaim some of it, in an order of its own)."""
        self.clock.advance(seconds)
        self.both(lambda store: store.expire())
        for left in self.left:
            left.sort(key=repr)

    @invariant()
    def alike(self):
        if not hasattr(self, "stores"):
            return
        self.both(lambda store: store.validate())
        self.both(lambda store: (len(store), store.epoch, store.live, store.maxsize, store.counters()))
        self.both(lambda store: sorted(map(repr, store.keys())))
        assert self.left[0] == self.left[1]


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)

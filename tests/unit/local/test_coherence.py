"""Tokens, epochs, the lease and invalidations: what may be installed, and what is fresh (DESIGN, the protocol)."""

import random

import pytest
from colliding_keys import colliding_keys

from twotier.clock import NEVER, SECOND


def test_a_token_installs_once_nothing_happened(make_store):
    """The plain fill."""
    store = make_store()
    assert store.install("a", 1, store.token("a"), op=7, expires=NEVER)
    assert (store.get("a"), store.op("a")) == (1, 7)


@pytest.mark.parametrize(
    "event", ["apply", "demote", "begin_write", "put", "discard", "touch", "clear", "bump_epoch", "lose"]
)
def test_what_happens_between_voids_a_token(make_store, event):
    """A fill that was overtaken installs nothing."""
    store = make_store()
    store.put("a", "old", expires=NEVER)
    token = store.token("a")
    {
        "apply": lambda: store.apply(["a"], 9),
        "demote": lambda: store.demote(["a"], 9),
        "begin_write": lambda: store.begin_write("a"),
        "put": lambda: store.put("a", "new", expires=NEVER),
        "discard": lambda: store.discard("a"),
        "touch": lambda: store.touch("a", expires=NEVER),
        "clear": store.clear,
        "bump_epoch": store.bump_epoch,
        "lose": store.lose,
    }[event]()
    store.renew(NEVER)
    assert not store.install("a", "filled", token, op=3, expires=NEVER)
    assert store.get("a") != "filled"


def test_a_write_installs_after_its_own_echo(make_store):
    """The message of the very write that made the value is no reason to drop it, before or after the install."""
    store = make_store()
    token = store.begin_write("a")
    store.apply(["a"], 5)
    assert store.install("a", 1, token, op=5, expires=NEVER)
    store.apply(["a"], 5)
    assert store.get("a") == 1
    store.apply(["a"], 6)
    assert store.get("a") is None


def test_an_echo_after_another_write_is_too_late(make_store):
    """Two advances void the token, whichever was the own one."""
    for ops in ((5, 6), (6, 5), (5, 5)):
        store = make_store()
        token = store.begin_write("a")
        for op in ops:
            store.apply(["a"], op)
        assert not store.install("a", 1, token, op=5, expires=NEVER)


def test_no_op_is_nobodys(make_store):
    """Op 0 means unknown: it never keeps an entry, and never saves a token."""
    store = make_store()
    store.put("a", 1, op=0, expires=NEVER)
    store.apply(["a"], 0)
    assert store.get("a") is None
    token = store.token("a")
    store.apply(["a"], 0)
    assert not store.install("a", 1, token, op=0, expires=NEVER)


def test_other_keys_of_a_bucket_void_no_token(make_store):
    """A token outlasts sixteen writes of those that share its key's bucket; with more, nobody knows."""
    store = make_store()
    mates = colliding_keys(store, "a", 17)
    token = store.token("a")
    for n, mate in enumerate(mates[:16]):
        store.apply([mate], n)
    assert store.stands("a", token)
    assert not any(store.stands(mate, token) for mate in mates[:16])
    assert store.install("a", 1, token, expires=NEVER)
    store.put(mates[16], 1, expires=NEVER)
    assert not store.stands("a", token)


def test_an_echo_is_known_among_others(make_store):
    """A write's own message is told from those of its bucket's other keys, if none of another write came after it."""
    store = make_store()
    (mate,) = colliding_keys(store, "a", 1)
    token = store.begin_write("a")
    store.apply([mate], 4)
    store.apply(["a"], 5)
    store.discard(mate)
    assert not store.stands("a", token)
    assert store.install("a", 1, token, op=5, expires=NEVER)
    store.apply([mate], 6)
    assert not store.install("a", 2, token, op=5, expires=NEVER)


def test_an_echo_of_many_keys_lets_each_of_them_in(make_store):
    """A bulk's message that comes before its installs takes none of its keys away, though some share a bucket."""
    store = make_store()
    keys = ["a", *colliding_keys(store, "a", 3)]
    tokens = [store.begin_write(key) for key in keys]
    store.apply(keys, 5)
    assert all(store.install(key, 1, token, op=5, expires=NEVER) for key, token in zip(keys, tokens, strict=True))


def test_no_token_stands_that_must_not(make_store):
    """Whatever happens to the keys of one bucket, a token stands only as by a count of each key's own voids."""
    store, chance, stood = make_store(), random.Random(1), set()
    keys = ["a", *colliding_keys(store, "a", 2)]
    for _ in range(500):
        tokens, own = {key: store.token(key) for key in keys}, {key: [] for key in keys}
        for number in range(chance.choice([1, 2, 3, 20])):
            key, op = chance.choice(keys), chance.randrange(4)
            if op:
                store.apply([key], op)
            else:
                store.discard(key)
            own[key].append(op)
            for each in keys:
                assert store.stands(each, tokens[each]) == (not own[each] and number < 16)
        for key in keys:
            if store.install(key, 1, tokens[key], op=2, expires=NEVER):
                assert own[key] in ([], [2])
                stood.update(own[key])
    assert stood


def test_apply_counts_keys(make_store):
    """Whether they were there or not."""
    store = make_store()
    store.put("a", 1, expires=NEVER)
    assert store.apply(iter(["a", "b", "a"]), 1) == 3
    assert store.apply([], 1) == 0


def test_demoted_entries_are_suspects_for_their_stale_window(make_store, clock):
    """An entry that was expired is kept for its stale window from now on, however often it is expired."""
    store = make_store()
    store.put("a", 1, expires=NEVER, stale=2 * SECOND)
    store.put("b", 2, expires=clock.now() + 9 * SECOND)
    assert store.demote(iter(["a", "b", "nothing"]), 5) == 3
    assert (store.get("a"), "a" in store, store.suspect("a"), store.demoted("a")) == (None, False, 1, True)
    assert (len(store), store.op("b"), store.demoted("b")) == (1, None, False)  # it has no stale window
    clock.advance(1)
    store.demote(["a"], 6)
    assert (store.suspect("a"), store.expire()) == (1, 0)
    clock.advance(1.1)
    assert (store.suspect("a"), store.expire(), len(store)) == (None, 1, 0)


def test_demoting_keeps_what_that_very_write_made(make_store):
    """Rule 4's exception holds for an expiry as well, and an unknown op is nobody's."""
    store = make_store()
    store.put("a", 1, op=5, expires=NEVER, stale=SECOND)
    store.demote(["a"], 5)
    assert store.get("a") == 1
    store.put("a", 1, op=0, expires=NEVER, stale=SECOND)
    store.demote(["a"], 0)
    assert store.get("a") is None


def test_the_mark_of_a_demoted_entry_holds_for_an_epoch(make_store):
    """What replaces a demoted entry isn't demoted, and in another epoch nobody knows what was missed."""
    store = make_store()
    store.put("a", 1, expires=NEVER, stale=SECOND)
    store.demote(["a"], 5)
    store.put("a", 2, expires=NEVER, stale=SECOND)
    assert (store.get("a"), store.demoted("a")) == (2, False)
    store.demote(["a"], 6)
    assert store.demoted("a")
    store.bump_epoch()
    assert (store.demoted("a"), store.suspect("a")) == (False, 2)
    store.demote(["a"], 7)
    assert not store.demoted("a")


def test_an_epoch_makes_suspects(make_store):
    """After a bump nothing is fresh, and everything is still there to serve in an outage."""
    store = make_store()
    store.put("a", 1, expires=NEVER)
    epoch = store.epoch
    assert store.bump_epoch() == epoch + 1 == store.epoch
    assert (store.get("a"), store.suspect("a"), "a" in store, len(store)) == (None, 1, False, 1)
    store.put("a", 2, expires=NEVER)
    assert store.get("a") == 2


def test_the_lease_runs_out(make_store, clock):
    """Without a lease nothing is fresh, and nothing is installed; a new one makes entries fresh again."""
    store = make_store(live=False)
    assert not store.live
    assert not store.install("a", 1, store.token("a"), expires=NEVER)
    store.renew(clock.now() + SECOND)
    assert store.install("a", 1, store.token("a"), expires=NEVER)
    assert (store.live, store.get("a")) == (True, 1)
    clock.advance(1)
    assert (store.live, store.get("a"), store.suspect("a")) == (False, None, 1)
    store.renew(clock.now() + SECOND)
    assert store.get("a") == 1
    store.lose()
    store.renew(NEVER)
    assert store.get("a") is None


@pytest.mark.parametrize("life", [NEVER, 5 * SECOND])
@pytest.mark.parametrize("stale", [0, 3 * SECOND])
def test_what_comes_while_the_store_is_not_live_is_kept_as_a_suspect(make_store, clock, life, stale):
    """It is never fresh, also under a lease of that very epoch, and leaves when the entry would have left."""
    store = make_store(live=False)
    expires = NEVER if life == NEVER else clock.now() + life
    assert not store.install("a", 1, store.token("a"), op=7, expires=expires, stale=stale, keep=True)
    store.renew(NEVER)
    assert (store.get("a"), "a" in store, store.expires("a"), store.keys()) == (None, False, None, [])
    assert (store.suspect("a"), store.op("a"), store.demoted("a")) == (1, 7, False)
    assert store.lapsed("a", NEVER) is None  # what time alone has ended could be served while it is loaded again
    store.apply(["a"], 7)
    assert store.suspect("a") == 1
    clock.advance((life + stale) / SECOND - 0.5 if life != NEVER else 1e6)
    assert (store.suspect("a"), store.lapsed("a", NEVER)) == (1, None)
    clock.advance(0.5)
    assert store.suspect("a") == (1 if life == NEVER else None)
    store.apply(["a"], 8)
    assert store.suspect("a") is None
    store.validate()


def test_what_comes_while_the_store_is_not_live_replaces_what_was_kept(make_store):
    """The newer value is what an outage is to serve; under a live store `keep` changes nothing."""
    store = make_store()
    assert store.install("a", 1, store.token("a"), op=7, expires=NEVER, keep=True)
    assert store.get("a") == 1
    store.lose()
    assert not store.install("a", 2, store.token("a"), op=8, expires=NEVER, keep=True)
    assert (store.get("a"), store.suspect("a"), store.op("a"), len(store)) == (None, 2, 8, 1)


def test_an_entry_without_an_op_can_be_kept_from_an_invalidation(make_store, clock):
    """It is a suspect, never fresh again, under no token from before; what has an op of another write is removed."""
    store = make_store()
    store.put("a", 1, expires=clock.now() + 5 * SECOND, stale=SECOND)
    store.put("b", 2, op=5, expires=NEVER)
    store.put("c", 3, op=6, expires=NEVER)
    token = store.token("a")
    assert store.apply(["a", "b", "c", "nothing"], 6, keep=True) == 4
    assert (store.get("a"), "a" in store, store.suspect("a"), store.op("a"), store.demoted("a")) == (
        None, False, 1, 0, False,
    )  # fmt: skip
    assert (store.op("b"), store.get("c"), store.stands("a", token)) == (None, 3, False)
    clock.advance(5.5)
    assert (store.suspect("a"), store.lapsed("a", NEVER)) == (1, None)
    clock.advance(0.5)
    assert store.suspect("a") is None
    store.put("a", 4, expires=NEVER)
    assert store.get("a") == 4
    store.apply(["a"], 7)
    assert store.op("a") is None


@pytest.mark.parametrize("event", ["apply", "demote", "begin_write", "put", "discard", "clear", "bump_epoch", "lose"])
def test_what_was_overtaken_is_not_kept(make_store, event):
    """An outage isn't to serve what this process knows to be superseded, nor what was cleared."""
    store = make_store(live=False)
    token = store.token("a")
    {
        "apply": lambda: store.apply(["a"], 9),
        "demote": lambda: store.demote(["a"], 9),
        "begin_write": lambda: store.begin_write("a"),
        "put": lambda: store.put("a", "new", expires=NEVER),
        "discard": lambda: store.discard("a"),
        "clear": store.clear,
        "bump_epoch": store.bump_epoch,
        "lose": store.lose,
    }[event]()
    assert not store.install("a", "filled", token, op=3, expires=NEVER, keep=True)
    assert store.suspect("a") == ("new" if event == "put" else None)


def test_epochs_wrap(twin, make_store):
    """After 2**24 epochs an old entry doesn't look fresh again."""
    store = make_store()
    store.put("a", 1, expires=NEVER)
    if twin.__name__ == "twotier._speedups":
        for _ in range(1 << 24):
            store.bump_epoch()
    else:
        store._tokens.epoch += 1 << 24
    assert store.get("a") is None

"""Write-behind in a cluster: its streams, and what is different where there are several."""

import pytest
from loops import Awaited
from stepping import is_second_step, slot_of_stream
from waiting import PATIENT

from twotier import AsyncWriteBehind, BacklogFull, DeadLetter, TooFewReplicas, WriteBehind
from twotier.core.write_behind.streams import Streams
from twotier.remote.hash_slots import SLOTS, slot_of

KEYS = [f"key{number}" for number in range(60)]
"""In most streams."""


def test_streams_are_spread(cluster, make, source):
    """Each stream's names share a slot, all nodes have streams, and a key's is that of its hash tag."""
    cache = make(cluster, **PATIENT)
    streams = Streams("shop", cache._namespace.values, slotted=True)
    slots = []
    for each in streams.all:
        (slot,) = {slot_of(name) for name in (each.stream, each.dead, each.lease)}
        slots.append(slot)
    assert [slot * len(slots) // SLOTS for slot in slots] == list(range(len(slots)))
    assert {streams.of(f"key{number}") for number in range(500)} == set(range(len(slots)))
    assert streams.of("{user7}:cart") == streams.of("user7") == streams.of("a{user7}")
    assert len({cluster.owner(slot_of_stream(cache, source, key)) for key in KEYS}) == 3


def test_dead_letters_of_all_streams(cluster, make, source):
    """They are listed oldest first, each with an id of its own, and discarded one by one."""
    cache = make(cluster, **PATIENT)
    source.before = lambda: 1 / 0
    with WriteBehind(cache, source, trust_server=True, max_attempts=1, batch_size=1) as behind:
        for key in KEYS:
            behind.set(key, key)
            behind.flush(30)
        letters = behind.dead_letters()
        assert [letter.key for letter in letters] == KEYS
        assert len({letter.id for letter in letters}) == len(KEYS)
        assert [letter.key for letter in behind.dead_letters(7)] == KEYS[:7]
        assert (behind.stats().depth, behind.stats().dead) == (0, len(KEYS))
        assert behind.discard_dead_letters(letters[::2]) == len(KEYS) // 2
        assert behind.discard_dead_letters(letters[::2]) == 0
        assert behind.dead_letters() == letters[1::2]
        elsewhere = DeadLetter(id="1-0", key=None, value=None, deleted=False, error="", attempts=0)
        with pytest.raises(ValueError, match="a dead letter of this write-behind was expected"):
            behind.discard_dead_letters([elsewhere])


def test_the_backlog_is_that_of_all_streams(cluster, make, source):
    """What others have appended, to whichever stream, counts for `max_backlog`."""
    other = WriteBehind(make(cluster, **PATIENT), source, trust_server=True, drain=False)
    other.set_many(dict.fromkeys(KEYS, 1))
    full = WriteBehind(
        make(cluster, **PATIENT), source, trust_server=True, drain=False, max_backlog=len(KEYS), max_wait=0.05
    )
    with pytest.raises(BacklogFull, match="60 writes and 0 dead letters wait"):
        full.set("one more", 1)
    assert full.stats().depth == len(KEYS)
    assert 0 < full.stats().lag < 60


@pytest.mark.parametrize("face", ["WriteBehind", "AsyncWriteBehind"])
def test_many_keys_of_one_stream(cluster, make, source, face, asyncio):
    """Second steps of many keys on one node don't all ask for a connection at once."""
    cache = make(cluster, **PATIENT)
    values = {f"{{tag}}{number}": number for number in range(400)}
    if face == "WriteBehind":
        behind = WriteBehind(cache, source, trust_server=True, drain=False)
    else:
        behind = Awaited(AsyncWriteBehind(cache.aio, source, trust_server=True, drain=False), asyncio)
    executor = cache._namespace.executor if face == "WriteBehind" else cache._namespace.async_executor
    steps = []
    run = executor.run
    executor.run = lambda command, **how: steps.append(command) or run(command, **how)
    behind.set_many(values)
    sizes = [len(step.commands) for step in steps if is_second_step(step)]
    assert (sum(sizes), max(sizes)) == (400, 50)
    assert cache.get_many(values) == values
    assert behind.delete_many(values) == 400
    assert behind.stats().depth == 800
    assert cache.stats().remote_errors == 0


def test_it_waits_for_replicas(cluster, make, source):
    """With one replica a primary, one has each entry when the call returns, and two never do."""
    cache = make(cluster, wait_replicas=1, **PATIENT)
    with WriteBehind(cache, source, trust_server=True) as behind:
        behind.set_many(dict.fromkeys(KEYS, 1))
        behind.delete_many(KEYS[:5])
        assert cache.stats().few_replicas == 0
        behind.flush(30)
    strict = make(cluster, wait_replicas=2, too_few_replicas="raise", **{**PATIENT, "timeout": 0.5})
    with WriteBehind(strict, source, trust_server=True) as behind:
        with pytest.raises(TooFewReplicas, match="1 of 2"):
            behind.set(KEYS[0], 2)
        behind.flush(30)
    assert source.rows == dict.fromkeys(KEYS[5:], 1) | {KEYS[0]: 2}

"""Late writes on the real flows, step by step: what the process hears and reads of them, and what it removes."""

import pytest

from twotier.clock import NEVER, SECOND, ManualClock
from twotier.coherence.subscriber import NOT_ASKED
from twotier.core.access.missing import MISSING
from twotier.core.outage.late_writes import LIFE, LateWrites
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.remote.commands.generations import WithGeneration
from twotier.remote.io.breaker import BreakerOpenError


def given_up(process, value):
    """Let a set time out; return its request, which may still take place."""
    write = process.set(value).to(WithGeneration)
    request = write.request
    write.fail()
    return request


def hear(process, request):
    """Let the message of a write arrive, or with tracking the push of its key."""
    put = request.write
    payload = put.key if put.publication is None else put.publication.payload
    process.namespace.subscriber.received([payload])


def recover(process):
    """Let recovery work until it has nothing to do."""
    namespace = process.namespace
    for _ in range(5):
        process.replay()
        if not namespace.journal and not namespace.late.suspects:
            return
    raise AssertionError("recovery doesn't end")


@pytest.fixture(params=["pubsub", "tracking"])
def settings(request):
    """How processes hear of writes."""
    return {"coherence": request.param}


def test_a_late_write_is_undone_once_it_is_heard_of(make_process, server, settings):
    """After a later write that was acknowledged; another process finds nothing then."""
    one, other = make_process(**settings), make_process(**settings)
    late = given_up(one, "early")
    one.set("later").end()
    server.run(late)
    assert other.get().end() == "early"
    assert one.get().end() is MISSING
    hear(one, late)
    recover(one)
    assert one.namespace.stats().late_writes == 1
    assert other.get().end() is MISSING
    one.set("last").end()
    hear(one, late)  # a message that comes twice
    recover(one)
    assert one.namespace.stats().late_writes == 1
    assert other.get().end() == "last"


def test_a_late_write_in_a_gap_of_the_link_is_undone(make_process, server, settings):
    """Nothing was heard of it: the process looks when it is live again."""
    one = make_process(**settings)
    late = given_up(one, "early")
    one.set("later").end()
    subscriber = one.namespace.subscriber
    subscriber.lost("test")
    server.run(late)
    subscriber.confirmed()
    subscriber.renewed(NEVER, NOT_ASKED)
    recover(one)
    assert one.namespace.stats().late_writes == 1
    assert make_process(**settings).get().end() is MISSING


def test_a_write_that_was_put_again_counts_until_it_is_overtaken(make_process, server, settings):
    """The replay gives the value the op id of its write; after a later write, the late one is undone."""
    one = make_process(replay="set", **settings)
    one.set("before").end()
    late = given_up(one, "early")
    one.replay()
    assert not one.namespace.journal
    for _ in range(2):  # the replay's own message, and that of the late write
        hear(one, late)
        recover(one)
    assert one.get().end() == "early"
    assert one.namespace.stats().late_writes == 0
    one.set("later").end()
    server.run(late)
    hear(one, late)
    recover(one)
    assert one.namespace.stats().late_writes == 1
    assert make_process(**settings).get().end() is MISSING


def test_a_late_write_that_comes_before_its_replay_is_no_late_write(make_process, server, settings):
    """With pub/sub its message settles the doubt, and its value stays; with tracking the replay removes it."""
    one = make_process(**settings)
    server.run(late := given_up(one, "early"))
    hear(one, late)
    recover(one)
    assert one.namespace.stats().late_writes == 0
    assert make_process(**settings).get().end() == ("early" if settings["coherence"] == "pubsub" else MISSING)


@pytest.mark.parametrize(
    ("error", "late"),
    [
        (RemoteTimeout("no reply"), True),
        (RemoteUnavailable("lost"), True),
        (BreakerOpenError("open"), False),
        (RemoteError("refused"), False),
        (KeyboardInterrupt(), True),
    ],
)
def test_what_was_answered_or_never_begun_is_not_late(error, late):
    """Only a write whose outcome is unknown is remembered."""
    writes = LateWrites(ManualClock(), limit=10)
    writes.abandon(b"op", {"key": b"payload"}, error)
    assert bool(writes) is late


def test_a_raw_integer_is_late_if_its_ttl_is():
    """An equal number whose ttl began earlier, or that has none, is somebody else's."""
    clock = ManualClock()
    writes = LateWrites(clock, limit=10, heard=False)
    writes.abandon(b"one", {"key": b"7"}, ttl=60 * SECOND)
    writes.abandon(b"two", {"forever": b"7"}, ttl=NEVER)
    writes.abandon(b"three", {"counter": None})
    clock.advance(100)
    earliest = clock.now() - 2 * SECOND
    assert [each.op_id for each in writes.standing("key", b"7", 58_000, earliest)] == [b"one"]
    assert [each.op_id for each in writes.standing("key", b"7", 60_000, earliest)] == [b"one"]
    assert not writes.standing("key", b"7", 57_999, earliest)
    assert not writes.standing("key", b"7", 60_001, earliest)
    assert not writes.standing("key", b"7", -1, earliest)
    assert not writes.standing("key", b"8", 59_000, earliest)
    assert not writes.standing("key", b"7", 59_000, None)
    assert not writes.standing("forever", b"7", -1, earliest)
    assert not writes.suspect(["counter"])


def test_what_is_remembered_is_bounded():
    """In number, the oldest first, and in time; nothing is left of what is forgotten."""
    clock = ManualClock()
    writes = LateWrites(clock, limit=2)
    for number in range(3):
        writes.abandon(b"%d" % number, {f"key{number}": b"value"})
        writes.put_again(b"%d" % number, f"key{number}")
        writes.overtake([f"key{number}"])
    assert writes.take_suspects().keys() == {"key0", "key1", "key2"}
    assert not writes.suspect(["key0"])
    assert writes.suspect(["key1"])
    clock.advance(LIFE / SECOND)
    writes.abandon(b"last", {"last": b"value"})
    assert writes.by("last", b"last")
    assert not any(writes.by(f"key{number}", b"%d" % number) for number in range(3))
    assert len(writes._put_again) == len(writes._overtaken) == 0

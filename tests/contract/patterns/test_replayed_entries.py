"""What somebody who writes to the server puts into the stream: forged, recorded, put back, or never ours."""

import contextlib
import threading

import pytest
import redis
from draining import exhaust
from waiting import PATIENT, live, wait_for

from twotier import Cache, ConfigurationError, RemoteUnavailable, WriteBehind, WriteBehindOptions, WritesLost
from twotier.core.write_behind.calls import WriteBehindCalls
from twotier.core.write_behind.streams import Streams
from twotier.remote.commands.conditional import IfEqual, Removal
from twotier.remote.commands.streams import Deliveries, Range, ReadGroup, Settle
from twotier.remote.hash_slots import slot_of
from twotier.remote.io.errors import OutOfStepError

SECRET = "a key of 16 bytes"


@pytest.fixture(params=[{}, {"cluster": True}], ids=["server", "cluster"])
def signed(request, make):
    """Makes caches that sign, on a server and on a cluster."""
    return lambda **settings: make(secret=SECRET, **request.param, **settings)


@pytest.fixture
def raw(request, server):
    """Returns a client of the server that has the stream of the key "balance", and the stream's names."""
    with contextlib.ExitStack() as stack:

        def raw(cache):
            slotted = cache._namespace.topology.slotted
            streams = Streams(cache.options.namespace, cache._namespace.values, slotted=slotted)
            names, url = streams.all[streams.of("balance")], server.url
            if slotted:
                nodes = request.getfixturevalue("cluster")
                url = nodes.owner(slot_of(names.stream)).url
            return stack.enter_context(redis.Redis.from_url(url)), names

        yield raw


def test_without_a_secret_the_server_has_to_be_trusted(make, source):
    """Who can write to a server without a secret could write to the source, so that has to be said to be fine."""
    with pytest.raises(ConfigurationError, match=r"needs a `secret`.*trust_server=True"):
        WriteBehind(make(), source)
    with pytest.raises(ConfigurationError, match="trust_server must be True or False, got 1"):
        WriteBehindOptions(trust_server=1)
    WriteBehind(make(secret=SECRET), source, drain=False)
    WriteBehind(make(), source, drain=False, trust_server=True)


@pytest.mark.parametrize("when", ["at once", "another drainer", "record removed", "record set back"])
def test_a_recorded_entry_is_written_once(signed, source, behind, raw, when, caplog):
    """Appended again by somebody, it is dropped, also by the next drainer; what comes after it arrives."""
    cache = signed()
    writes = behind(cache, drain=False)
    client, names = raw(cache)
    writes.set("balance", 1)
    with contextlib.closing(behind(cache)) as drainer:
        drainer.flush(20)
    old = client.get(names.record)
    writes.set("balance", 100)
    ((_, entry),) = client.xrange(names.stream)
    drainer = behind(cache)
    drainer.flush(20)
    writes.set("balance", 7)
    drainer.flush(20)
    if when == "another drainer":
        drainer.close()
        drainer = behind(signed())
    elif when == "record removed":
        client.delete(names.record)
    elif when == "record set back":
        client.set(names.record, old)
    source.asked.clear()
    client.xadd(names.stream, entry)
    writes.set("balance", 8)
    drainer.flush(20)
    assert source.rows == {"balance": 8}
    assert source.asked == [("write", {"balance": 8})]
    assert (drainer.stats().replayed, drainer.stats().dead) == (1, 0)
    assert "an entry was dropped" in caplog.text
    assert cache.get("balance") == 8


def test_an_entry_that_waits_is_not_written_twice(signed, source, behind, raw):
    """Appended again while it waits, it reaches the source once, and its copy changes no order."""
    cache = signed()
    writes = behind(cache, drain=False)
    client, names = raw(cache)
    writes.set("balance", 100)
    ((_, entry),) = client.xrange(names.stream)
    writes.set("balance", 7)
    client.xadd(names.stream, entry)
    drainer = behind(cache)
    drainer.flush(20)
    assert source.rows == {"balance": 7}
    assert all(values == {"balance": 7} for _, values in source.asked)
    assert drainer.stats().replayed == 1


def test_a_dead_letter_that_was_taken_is_not_taken_again(signed, source, behind, raw):
    """Put back by somebody after the source has had it, or after a later write of its key, it is dropped on a retry."""
    cache = signed()
    client, names = raw(cache)
    refusing = [True]

    def before():
        if refusing:
            raise ValueError

    source.before = before
    drainer = behind(cache)
    drainer.set("balance", 100)
    drainer.flush(20)
    ((_, letter),) = client.xrange(names.dead)
    refusing.clear()
    drainer.retry_dead_letters()
    drainer.flush(20)
    assert source.rows == {"balance": 100}
    drainer.set("balance", 7)
    drainer.flush(20)
    source.asked.clear()
    client.xadd(names.dead, letter)
    drainer.close()
    drainer = behind(cache)
    drainer.retry_dead_letters()
    drainer.flush(20)
    assert (source.rows, source.asked) == ({"balance": 7}, [])
    assert drainer.dead_letters() == []
    assert drainer.stats().replayed == 1


def test_a_wish_to_retry_is_heard_once(signed, source, behind, raw):
    """Recorded and appended again, the wish that dead letters be tried again does nothing."""
    cache = signed()
    client, names = raw(cache)
    source.before = lambda: 1 / 0
    writes = behind(cache, drain=False)
    writes.retry_dead_letters()
    ((_, wish),) = client.xrange(names.stream)
    drainer = behind(cache)
    drainer.set("balance", 1)
    drainer.flush(20)
    retried = drainer.stats().retried
    client.xadd(names.stream, wish)
    drainer.flush(20)
    assert drainer.stats().retried == retried
    assert drainer.stats().replayed == 1


def test_what_the_source_has_is_acknowledged_after_a_crash(signed, source, behind, raw):
    """Killed between the record and the acknowledgement, a drainer has its entries written no second time."""
    cache = signed()
    writes = behind(cache, drain=False)
    writes.set("balance", 100)
    _, names = raw(cache)
    options = WriteBehindOptions(first_backoff=0.05)
    calls = WriteBehindCalls(cache._calls, source, options, {})
    drainer = calls.drainers.all[calls._streams.of("balance")]
    run = cache._namespace.executor.run

    class Killed(BaseException):
        """The process is gone."""

    def until_recorded(command):
        settle = getattr(command, "write", command)
        if isinstance(settle, Settle) and settle.done:
            if settle.record is not None:  # on one server: put it alone, as in a cluster
                run(Settle(settle.stream, settle.dead, (), record=settle.record))
            raise Killed
        return run(command)

    with pytest.raises(Killed):
        exhaust(drainer, until_recorded)
    assert source.rows == {"balance": 100}
    source.asked.clear()
    run(IfEqual(names.lease, drainer._token, Removal((names.lease,))))
    again = behind(cache)
    again.flush(20)
    assert (source.asked, again.stats().depth, again.stats().replayed) == ([], 0, 0)
    assert cache.get("balance") == 100


def test_a_stream_that_was_lost_is_told(own_server, namespace, source, behind, caplog):
    """Flush raises once, and says how many writes it was; the drainer logs it, and all goes on."""
    with Cache(own_server.url, namespace=namespace, secret=SECRET, **PATIENT) as cache:
        wait_for(lambda: live(cache), "the link is live")
        going = threading.Event()
        drainer = behind(cache)
        drainer.set("before", 1)
        drainer.flush(20)
        source.before = going.wait
        drainer.set("first", 1)
        wait_for(lambda: drainer._calls.drainers.all[0]._admission._record._writers, "it drains")
        for number in range(50):
            drainer.set(f"key:{number}", number)
        with redis.Redis.from_url(own_server.url) as client:
            client.flushall()
        going.set()
        with pytest.raises(WritesLost, match=r"the server has lost \d+ writes of write-behind"):
            drainer.flush(20)
        assert 40 <= drainer.stats().lost <= 52
        wait_for(lambda: drainer.stats().streams_lost == 1, "the drainer has noticed")
        assert "the server has lost its stream" in caplog.text
        assert "writes of write-behind" in caplog.text
        drainer.flush(20)
        drainer.set("after", 1)
        drainer.flush(20)
        assert source.rows["after"] == 1


def test_entries_that_were_removed_are_told(signed, source, behind, raw):
    """Flush says what somebody has taken out of the stream."""
    cache = signed()
    writes = behind(cache, drain=False)
    client, names = raw(cache)
    writes.set("balance", 1)
    writes.set("balance", 2)
    ((first, _), _) = client.xrange(names.stream)
    client.xdel(names.stream, first)
    behind(cache).flush(20)
    with pytest.raises(WritesLost, match="lost 1 writes"):
        writes.flush(20)
    writes.flush(20)
    assert (source.rows, writes.stats().lost) == ({"balance": 2}, 1)


HOSTILE = {
    "5,000 digits": {"e": "x", "n": "9" * 5000, "i": "1-1"},
    "digits of another script": {"e": "x", "n": "\u0663", "i": "1-1"},
    "an id of 5,000 digits": {"e": "x", "n": "1", "i": "9" * 5000 + "-1"},
    "an error of 1 MB": {"e": b"\xff" * 1_000_000, "n": "1", "i": "1-1"},
    "one field": {"e": "x"},
    "another order": {"n": "1", "e": "x", "i": "1-1"},
}


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE)
def test_dead_letters_of_any_content_are_listed(signed, source, behind, raw, fields):
    """Whatever somebody puts among the dead letters is shown, can be discarded, and stops nothing."""
    cache = signed()
    client, names = raw(cache)
    client.xadd(names.dead, fields)
    writes = behind(cache)
    writes.set("balance", 1)
    writes.retry_dead_letters()
    writes.flush(20)
    (letter,) = writes.dead_letters()
    assert (letter.key, letter.value) == (None, None)
    assert letter.attempts <= 1
    assert len(letter.error) <= 500
    assert writes.discard_dead_letters([letter]) == 1
    assert source.rows == {"balance": 1}


BAD_REPLIES = {
    "an id that is none": [[b"abc", [b"k", b"v"]]],
    "an id of 5,000 digits": [[b"9" * 5000 + b"-1", []]],
    "an id over 64 bits": [[b"99999999999999999999-1", []]],
    "fields of another type": [[b"1-1", [b"k", 7]]],
    "fields that are none": [[b"1-1", 7]],
    "no list": 7,
}


@pytest.mark.parametrize("found", BAD_REPLIES.values(), ids=BAD_REPLIES)
def test_entries_of_another_form_are_refused(found):
    """A reply that no server gives is one error, whichever command it answers."""
    for command, reply in (
        (Range(b"stream"), found),
        (ReadGroup(b"stream", b">", 1), {b"stream": found}),
        (ReadGroup(b"stream", b">", 1), [[b"stream", found]]),
    ):
        with pytest.raises(OutOfStepError):
            command.parse([reply])
    with pytest.raises(OutOfStepError):
        ReadGroup(b"stream", b">", 1).parse([[7]])
    with pytest.raises(OutOfStepError):
        Deliveries(b"stream", b"-", 1).parse([[[b"1-1", b"", 1, b"many"]]])


def test_what_a_server_has_read_again_counts_as_no_attempt(signed, source, behind, monkeypatch):
    """Acknowledgements that fail have entries read again and again; none becomes a dead letter of that."""
    cache = signed()
    run, failing = cache._namespace.executor.run, [True] * 12

    def flapping(command, **how):
        settle = getattr(command, "write", command)
        if isinstance(settle, Settle) and failing:
            failing.pop()
            raise RemoteUnavailable("away for a moment")
        return run(command, **how)

    monkeypatch.setattr(cache._namespace.executor, "run", flapping)
    monkeypatch.setattr("twotier.core.write_behind.drainer.AWAY", 0.001)
    writes = behind(cache, max_attempts=2, batch_size=1)
    writes.set("balance", 1)
    writes.flush(20)
    assert not failing
    assert source.rows == {"balance": 1}
    assert (writes.stats().dead, writes.stats().retried) == (0, 0)


def test_a_dead_letter_tells_the_attempts_that_max_attempts_counts(signed, source, behind):
    """What a key shares with its batch before it stands alone isn't counted."""

    class Picky:
        """It takes no batch with 13 in it."""

        def write(self, values):
            if 13 in values.values():
                raise ValueError
            source.write(values)

        delete = source.delete

    writes = behind(signed(), Picky(), max_attempts=4, batch_size=64)
    writes.set_many({f"{{tag}}{number}": number for number in range(40)})
    writes.flush(20)
    (letter,) = writes.dead_letters()
    assert (letter.value, letter.attempts) == (13, 4)
    assert len(source.rows) == 39

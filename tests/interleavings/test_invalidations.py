"""Expiring a key, on the real flows: whatever was under way, the invalidation wins."""

import pytest

from twotier.coherence.message import Message
from twotier.core.access.missing import MISSING
from twotier.core.flow.requests import Load
from twotier.core.namespace.subscriber import NamespaceSubscriber
from twotier.opid import NO_OP


def begun(process):
    """Return a process that knows the generation, so that each call is one trip."""
    process.get("other").end()
    return process


def test_a_fill_under_way_does_not_bring_back_what_was_expired(make_process):
    """A read of the server before the expiry isn't installed after it, when the reply overtakes the expiry's or not."""
    one = begun(make_process())
    for late in (True, False):
        make_process().set("old").end()
        expiry = one.invalidate()
        read = one.get().execute()
        expiry.execute()
        for call in (expiry, read) if late else (read, expiry):
            call.reply()
        assert read.result == "old"  # it began before
        assert "key" not in one.store
        assert one.get().end() is MISSING


def test_a_set_before_an_expiry_does_not_survive_it(make_process):
    """Of a set and an expiry under way at once, what the server did last is what is seen here."""
    one = begun(make_process())
    write = one.set("old").execute()
    expiry = one.invalidate().execute()
    expiry.reply()
    write.reply()
    assert one.store.get("key", MISSING) is MISSING
    assert one.get().end() is MISSING


def test_an_earlier_own_message_leaves_what_is_kept_of_a_write_that_failed(make_process):
    """The message of a write from before, late on its way, isn't about it; those of others and of later writes are."""
    one, other = begun(make_process()), begun(make_process())
    ids, messages = one.namespace.op_ids, one.namespace.messages

    def hear(op_id):
        NamespaceSubscriber(one.namespace).received([messages.encode(Message("set", op_id, ("key",)))])
        return one.store.suspect("key", MISSING)

    earlier = ids.next()
    for later in (ids, other.namespace.op_ids):
        one.set("new").fail()
        assert hear(earlier) == "new"
        assert one.get().result == "new"
        assert hear(later.next()) is MISSING


@pytest.mark.parametrize("many", [False, True])
def test_a_number_that_a_late_message_names_is_read_once_more(make_process, many):
    """The message may be that of the write which made it: one trip, then it is fresh; an outage meanwhile serves it."""
    one, other = begun(make_process()), begun(make_process())

    def read():
        if not many:
            return one.get()
        found = {}
        call = one.call(one.tiers.fetch_many(["key"], found))
        call.found = found
        return call

    def result(call):
        return call.found.get("key", MISSING) if many else call.result

    def hear(kind="set", by=other):
        message = Message(kind, by.namespace.op_ids.next(), ("key",))
        one.namespace.subscriber.received([one.namespace.messages.encode(message)])

    other.set(5).end()
    for _ in range(2):
        call = read().execute().reply()
        assert call.ended
        assert (result(call), one.store.get("key"), one.store.op("key")) == (5, 5, NO_OP)
        hear()
        assert "key" not in one.store
    call = read().fail()
    assert (call.ended, result(call)) == (True, 5)
    read().end()
    assert one.store.get("key") == 5
    for kind, by in (("delete", other), ("set", one)):
        read().end()
        hear(kind, by)
        assert result(read().fail()) is MISSING


def test_a_load_that_was_overtaken_by_an_expiry_is_stored_nowhere(make_process):
    """What a loader read before an invalidation, here or elsewhere, reaches neither tier."""
    one, other = begun(make_process()), begun(make_process())
    for who in (one, other):
        load = one.load().to(Load)
        who.invalidate().end()
        load.load("old").end()
        assert load.result == "old"
        assert "key" not in one.store
        assert other.get().end() is MISSING


def test_a_copy_outlives_the_reads_that_miss_it(make_process):
    """The copy of an expired key stays while reads find nothing on the server, and serves once that fails."""
    one = begun(make_process())
    one.set("old").end()
    one.invalidate().end()
    for _ in range(2):
        assert one.get().end() is MISSING
    assert one.get().fail().result == "old"

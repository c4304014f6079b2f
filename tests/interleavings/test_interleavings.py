"""Interleavings that the model of the protocol found (tests/model/), on the real flows."""

from twotier.core.access.missing import MISSING
from twotier.core.flow.requests import Load
from twotier.core.outage.journal import Journal


def test_write_after_a_clear_that_was_not_heard_of_yet_counts(make_process):
    """A write that goes into a dead generation is done again in the one that stands."""
    one, other = make_process(), make_process()
    one.set("old").end()
    other.clear().end()
    other.set("new").end()
    one.delete().end()  # the message of the clear is still under way
    assert other.get().end() is MISSING
    one.set("newest").end()
    assert other.get().end() == "newest"
    assert one.store.get("key") == "newest"


def test_answers_for_the_generation_that_differ_put_everything_in_doubt(make_process, server):
    """A value that was read before the server lost everything isn't kept as fresh once a newer generation is known."""
    one = make_process()
    make_process().set("lost").end()
    early, late = one.get(), one.get("other")
    early.execute().reply().execute()
    server.values.clear()
    late.execute().reply().execute().reply()
    early.reply()
    assert "key" not in one.store


def test_the_older_of_two_answers_for_the_generation_does_not_stay(make_process, server):
    """Nor when the replies come the other way round."""
    one = make_process()
    make_process().set("lost").end()
    early, late = one.get(), one.get("other")
    early.execute()
    server.values.clear()
    late.execute().reply().execute().reply()
    early.reply()
    early.end()
    late.end()
    one.set("new").end()
    assert make_process().get().end() == "new"


def test_write_leaves_a_later_doubt_in_the_journal(make_process):
    """The reply to a write doesn't take from the journal a delete that failed after the write had taken place."""
    one, other = make_process(), make_process()
    write = one.set("old").execute()
    if not write.ended and "key" not in one.store:
        write.reply().execute()  # the first trip asked for the generation
    one.delete().fail()
    write.reply()
    assert "key" in one.namespace.journal
    one.replay()
    assert other.get().end() is MISSING


def test_load_leaves_a_later_doubt_in_the_journal(make_process):
    """Nor does a load that could be stored because that delete never arrived."""
    one, other = make_process(), make_process()
    one.clear().end()
    load = one.load(ttl=10**9).to(Load)
    one.delete().fail()
    load.load("old").execute().reply()
    assert load.ended
    assert "key" in one.namespace.journal
    one.replay()
    assert other.get().end() is MISSING


def test_delete_that_fails_under_a_read_lets_nothing_old_in(make_process, monkeypatch):
    """A read that looked into the journal just before a delete failed doesn't install what the server still has."""
    one = make_process()
    make_process().set("old").end()
    contains = Journal.__contains__

    def interrupted(journal, key):
        found = contains(journal, key)
        monkeypatch.undo()
        monkeypatch.setattr(one.namespace, "ensure_listening", lambda: None)
        monkeypatch.setattr(one.namespace.recovery, "wake", lambda: None)
        monkeypatch.setattr(one.namespace.sweep, "wake", lambda **_: None)
        one.delete().fail()
        return found

    monkeypatch.setattr(Journal, "__contains__", interrupted)
    read = one.get()
    assert "key" in one.namespace.journal
    assert read.end() == "old"  # it began before the delete
    assert "key" not in one.store


def test_replayed_clear_is_seen_here_at_once(make_process):
    """Reads after a replayed clear don't see the old generation until its message comes."""
    one = make_process()
    one.set("old").end()
    one.clear().fail()
    one.set("other", key="other").end()  # learns the generation that the clear has left standing
    one.replay()
    assert not one.namespace.journal
    assert one.get().end() is MISSING


def test_replay_under_another_generation_is_seen_here_at_once(make_process):
    """Reads after a replay see the generation in which it took place."""
    one, other = make_process(), make_process()
    one.set("old").end()
    one.set("new").fail()
    other.clear().end()
    one.replay()  # the message of the clear is still under way
    assert one.get().end() is MISSING


def test_overtaken_load_is_no_suspect(make_process):
    """What was loaded before a delete, and couldn't be stored, isn't kept for an outage."""
    one = make_process()
    one.clear().end()
    load = one.load(ttl=10**9).to(Load)
    one.delete().end()
    load.load("old").fail()
    assert load.ended
    assert one.store.suspect("key", MISSING) is MISSING

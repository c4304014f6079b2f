"""The end of a tag, on the real flows: whatever was under way, and wherever the message overtakes it, the end wins."""

import pytest

from twotier.clock import NEVER
from twotier.codec.tag_stamps import pack_stamps
from twotier.core.access.missing import MISSING
from twotier.core.tags.tag_index import ANY_TAG, TagIndex
from twotier.remote.commands.base import Fetch
from twotier.remote.commands.generations import WithGeneration
from twotier.remote.commands.tags import MakeVersions, ReadVersions

TAGS = ("tag",)


def begun(process):
    """Return a process that knows the generation."""
    process.get("other").end()
    return process


def until(call, kind):
    """Let everything take place until a request of this kind is under way."""
    while not isinstance(call.request, kind):
        call.execute().reply()
    return call


@pytest.fixture
def one(make_process):
    """A process that knows the generation."""
    return begun(make_process())


@pytest.fixture
def other(make_process):
    """Another one; what it does is heard of when the test says so."""
    return begun(make_process())


def test_a_set_is_dead_when_its_tag_ends_under_it(one, other):
    """A value that was written after its tag ended, for a version from before, counts nowhere."""
    write = until(one.set("old", tags=TAGS), WithGeneration)
    other.end_tag().end()
    write.execute()
    one.hear()
    write.reply()
    assert write.ended
    for process in (one, other):
        assert process.store.get("key", MISSING) is MISSING
        assert process.get().end() is MISSING


@pytest.mark.parametrize("heard", ["before the reply", "after the reply"])
def test_a_set_before_the_end_of_its_tag_does_not_survive_it(one, other, heard):
    """The message finds the key of a set whose reply is still under way, or that has just been installed."""
    one.set("first", tags=TAGS).end()
    write = until(one.set("old", tags=TAGS), WithGeneration).execute()
    other.end_tag().end()
    if heard == "before the reply":
        one.hear()
        write.reply()
    else:
        write.reply()
        assert one.store.get("key") == "old"  # not heard of yet
        one.hear()
    assert one.store.get("key", MISSING) is MISSING
    assert one.get().end() is MISSING


def test_a_fill_before_the_end_of_its_tag_does_not_survive_it(one, other):
    """A read that looked at the versions before they ended isn't installed after that was heard."""
    other.set("old", tags=TAGS).end()
    read = until(one.get(), ReadVersions).execute()
    other.end_tag().end()
    one.hear()
    assert read.reply().result == "old"  # it began before
    assert one.store.get("key", MISSING) is MISSING
    assert one.get().end() is MISSING


def test_a_fill_looks_at_versions_after_it_is_noted(one, other):
    """When the end of a tag is heard between reading an entry and looking at its tags, no known version is believed."""
    one.set("mine", key="mine", tags=TAGS).end()  # the version is known here
    other.set("old", tags=TAGS).end()
    read = until(one.get(), Fetch).execute()
    other.end_tag().end()
    one.hear()
    assert read.reply().end() is MISSING
    assert one.store.get("key", MISSING) is MISSING


def test_own_ends_are_seen_at_once(one):
    """A process that ended a tag reads nothing that carries it, though no message has come yet."""
    one.set("held", key="held", tags=TAGS).end()
    one.set("old", tags=TAGS).end()
    one.store.discard("key")
    read = until(one.get(), Fetch).execute()
    one.end_tag().end()
    assert one.store.get("held", MISSING) is MISSING
    assert read.reply().end() is MISSING
    assert one.get("held").end() is MISSING
    one.set("new", tags=TAGS).end()
    assert one.store.get("key") == "new"
    assert one.get().end() == "new"


def test_a_version_read_before_the_end_is_not_kept_after_it(one, other):
    """The answer to the question for a version doesn't outlive the end of the tag that overtook it."""
    other.set("old", tags=TAGS).end()
    read = until(one.get(), ReadVersions).execute()
    one.end_tag().end()
    read.reply()
    other.hear()
    assert one.get().end() is MISSING
    assert other.get().end() is MISSING


def test_a_version_asked_for_by_a_set_is_not_kept_after_the_end(one, other):
    """Nor the answer that a set got: what is written next carries the version that stands then."""
    write = until(one.set("old", tags=TAGS), MakeVersions).execute()
    other.end_tag().end()
    one.hear()
    write.reply().end()
    assert one.get().end() is MISSING
    one.set("new", tags=TAGS).end()
    assert other.get().end() == "new"


def test_a_set_after_the_end_counts_before_it_was_heard_of_elsewhere(one, other):
    """A process that knows of the end makes a new version, which others take once they have heard."""
    one.set("old", tags=TAGS).end()
    other.get().end()
    one.end_tag().end()
    one.set("new", tags=TAGS).end()
    other.hear()
    assert other.get().end() == "new"
    assert other.store.get("key") == "new"


def test_a_failed_end_is_felt_here_at_once_and_made_good(one, other):
    """While the server may not know that a tag has ended, what it has of it isn't believed here."""
    one.set("held", key="held", tags=TAGS).end()
    other.set("old", tags=TAGS).end()
    one.end_tag().fail()
    assert one.store.get("held", MISSING) is MISSING
    assert one.get().end() is MISSING
    assert one.get("held").end() == "held"  # the copy stands in, as in any outage
    one.set("meanwhile", key="meanwhile", tags=TAGS).end()
    one.replay()
    assert not one.namespace.journal
    other.hear()
    for key in ("key", "held", "meanwhile"):
        assert one.get(key).end() is MISSING
        assert other.get(key).end() is MISSING


def test_an_end_that_arrives_settles_the_doubt_of_an_earlier_one(one):
    """What is ended again, and arrives, needn't be replayed."""
    one.end_tag().fail()
    assert one.namespace.journal
    one.end_tag().end()
    assert not one.namespace.journal


def test_copies_stay_for_outages(one, other):
    """An entry whose tag has ended is kept through reads, and stands in when the server is away."""
    one.set("old", tags=TAGS).end()
    one.end_tag().end()
    for _ in range(2):
        assert one.get().end() is MISSING
    assert one.get().fail().result == "old"
    other.set("newer", tags=("else",)).end()
    other.end_tag("else").end()
    one.store.bump_epoch()
    assert one.get().end() is MISSING
    assert one.get().fail().result is MISSING  # a later value has ended: this copy is of nothing


def load(process, tags=(), late=()):
    """A load as it is done around tags: hold, take the token, ask for versions, load, store, install."""
    namespace, tiers = process.namespace, process.tiers
    first = (ANY_TAG, *tags)
    with namespace.tags.holding(("key",), first) as hold:
        token, now = namespace.store.token("key"), namespace.clock.now()
        early = yield from namespace.versions.stamps(first, NEVER)
        value = yield "the loader"
        hold.add(late)
        stamps = pack_stamps((yield from namespace.versions.late_stamps(early, (*tags, *late), NEVER)))
        payload, op_id = namespace.values.encode(value), namespace.op_ids.next()
        place = yield from namespace.generations.place("key")
        yield ("store", place, namespace.values.seal(place, op_id, payload, stamps))
        tiers._install("key", value, payload, token, op_id, NEVER, now)
        hold.written()


def loaded(call, server, value="old"):
    """Let a load's loader return, and the load go to its end."""
    call.load(value)
    while not call.ended:
        if type(call.request) is tuple:
            _, place, data = call.request
            server.values[place] = data
            call.load(None)
        else:
            call.execute().reply()


@pytest.mark.parametrize("where", ["here", "elsewhere", "elsewhere, heard later"])
@pytest.mark.parametrize(("tags", "late"), [(TAGS, ()), ((), TAGS), (("first",), TAGS)], ids=["early", "late", "both"])
def test_a_load_that_the_end_of_its_tag_overtakes_counts_nowhere(one, other, server, where, tags, late):
    """What a loader read before one of its tags ended isn't taken, also if it named the tag afterwards."""
    other.set("before", key="known", tags=TAGS).end()
    under_way = until(one.call(load(one, tags, late)), str)
    token = one.store.token("key")
    (one if where == "here" else other).end_tag().end()
    if where == "here":
        other.hear()
    other.set("after", key="known", tags=TAGS).end()  # somebody has made a new version
    if where == "elsewhere":
        one.hear()
    if where != "elsewhere, heard later":
        assert not one.store.stands("key", token)  # callers from now on don't wait for this load
    loaded(under_way, server)
    if where == "elsewhere, heard later":
        one.hear()
    assert one.store.get("key", MISSING) is MISSING
    assert one.get().end() is MISSING
    assert other.get().end() is MISSING


@pytest.mark.parametrize(("tags", "late"), [(TAGS, ()), ((), TAGS), (("first",), TAGS)], ids=["early", "late", "both"])
def test_a_load_under_tags_that_stand_counts(one, other, server, tags, late):
    """Without an end in between, what was loaded is in both tiers, under all its tags."""
    loaded(until(one.call(load(one, tags, late)), str), server)
    assert one.store.get("key") == "old"
    assert other.get().end() == "old"
    assert one.namespace.tags.tags_of("key") == (*tags, *late)
    other.end_tag().end()
    one.hear()
    assert one.store.get("key", MISSING) is MISSING


def test_versions_are_forgotten_before_keys_are_looked_up(one, other):
    """What is noted just after the keys of an ended tag were looked up believes no version from before."""
    one.set("mine", key="mine", tags=TAGS).end()
    other.set("old", tags=TAGS).end()
    other.end_tag().end()
    keys_of = TagIndex.keys_of
    read = []

    def looked_up(index, tags):
        found = keys_of(index, tags)
        read.append(one.get().end())
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TagIndex, "keys_of", looked_up)
        one.hear()
    assert read == [MISSING]
    assert one.store.get("key", MISSING) is MISSING


def test_versions_are_in_doubt_when_entries_are(one, other):
    """After a message that can't be read here no known version is believed."""
    one.set("mine", key="mine", tags=TAGS).end()
    other.set("old", tags=TAGS).end()
    other.end_tag().end()  # in a message that can't be read here
    one.namespace.bump_epoch()
    assert one.get().end() is MISSING

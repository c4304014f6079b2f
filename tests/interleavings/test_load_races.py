"""Loads, step by step: what another call does in between decides what is kept."""

import pytest
from colliding_keys import colliding_keys

from twotier.clock import NEVER, SECOND
from twotier.core.access.missing import MISSING
from twotier.core.flow.requests import Load, Pause, Spawn, Wait
from twotier.errors import LoadShed
from twotier.notfound import NOT_FOUND
from twotier.remote.commands.load_locks import SettleLoadLocks, TakeLoadLocks


def begun(process):
    """Return a process that knows the generation."""
    process.get("other").end()
    return process


def test_absence_that_was_overtaken_is_not_remembered(make_process):
    """A set before the absence reaches the server voids it; one after its reply ends it."""
    one, other = begun(make_process()), begun(make_process())
    load = one.load(negative_ttl=60).to(Load).load(NOT_FOUND)
    assert isinstance(load.request, SettleLoadLocks)
    other.set("new").end()
    assert load.end() is NOT_FOUND
    assert not one.namespace.absences.holds("key")
    assert one.load(negative_ttl=60).end() == "new"


def test_writes_of_other_keys_end_neither_a_load_nor_an_absence(make_process):
    """Nor do those of keys that share its bucket of fill tokens, as long as somebody asks now and then."""
    one = begun(make_process())
    load = one.load().to(Load)
    colliding_keys(one.store, "key", 10)  # which writes them
    assert load.load("new").end() == "new"
    assert one.store.get("key") == "new"
    one.delete().end()
    one.load(negative_ttl=60).to(Load).load(NOT_FOUND).end()
    for _ in range(3):
        colliding_keys(one.store, "key", 10)
        assert one.namespace.absences.holds("key")


def test_message_under_way_ends_a_remembered_absence(make_process):
    """An absence holds until the message of the next write arrives, like any entry."""
    one, other = begun(make_process()), begun(make_process())
    one.load(negative_ttl=60).to(Load).load(NOT_FOUND).end()
    assert one.namespace.absences.holds("key")
    other.set("new").end()
    one.store.apply(["key"], 7)
    assert not one.namespace.absences.holds("key")
    assert one.get().end() == "new"


def test_absence_read_before_a_write_is_not_remembered(make_process):
    """A message that comes between the look at an absence and its reply voids what was seen."""
    one, other = begun(make_process()), begun(make_process())
    one.load(negative_ttl=60).to(Load).load(NOT_FOUND).end()
    look = other.load(negative_ttl=60).to(TakeLoadLocks).execute()
    one.set("new").end()
    other.store.apply(["key"], 7)
    look.reply()
    assert look.result is NOT_FOUND
    assert not other.namespace.absences.holds("key")
    assert other.load().end() == "new"


def test_absence_ends_with_the_link(make_process):
    """What was known to be absent is in doubt once messages may have been missed."""
    one = begun(make_process())
    one.load(negative_ttl=60).to(Load).load(NOT_FOUND).end()
    one.store.renew(0)
    assert not one.namespace.absences.holds("key")
    one.store.renew(NEVER)
    assert one.namespace.absences.holds("key")
    one.store.bump_epoch()
    assert not one.namespace.absences.holds("key")


def test_absence_found_in_an_outage_ends_with_it(make_process):
    """Found while the link is down it holds here, until the link is back."""
    one = begun(make_process())
    one.store.lose()
    load = one.load(negative_ttl=60)
    while not isinstance(load.request, Load):
        load.fail()
    load.load(NOT_FOUND)
    assert load.ended
    assert one.namespace.absences.holds("key")
    one.store.bump_epoch()
    one.store.renew(NEVER)
    assert not one.namespace.absences.holds("key")


def test_refresh_waits_for_the_load_of_another_process(make_process):
    """It takes what that load has stored, not what was there when it began to wait."""
    one, other = begun(make_process()), begun(make_process())
    other.set("old").end()
    loading = other.refresh().to(Load)
    waiting = one.refresh().to(Pause)
    loading.load("new").end()
    assert waiting.reply().end() == "new"
    assert one.store.get("key") == "new"


def test_refresh_loads_when_the_other_process_stored_nothing(make_process):
    """When the other's load fails, what stood there before doesn't count as loaded."""
    one, other = begun(make_process()), begun(make_process())
    other.set("old").end()
    loading = other.refresh().to(Load)
    waiting = one.refresh().to(Pause)
    loading.raised(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        loading.end()
    assert waiting.reply().to(Load).load("mine").end() == "mine"


def test_refresh_that_finds_nothing_removes_unless_overtaken(make_process):
    """A set during the load wins over the loader's NOT_FOUND."""
    one, other = begun(make_process()), begun(make_process())
    one.set("old").end()
    refresh = one.refresh().to(Load)
    other.set("new").end()
    assert refresh.load(NOT_FOUND).end() is NOT_FOUND
    assert other.get().end() == "new"
    one.store.apply(["key"], 7)
    assert one.refresh().to(Load).load(NOT_FOUND).end() is NOT_FOUND
    assert one.get().end() is MISSING
    assert "key" not in one.store


def test_refresh_whose_outcome_is_unknown_keeps_a_suspect(make_process):
    """When the reply to the store is lost, neither value counts as fresh, and the next read asks."""
    one, other = begun(make_process()), begun(make_process())
    one.set("old").end()
    refresh = one.refresh().to(Load).load("new")
    refresh.execute().fail()
    assert refresh.result == "new"
    assert "key" not in one.store
    assert one.get().end() == "new"
    assert other.get().end() == "new"


def test_leases_are_given_back_when_a_loader_is_stopped(make_process, server):
    """Whatever stops a load, the lease goes back, unless the flow itself was thrown away."""
    one = begun(make_process())
    for error in (ZeroDivisionError, KeyboardInterrupt, SystemExit):
        load = one.load().to(Load)
        assert any(b"!" in key for key in server.values)
        load.raised(error())
        assert isinstance(load.request, SettleLoadLocks)
        with pytest.raises(error):
            load.end()
        assert not any(b"!" in key for key in server.values)
    load = one.load().to(Load)
    load._flow.close()
    assert not one.namespace.flights._flights
    assert one.namespace.load_gate.enter_at_once() is not None


def test_callers_of_another_token_share_the_lease_all_the_same(make_process):
    """A caller that comes after an invalidation leads a flight of its own, and waits for the lease of the first."""
    one = begun(make_process())
    first = one.load().to(Load)
    one.store.apply(["key"], 7)
    second = one.load().to(Pause)
    first.load("loaded").end()
    assert second.reply().end() == "loaded"


def test_timed_load_is_spawned_and_waited_for(make_process):
    """With a hard timeout, the caller follows a load that goes on whatever the caller does."""
    one = begun(make_process())
    call = one.load(hard_timeout=3.0)
    while not isinstance(call.request, Spawn):
        call.execute().reply()
    behind = one.call(call.request.flow).to(Load)
    call.reply()
    waited = 0.0
    while waited + call.request.seconds < 2.5:  # a spell at a time
        assert isinstance(call.request, Wait)
        waited += call.request.seconds
        call._go(lambda: call._flow.throw(TimeoutError()))
        while not isinstance(call.request, Wait):
            call.execute().reply()
    call._flow.close()
    follower = one.load()
    while not isinstance(follower.request, Wait):
        follower.execute().reply()
    behind.load("loaded").end()
    assert follower.request.future.result() == one.namespace.values.encode("loaded")
    assert one.store.get("key") == "loaded"


def test_a_caller_whose_flow_cannot_be_spawned_leaves_nothing(make_process):
    """Flight and place are given back when the background takes no more."""
    one = begun(make_process())
    call = one.load(hard_timeout=3.0)
    while not isinstance(call.request, Spawn):
        call.execute().reply()
    with pytest.raises(RuntimeError):
        call._flow.throw(RuntimeError("can't start new thread"))
    call.request.flow.close()
    assert not one.namespace.flights._flights
    assert one.load().to(Load).load(1).end() == 1


def test_lapsed_copy_in_the_journal_is_not_served(make_process):
    """A value whose write may not have arrived isn't one that only time has ended."""
    one = begun(make_process())
    one.set("written").fail()
    assert one.store.lapsed("key", NEVER, MISSING) == "written"
    assert one.tiers.lapsed("key", 60 * SECOND) is MISSING
    one.replay()
    assert one.tiers.lapsed("key", 60 * SECOND) == "written"


@pytest.mark.parametrize("policy", [{}, {"when_busy": "shed"}])
def test_a_place_is_taken_after_the_lease(make_process, server, policy):
    """Where the last place was taken meanwhile, the lease goes back before the caller queues, or is shed."""
    one = begun(make_process())
    gate = one.namespace.load_gate
    load = one.load(**policy).to(TakeLoadLocks)
    places = [gate.enter() for _ in range(gate.free)]
    load.execute().reply()
    assert isinstance(load.request, SettleLoadLocks)
    assert any(b"!" in key for key in server.values)
    if policy:
        load.execute()
        with pytest.raises(LoadShed):
            load.reply()
    else:
        load.to(Wait)
        places[0].leave()
        load._go(lambda: load._flow.send(None))
        assert load.to(Load).load("loaded").end() == "loaded"
    assert not any(b"!" in key for key in server.values)
    assert not one.namespace.flights._flights
    assert one.namespace.load_gate.free == (0 if policy else 1)

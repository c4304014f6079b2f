"""Leases whose grant or return is uncertain: this process takes them for free, and gives them back to all others."""

import pytest

from twotier.clock import ManualClock
from twotier.core.flow.requests import Load, Pause
from twotier.core.loading.claims import LOOKS, Claim, Claims
from twotier.remote.commands.conditional import IfEqual
from twotier.remote.commands.load_locks import SettleLoadLocks, TakeLoadLocks


def begun(process):
    """Return a process that knows the generation."""
    process.get("other").end()
    return process


def leases(server):
    """Return the leases on the server."""
    return [key for key in server.values if b"!" in key]


def lost(load):
    """Let the server's reply to what is under way be lost, and the caller load for itself."""
    return load.execute().fail()


def test_a_lease_whose_grant_is_uncertain_is_taken_for_free(make_process, server):
    """The next load in that process takes it over at once, and stores what it loads."""
    one = begun(make_process())
    assert lost(one.load().to(TakeLoadLocks)).load("alone").end() == "alone"
    assert leases(server)
    one.store.clear()
    again = one.load().to(IfEqual).to(Load)
    assert again.load("loaded").end() == "loaded"
    assert not leases(server)
    assert begun(make_process()).get().end() == "loaded"


def test_a_lease_whose_return_is_uncertain_is_taken_for_free(make_process, server):
    """Also where the reply that is lost is that to the storing, which didn't take place."""
    one = begun(make_process())
    load = one.load().to(Load).load("kept")
    assert isinstance(load.request, SettleLoadLocks)
    assert load.fail().end() == "kept"
    assert leases(server)
    assert one.load().to(Load).load("loaded").end() == "loaded"
    assert not leases(server)


@pytest.mark.parametrize("anew", [False, True])
def test_recovery_gives_back_what_others_would_wait_for(make_process, server, anew):
    """Other processes wait for no longer than recovery takes to look."""
    one, other = begun(make_process()), begun(make_process())
    load = one.refresh() if anew else one.load()
    lost(load.to(TakeLoadLocks)).load("alone").end()
    waiting = other.load().to(Pause)
    assert one.namespace.claims
    one.namespace.recovery._attempt()
    assert not leases(server)
    assert not one.namespace.claims
    assert waiting.reply().to(Load).load("loaded").end() == "loaded"


def test_a_request_that_arrives_late_is_given_back_too(make_process, server):
    """Recovery looks again for a lease that wasn't there; and whoever needs the key finds it abandoned after that."""
    one = begun(make_process())
    late = one.load().to(TakeLoadLocks)
    request = late.request
    late.fail().load("alone").end()
    for _ in range(LOOKS):
        for claim in list(one.namespace.claims._abandoned.values()):
            claim.next_look = 0
        one.namespace.recovery._attempt()
    assert not one.namespace.claims
    server.run(request)
    assert leases(server)
    one.store.clear()
    assert one.load().to(Load).load("loaded").end() == "loaded"
    assert not leases(server)


def test_a_lease_that_is_ours_and_in_use_is_not_free(make_process):
    """Two flights of one process that hold different tokens share the lease as before."""
    one = begun(make_process())
    first = one.load().to(Load)
    one.store.apply(["key"], 7)
    second = one.load().to(Pause)
    first.load("loaded").end()
    assert second.reply().end() == "loaded"


def test_a_flow_that_is_thrown_away_leaves_its_lease_to_recovery(make_process, server):
    """A coroutine that the collector closes can ask for nothing; its lease is given back all the same."""
    one = begun(make_process())
    load = one.load().to(Load)
    load._flow.close()
    assert leases(server)
    one.namespace.recovery._attempt()
    assert not leases(server)


def test_a_waiter_whose_process_has_the_value_stops_waiting(make_process, server):
    """It needn't wait for the end of a lease that another process holds."""
    one, other = begun(make_process()), begun(make_process())
    other.load().to(Load)
    (held,) = leases(server)
    waiting = one.load().to(Pause)
    one.set("written").end()
    server.values[held] = b"another's"
    assert waiting.reply().result == "written"


def test_claims_are_bounded_in_number_and_in_time():
    """The oldest is forgotten past the bound, and each past the time in which its lease may stand."""
    clock, woken = ManualClock(), []
    claims = Claims(clock, 10, lambda: woken.append(1), most=2)
    made = [Claim(claims, b"%d" % number) for number in range(3)]
    for claim in made:
        claim.add([b"lease"])
        claim.close()
        claim.close()
    assert len(woken) == 3
    assert [claims.is_abandoned(b"lease", claim.token) for claim in made] == [False, True, True]
    assert claims.due() == made[1:]
    clock.advance(1)
    assert claims.due() == []
    assert not claims.is_abandoned(b"lease", made[1].token)
    assert not claims


def test_claims_of_bulk_calls_are_bounded_by_their_leases():
    """The oldest leases are forgotten, of a call that has more than the bound too."""
    claims = Claims(ManualClock(), 10, lambda: None, most=3)
    first, second, third = (Claim(claims, b"%d" % number) for number in range(3))
    first.add([b"a", b"b"])
    first.close()
    second.add([b"c", b"d"])
    second.close()
    assert [claims.is_abandoned(lease, first.token) for lease in (b"a", b"b")] == [False, True]
    assert claims.is_abandoned(b"c", second.token)
    third.add([b"e", b"f", b"g", b"h"])
    third.close()
    assert claims.due() == [third]
    assert list(third.leases) == [b"f", b"g", b"h"]

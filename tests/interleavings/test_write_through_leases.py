"""Leases of write-throughs whose grant or return is uncertain: free for this process, and given back to all others."""

import pytest

from twotier.core.access.refusal import Refusal
from twotier.core.flow.requests import Load
from twotier.errors import RemoteUnavailable
from twotier.remote.commands.conditional import IfEqual
from twotier.remote.commands.load_locks import TakeLoadLocks
from twotier.remote.commands.write_through_locks import PutLocked, TakeWriteLocks
from twotier.remote.io.breaker import BreakerOpenError


def begun(process):
    """Return a process that knows the generation."""
    process.get("other").end()
    return process


def leases(server):
    """Return the leases on the server."""
    return [key for key in server.values if b"!" in key]


def grant_lost(process):
    """Lose the reply to the taking of the leases."""
    process.write("written").to(TakeWriteLocks).execute().fail().load(None).end()


def storing_lost(process):
    """Lose the request that stores what was written."""
    process.write("written").to(Load).load(None).to(PutLocked).fail().end()


def return_lost(process):
    """Lose the request that gives the lease back, as the writer has failed."""
    write = process.write("written").to(Load).raised(Refusal(OSError("the source is away")))
    with pytest.raises(OSError, match="the source is away"):
        write.fail()


def thrown_away(process):
    """Throw the flow away while the writer is called."""
    process.write("written").to(Load).close()


LOSSES = [grant_lost, storing_lost, return_lost, thrown_away]


@pytest.mark.parametrize("lose", LOSSES)
def test_an_uncertain_lease_is_taken_for_free(make_process, server, lose):
    """The next load in that process takes it over at once."""
    one = begun(make_process())
    lose(one)
    assert leases(server)
    one.namespace.journal.settle(one.namespace.journal.noted(["key"]))
    one.store.clear()
    assert one.load().to(IfEqual).to(Load).load("loaded").end() == "loaded"
    assert not leases(server)


@pytest.mark.parametrize("lose", LOSSES)
def test_recovery_gives_an_uncertain_lease_back(make_process, server, lose):
    """Other processes wait for no longer than recovery takes to look."""
    one, other = begun(make_process()), begun(make_process())
    lose(one)
    one.namespace.journal.settle(one.namespace.journal.noted(["key"]))  # its replay would remove the lease as well
    assert one.namespace.claims
    one.namespace.recovery._attempt()
    assert not leases(server)
    assert not one.namespace.claims
    assert other.load().to(Load).load("loaded").end() == "loaded"


def test_a_lease_that_is_granted_late_is_given_back(make_process, server):
    """Recovery looks again for a lease that wasn't there at first."""
    one = begun(make_process())
    write = one.write("written").to(TakeWriteLocks)
    request = write.request
    write.fail().load(None).end()
    one.namespace.recovery._attempt()
    server.run(request)
    assert leases(server)
    assert one.namespace.claims
    for claim in list(one.namespace.claims._abandoned.values()):
        claim.next_look = 0
    one.namespace.recovery._attempt()
    assert not leases(server)


@pytest.mark.parametrize("ttl", [10_000_000_000, 0])
def test_a_write_that_ends_well_leaves_no_claim(make_process, server, ttl):
    """Its leases went with what it stored, or removed."""
    one = begun(make_process())
    one.write("written", "beside", ttl=ttl).to(Load).load(None).end()
    assert not leases(server)
    assert not one.namespace.claims


def test_a_write_that_was_overtaken_leaves_no_claim(make_process, server):
    """What removes the keys removes their leases."""
    one, other = begun(make_process()), begun(make_process())
    write = one.write("written", "beside").to(Load)
    other.set("elsewhere").end()
    write.load(None).end()
    assert not leases(server)
    assert [key.rpartition(b":")[2] for key in server.values if b":key" in key] == [b"key1"]
    assert not one.namespace.claims
    assert not one.namespace.claims.under_way


ASKING = {
    "write-through": lambda one: one.write("written").to(TakeWriteLocks),
    "load": lambda one: one.load().to(TakeLoadLocks),
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING.keys())
def test_leases_that_were_not_asked_for_are_not_looked_for(make_process, ask):
    """While the circuit breaker is open nothing is sent, and recovery has nothing to give back."""
    one = begun(make_process())
    ask(one).fail(BreakerOpenError("open")).load("by itself").end()
    assert not one.namespace.claims
    one.store.clear()
    ask(one).fail(RemoteUnavailable("the connection was lost")).load("by itself").end()
    assert one.namespace.claims

"""Leases on a real server: taken once, settled where they stand, several in one trip."""

import pytest
import redis

from twotier.remote.commands.base import Fetched, Put, Remove
from twotier.remote.commands.conditional import IfEqual
from twotier.remote.commands.load_locks import PutAbsence, SettleLoadLocks, TakeLoadLocks

NOTHING = Fetched(None, -2)


@pytest.fixture
def places(namespace):
    """Two keys and their leases."""
    return [(f"{namespace}:{key}".encode(), f"{namespace}!{key}".encode()) for key in "ab"]


def put(place, data=b"loaded"):
    """Put a value for a minute."""
    return Put(place, data, 60_000, absent=False, publication=None)


def overtaking(place, lease):
    """Put a value, which ends the lease."""
    return Put(place, b"newer", None, absent=False, publication=None, voids=[lease])


def test_leases_are_taken_once(remote, places):
    """Who comes second is told what stands in the lease's place, and what is there."""
    assert [taken.taken for taken in remote.run(TakeLoadLocks(places, b"mine", 9000))] == [True, True]
    remote.run(put(places[0][0], b"value"))
    one, other = remote.run(TakeLoadLocks(places, b"yours", 9000))
    assert one.fetched.data == b"value"
    assert (one.taken, one.holder.data, other.taken, other.fetched) == (False, b"mine", False, NOTHING)
    assert 0 < other.holder.pttl <= 9000


def test_leases_are_settled_where_they_stand(remote, places):
    """What was voided isn't put, the rest is, and no lease stays."""
    remote.run(TakeLoadLocks(places, b"mine", 9000))
    remote.run(overtaking(*places[0]))
    leases = [lease for _, lease in places]
    assert remote.run(SettleLoadLocks(leases, b"mine", [put(place) for place, _ in places], None)) == [False, True]
    found = remote.run(TakeLoadLocks(places, b"next", 9000))
    assert [(taken.taken, taken.fetched.data) for taken in found] == [(True, b"newer"), (True, b"loaded")]


def test_leases_that_are_nobodys_are_left_alone(remote, places):
    """Where none stands, nothing is done."""
    leases = [lease for _, lease in places]
    assert remote.run(SettleLoadLocks(leases, b"mine", [put(place) for place, _ in places], None)) == [False, False]
    assert [taken.fetched for taken in remote.run(TakeLoadLocks(places, b"next", 9000))] == [NOTHING] * 2


def test_leases_are_given_back(remote, places):
    """Settling for nothing ends the lease and puts nothing."""
    remote.run(TakeLoadLocks(places, b"mine", 9000))
    assert remote.run(SettleLoadLocks([lease for _, lease in places], b"mine", [None, None], None)) == [True, True]
    assert [taken.taken for taken in remote.run(TakeLoadLocks(places, b"next", 9000))] == [True, True]


def test_absence_stands_in_the_leases_place(remote, places):
    """It is seen by who would load, for its time, and goes with the next write."""
    (place, lease), _ = places
    remote.run(TakeLoadLocks(places[:1], b"mine", 9000))
    remote.run(put(place, b"old"))
    absence = PutAbsence(lease, b"absence", 500, removes=(place,))
    assert remote.run(SettleLoadLocks([lease], b"mine", [absence], None)) == [True]
    (taken,) = remote.run(TakeLoadLocks(places[:1], b"next", 9000))
    assert (taken.taken, taken.fetched, taken.holder.data) == (False, NOTHING, b"absence")
    assert 0 < taken.holder.pttl <= 500
    assert remote.run(IfEqual(lease, b"other", put(lease, b"mine"))) is False
    assert remote.run(IfEqual(lease, b"absence", put(lease, b"mine"))) is True


def test_settling_is_told_apart_from_a_change_in_between(remote, server, places, monkeypatch):
    """When a lease ends between look and write, nothing is put, and that is said."""
    remote.run(TakeLoadLocks(places, b"mine", 9000))
    second = SettleLoadLocks.second

    def interrupted(settle, held):
        monkeypatch.setattr(SettleLoadLocks, "second", second)
        client.delete(places[0][1])
        return second(settle, held)

    monkeypatch.setattr(SettleLoadLocks, "second", interrupted)
    settle = SettleLoadLocks([lease for _, lease in places], b"mine", [put(place) for place, _ in places], None)
    with redis.Redis.from_url(server.url) as client:
        assert remote.run(settle) is None
    assert remote.run(settle) == [False, True]


def test_a_removal_is_settled_like_a_put(remote, places):
    """A key whose source has nothing leaves with the lease."""
    (place, lease), _ = places
    remote.run(put(place, b"old"))
    remote.run(TakeLoadLocks(places[:1], b"mine", 9000))
    assert remote.run(SettleLoadLocks([lease], b"mine", [Remove((place,), None)], None)) == [True]
    assert remote.run(TakeLoadLocks(places[:1], b"next", 9000))[0].fetched == NOTHING

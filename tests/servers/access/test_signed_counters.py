"""Where values are signed, a number that somebody plants is none; counters count on, whichever way they began."""

import contextlib
import threading

import pytest
import redis
from loops import Awaited, LoopThread
from waiting import live, wait_for

from twotier import Cache
from twotier.errors import RemoteError, RemoteTimeout
from twotier.remote.commands.base import Put
from twotier.remote.commands.counters import IncrementFrom, WarrantedIncrement

SECRET = "a key of 16 bytes"


@pytest.fixture
def admin(server):
    """Who can write to the server, and has no secret."""
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def make(server, namespace):
    """Makes live caches of one namespace."""
    made = []

    def make(secret=SECRET, **settings):
        cache = Cache(server.url, namespace=namespace, secret=secret, **settings)
        made.append(cache)
        cache.get("nothing")
        wait_for(lambda: live(cache), "the link is live")
        return cache

    yield make
    for cache in made:
        cache._namespace.store.validate()
        cache.close()


@pytest.fixture(params=["Cache", "AsyncCache", "tracking"])
def cache(request, make):
    """A signed cache, through each face; and one that is told by the server."""
    if request.param != "AsyncCache":
        yield make(**({"coherence": "tracking"} if request.param == "tracking" else {}))
        return
    with LoopThread() as loop:
        yield Awaited(make().aio, loop)


@pytest.fixture
def other(make, cache):
    """Another process: it reads the server alone."""
    coherence = (
        "tracking" if isinstance(cache, Cache) and cache._namespace.options.coherence == "tracking" else "pubsub"
    )
    return make(coherence=coherence, local_ttl=0.001)


@pytest.fixture
def place(admin, namespace):
    """Returns the name of a key on the server; `sign` is that of what stands beside it."""

    def place(key, sign=":"):
        return f"{namespace}:{admin.get(f'{namespace}:gen').decode()}{sign}{key}"

    return place


@pytest.mark.parametrize("planted", [b"1", b"0", b"-5"])
def test_a_planted_number_is_a_miss(cache, other, admin, place, planted):
    """It makes no signed False true, on any way to read it."""
    cache.set("is_admin", False)
    admin.set(place("is_admin"), planted)
    assert other.get("is_admin", "missing") == "missing"
    assert other.get_many(["is_admin", "nothing"]) == {}
    assert "is_admin" not in other
    assert other.get_or_set("is_admin", lambda: False) is False
    assert other.stats().corrupt


def test_what_set_stores_is_signed(cache, other, admin, place):
    """Numbers too, by whichever call they come."""
    cache.set("one", 1)
    cache.set_many({"two": 2})
    cache.add("three", 3)
    cache.get_or_set("four", lambda: 4)
    stored = {key: admin.get(place(key)) for key in ("one", "two", "three", "four")}
    assert all(data.startswith(b"\xf2tt\x02") for data in stored.values())
    assert other.get_many(stored) == {"one": 1, "two": 2, "three": 3, "four": 4}
    for key, another in {"one": "two", "two": "three", "three": "four"}.items():
        admin.set(place(key), stored[another])
    other._namespace.bump_epoch()
    assert other.get_many(stored) == {"four": 4}


def test_counters_count(cache, other, admin, place):
    """What incr made is read back, alone and in bulk, and lives as long as it is told to."""
    assert cache.incr("hits") == 1
    assert other.incr("hits", 4) == 5
    assert cache.decr("hits") == 4
    assert other.get("hits") == cache.get("hits") == 4
    cache.set("plain", 7)
    assert other.get_many(["hits", "plain", "nothing"]) == {"hits": 4, "plain": 7}
    assert "hits" in other
    assert admin.get(place("hits")) == b"4"
    assert cache.ttl("hits") == pytest.approx(300, abs=5)
    assert abs(admin.pttl(place("hits")) - admin.pttl(place("hits", "#"))) < 2000


@pytest.mark.parametrize("create", [True, False])
def test_incr_goes_on_after_set(cache, other, admin, place, create):
    """A signed number becomes a counter, whose life stays; it is seen by all, and counts on."""
    cache.set("hits", 10, ttl=100)
    assert other.get("hits") == 10
    assert other.incr("hits", 5, create=create) == 15
    wait_for(lambda: cache.get("hits") == 15, "the other process sees it")
    assert cache.incr("hits", 1, create=create) == 16
    assert other.get("hits") == 16
    assert admin.get(place("hits")) == b"16"
    assert cache.ttl("hits") == pytest.approx(100, abs=5)
    assert 0 < admin.pttl(place("hits", "#")) <= 102_000


def test_incr_goes_on_after_set_without_expiry(cache, other, admin, place):
    """A number without an expiry stays without one, and its warrant too."""
    cache.set("hits", 10, ttl=None)
    assert other.incr("hits") == 11
    assert admin.pttl(place("hits")) == admin.pttl(place("hits", "#")) == -1


def test_set_after_incr_is_signed_again(cache, other, admin, place):
    """Nothing of the counter stays beside what was set, added or deleted."""
    for write in (
        lambda: cache.set("hits", False),
        lambda: cache.set_many({"hits": False}),
        lambda: cache.delete("hits"),
        lambda: cache.invalidate("hits"),
    ):
        cache.incr("hits")
        assert admin.exists(place("hits", "#"))
        write()
        assert not admin.exists(place("hits", "#"))
        admin.set(place("hits"), 1)
        assert other.get("hits") is None
        cache.delete("hits")


def test_add_leaves_a_counter_be(cache, other):
    """Where there is a counter, add puts nothing, and the counter is still one."""
    cache.incr("hits", 3)
    assert cache.add("hits", 9) is False
    assert other.get("hits") == 3


def test_touch_keeps_a_counter(cache, other, admin, place):
    """The number and its warrant get the same life."""
    cache.incr("hits", 3)
    for ttl, low, high in ((1000, 990_000, 1_000_000), (None, -1, -1)):
        assert cache.touch("hits", ttl=ttl)
        for sign in (":", "#"):
            assert low <= admin.pttl(place("hits", sign)) <= high
    assert other.get("hits") == 3


def test_clear_ends_counters(cache, other):
    """After a clear it is a new counter; the old one's warrant is of another generation."""
    cache.incr("hits", 3)
    cache.clear()
    wait_for(lambda: other.get("hits") is None, "the clear is heard")
    assert other.incr("hits") == 1
    assert other.get("hits") == 1


def test_a_warrant_is_of_its_key_and_generation(cache, other, admin, place):
    """A counter's warrant that is copied beside another key's number makes no counter of that."""
    cache.incr("hits")
    warrant = admin.get(place("hits", "#"))
    cache.set("is_admin", False)
    admin.set(place("is_admin"), 1)
    admin.set(place("is_admin", "#"), warrant)
    assert other.get("is_admin") is None
    cache.clear()
    cache.set("hits", "signed")
    wait_for(lambda: other.get("hits") == "signed", "the clear is heard")
    admin.set(place("hits"), 1)
    admin.set(place("hits", "#"), warrant)
    other._namespace.bump_epoch()
    assert other.get("hits") is None


def test_a_lost_or_forged_warrant_is_made_again(cache, other, admin, place):
    """A counter that the server half forgot, or that an older release made, is one again with the next incr."""
    for spoil in (lambda: admin.delete(place("hits", "#")), lambda: admin.set(place("hits", "#"), b"forged")):
        cache.incr("hits")
        admin.pexpire(place("hits"), 50_000)
        spoil()
        assert other.get("hits") is None
        number = cache.incr("hits")
        assert other.get("hits") == number
        assert admin.pttl(place("hits")) <= admin.pttl(place("hits", "#")) <= 52_000


def test_what_is_no_number_is_refused(cache, other):
    """As without a secret: TypeError, and OverflowError past 64 bits; nothing is changed."""
    cache.set("text", "7")
    cache.set("tagged", 7, tags=["t"])
    cache.set("high", 2**63 - 1)
    for create in (True, False):
        for key in ("text", "tagged"):
            for each in (cache, other):
                with pytest.raises(TypeError, match="no integer"):
                    each.incr(key, create=create)
        with pytest.raises(OverflowError, match="64 bits"):
            cache.incr("high", create=create)
    assert [other.get(key) for key in ("text", "tagged", "high")] == ["7", 7, 2**63 - 1]
    cache.incr("hits", 2**63 - 1)
    with pytest.raises(OverflowError, match="64 bits"):
        cache.incr("hits")


def test_what_has_ended_with_its_tag_is_counted_anew(cache, other):
    """A tagged number that is over gives way to a counter that starts from 0."""
    cache.set("hits", 7, tags=["t"])
    cache.invalidate_tag("t")
    assert cache.incr("hits", 2) == 2
    assert other.get("hits") == 2


def test_without_create_a_missing_counter_stays_missing(cache, admin, place):
    """KeyError, and nothing is left behind."""
    with pytest.raises(KeyError):
        cache.incr("hits", create=False)
    assert not admin.exists(place("hits"))


def test_threads_and_processes_lose_no_count(make):
    """Also where they begin with a number that was set: one of them makes the counter, and all are counted."""
    caches = [make() for _ in range(4)]
    for round_ in range(5):
        key = f"hits{round_}"
        caches[0].set(key, 1000)
        start = threading.Barrier(8)

        def count(cache, key=key, start=start):
            start.wait(30)
            for _ in range(10):
                cache.incr(key)

        threads = [threading.Thread(target=count, args=(cache,)) for cache in caches * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert make(local_ttl=0.001).get(key) == 1080


class Between:
    """Does something the moment before the second step of a conversion, or between two trips."""

    def __init__(self, cache, kind, act):
        self._executor, self._run, self._kind, self._act = cache._namespace.executor, None, kind, act

    def __enter__(self):
        self._run = self._executor.run

        def run(command, **settings):
            write = getattr(command, "write", command)
            if self._act is not None and isinstance(write, self._kind):
                act, self._act = self._act, None
                act()
            return self._run(command, **settings)

        self._executor.run = run
        return self

    def __exit__(self, *_):
        del self._executor.run
        assert self._act is None, "the moment never came"


RACES = {
    "set": (lambda other: other.set("hits", 100), 101),
    "incr": (lambda other: other.incr("hits", 100), 111),
    "delete": (lambda other: other.delete("hits"), 1),
    "touch": (lambda other: other.touch("hits", ttl=50), 11),
    "clear": (lambda other: other.clear(), 1),
    "add": (lambda other: (other.delete("hits"), other.add("hits", 5)), 6),
}


@pytest.mark.parametrize(("race", "expected"), RACES.values(), ids=RACES)
@pytest.mark.parametrize("kind", [IncrementFrom, WarrantedIncrement])
def test_races_with_the_first_incr(make, race, expected, kind):
    """Whatever happens just before an incr that begins with a set number takes place first, wholly."""
    cache, other = make(), make()
    if kind is IncrementFrom:
        cache.set("hits", 10)
    else:
        cache.incr("hits", 10)
    with Between(cache, kind, lambda: race(other)):
        assert cache.incr("hits") == expected
    reader = make(local_ttl=0.001)
    assert reader.get("hits") == expected


def test_a_change_between_the_two_steps_of_a_conversion_is_not_lost(make):
    """WATCH sees it: the conversion doesn't take place, and the incr counts on what stands now."""
    cache, other = make(), make()
    cache.set("hits", 10)
    decide = IncrementFrom.decide
    changed = []

    def late(self, replies):
        if not changed:
            changed.append(True)
            other.set("hits", 500)
        return decide(self, replies)

    IncrementFrom.decide = late
    try:
        assert cache.incr("hits") == 501
    finally:
        IncrementFrom.decide = decide
    assert make().get("hits") == 501


def test_a_warrant_that_could_not_be_made_fails_no_incr(make, admin, place):
    """The number has been added up; the next incr makes the warrant."""
    cache = make()
    cache.incr("hits", 5)
    admin.set(place("hits", "#"), b"forged")

    def lose():
        raise RemoteTimeout("lost")

    with contextlib.suppress(RemoteError), Between(cache, Put, lose):
        assert cache.incr("hits") == 6
    assert cache.get("hits") is None
    assert cache.incr("hits") == 7
    assert make().get("hits") == 7


def test_without_a_secret_the_wire_is_as_it_was(make, admin, place):
    """Numbers are raw, and nothing stands beside them."""
    cache = make(None)
    cache.set("one", 1)
    cache.incr("hits")
    assert admin.get(place("one")) == admin.get(place("hits")) == b"1"
    assert not admin.exists(place("hits", "#"), place("one", "#"))

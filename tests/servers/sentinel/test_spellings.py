"""Sentinels that spell one server differently, and look-ups that fail, differ or never end."""

import contextlib
import logging
import threading
import time

import pytest
from fake_sentinel import FakeSentinel
from loops import Awaited
from waiting import PATIENT, live, wait_for

from twotier import Cache, RemoteError, RemoteUnavailable
from twotier.clock import SECOND
from twotier.remote.sentinel import primary_watch
from twotier.remote.sentinel.spellings import KEPT, MOST_AT_ONCE, RENEWED, Spellings
from twotier.remote.sentinel.votes import Place, Vote, Votes
from twotier.testing import EmbeddedSentinels, ManualClock
from twotier.testing.sentinels import SERVICE

PORT = 6379
NAME, ADDRESS, OTHER = Place("db.example", PORT), Place("10.0.0.1", PORT), Place("10.0.0.2", PORT)
SLACK = 2.0
"""Seconds that a busy machine may add to a bound."""


class Resolver:
    """Answers as it is told to: addresses, an error, or None: never. Counts what it was asked."""

    def __init__(self, **hosts):
        self.hosts = {name.replace("_", "."): answer for name, answer in hosts.items()}
        self.asked = []
        self.released = threading.Event()

    def __call__(self, host):
        self.asked.append(host)
        answer = self.hosts[host]
        if answer is None:
            self.released.wait()
            return ()
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def clock():
    """A clock that stands."""
    return ManualClock()


@pytest.fixture
def compare(clock):
    """Makes a `Spellings` on a resolver, and looks places up to the end."""
    resolvers = []

    def compare(resolver, *places):
        woken = threading.Event()
        spellings = Spellings(clock, SECOND, woken.set, resolver)
        resolvers.append(resolver)
        while spellings.look_up(places) and None not in resolver.hosts.values():
            assert woken.wait(10)
            woken.clear()
        return spellings

    yield compare
    for each in resolvers:
        each.released.set()


def test_a_name_is_its_address(compare):
    """Two spellings of one server are the same, in either order; another port or address isn't."""
    spellings = compare(Resolver(db_example=["10.0.0.1", "fd00::1"]), NAME, ADDRESS)
    assert spellings.same(NAME, ADDRESS)
    assert spellings.same(ADDRESS, NAME)
    assert spellings.same(NAME, Place("fd00::1", PORT))
    assert not spellings.same(NAME, OTHER)
    assert not spellings.same(NAME, Place("10.0.0.1", PORT + 1))


@pytest.mark.parametrize(
    ("one", "other"),
    [("::ffff:10.0.0.1", "10.0.0.1"), ("::1", "127.0.0.1"), ("::ffff:127.0.0.1", "::1"), ("fd00::0:1", "FD00::1")],
)
def test_addresses_are_compared_without_a_look_up(compare, one, other):
    """Each address has many spellings, and needs nobody to be asked."""
    resolver = Resolver()
    spellings = compare(resolver, Place(one, PORT), Place(other, PORT))
    assert spellings.same(Place(one, PORT), Place(other, PORT))
    assert not resolver.asked


def test_one_spelling_costs_nothing(compare):
    """The ordinary case asks nobody and starts no thread."""
    resolver = Resolver()
    threads = threading.active_count()
    spellings = compare(resolver, NAME, NAME, NAME)
    assert spellings.same(NAME, NAME)
    assert not resolver.asked
    assert threading.active_count() == threads


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (["10.0.0.1", "10.0.0.2"], "several addresses"),
        ([], "name db.example"),
        (OSError(-2, "Name or service not known"), "can't be looked up: Name or service not known"),
        (UnicodeError("label too long"), "no host name"),
        (None, "hasn't ended"),
    ],
)
def test_what_proves_nothing_is_another_server(compare, answer, says):
    """A name of several servers, or of none, equals its own spelling alone, and the advice says why."""
    spellings = compare(Resolver(db_example=answer), NAME, ADDRESS)
    assert not spellings.same(NAME, ADDRESS)
    assert spellings.same(NAME, NAME)
    advice = spellings.advice([NAME, ADDRESS, NAME])
    assert advice.startswith("they name db.example:6379 and 10.0.0.1:6379")
    assert says in advice
    assert "sentinel resolve-hostnames" in advice
    assert "sentinel announce-hostnames" in advice
    assert spellings.advice([NAME, NAME]) == ""


def test_answers_are_renewed_and_end(compare, clock):
    """A name that has moved is noticed; an answer that can't be renewed doesn't count for ever."""
    resolver = Resolver(db_example=["10.0.0.1"])
    spellings = compare(resolver, NAME, ADDRESS)
    spellings.look_up([NAME, ADDRESS])
    assert len(resolver.asked) == 1
    resolver.hosts["db.example"] = ["10.0.0.2"]
    clock.advance(RENEWED / SECOND)
    wait_for(lambda: not spellings.look_up([NAME, ADDRESS]) and not spellings.same(NAME, ADDRESS), "it has moved")
    assert spellings.same(NAME, OTHER)
    resolver.hosts["db.example"] = None
    clock.advance(KEPT / SECOND)
    assert not spellings.same(NAME, OTHER)


def test_a_look_up_that_never_ends_is_given_up(compare, clock):
    """It is waited for up to its patience, keeps one thread, and leaves other names be."""
    resolver = Resolver(db_example=None, other_example=["10.0.0.1"])
    spellings = compare(resolver, NAME, ADDRESS)
    assert spellings.look_up([NAME, ADDRESS])
    assert spellings.wake_at() == clock.now() + SECOND
    clock.advance(1)
    assert not spellings.look_up([NAME, ADDRESS])
    other = Place("other.example", PORT)
    wait_for(lambda: not spellings.look_up([NAME, ADDRESS, other]) and spellings.same(other, ADDRESS), "it is known")
    assert resolver.asked.count("db.example") == 1


def test_look_ups_at_once_are_bounded(compare):
    """However many names sentinels make up."""
    resolver = Resolver(**{f"h{number}": None for number in range(100)})
    spellings = compare(resolver, *(Place(host, PORT) for host in resolver.hosts))
    assert spellings.look_up([Place(host, PORT) for host in resolver.hosts])
    assert len(spellings._under_way) == MOST_AT_ONCE


def test_votes_count_servers_and_not_spellings(compare):
    """A majority may spell its place in two ways: it is named as most of it do, and agreed on by all of them."""
    votes = Votes(3, compare(Resolver(db_example=["10.0.0.1"]), NAME, ADDRESS).same)
    votes.cast(0, Vote(ADDRESS, 10))
    votes.cast(1, Vote(NAME, 20))
    assert votes.named(30) == ADDRESS
    assert votes.unopposed(30) == ADDRESS
    assert votes.agreed_at(NAME) == votes.agreed_at(ADDRESS) == 10
    votes.cast(2, Vote(NAME, 25))
    assert votes.named(30) == NAME
    assert not votes.contested(ADDRESS, 30)
    votes.cast(0, Vote(OTHER, 28))
    assert votes.named(30) == NAME
    assert votes.contested(NAME, 30)
    assert votes.unopposed(30) is None


def respell(deployment, number, host):
    """Have a sentinel name the primary as `host`."""
    with deployment.sentinels[number].client() as sentinel:
        sentinel.sentinel_remove(SERVICE)
        sentinel.sentinel_monitor(SERVICE, host, deployment.nodes[0].port, 1)


@pytest.fixture(scope="module")
def two_spellings():
    """Two real sentinels, of which one says localhost and the other 127.0.0.1."""
    names = "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n"
    with EmbeddedSentinels(replicas=0, sentinels=2, sentinel_settings=names) as deployment:
        respell(deployment, 0, "localhost")
        yield deployment


def named(deployment):
    """Return how the sentinels name the primary."""
    found = set()
    for each in deployment.sentinels:
        with each.client() as sentinel:
            found.add(sentinel.sentinel_get_master_addr_by_name(SERVICE)[0])
    return found


@pytest.mark.parametrize("protocol", [2, 3])
def test_real_sentinels_that_spell_one_server_differently_name_it(two_spellings, namespace, asyncio, protocol):
    """Localhost and 127.0.0.1 are one primary: eager caches find it, links are live, and stay so."""
    assert named(two_spellings) == {"localhost", "127.0.0.1"}
    settings = {"namespace": namespace, "protocol": protocol, "connect": "eager", **PATIENT}
    with Cache(two_spellings.url, **settings) as one, Cache(two_spellings.url, **settings) as other:
        wait_for(lambda: live(one) and live(other), "the links are live")
        epoch = one.health().epoch
        Awaited(other.aio, asyncio).set("key", 1)
        assert one.get("key") == 1
        other.set("key", 2)
        wait_for(lambda: one.get("key") == 2, "the news has arrived")
        assert one.health().epoch == epoch
        assert one._namespace.topology._watch._term == 1


@pytest.fixture
def lookups(monkeypatch):
    """Sets the resolver of watches that are made from now on."""
    stack = contextlib.ExitStack()

    def replace(resolver):
        stack.callback(resolver.released.set)
        monkeypatch.setattr(primary_watch, "Spellings", lambda *given: Spellings(*given, resolve=resolver))

    with stack:
        yield replace


@pytest.mark.parametrize("answer", [None, OSError("no such host"), ["10.9.9.9"]])
def test_where_a_look_up_does_not_help_nothing_is_held_up_and_the_log_says_what_to_write(
    two_spellings, namespace, lookups, caplog, answer
):
    """A resolver that hangs, fails, or says that they differ: calls keep their deadlines, and one line says why."""
    lookups(Resolver(localhost=answer))
    waits = {"timeout": 0.4, "connect_timeout": 0.45, "namespace": namespace}
    began = time.monotonic()
    with pytest.raises(RemoteUnavailable, match="announce-hostnames"):
        Cache(two_spellings.url, connect="eager", **waits)
    assert time.monotonic() - began < 0.4 + SLACK
    caplog.clear()
    with caplog.at_level(logging.WARNING, "twotier"), Cache(two_spellings.url, coherence="none", **waits) as cache:
        began = time.monotonic()
        cache.set("key", 1)
        assert cache.get("key") == 1
        with contextlib.suppress(RemoteError):
            cache.incr("count")
        assert time.monotonic() - began < 3 * 0.45 + SLACK
        wait_for(lambda: cache.get("other") is None and "announce-hostnames" in caplog.text, "the line is logged")
    lines = [text for text in caplog.messages if "sentinel resolve-hostnames" in text and "given up" not in text]
    assert len(lines) == 1
    assert f"localhost:{two_spellings.nodes[0].port}" in lines[0]
    assert f"127.0.0.1:{two_spellings.nodes[0].port}" in lines[0]


def test_a_primary_in_use_is_told_of_its_spellings_too(own_server, namespace, lookups, caplog):
    """When a sentinel begins to spell it in a way that can't be looked up, the loss of the majority is explained."""
    lookups(Resolver(db_example=OSError("no such host")))
    one, other = (FakeSentinel(("127.0.0.1", own_server.port)) for _ in range(2))
    places = ",".join(each.url.split("//")[1].partition("/")[0] for each in (one, other))
    try:
        with (
            caplog.at_level(logging.WARNING, "twotier"),
            Cache(f"redis+sentinel://{places}/orders", namespace=namespace) as cache,
        ):
            wait_for(lambda: live(cache), "the link is live")
            other.place = ("db.example", own_server.port)
            wait_for(lambda: "no majority" in caplog.text, "the line is logged")
            assert f"127.0.0.1:{own_server.port} and db.example:{own_server.port}" in caplog.text
            cache.set("key", 1)
            assert cache.get("key") == 1
    finally:
        one.close()
        other.close()

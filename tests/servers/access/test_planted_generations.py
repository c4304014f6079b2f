"""Who can write to the server can't choose the generation, nor put an old one back where a newer one has been seen."""

import pytest
import redis
from waiting import live, wait_for

from twotier import Cache
from twotier.clock import NEVER, SECOND, ManualClock
from twotier.core.namespace.generation_names import FIRST, GenerationNames, new_name
from twotier.core.namespace.generations import LONGEST_TRUCE, Generations
from twotier.errors import RemoteError
from twotier.local import Store
from twotier.remote.commands.conditional import IfEqual
from twotier.remote.commands.name_copies import ReadName, RestoreName

SECRET, OTHER = "a key of 16 bytes", "another of 16 bytes"
KEY = SECRET.encode()


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


def forget_local(*caches):
    """Have caches ask the server."""
    for cache in caches:
        cache._namespace.bump_epoch()


@pytest.mark.parametrize("secret", [None, SECRET], ids=["unsigned", "signed"])
def test_a_generation_with_a_colon_makes_no_two_names_one(make, admin, namespace, secret):
    """The value of one key isn't read as another's by way of a generation that holds a part of the key."""
    cache = make(secret)
    cache.set("note:mallory:role:mallory", "admin")
    generation = admin.get(f"{namespace}:gen")
    admin.set(f"{namespace}:gen", generation + b":note:mallory")
    forget_local(cache)
    assert cache.get("role:mallory") is None
    assert b":" not in admin.get(f"{namespace}:gen")
    assert make(secret).get("role:mallory") is None


PLANTED = {
    "empty": b"",
    "unsigned": b"AbCd-_12",
    "short": b"AbCd",
    "long": b"A" * 33,
    "huge": b"A" * 1_000_000,
    "of another namespace": GenerationNames((KEY,), "another").make(after=FIRST),
    "with a line's end": GenerationNames((KEY,), "another").make(after=FIRST)[:31] + b"\n",
    "binary": bytes(range(32)),
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
def test_a_generation_that_is_not_ours_is_replaced(make, admin, namespace, planted):
    """Nothing is written under it, and every process goes on with one that we have signed."""
    one, two = make(), make()
    one.set("key", "before")
    admin.set(f"{namespace}:gen", planted)
    forget_local(one, two)
    one.set("key", "after")
    assert one.get("key") == "after"
    stands = admin.get(f"{namespace}:gen")
    assert GenerationNames((KEY,), namespace).rank(stands) is not None
    assert not admin.keys(namespace.encode() + b":" + planted[:40] + b":*") or planted == b""
    wait_for(lambda: two.get("key") == "after", "the other process goes along")


def test_an_old_generation_does_not_undo_a_clear(make, admin, namespace):
    """A process that has seen the newer one replaces the old one, and what was cleared stays so."""
    one, two = make(), make()
    one.set("key", "secret")
    old = admin.get(f"{namespace}:gen")
    one.clear()
    wait_for(lambda: two.get("key") is None, "the clear is heard")
    admin.set(f"{namespace}:gen", old)
    forget_local(one, two)
    assert two.get("key") is None
    assert admin.get(f"{namespace}:gen") != old
    assert one.get("key") is None


def test_the_maker_of_a_clear_has_seen_it(make, admin, namespace):
    """Also where it has asked for nothing since."""
    cache = make()
    cache.set("key", "secret")
    old = admin.get(f"{namespace}:gen")
    cache.clear()
    admin.set(f"{namespace}:gen", old)
    assert cache.get("key") is None


def test_who_has_seen_no_newer_one_takes_an_old_one_until_another_process_replaces_it(make, admin, namespace):
    """That is what remains: a process that started since, and only while none that knows better is about."""
    knows = make()
    knows.set("key", "secret")
    old = admin.get(f"{namespace}:gen")
    knows.clear()
    knows.get("key")
    admin.set(f"{namespace}:gen", old)
    started_since = make()
    assert started_since.get("key") in ("secret", None)
    wait_for(lambda: knows.get("key") is None and admin.get(f"{namespace}:gen") != old, "it is replaced")
    wait_for(lambda: started_since.get("key") is None, "the clear stands again")


def test_a_wrong_secret_that_only_reads_clears_nothing(make):
    """A process that was given a wrong secret misses; what others wrote stays theirs."""
    right = make()
    right.set("key", "value")
    assert make(OTHER).get("key") is None
    forget_local(right)
    assert right.get("key") == "value"


def test_a_secret_that_was_rotated_out_ends_what_it_signed(make, admin, namespace):
    """Who has both takes what the old one signed; without it, the first write makes a new generation."""
    make(SECRET).set("key", "old")
    both = make([OTHER, SECRET])
    assert both.get("key") == "old"
    new = make(OTHER)
    new.set("key", "new")
    assert GenerationNames((OTHER.encode(),), namespace).rank(admin.get(f"{namespace}:gen")) is not None
    wait_for(lambda: both.get("key") == "new", "who has both goes along")


def test_without_a_secret_signed_generations_are_taken(make, admin, namespace):
    """While a fleet is given a secret, processes without one leave the generation be."""
    make().set("key", "signed")
    signed = admin.get(f"{namespace}:gen")
    unsigned = make(None)
    unsigned.set("other", 1)
    assert unsigned.get("other") == 1
    assert admin.get(f"{namespace}:gen") == signed


# Names


def test_names_are_ordered_whatever_the_clock_says():
    """A name is later than all that its maker has seen, also where its clock is behind, and clocks may be absurd."""
    for now in (0, -5, 10**6, 10**30):
        names = GenerationNames((KEY,), "shop", now=lambda: now)  # noqa: B023 - used in the loop alone
        ranks = [FIRST]
        for _ in range(50):
            ranks.append(names.rank(names.make(after=ranks[-1])))
        assert ranks == sorted(set(ranks))
    latest = GenerationNames((KEY,), "shop", now=lambda: 10**30)
    behind = GenerationNames((KEY,), "shop", now=lambda: 0)
    rank = latest.rank(latest.make(after=FIRST))
    assert behind.rank(behind.make(after=rank)) > rank


def test_every_byte_of_a_name_is_signed():
    """No name that differs by one character is accepted."""
    names = GenerationNames((KEY,), "shop")
    name = names.make(after=FIRST)
    assert len(name) == 32
    for at in range(len(name)):
        other = name[:at] + (b"A" if name[at : at + 1] != b"A" else b"B") + name[at + 1 :]
        assert names.rank(other) is None
    assert names.rank(name + b"=") is None
    assert names.is_of_another_secret(GenerationNames((OTHER.encode(),), "shop").make(after=FIRST))
    assert not names.is_of_another_secret(new_name())


# What flows do


class Fleet:
    """Processes, each with a secret, in front of a server that holds one generation."""

    def __init__(self, *secrets):
        self.clock = ManualClock()
        self.stands = None
        self.replaced = 0
        self.processes = []
        for secret in secrets:
            store = Store(10, clock=self.clock)
            store.renew(NEVER)
            names = GenerationNames((secret,), "shop")
            self.processes.append(Generations("shop", store, self.clock, NEVER, names=names))

    def answer(self, command):
        """Do as the server does."""
        if isinstance(command, ReadName):
            return self.stands
        if isinstance(command, RestoreName):
            self.stands = self.stands or command.candidate
            return self.stands
        assert isinstance(command, IfEqual)
        if command.expected != self.stands:
            return False
        self.stands = command.write.value
        self.replaced += 1
        return True

    def prefix(self, process):
        """Return the prefix that a process is given, asking the server."""
        process._store.bump_epoch()
        flow = process.prefix()
        return self.finish(flow, next(flow))

    def finish(self, flow, command):
        """Answer what a flow asks for; return its result."""
        try:
            while True:
                command = flow.send(self.answer(command))
        except StopIteration as done:
            return done.value


def test_two_secrets_in_one_namespace_clear_it_less_and_less_often():
    """Both are told of it by errors, and an hour sees no more than a clear a minute of each."""
    fleet = Fleet(KEY, OTHER.encode())
    errors = []
    for _ in range(3600):
        for process in fleet.processes:
            try:
                fleet.prefix(process)
            except RemoteError as error:
                errors.append(str(error))
        fleet.clock.advance(1)
    assert errors
    assert all("another secret" in error for error in errors)
    assert fleet.replaced <= 2 * (3600 * SECOND // LONGEST_TRUCE + 7)


def test_a_late_answer_replaces_nothing():
    """One that was read before a clear, and arrives after it, is refused, and what stands is left as it is."""
    fleet = Fleet(KEY)
    (process,) = fleet.processes
    old = fleet.prefix(process)
    process._store.bump_epoch()
    late = process.prefix()
    next(late)
    fleet.stands = GenerationNames((KEY,), "shop").make(after=process._newest[0])
    new = fleet.prefix(process)
    assert fleet.finish(late, late.send(old[5:-1])) == new != old
    assert fleet.replaced == 0


def test_a_server_that_came_back_with_an_older_generation_is_cleared_once():
    """A failover that lost a clear doesn't undo it: of many processes that know better, one replaces, all go along."""
    fleet = Fleet(*[KEY] * 5)
    fleet.prefix(fleet.processes[0])
    old = fleet.stands
    fleet.stands = GenerationNames((KEY,), "shop").make(after=fleet.processes[0]._newest[0])
    lost = [fleet.prefix(process) for process in fleet.processes]
    fleet.stands = old
    found = {fleet.prefix(process) for process in fleet.processes}
    assert len(found) == 1
    assert found.isdisjoint(lost)
    assert fleet.replaced == 1

"""A generation's name that is evicted alone is restored from its copies, and never one that a clear has ended."""

import asyncio
from itertools import product
from multiprocessing import get_context

import pytest
import redis
from private_servers import private_server
from waiting import PATIENT, live, wait_for

from twotier import Cache
from twotier.core.flow.drive import drive
from twotier.remote.commands.name_copies import COPIES

SECRET = "a key of 16 bytes"
NAMES = ("gen", *(f"gen.copy{number}" for number in range(COPIES)))
GONE = list(product([False, True], repeat=len(NAMES)))
"""Of name and copies: which are evicted."""
MODES = [{}, {"secret": SECRET}, {"coherence": "tracking"}, {"coherence": "none"}, {"protocol": 2}]


@pytest.fixture
def client(server):
    """Evict by hand."""
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def make(server, namespace):
    """Return a function that makes a live cache."""
    made = []

    def make(**settings):
        cache = Cache(server.url, namespace=namespace, **PATIENT, **settings)
        made.append(cache)
        wait_for(lambda: live(cache) or cache.health().link == "none", "the link is live")
        return cache

    yield make
    for cache in made:
        cache.close()


@pytest.fixture(params=MODES, ids=str)
def cache(request, make):
    """Return a live cache."""
    return make(**request.param)


def forget(cache):
    """Have the cache ask the server for everything."""
    cache._namespace.store.clear()
    cache._namespace.generations._known[:] = [None]


def keep_copies(cache):
    """Do what is done every `max_staleness`."""
    namespace = cache._namespace
    drive(namespace.generations.keep_copies(), namespace.executor, namespace.background)


def stored(client, namespace):
    """Return the name of the generation and its copies."""
    return client.mget([f"{namespace}:{name}" for name in NAMES])


def evict(client, namespace, *names):
    """Evict some of these."""
    assert client.delete(*(f"{namespace}:{name}" for name in names)) == len(names)


USES = {
    "get": lambda cache: cache.get("key") == 1,
    "get_many": lambda cache: cache.get_many(["key", "other"]) == {"key": 1},
    "set": lambda cache: cache.set("other", 2) is None,
    "set_many": lambda cache: cache.set_many({"other": 2}) is None,
    "add": lambda cache: cache.add("other", 2),
    "delete": lambda cache: not cache.delete("other"),
    "touch": lambda cache: cache.touch("key", 100),
    "incr": lambda cache: cache.incr("count") == 8,
    "get_or_set": lambda cache: cache.get_or_set("key", lambda: 2) == 1,
    "get_or_set_many": lambda cache: cache.get_or_set_many(["other"], lambda keys: dict.fromkeys(keys, 2)),
    "async get": lambda cache: asyncio.run(cache.aio.get("key")) == 1,
    "async incr": lambda cache: asyncio.run(cache.aio.incr("count")) == 8,
    "the look every max_staleness": lambda cache: keep_copies(cache) is None,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("knows", [True, False], ids=["knows the name", "doesn't know the name"])
def test_values_and_counters_outlive_an_eviction_of_the_name(cache, client, namespace, use, knows):
    """Whatever is called next restores the name, and takes place once."""
    cache.set("key", 1, ttl=None)
    assert cache.incr("count", 7) == 7
    before = stored(client, namespace)
    assert before == before[:1] * len(NAMES) != [None] * len(NAMES)
    evict(client, namespace, "gen")
    if not knows:
        forget(cache)
    assert USES[use](cache)
    forget(cache)
    assert cache.get("key") == 1
    assert cache.get("count") == (8 if "incr" in use else 7)
    assert stored(client, namespace)[0] == before[0]


@pytest.mark.parametrize("gone", GONE, ids=str)
def test_any_one_that_is_left_is_enough(make, client, namespace, gone):
    """The name or any copy restores the others; without any of them there is a new generation."""
    cache = make()
    cache.set("key", 1, ttl=None)
    before = stored(client, namespace)
    names = [name for name, lost in zip(NAMES, gone, strict=True) if lost]
    if names:
        evict(client, namespace, *names)
    keep_copies(cache)
    forget(cache)
    assert cache.get("key") == (None if all(gone) else 1)
    assert (stored(client, namespace) == before) is not all(gone)
    assert len({*stored(client, namespace)} - {None}) == 1


def test_one_write_after_an_eviction_takes_place_once(make, client, namespace):
    """An `add` that finds the name gone after it has put its value isn't done again, where it would find that value."""
    cache = make()
    cache.set("key", 1)
    evict(client, namespace, "gen")
    assert cache.add("added", 1)
    evict(client, namespace, "gen")
    assert [cache.incr("count") for _ in range(3)] == [1, 2, 3]
    assert cache.stats().outages == 0


class Source:
    """A source that takes every write."""

    def write(self, items):
        """Take values."""

    def delete(self, keys):
        """Take removals."""


def test_a_write_through_after_an_eviction_keeps_what_it_puts(make, client, namespace):
    """A name that is gone isn't taken for a clear, which would have the value removed again."""
    cache = make(writer=Source())
    cache.set("key", 1)
    evict(client, namespace, "gen")
    cache.set("key", 2)
    forget(cache)
    assert cache.get("key") == 2


@pytest.mark.parametrize("gone", GONE[1:], ids=str)
@pytest.mark.parametrize("when", ["before", "after", "before and after"])
@pytest.mark.parametrize("secret", [None, SECRET])
def test_what_a_clear_has_ended_does_not_come_back(make, client, namespace, gone, when, secret):
    """Whatever is evicted before or after the clear, and whoever looks first."""
    one, other = make(secret=secret), make(secret=secret)
    one.set("key", 1, ttl=None)
    assert other.get("key") == 1
    names = [name for name, lost in zip(NAMES, gone, strict=True) if lost]
    if "before" in when:
        evict(client, namespace, *names)
    one.clear()
    if "after" in when:
        evict(client, namespace, *names)
    wait_for(lambda: other.get("key") is None, "the other has heard of the clear")
    forget(other)
    assert other.get("key") is one.get("key") is None
    one.set("key", 2)
    forget(other)
    assert other.get("key") == 2


def steps_of(flow, run):
    """Take a flow one request at a time; yield before each."""
    try:
        command = next(flow)
        while True:
            yield
            command = flow.send(run(command))
    except StopIteration as end:
        return end.value


@pytest.mark.parametrize("after", range(3))
@pytest.mark.parametrize("evicted_again", [False, True])
@pytest.mark.parametrize("secret", [None, SECRET])
def test_a_clear_at_any_moment_of_a_restoration_wins(make, client, namespace, after, evicted_again, secret):
    """Whoever restores and is overtaken by a clear restores the clear's name, also when that was evicted at once."""
    one, other = make(secret=secret), make(secret=secret)
    one.set("key", 1, ttl=None)
    (old, *_) = stored(client, namespace)
    evict(client, namespace, "gen")
    forget(one)
    restoring = steps_of(one._namespace.generations.prefix(), one._namespace.executor.run)
    taken = 0
    for _ in restoring:
        if taken == after:
            other.clear()
            if evicted_again:
                evict(client, namespace, "gen")
        taken += 1
    assert taken > after or after == 2
    if taken <= after:
        other.clear()
    forget(one)
    assert one.get("key") is None
    new = stored(client, namespace)
    assert old not in new
    assert len({*new}) == 1


def test_a_clear_between_the_two_trips_of_a_restoration_wins(make, client, namespace):
    """The name has been read under WATCH, and the write that depends on it doesn't take place."""
    one, other = make(), make()
    one.set("key", 1, ttl=None)
    (old, *_) = stored(client, namespace)
    evict(client, namespace, "gen")
    restoring = one._namespace.generations._restore((0,))
    request = next(restoring)
    decide = type(request).decide

    def late(self, replies):
        second = decide(self, replies)
        other.clear()
        evict(client, namespace, "gen")
        return second

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(request), "decide", late)
        assert one._namespace.executor.run(request) is None
    restoring.close()
    assert old not in stored(client, namespace)
    forget(one)
    assert one.get("key") is None
    assert old not in stored(client, namespace)


def test_copies_that_differ_restore_nothing(make, client, namespace):
    """No process leaves two names behind; where others do, neither counts."""
    cache = make()
    cache.set("key", 1, ttl=None)
    client.set(f"{namespace}:gen.copy1", b"another-")
    evict(client, namespace, "gen")
    forget(cache)
    assert cache.get("key") is None
    assert len({*stored(client, namespace)}) == 1


def test_the_name_counts_where_copies_differ_from_it(make, client, namespace):
    """A process of the previous release clears by changing the name alone: the next look corrects the copies."""
    cache = make()
    cache.set("key", 1, ttl=None)
    client.set(f"{namespace}:gen", b"cleared-")
    keep_copies(cache)
    assert stored(client, namespace) == [b"cleared-"] * len(NAMES)
    evict(client, namespace, "gen")
    forget(cache)
    assert cache.get("key") is None
    assert stored(client, namespace) == [b"cleared-"] * len(NAMES)


def test_a_copy_older_than_what_is_known_is_not_restored(make, client, namespace):
    """With a secret, names have an order: a process that has seen a later one takes no earlier one from the copies."""
    cache = make(secret=SECRET)
    cache.set("key", 1)
    (old, *_) = stored(client, namespace)
    cache.clear()
    cache.set("other", 1)
    for name in NAMES[1:]:
        client.set(f"{namespace}:{name}", old)
    evict(client, namespace, "gen")
    forget(cache)
    assert cache.get("key") is None
    assert old not in stored(client, namespace)


def test_a_restart_without_data_begins_a_new_generation(make, client, namespace):
    """FLUSHALL takes the copies along, so processes learn that the server has lost everything."""
    cache = make()
    cache.set("key", 1, ttl=None)
    before = stored(client, namespace)
    client.delete(*client.keys(f"{namespace}:*"))
    forget(cache)
    assert cache.get("key") is None
    after = stored(client, namespace)
    assert len({*after}) == 1
    assert after != before


def test_copies_are_kept_without_being_asked_for(server, client, namespace):
    """A process writes evicted copies again, although none of its calls needs them."""
    with Cache(server.url, namespace=namespace, timeout=0.1, max_staleness=0.5) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set("key", 1, ttl=None)
        before = stored(client, namespace)
        for name in NAMES:
            evict(client, namespace, name)
            wait_for(lambda: stored(client, namespace) == before, f"{name} is written again")


def hammer(url, namespace, number, settings, stop, results):
    """Read and write until told to stop; report what was found of what had been written, and the counter."""
    with Cache(url, namespace=namespace, maxsize=1, **PATIENT, **settings) as cache:
        hits = reads = counted = lost = 0
        while not stop.is_set():
            for at in range(20):
                reads += 1
                hits += cache.get(f"key {at}") == at
            cache.set(f"own {number}", reads)
            lost += cache.get(f"own {number}") != reads
            counted += 1
            cache.incr("count")
        results.put((hits, reads, counted, lost))


@pytest.mark.parametrize("settings", [{}, {"secret": SECRET}, {"coherence": "tracking"}], ids=str)
def test_four_processes_lose_nothing_when_the_name_is_deleted_under_load(server, client, namespace, settings):
    """Every entry is found all the time, and every increment counts once."""
    context = get_context("spawn")
    stop, results = context.Event(), context.Queue()
    with Cache(server.url, namespace=namespace, **PATIENT, **settings) as cache:
        cache.set_many({f"key {at}": at for at in range(20)}, ttl=None)
        arguments = [(server.url, namespace, number, settings, stop, results) for number in range(4)]
        workers = [context.Process(target=hammer, args=each) for each in arguments]
        for worker in workers:
            worker.start()
        try:
            wait_for(lambda: (cache.incr("count", 0) or 0) > 20, "the processes are at work")
            start = cache.incr("count", 0)
            before = stored(client, namespace)
            for _ in range(30):
                client.delete(f"{namespace}:gen")
                wait_for(lambda: stored(client, namespace) == before, "the name is restored")
            wait_for(lambda: cache.incr("count", 0) > start + 40, "they have gone on")
        finally:
            stop.set()
            found = [results.get(timeout=60) for _ in workers]
            for worker in workers:
                worker.join(60)
        assert all(hits == reads and not lost for hits, reads, _, lost in found)
        assert cache.incr("count", 0) == sum(counted for _, _, counted, _ in found)
        cache.clear()
        client.delete(f"{namespace}:gen")
        forget(cache)
        assert cache.get_many([f"key {at}" for at in range(20)]) == {}
        assert cache.get("count") is None


def test_a_namespace_outlives_a_server_that_evicts_anything():
    """With `allkeys-random` the name is evicted several times, the generation stays, and a clear ends it for good."""
    with (
        private_server() as server,
        redis.Redis.from_url(server.url) as client,
        Cache(server.url, namespace="evicted", maxsize=10, **PATIENT) as cache,
    ):
        cache.set("key", 1)
        client.config_set("maxmemory-policy", "allkeys-random")
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 8_000_000)
        with client.pipeline(transaction=False) as filling:
            for number in range(8000):
                filling.set(f"first:{number}", "x" * 1000)
            filling.execute()
        keep_copies(cache)
        before = stored(client, "evicted")
        written = 0
        for ends in (False, False, True):
            while stored(client, "evicted")[0] is not None:
                written += 1
                client.set(f"more:{written}", "x" * 1000)
                assert written < 200_000, "the name isn't evicted"
                if None in (found := stored(client, "evicted")) and found[0] is not None:
                    keep_copies(cache)
            if ends:
                cache.clear()
                forget(cache)
                assert cache.get("key") is None
                assert before[0] not in stored(client, "evicted")
            else:
                keep_copies(cache)
                assert stored(client, "evicted")[0] == before[0]
                cache.set("key", 2)
                forget(cache)
                assert cache.get("key") in {2, None}  # None: it was evicted itself
        assert client.info("stats")["evicted_keys"] > 1000

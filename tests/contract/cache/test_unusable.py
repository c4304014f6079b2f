"""Values that can't be used: a miss for every call, and replaced by whichever writes where there is nothing."""

import threading

import pytest
import redis
from unusable import KINDS, SECRET, Lost, check_each_call, spoil
from waiting import wait_for

from twotier import Cache
from twotier.core.tags.conditional_writes import ATTEMPTS, ConditionalWrites


@pytest.fixture
def client(server):
    """A client of the server, past the cache."""
    with redis.Redis.from_url(server.url) as client:
        yield client


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("temperature", ["warm", "cold"])
def test_every_call_takes_it_for_nothing(make, face, client, kind, temperature):
    """What get misses, no other call finds, through either face."""
    cache = make(secret=SECRET, **({} if temperature == "warm" else {"local_ttl": 0.001}))

    def spoiled(key):
        spoil(cache, client, kind, key)
        return key

    check_each_call(face(cache), spoiled)


@pytest.mark.parametrize("mode", ["local-only", "two-tier"])
def test_a_fresh_value_that_cannot_be_rebuilt(make, face, namespace, mode):
    """A value that pickles and doesn't unpickle is missed by all calls, though the local tier has it."""
    with Cache(namespace=namespace, secret=SECRET) if mode == "local-only" else make(secret=SECRET) as cache:
        each = face(cache)

        def fresh(key):
            each.set(key, Lost(1, 2))
            return key

        assert each.get(fresh("get"), "missing") == "missing"
        assert each.get_many([fresh("many")]) == {}
        assert (fresh("in") in each) is False
        assert each.ttl(fresh("ttl")) == 0.0
        assert each.touch(fresh("touch"), 5) is False
        assert each.add(fresh("add"), 1) is True
        assert each.add(fresh("add nothing"), 1, ttl=0) is True
        assert each.incr(fresh("incr")) == 1
        assert each.get_or_set(fresh("load"), lambda: 5) == 5


def test_what_comes_meanwhile_is_not_replaced(make, client, monkeypatch):
    """A value that another writes after the look is there, and one that is deleted then isn't in the way."""
    first, second = make(secret=SECRET, local_ttl=0.001), make(secret=SECRET)
    replace = ConditionalWrites._replace

    def meanwhile(what):
        def replaced(self, key, seen, put_at):
            monkeypatch.setattr(ConditionalWrites, "_replace", replace)
            what()
            return (yield from replace(self, key, seen, put_at))

        monkeypatch.setattr(ConditionalWrites, "_replace", replaced)

    spoil(first, client, "foreign", "a")
    meanwhile(lambda: second.set("a", "theirs"))
    assert first.add("a", "ours") is False
    assert first.get("a") == "theirs"
    spoil(first, client, "foreign", "b")
    meanwhile(lambda: second.delete("b"))
    assert first.add("b", "ours") is True
    assert first.get("b") == "ours"
    spoil(first, client, "foreign", "c")
    meanwhile(lambda: second.set("c", 10))
    assert first.incr("c") == 11
    spoil(first, client, "foreign", "d")
    meanwhile(second.clear)
    assert first.add("d", "ours") is True
    assert second.get("d") == "ours"


def test_of_two_that_replace_at_once_one_adds(make, client):
    """An add that replaces is as exclusive as any."""
    caches = [make(secret=SECRET) for _ in range(4)]
    for number in range(20):
        key = f"key{number}"
        spoil(caches[0], client, "truncated", key)
        gate, won = threading.Barrier(len(caches)), []

        def run(cache, at, key=key, gate=gate, won=won):
            gate.wait()
            if cache.add(key, at):
                won.append(at)

        threads = [threading.Thread(target=run, args=(cache, at)) for at, cache in enumerate(caches)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
        wait_for(lambda key=key, won=won: {cache.get(key) for cache in caches} == set(won), "all have it")


def test_a_key_that_others_spoil_again_and_again(make, client, monkeypatch):
    """A write that is overtaken each time gives up: add tells that it put nothing, and incr raises."""
    cache = make(secret=SECRET)
    replace, tried = ConditionalWrites._replace, []

    def replaced(self, key, seen, put_at):
        tried.append(key)
        spoil(cache, client, "foreign" if len(tried) % 2 else "empty", key)
        return (yield from replace(self, key, seen, put_at))

    monkeypatch.setattr(ConditionalWrites, "_replace", replaced)
    spoil(cache, client, "number", "key")
    assert cache.add("key", 1) is False
    assert len(tried) == ATTEMPTS
    with pytest.raises(Exception, match="written by others"):
        cache.incr("key")


def test_it_is_counted(make, client):
    """Each call that meets one says so in `corrupt`."""
    cache = make(secret=SECRET)
    spoil(cache, client, "truncated", "key")
    calls = [cache.get, cache.ttl, lambda key: cache.touch(key, 5), cache.__contains__, lambda key: cache.add(key, 1)]
    for count, call in enumerate(calls, 1):
        call("key")
        assert cache.stats().corrupt == count

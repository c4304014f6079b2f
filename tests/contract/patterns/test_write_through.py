"""Write-through: the source first, the cache after, and never for long a cache that contradicts its source."""

import contextlib
import random
import threading
import time

import pytest
import redis
from waiting import live, wait_for

from twotier import Cache, ConfigurationError, SerializationError, TwoTierError


class SourceDownError(Exception):
    """The source takes nothing."""


def fail():
    """Refuse."""
    raise SourceDownError


def test_the_source_is_written_first(through, source):
    """While the source is being written the cache still has the old value, afterwards the new one."""
    through.set("key", "old")
    seen = []
    source.before = lambda: seen.append((through.get("key"), source.rows["key"]))
    through.set("key", "new")
    assert seen == [("old", "old")]
    assert through.get("key") == source.rows["key"] == "new"


def test_bulk_writes_reach_the_source_in_one_call(through, source):
    """set_many and delete_many ask the source once."""
    values = {f"key:{number}": number for number in range(1200)}
    through.set_many(values)
    assert through.get_many(values) == values
    assert through.delete_many(values) == len(values)
    assert through.get_many(values) == {}
    assert source.asked == [("write", values), ("delete", list(values))]
    through.set_many({})
    through.delete_many([])
    assert len(source.asked) == 2


def test_delete_reaches_the_source(through, source):
    """A key is deleted at the source and in the cache; the answer is about the cache."""
    through.set("key", 1)
    assert through.delete("key") is True
    assert (source.rows, through.get("key")) == ({}, None)
    assert through.delete("key") is False


@pytest.mark.parametrize(
    "write",
    [
        lambda cache: cache.set("key", "new"),
        lambda cache: cache.set_many({"key": "new", "other": "new"}),
        lambda cache: cache.set("key", "new", ttl=0),
        lambda cache: cache.delete("key"),
        lambda cache: cache.delete_many(["key", "other"]),
    ],
    ids=["set", "set_many", "set without life", "delete", "delete_many"],
)
def test_a_failing_writer_changes_nothing(through, source, write):
    """What the writer raises reaches the caller, both tiers are as they were, and nobody is held up."""
    through.set_many({"key": "old", "other": "old"})
    source.before = fail
    with pytest.raises(SourceDownError):
        write(through)
    assert through.get_many(["key", "other"]) == source.rows == {"key": "old", "other": "old"}
    through.clear()
    start = time.monotonic()
    assert through.get_or_set("key", lambda: "loaded") == "loaded"
    assert through.get("key") == "loaded"
    assert time.monotonic() - start < 5


def test_what_cannot_be_cached_is_not_written(through, source):
    """A value that the codec refuses doesn't reach the source, nor do its companions."""
    with pytest.raises(SerializationError):
        through.set_many({"good": 1, "bad": object()})
    with pytest.raises(TypeError, match="key must be a str"):
        through.set_many({"good": 1, 2: 2})
    with pytest.raises(ValueError, match="ttl must be"):
        through.set("key", 1, ttl=-1)
    assert source.asked == []


def test_without_life_a_value_goes_to_the_source_alone(through, source):
    """A ttl of 0 writes the source and leaves nothing in the cache."""
    through.set("key", 1)
    through.set("key", 2, ttl=0)
    assert (source.rows, through.get("key")) == ({"key": 2}, None)


def test_what_the_cache_decides_is_refused(through, source):
    """Add and incr, which the source can't take part in, say so."""
    through.set("count", 1)
    for call in (lambda: through.add("new", 1), lambda: through.incr("count"), lambda: through.decr("count")):
        with pytest.raises(TwoTierError, match="can't write through"):
            call()
    assert (source.rows, through.get("count"), through.get("new")) == ({"count": 1}, 1, None)


def test_what_only_concerns_the_cache_leaves_the_source_alone(through, source):
    """Loads, new lives and clear don't write."""
    assert through.get_or_set("key", lambda: 1) == 1
    assert through.touch("key", 10)
    assert through.touch("key", 0)
    through.clear()
    assert source.asked == []


def overtaking(cache, source, other, value):
    """Let `other` write the whole of `value` while a write through `cache` is at the source."""
    done = []

    def meanwhile():
        if not done:
            done.append(True)
            other(value)

    source.before = meanwhile
    cache.set("key", "mine")


@pytest.mark.parametrize("late", [False, True], ids=["ours reaches the source last", "theirs does"])
def test_the_later_write_at_the_source_is_never_contradicted(through, source, late):
    """When two writes of a key overlap, the cache has what the source has, or nothing."""
    through.set("key", "old")
    if late:
        write, done = source.write, []

        def then(values):
            write(values)
            if not done:
                done.append(True)
                through.set("key", "theirs")

        source.write = then
        through.set("key", "mine")
    else:
        overtaking(through, source, lambda value: through.set("key", value), "theirs")
    assert source.rows["key"] == ("theirs" if late else "mine")
    assert through.get("key") in (None, source.rows["key"])


@pytest.mark.parametrize("elsewhere", ["set", "set_many", "delete", "plain", "incr", "clear"])
def test_writes_elsewhere_meanwhile_leave_nothing_that_contradicts(make, source, elsewhere):
    """Whatever another process does to the key meanwhile, the cache isn't left with what the source doesn't have."""
    cache, judge = make(writer=source), make(local_ttl=0.001)
    other = make(writer=source) if elsewhere in ("set", "set_many", "delete") else make()
    act = {
        "set": lambda value: other.set("key", value),
        "set_many": lambda value: other.set_many({"key": value}),
        "delete": lambda _: other.delete("key"),
        "plain": lambda value: other.set("key", value),
        "incr": lambda _: other.delete("key") and other.incr("key"),
        "clear": lambda _: (other.clear(), other.get_or_set("key", lambda: "old")),
    }[elsewhere]
    cache.set("key", "old")
    overtaking(cache, source, act, "theirs")
    assert source.rows == {"key": "mine"}
    for reader in (judge, cache, other):
        wait_for(lambda reader=reader: reader.get("key") in (None, "mine"), "nothing contradicts the source")


def test_a_load_that_was_overtaken_is_stored_nowhere(through, source):
    """What was read at the source before a write isn't in the cache after it."""

    def loader():
        through.set("key", "written")
        return "read before"

    assert through.get_or_set("key", loader) == "read before"
    assert through.get("key") in (None, "written")
    assert source.rows == {"key": "written"}


def test_a_load_waits_for_the_write_under_way(make, source):
    """A process that misses a key which another is writing takes what was written, rather than ask the source."""
    one, two = make(writer=source), make(writer=source)
    loads, found = [], []
    reader = threading.Thread(target=lambda: found.append(two.get_or_set("key", lambda: loads.append(1))))

    def begin():
        reader.start()
        wait_for(lambda: two.stats().misses, "the reader has missed")

    source.before = begin
    one.set("key", "written")
    reader.join()
    assert (found, loads) == (["written"], [])


def mixed(cache, source, keys, number):
    """Write, load and delete keys at random."""
    dice = random.Random(number)
    for step in range(60):
        key = dice.choice(keys)
        match dice.randrange(4):
            case 0:
                cache.delete(key)
            case 1:
                cache.get_or_set(key, lambda: source.rows.get(key))  # noqa: B023 - called at once
            case 2:
                cache.set_many({key: (number, step), dice.choice(keys): (number, step)})
            case _:
                cache.set(key, (number, step))


@pytest.mark.parametrize("processes", [0, 2], ids=["local-only", "two-tier"])
def test_many_writers_leave_the_cache_with_what_the_source_has(processes, make, namespace, source):
    """After any mix of overlapping writes, loads and deletes of a few keys, no key contradicts the source."""
    dice = random.Random(7)
    source.before = lambda: time.sleep(dice.random() * 0.002)  # the source's own time
    keys = ["a", "b", "c"]
    with contextlib.ExitStack() as stack:
        caches = [make(writer=source) for _ in range(processes)]
        if not caches:
            caches.append(stack.enter_context(Cache(namespace=namespace, writer=source)))
        work = [(caches[number % len(caches)], source, keys, number) for number in range(6)]
        threads = [threading.Thread(target=mixed, args=arguments) for arguments in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for cache in caches:
            wait_for(
                lambda cache=cache: all(cache.get(key) in (None, source.rows.get(key)) for key in keys),
                "the cache has what the source has",
            )


def test_an_outage_is_no_reason_not_to_write(own_server, namespace, source):
    """While the remote tier is away the source is written, the value served here, and the key made good afterwards."""
    with Cache(own_server.url, namespace=namespace, writer=source) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set("key", "old")
        own_server.kill()
        wait_for(lambda: cache.get("?") is None and cache.health().breaker != "closed", "the outage is noticed")
        cache.set("key", "new")
        cache.set_many({"a": 1, "b": 2})
        cache.delete("b")
        assert source.rows == {"key": "new", "a": 1}
        assert cache.get_many(["key", "a", "b"]) == {"key": "new", "a": 1}
        assert cache.health().journal == 3
        source.before = fail
        with pytest.raises(SourceDownError):
            cache.set("key", "newest")
        assert cache.get("key") == "new"
        own_server.start()
        wait_for(lambda: cache.health().journal == 0 and live(cache), "the journal is replayed")
        with redis.Redis.from_url(own_server.url) as client:
            assert [key for key in client.scan_iter() if b":key" in key] == []


def test_an_interrupted_write_is_taken_for_neither(make, source):
    """When a write is interrupted at the source, nobody knows whether it took place, and the key leaves the cache."""
    cache = make(writer=source)
    cache.set_many({"key": "old", "other": "old"})

    def interrupt():
        raise KeyboardInterrupt

    source.before = interrupt
    with pytest.raises(KeyboardInterrupt):
        cache.set("key", "new")
    with pytest.raises(KeyboardInterrupt):
        cache.delete("other")
    wait_for(lambda: cache.health().journal == 0, "the journal is replayed")
    assert cache.get_many(["key", "other"]) == {}


@pytest.mark.parametrize("writer", [print, object(), dict])
def test_a_writer_has_two_methods(writer):
    """What can't write and delete is refused when the cache is made."""
    with pytest.raises(ConfigurationError, match="writer must be"):
        Cache(writer=writer)


def test_what_is_written_through_can_have_tags(through, source):
    """Values reach the source as ever, and expire in the cache with their tags."""
    through.set("key", [1], tags=["x"])
    through.set_many({"a": 1, "b": 2}, tags=["x", "y"])
    through.set("c", 3)
    assert through.get_many(["key", "a", "b", "c"]) == source.rows == {"key": [1], "a": 1, "b": 2, "c": 3}
    through.invalidate_tag("y")
    assert through.get_many(["key", "a", "b", "c"]) == {"key": [1], "c": 3}
    source.before = lambda: through.invalidate_tag("x")
    through.set("key", [2])
    assert through.get_many(["key", "c"]) == {"key": [2], "c": 3}
    assert source.rows["a"] == 1
    with pytest.raises(ValueError, match="a tag must not be empty"):
        through.set("key", 3, tags=[""])
    assert source.rows["key"] == [2]

"""Write-behind: the cache at once, the source a moment later, in order and at least once."""

import threading
import time
from typing import get_type_hints

import pytest
import redis
from waiting import live, wait_for

from twotier import (
    BacklogFull,
    Cache,
    ConfigurationError,
    RemoteError,
    RemoteUnavailable,
    SerializationError,
    TwoTierError,
    WriteBehind,
    WriteBehindOptions,
)
from twotier.core.write_behind.settings import WriteBehindOptionsDict


class SourceDownError(Exception):
    """The source takes nothing."""


def fail():
    """Refuse."""
    raise SourceDownError("no")


@pytest.fixture(params=["WriteBehind", "AsyncWriteBehind"])
def face(request):
    """Both faces: what these tests say holds for either."""
    return request.param


def test_a_write_is_in_the_cache_at_once_and_at_the_source_after(cache, source, behind):
    """Values, deletes and their order arrive; what was written is read from the cache meanwhile."""
    going = threading.Event()
    source.before = going.wait
    writes = behind(cache)
    writes.set("key", [1])
    writes.set_many({"key": [2], "number": 7, "none": None, "gone": "soon"})
    assert writes.delete("gone") is True
    assert writes.delete("gone") is False
    with pytest.raises(TypeError, match="letters must be an iterable of DeadLetter, got str: 'k'"):
        writes.discard_dead_letters("key")
    assert writes.delete_many(["nothing", "none"]) == 1
    assert cache.get_many(["key", "number", "none", "gone"]) == {"key": [2], "number": 7}
    assert source.rows == {}
    going.set()
    writes.flush(20)
    assert source.rows == {"key": [2], "number": 7}
    stats = writes.stats()
    assert (stats.depth, stats.dead, stats.lag, stats.draining) == (0, 0, 0.0, True)
    assert stats.appended == 9
    assert stats.written + stats.coalesced == 9


def test_a_batch_has_each_key_once_with_its_last_value(cache, source, behind):
    """What waits is coalesced by key, and puts and deletes are handed over apart, no more than batch_size at once."""
    writes = behind(cache, drain=False)
    for value in range(20):
        writes.set("hot", value)
        writes.set(f"key:{value}", value)
    writes.delete("key:3")
    assert writes.stats().depth == 41
    assert not writes.stats().draining
    drainer = behind(cache, batch_size=8)
    drainer.flush(20)
    expected = {"hot": 19} | {f"key:{value}": value for value in range(20) if value != 3}
    assert source.rows == expected
    assert all(len(keys) <= 8 for _, keys in source.asked)
    assert len(source.asked) < 12
    assert drainer.stats().coalesced >= 10


def test_bulk_writes_go_in_transactions_of_five_hundred(cache, source, behind):
    """Large mappings are split, and arrive whole."""
    values = {f"key:{number}": number for number in range(1201)}
    writes = behind(cache)
    writes.set_many(values)
    assert cache.get_many(values) == values
    assert writes.delete_many([f"key:{number}" for number in range(600)]) == 600
    writes.flush(20)
    assert source.rows == {f"key:{number}": number for number in range(600, 1201)}


def test_without_life_a_value_goes_to_the_source_alone(cache, source, behind):
    """A ttl of 0 stores nothing in the cache, and removes what is there."""
    writes = behind(cache)
    writes.set("key", 1)
    writes.set("key", 2, ttl=0)
    assert cache.get("key") is None
    writes.flush(20)
    assert source.rows == {"key": 2}


def test_what_is_written_behind_can_have_tags(cache, source, behind):
    """Values reach the source as ever, stay in the cache when they have, and expire there with their tags."""
    writes = behind(cache, drain=False)
    writes.set("key", [1], tags=["x"])
    writes.set_many({"a": 1, "b": 2}, tags=["x", "y"])
    writes.set("c", 3)
    expected = {"key": [1], "a": 1, "b": 2, "c": 3}
    assert cache.get_many(expected) == expected
    behind(cache).flush(20)
    assert source.rows == expected
    assert cache.get_many(expected) == expected
    cache.invalidate_tag("y")
    assert cache.get_many(expected) == {"key": [1], "c": 3}
    writes.set("key", [2])
    cache.invalidate_tag("x")
    assert cache.get_many(expected) == {"key": [2], "c": 3}
    with pytest.raises(ValueError, match="a tag must not be empty"):
        writes.set("key", 3, tags=[""])


def test_what_cannot_be_cached_is_not_written(cache, source, behind):
    """A value that the codec refuses reaches neither the cache nor the stream, nor do its companions."""
    writes = behind(cache)
    with pytest.raises(SerializationError):
        writes.set_many({"good": 1, "bad": lambda: None})
    with pytest.raises(TypeError, match="key must be a str"):
        writes.set(7, 1)
    with pytest.raises(ValueError, match="ttl must be"):
        writes.set("key", 1, ttl=-1)
    writes.flush(20)
    assert (source.asked, writes.stats().appended) == ([], 0)


def test_a_failing_source_is_asked_again(cache, source, behind):
    """What the source refuses waits, and arrives when it takes it."""
    failures = []

    def before():
        if len(failures) < 5:
            failures.append(True)
            raise SourceDownError

    source.before = before
    writes = behind(cache, max_attempts=10)
    writes.set_many({"a": 1, "b": 2})
    writes.delete("c")
    writes.flush(20)
    assert source.rows == {"a": 1, "b": 2}
    assert writes.stats().retried == 5
    assert writes.stats().dead_lettered == 0


def test_a_full_backlog_holds_writers_back(cache, source, behind):
    """Over max_backlog writers wait, give up with a clear error, and go on when there is room; dead letters count."""
    writes = behind(cache, drain=False, max_backlog=4, max_wait=0.05)
    for number in range(4):
        writes.set(f"key:{number}", number)
    with pytest.raises(BacklogFull, match="4 writes and 0 dead letters wait for the source, and max_backlog is 4"):
        writes.set("over", 1)
    with pytest.raises(BacklogFull):
        writes.delete("key:0")
    assert cache.get("over") is None
    assert cache.get("key:0") == 0
    patient = behind(cache, drain=False, max_backlog=4, max_wait=20.0)
    patient._calls.queue._depth = 4
    waiting = threading.Thread(target=patient.set, args=("over", 1))
    waiting.start()
    source.before = lambda: time.sleep(0.01)
    behind(cache).flush(20)
    waiting.join()
    patient.flush(20)
    assert source.rows["over"] == 1


def test_more_than_the_backlog_takes_goes_bit_by_bit(cache, source, behind):
    """A mapping larger than max_backlog waits for its own beginning to be drained."""
    writes = behind(cache, max_backlog=10, max_wait=20.0)
    values = {f"key:{number}": number for number in range(105)}
    writes.set_many(values)
    writes.flush(20)
    assert source.rows == values


def test_a_clear_loses_no_write(cache, source, behind, make, settings):
    """What waits for the source is written after the namespace was cleared; what was loaded meanwhile isn't kept."""
    writes = behind(cache, drain=False)
    writes.set_many({"key": "new", "other": "new"})
    writes.delete("gone")
    cache.clear()
    source.rows.update(key="old", gone="old")
    assert cache.get_or_set("key", lambda: source.rows["key"]) == "old"
    assert cache.get_or_set("gone", lambda: source.rows["gone"]) == "old"
    writes.set("later", 1)
    behind(cache).flush(20)
    assert source.rows == {"key": "new", "other": "new", "later": 1}
    reader = make(**{"local_ttl": 0.001, **settings})
    assert reader.get_many(["key", "gone", "later"]) == {"later": 1}
    wait_for(lambda: cache.get_many(["key", "gone", "later"]) == {"later": 1}, "the source's values are gone")


def test_what_was_loaded_from_a_source_that_lags_leaves(server, namespace, source, behind):
    """A load that reads the source before a write has reached it isn't in the cache after it has."""
    with Cache(server.url, namespace=namespace, timeout=2.0, max_staleness=8.0, load_lease=0.05) as cache:
        wait_for(lambda: live(cache), "the link is live")
        writes = behind(cache, drain=False)
        source.rows.update(a="old", b="old", c="old")
        writes.set("a", "new", ttl=0.05)
        writes.set("b", "new")
        writes.delete("c")
        wait_for(lambda: cache.get("a") is None, "it has expired in the cache")

        def loaded(key):
            return cache.get_or_set(key, lambda: source.rows[key])

        wait_for(lambda: loaded("a") == "old" and cache.get("a") == "old", "the old value is in the cache")
        wait_for(lambda: loaded("c") == "old" and cache.get("c") == "old", "the old value is in the cache")
        assert cache.get("b") == "new"
        hits = cache.stats().local_hits
        behind(cache).flush(20)
        assert source.rows == {"a": "new", "b": "new"}
        wait_for(lambda: cache.get("a") is None and cache.get("c") is None, "the old values have left")
        assert cache.get("b") == "new"
        assert cache.stats().local_hits > hits


def test_a_load_that_ends_after_the_source_was_written_is_not_stored(make, source, behind):
    """What a load has read before a write reached the source doesn't get into the cache afterwards."""
    cache = make(load_lease=0.05)
    source.rows["key"] = "old"
    behind(cache, drain=False).delete("key")
    loads = []

    def loader():
        loads.append(1)
        value = source.rows.get("key")
        behind(cache).flush(20)
        return value

    time.sleep(0.1)  # the delete's own lease is over: the load has one of its own
    assert cache.get_or_set("key", loader) == "old"
    assert (cache.get("key"), source.rows, loads) == (None, {}, [1])


def test_loads_wait_for_the_source(make, source, behind):
    """A key that was deleted isn't loaded again before the source has heard of it."""
    cache = make()
    source.rows["key"] = "old"
    writes = behind(cache)
    source.before = lambda: time.sleep(0.05)
    writes.delete("key")
    assert cache.get_or_set("key", lambda: source.rows.get("key")) is None


def test_flush_says_when_it_was_not_in_time(cache, source, behind):
    """Without a drainer flush raises TimeoutError; with one elsewhere it returns, and waits for no later write."""
    writes = behind(cache, drain=False)
    writes.flush(0)
    writes.set("key", 1)
    with pytest.raises(TimeoutError, match="1 writes were not at the source"):
        writes.flush(0.02)
    with pytest.raises(ValueError, match="timeout must be"):
        writes.flush(-1)
    source.before = lambda: writes.set("again", 1) if len(source.asked) < 50 else None
    behind(cache)
    writes.flush(20)
    assert source.rows["key"] == 1


def test_a_server_that_is_away_takes_no_writes(own_server, namespace, source, behind, caplog):
    """Writes raise while it is away, change nothing here, and go on when it is back, empty."""
    with Cache(own_server.url, namespace=namespace) as cache:
        wait_for(lambda: live(cache), "the link is live")
        writes = behind(cache, drain_lease=1.0)
        writes.set("key", "old")
        writes.flush(20)
        own_server.kill()
        wait_for(lambda: cache.get("?") is None and cache.health().breaker == "open", "the outage is noticed")
        for call in (lambda: writes.set("key", "new"), lambda: writes.delete("key"), writes.flush):
            with pytest.raises(RemoteUnavailable):
                call()
        with pytest.raises(RemoteError):
            writes.dead_letters()
        assert cache.get("key") == "old"
        stats = writes.stats()
        assert (stats.depth, stats.dead, stats.lag) == (None, None, None)
        own_server.start()
        wait_for(lambda: live(cache) and cache.health().breaker == "closed", "the server is back")
        writes.set("key", "new")
        writes.flush(20)
        assert source.rows == {"key": "new"}
    assert "draining failed" not in caplog.text


def test_writes_that_notice_an_outage_take_nothing_from_it(own_server, namespace, behind):
    """What raises before the outage is known leaves the copies that reads are to be served in it."""
    with Cache(own_server.url, namespace=namespace) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set_many({"a": "old", "b": "old"})
        writes = behind(cache, drain=False)
        own_server.kill()
        for call in (lambda: writes.set("a", "new"), lambda: writes.delete("b")):
            with pytest.raises(RemoteError):
                call()
        assert cache.health().breaker == "closed"
        wait_for(lambda: cache.get("?") is None and cache.health().breaker == "open", "the outage is noticed")
        assert cache.get_many(["a", "b"]) == {"a": "old", "b": "old"}


def test_a_write_that_is_refused_leaves_nothing_behind(make, source, behind, server, namespace):
    """Where the stream can't be appended to, the write raises and the cache doesn't keep the value."""
    cache = make()
    writes = behind(cache, drain=False)
    with redis.Redis.from_url(server.url) as client:
        client.set(f"{namespace}:wb", "not a stream")
        with pytest.raises(RemoteError):
            writes.set("key", 1)
        wait_for(lambda: cache.health().journal == 0, "the journal is replayed")
        assert cache.get("key") is None
        client.delete(f"{namespace}:wb")
    writes.set("key", 2)
    behind(cache).flush(20)
    assert source.rows == {"key": 2}


def test_what_write_behind_cannot_do_is_said(make, source, server, behind):
    """Wrong arguments, and caches without a stream or with a writer of their own, are refused by name."""
    with Cache() as local, pytest.raises(ConfigurationError, match="cache must have a remote tier"):
        WriteBehind(local, source)
    cache = make()
    with pytest.raises(ConfigurationError, match="cache must have no writer of its own"):
        WriteBehind(make(writer=source), source)
    with pytest.raises(ConfigurationError, match="writer must be an object"):
        WriteBehind(cache, print)
    with pytest.raises(TypeError, match=r"cache must be a twotier\.Cache, got str"):
        WriteBehind(server.url, source)
    for name, given in (("batch_size", 0), ("max_wait", -1), ("drain_lease", "long"), ("drain", 1)):
        with pytest.raises(ConfigurationError, match=f"{name} must be"):
            WriteBehind(cache, source, **{name: given})
    with pytest.raises(TypeError, match="either options or keyword settings"):
        WriteBehind(cache, source, WriteBehindOptions(), batch_size=1)
    with pytest.raises(TypeError, match="options must be a WriteBehindOptions, got dict"):
        WriteBehind(cache, source, {"batch_size": 1})
    writes = behind(cache)
    with pytest.raises(ValueError, match="count must be"):
        writes.dead_letters(0)
    writes.close()
    writes.close()
    with pytest.raises(TwoTierError, match="closed"):
        writes.set("key", 1)
    assert "WriteBehind of" in repr(getattr(writes, "_cache", writes))


def test_the_keyword_form_of_the_options_is_the_options():
    """`WriteBehindOptionsDict` has the fields and the types of `WriteBehindOptions`."""
    assert get_type_hints(WriteBehindOptionsDict) == get_type_hints(WriteBehindOptions)

"""Writes that are too large for a slow network: each way to write leaves a line in the log."""

import contextlib
import logging
import os

import pytest
from fake_source import FakeSource
from loops import Awaited
from waiting import live, wait_for

from twotier import Cache, RemoteTimeout, WriteBehind
from twotier.clock import ManualClock
from twotier.core.access.failed_writes import note_failed_write
from twotier.remote.io.channel import SLOWEST
from twotier.testing import FaultProxy

VALUE = os.urandom(8 << 20)
"""More than any buffer on the way takes."""


def write_behind(cache):
    """Write a value through the stream, which raises."""
    with (
        WriteBehind(cache, FakeSource(), trust_server=True, drain=False) as behind,
        pytest.raises(RemoteTimeout),
    ):
        behind.set("key", VALUE)


WAYS = {
    "set": lambda cache: cache.set("key", VALUE),
    "add": lambda cache: cache.add("key", VALUE),
    "set_many": lambda cache: cache.set_many({"key": VALUE}),
    "get_or_set": lambda cache: cache.get_or_set("key", lambda: VALUE),
    "get_or_set_many": lambda cache: cache.get_or_set_many(["key"], lambda keys: dict.fromkeys(keys, VALUE)),
}


@pytest.fixture
def slow(server, namespace):
    """Makes caches behind a network that is made slow once they are live."""
    with contextlib.ExitStack() as stack:

        def make(**settings):
            proxy = stack.enter_context(FaultProxy(server.tcp_url))
            cache = stack.enter_context(
                Cache(proxy.url, namespace=namespace, timeout=0.4, max_staleness=8.0, on_outage="miss", **settings)
            )
            wait_for(lambda: live(cache), "the link is live")
            proxy.data.bandwidth = SLOWEST // 8
            return cache

        yield make


def lines_of(caplog, cache):
    """Return what was logged of the cache's namespace."""
    name = f"namespace {cache.options.namespace} on {cache._namespace.label}: a write (values: 1, bytes: "
    return [text for text in map(logging.LogRecord.getMessage, caplog.records) if text.startswith(name)]


@pytest.mark.parametrize("way", WAYS)
def test_a_write_that_is_given_up_is_logged(slow, caplog, way):
    """With namespace, server and size; without its key or value."""
    cache = slow()
    WAYS[way](cache)
    (line,) = lines_of(caplog, cache)
    assert "was given up, and may still take place" in line
    assert "key" not in line
    assert len(line) < 500


def test_a_write_through_an_asynchronous_face_is_logged_too(slow, caplog, asyncio):
    """As one through the other."""
    cache = slow()
    Awaited(cache.aio, asyncio).set("key", VALUE)
    assert len(lines_of(caplog, cache)) == 1


def test_a_write_through_is_logged_too(slow, caplog):
    """The source has the value, and the cache hasn't."""
    source = FakeSource()
    cache = slow(writer=source)
    cache.set("key", VALUE)
    assert source.rows == {"key": VALUE}
    assert len(lines_of(caplog, cache)) == 1


def test_a_write_behind_is_logged_too(slow, caplog):
    """Beside what it raises."""
    cache = slow()
    write_behind(cache)
    assert len(lines_of(caplog, cache)) == 1


def test_a_line_a_minute(server, namespace, caplog):
    """The others are counted into the next."""
    clock = ManualClock()
    with Cache(server.url, namespace=namespace, clock=clock, coherence="none") as cache:
        for seconds in (0, 59, 1):
            clock.advance(seconds)
            note_failed_write(cache._namespace, RemoteTimeout("the reason"), [b"four"])
        first, second = lines_of(caplog, cache)
    assert first.endswith("bytes: 4) was given up, and may still take place: the reason")
    assert second.endswith("(and 1 like it since the last line)")


def test_an_open_breaker_is_not_logged_again(own_server, namespace, caplog):
    """A write that wasn't begun is no write that was given up."""
    with Cache(own_server.url, namespace=namespace) as cache:
        wait_for(lambda: live(cache), "the link is live")
        own_server.kill()
        wait_for(lambda: cache.get("?") is None and cache.health().breaker == "open", "the outage is noticed")
        cache.set("key", 1)
        cache.set_many({"key": 1})
        cache.delete("key")
        assert cache.stats().remote_errors >= 3
        assert not [record for record in caplog.records if "given up" in record.getMessage()]

"""A server that answers with what it likes: calls say that it isn't usable, and say nothing else."""

import logging
import time

import pytest
from loops import LoopThread
from wires import UNFIT, always

from twotier import AsyncCache, Cache
from twotier.errors import RemoteError


@pytest.mark.parametrize("wire", UNFIT.values(), ids=UNFIT)
def test_whatever_is_answered_reads_are_misses_and_counters_are_refused(scripted, wire, caplog):
    """No reply makes a read raise, or a write anything but a RemoteError; nor does any reach the log as it is."""
    server = scripted(always(wire))
    with caplog.at_level(logging.DEBUG, "twotier"), Cache(server.url, namespace="t") as cache:
        for _ in range(2):
            assert cache.get("key", "none") == "none"
            assert cache.get_many(["a", "b"]) == {}
            assert "key" not in cache
            cache.set("key", 1, ttl=5)
            cache.delete("key")
            with pytest.raises(RemoteError):
                cache.incr("count")
        assert cache.get_or_set("loaded", lambda: "loaded") == "loaded"
        cache.health()
    for record in caplog.records:
        assert not record.exc_info
        assert record.getMessage().isprintable()
        assert len(record.getMessage()) < 500


@pytest.mark.parametrize("wire", UNFIT.values(), ids=UNFIT)
def test_whatever_is_answered_to_tasks(scripted, wire):
    """The same for a loop's tasks."""
    server = scripted(always(wire))

    async def calls():
        async with AsyncCache(server.url, namespace="t") as cache:
            assert await cache.get("key", "none") == "none"
            assert await cache.get_many(["a", "b"]) == {}
            with pytest.raises(RemoteError):
                await cache.incr("count")

    with LoopThread() as loop:
        loop.run(calls())


def test_what_never_ends_ends_with_the_deadline(scripted):
    """Pushes that come for ever, each of them whole and in time, end the call."""

    def drip(_, connection):
        while True:
            connection.sendall(b">1\r\n+x\r\n" * 1000)
            time.sleep(0.001)

    server = scripted(drip)
    with Cache(server.url, namespace="t", timeout=0.3) as cache:
        begun = time.monotonic()
        assert cache.get("key") is None
        assert time.monotonic() - begun < 10

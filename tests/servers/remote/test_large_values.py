"""Large values over slow networks: what takes its time isn't an outage, and what has fallen silent is."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from waiting import wait_for

from twotier.errors import RemoteTimeout
from twotier.remote.commands.base import Fetch, Publication, Put
from twotier.remote.execute.round_trip import SlowTrip
from twotier.remote.io.channel import SLOWEST
from twotier.testing import FaultProxy

MIB = 1 << 20
SHORT = {"timeout": 0.25, "max_staleness": 2}
PUBLICATION = Publication(b"channel", b"payload")


@pytest.fixture
def proxy(server):
    """A network between us and the server."""
    with FaultProxy(server.tcp_url) as between:
        yield between


def put(remote, key, size):
    """Put `size` bytes under `key`."""
    return remote.run(Put(key, bytes(size), 60_000, False, PUBLICATION))


def test_large_values_at_ten_megabytes_a_second(proxy, remotes, server, namespace):
    """Three of 5 MiB at once take more than one timeout each; they arrive, small ones beside them, all is well."""
    key = namespace.encode()
    put(remotes(server.url), key, 5 * MIB)
    remote = remotes(proxy.url, **SHORT)
    proxy.data.bandwidth = 10_000_000
    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        large = [threads.submit(remote.run, Fetch(key)) for _ in range(3)]
        while not all(each.done() for each in large):
            assert remote.run(Fetch(b"nothing")).data is None
        assert [len(each.result().data) for each in large] == [5 * MIB] * 3
    assert time.monotonic() - began > 2 * SHORT["timeout"]
    assert remote.breaker.state == "closed"


def test_a_large_value_is_stored_at_thirty_megabytes_a_second(proxy, remotes, server, namespace):
    """12 MB take longer than the timeout, too."""
    key = namespace.encode()
    remote = remotes(proxy.url, **SHORT)
    proxy.data.bandwidth = 30_000_000
    put(remote, key, 12_000_000)
    assert len(remotes(server.url).run(Fetch(key)).data) == 12_000_000
    assert remote.breaker.state == "closed"


def test_silence_in_the_middle_of_a_large_value(proxy, remotes, server, namespace):
    """It costs one timeout, not the time that the size would allow, and counts as an outage."""
    key = namespace.encode()
    put(remotes(server.url), key, 16 * MIB)
    remote = remotes(proxy.url, **SHORT)
    remote.run(Fetch(b"nothing"))
    for _ in range(3):
        proxy.data.bandwidth, proxy.data.silent = 10_000_000, frozenset()
        silenced = []

        def silence(noted=silenced):
            proxy.data.silent = {"to_client"}
            noted.append(time.monotonic())

        timer = threading.Timer(0.4, silence)
        timer.start()
        with pytest.raises(RemoteTimeout, match="answer within"):
            remote.run(Fetch(key))
        timer.join()
        assert time.monotonic() - silenced[0] < 4  # on a busy machine; the size would allow eight seconds
    assert remote.breaker.state == "open"


def test_silence_while_a_large_value_is_sent(proxy, remotes, namespace):
    """A network that swallows what is sent is noticed, although the size would allow sixteen seconds."""
    remote = remotes(proxy.url, **SHORT)
    remote.run(Fetch(b"nothing"))
    proxy.data.silent = {"to_server", "to_client"}
    for _ in range(3):
        began = time.monotonic()
        with pytest.raises(RemoteTimeout):
            put(remote, namespace.encode(), 32_000_000)
        assert time.monotonic() - began < 6
    assert remote.breaker.state == "open"


def test_what_is_slower_than_the_slowest_is_given_up(proxy, remotes, server, namespace, caplog):
    """Its time is bounded by its size, it is told of in the log, and the breaker hears nothing of it."""
    key = namespace.encode()
    put(remotes(server.url), key, 16 * MIB)
    remote = remotes(proxy.url, **SHORT)
    remote.run(Fetch(b"nothing"))
    proxy.data.bandwidth = SLOWEST // 3
    with caplog.at_level(logging.ERROR, "twotier"):
        for _ in range(4):
            began = time.monotonic()
            with pytest.raises(SlowTrip, match="slower than 2 MiB a second"):
                remote.run(Fetch(key))
            assert time.monotonic() - began < 6  # not the 24 seconds that it would take
    assert remote.breaker.state == "closed"
    assert len(caplog.records) == 1


def test_small_calls_beside_a_large_one_are_no_outage(proxy, remotes, server, namespace):
    """What isn't answered while a large answer arrives elsewhere has waited for the network."""
    key = namespace.encode()
    put(remotes(server.url), key, 16 * MIB)
    remote = remotes(proxy.url, **SHORT)
    remote.run(Fetch(b"nothing"))
    proxy.data.bandwidth = 8_000_000
    with ThreadPoolExecutor(1) as threads:
        large = threads.submit(remote.run, Fetch(key))
        wait_for(lambda: any(channel.received > MIB for channel in remote.pool.lent()), "it is under way")
        began = time.monotonic()
        wait_for(lambda: remote.edge.heard_since(began), "a part of it has come")
        assert len(large.result().data) == 16 * MIB

"""Writes that take place after their call has given up: they overtake nothing (DESIGN step 4)."""

import contextlib
import os
import signal
from urllib.parse import urlsplit

import pytest
import redis
from loops import Awaited
from waiting import PATIENT, live, wait_for

from twotier import Cache, RemoteError
from twotier.testing import FaultProxy

HELD_UP = 1.6
"""Seconds that a request is under way: far more than the deadline."""


@pytest.fixture(params=["Cache", "AsyncCache"])
def called(request):
    """What a cache is called through."""
    if request.param == "Cache":
        return lambda cache: cache
    loop = request.getfixturevalue("asyncio")
    return lambda cache: Awaited(cache.aio, loop)


HURRIED = {"timeout": 0.4, "max_staleness": 8.0}
"""Options of the cache whose write is late."""


@contextlib.contextmanager
def on_server(server, namespace, **settings):
    """Yield a cache behind a proxy, the proxies, and a cache beside it; the first has a short deadline."""
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(server.url))
        one = stack.enter_context(Cache(proxy.url, namespace=namespace, **HURRIED, **settings))
        other = stack.enter_context(Cache(server.url, namespace=namespace, **PATIENT, **settings))
        wait_for(lambda: live(one) and live(other), "both are live")
        yield one, [proxy], other


@contextlib.contextmanager
def on_cluster(cluster, namespace, **settings):
    """Yield the same on a cluster, with a proxy before each node."""
    with contextlib.ExitStack() as stack:
        proxies = {
            server.port: stack.enter_context(FaultProxy(f"redis://127.0.0.1:{server.port}"))
            for server in cluster.servers
        }
        behind = {("127.0.0.1", port): ("127.0.0.1", urlsplit(proxy.url).port) for port, proxy in proxies.items()}
        host, port = next(iter(behind.values()))
        client = stack.enter_context(redis.RedisCluster(host, port, address_remap=lambda where: behind[where]))
        other = stack.enter_context(Cache(cluster.url, namespace=namespace, **PATIENT, **settings))
        wait_for(lambda: live(other), "the generations exist, so that none that is made clears the other cache")
        one = stack.enter_context(Cache(client, namespace=namespace, **HURRIED, **settings))
        wait_for(lambda: live(one), "both are live")
        yield one, list(proxies.values()), other


DEPLOYED = {
    "RESP3": lambda request, namespace, **settings: on_server(request.getfixturevalue("server"), namespace, **settings),
    "RESP2": lambda request, namespace, **settings: on_server(
        request.getfixturevalue("server"), namespace, protocol=2, **settings
    ),
    "tracking": lambda request, namespace, **settings: on_server(
        request.getfixturevalue("server"), namespace, coherence="tracking", **settings
    ),
    "cluster": lambda request, namespace, **settings: on_cluster(
        request.getfixturevalue("cluster"), namespace, **settings
    ),
}
"""How two caches hear of each other."""


@pytest.fixture(params=list(DEPLOYED))
def pair(request, namespace):
    """A cache behind proxies, these, and a cache beside it, in each deployment."""
    with DEPLOYED[request.param](request, namespace) as caches:
        yield caches


@pytest.fixture(params=["RESP3", "RESP2"])
def published(request, namespace):
    """The same where messages tell of writes."""
    with DEPLOYED[request.param](request, namespace) as caches:
        yield caches


def ready(cache):
    """Return True if a write asks for nothing first: the link is live, and generations are known for a while."""
    epoch = cache._namespace.store.epoch
    return live(cache) and cache.get_many(["key", "another"]) is not None and epoch == cache._namespace.store.epoch


def hold_up(cache, proxies, write):
    """Have a request of `write` be under way for long; the call gives up."""
    wait_for(lambda: ready(cache), "nothing has to be asked before the write")
    for proxy in proxies:
        proxy.data.latency = HELD_UP
    with contextlib.suppress(RemoteError):
        write()
    for proxy in proxies:
        proxy.data.latency = 0.0
    assert cache._namespace.late


FIRST = {
    "set": lambda cache: cache.set("key", ["early"]),
    "set_many": lambda cache: cache.set_many({"key": ["early"], "another": ["early"]}),
    "add": lambda cache: cache.add("key", ["early"]),
    "integer": lambda cache: cache.set("key", 7),
}
SECOND = {
    "set": (lambda cache: cache.set("key", ["later"]), ["later"]),
    "set_many": (lambda cache: cache.set_many({"key": ["later"], "another": ["later"]}), ["later"]),
    "delete": (lambda cache: cache.delete("key"), None),
    "touch": (lambda cache: cache.touch("key"), None),
    "add": (lambda cache: cache.add("key", ["later"]), ["later"]),
    "invalidate_many": (lambda cache: cache.invalidate_many(["key", "another"]), None),
}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("set", "set"),
        ("set", "set_many"),
        ("set", "delete"),
        ("set", "touch"),
        ("set", "add"),
        ("set_many", "set"),
        ("set_many", "invalidate_many"),
        ("add", "delete"),
        ("integer", "set"),
        ("integer", "delete"),
    ],
)
def test_a_late_write_does_not_stand(pair, called, first, second):
    """Its writer undoes it: once all is quiet nobody is given the earlier value, and the writer never is."""
    one, proxies, other = pair
    face = called(one)
    hold_up(one, proxies, lambda: FIRST[first](face))
    write, later = SECOND[second]
    write(face)
    wait_for(lambda: not one.health().journal, "nothing is in doubt")
    seen = []

    def undone():
        seen.append(one.get("key"))
        return one.stats().late_writes > 0

    wait_for(undone, "the late write has been undone")
    wait_for(lambda: not one.health().journal, "nothing is in doubt")
    wait_for(lambda: other.get("key") is None and one.get("key") is None, "the key is to be loaded again")
    if first != "integer":
        assert [value for value in seen if value not in (later, None)] == []
    one.set("key", ["at last"])
    wait_for(lambda: other.get("key") == ["at last"] == one.get("key"), "all is as before")


def test_a_late_increment_is_undone_where_the_counter_was_set_meanwhile(published):
    """Added to what was set later it would be wrong; without that it counts."""
    one, proxies, other = published
    one.set("reset", 5)
    one.set("going", 5)
    hold_up(one, proxies, lambda: one.incr("reset"))
    one.set("reset", 10)
    wait_for(lambda: one.stats().late_writes == 1, "the late increment has been undone")
    wait_for(lambda: other.get("reset") is None, "the counter begins again")
    hold_up(one, proxies, lambda: one.incr("going"))
    assert one.incr("going") == 6
    wait_for(lambda: other.get("going") == 7, "both count")
    assert one.stats().late_writes == 1


def test_what_others_wrote_after_a_replay_is_not_overtaken(pair):
    """A write that was made good already, and takes place later all the same, is undone too."""
    one, proxies, other = pair
    hold_up(one, proxies, lambda: one.set("key", ["early"]))
    wait_for(lambda: not one.health().journal, "it was replayed")
    other.set("key", ["another's"])
    wait_for(lambda: one.stats().late_writes == 1, "the late write has been undone")
    wait_for(lambda: one.get("key") is None and other.get("key") is None, "it stands nowhere")


def test_an_own_late_write_is_known_as_ones_own(own_server, namespace):
    """With replay="set" it stays where it took place while the server was paused, whatever was heard of it."""
    settings = {"namespace": namespace, "replay": "set"}
    with Cache(own_server.url, **settings) as one, Cache(own_server.url, **settings) as other:
        wait_for(lambda: live(one) and live(other), "both are live")
        one.set("key", ["before"])
        os.kill(own_server.pid, signal.SIGSTOP)
        one.set("key", ["during"])  # it has arrived, and waits in the server's socket
        wait_for(lambda: one.health().link == "down", "the link is lost")
        os.kill(own_server.pid, signal.SIGCONT)
        wait_for(lambda: live(one) and live(other) and not one.health().journal, "the journal is replayed")
        assert one.get("key") == other.get("key") == ["during"]
        assert one.stats().late_writes == 0

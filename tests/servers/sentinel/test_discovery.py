"""Finding the primary through sentinels: URLs and clients, dead and lying sentinels, and the loss of the majority."""

import contextlib
import re
import signal
import socket
import time

import pytest
import redis
from project import ROOT
from waiting import PATIENT, live, wait_for

from twotier import Cache, ConfigurationError, RemoteUnavailable
from twotier.remote.deploy.embedded import _free_port
from twotier.remote.sentinel.topology import _watches
from twotier.testing import EmbeddedSentinels, FaultProxy, assert_coherent
from twotier.testing.faults import BOTH_WAYS
from twotier.testing.sentinels import SERVICE

SECRET = "hunter2"
SLACK = 2.0
"""Seconds that a busy machine may add to a bound."""


@pytest.mark.parametrize(
    ("url", "says"),
    [
        (f"redis+sentinel://bob:{SECRET}@h1:1,h2:2", "must name the service"),
        (f"redis+sentinel://bob:{SECRET}@h1:1,h2:2/", "must name the service"),
        (f"redis+sentinel://bob:{SECRET}@h1:1,h2:port/orders", "isn't valid"),
        (f"redis+sentinel://bob:{SECRET}@h1:1,h2:99999/orders", "isn't valid"),
        (f"redis+sentinel://bob:{SECRET}@h1:1,,h2/orders", "isn't valid"),
        (f"redis+sentinel://bob:{SECRET}@/orders", "isn't valid"),
        (f"redis+sentinel://bob:{SECRET}@h1/orders/x", "a database number"),
        (f"redis+sentinel://bob:{SECRET}@h1/orders/0/1", "a database number"),
        (f"redis+sentinel://h1/orders?sentinel_password={SECRET}&timeout=1", "can't hold"),
        (f"redis+sentinel://h1/orders?db={SECRET}", "db"),
        (f"redis+sentinel://h1/orders#{SECRET}", "'#'"),
    ],
)
def test_bad_urls(url, says):
    """What can't work is told at once, without secrets."""
    with pytest.raises(ConfigurationError, match=says) as caught:
        Cache.from_url(url)
    assert SECRET not in str(caught.value)


def test_what_a_url_says():
    """Hosts with and without ports, IPv6, a database; credentials for the servers and for the sentinels apart."""
    url = f"rediss+sentinel://bob:{SECRET}@h1:1,[::1],h3/my%20orders/3?sentinel_username=eve&sentinel_password=other"
    with Cache.from_url(f"{url}&ssl_ca_certs=/ca.pem") as cache:
        topology = cache._namespace.topology
        assert topology.label == "rediss+sentinel://h1:1,[::1]:26379,h3:26379/my orders/3"
        to_primary = topology._primary.arguments
        assert (to_primary["username"], to_primary["password"], to_primary["db"]) == ("bob", SECRET, 3)
        for sentinel in topology._watch._addresses:
            assert (sentinel.arguments["username"], sentinel.arguments["password"]) == ("eve", "other")
            assert sentinel.arguments["ssl_ca_certs"] == "/ca.pem"
            assert "db" not in sentinel.arguments
        for shown in (repr(cache), repr(topology), repr(topology.identity), repr(topology._watch._addresses)):
            assert SECRET not in shown
            assert "other" not in shown
    with pytest.raises(ConfigurationError, match="sentinel_password is given twice"):
        Cache.from_url("redis+sentinel://localhost/orders?sentinel_password=a", sentinel_password="b")


def test_link_and_data_path_share_a_primary(deployment, make):
    """Caches of one deployment share its watch, and hear of each other's writes."""
    one, other = make(**PATIENT), make(connect="eager", **PATIENT)
    assert one._namespace.topology._watch is other._namespace.topology._watch
    other.set("key", 1)
    assert one.get("key") == 1
    other.set("key", 2)
    wait_for(lambda: one.get("key") == 2, "the news has arrived")
    assert_coherent(one, other)
    with deployment.client(deployment.primary()) as client:
        assert client.keys(f"{one.options.namespace}:*:key")


def test_nothing_is_left_of_closed_caches(make):
    """The last cache to be closed ends the watch."""
    before = len(_watches)
    cache = make(timeout=0.3)
    watch = cache._namespace.topology._watch
    cache.close()
    assert len(_watches) == before
    wait_for(lambda: not watch._thread.is_alive(), "the watch's thread has ended")


@pytest.mark.parametrize("coherence", ["pubsub", "tracking", "none"])
def test_every_way_of_coherence(deployment, namespace, coherence):
    """Whatever the way of coherence, and in RESP2, the primary is found and used."""
    protocol = 3 if coherence == "tracking" else 2
    settings = {"coherence": coherence, "protocol": protocol, "connect": "eager", **PATIENT}
    with Cache(deployment.url, namespace=namespace, **settings) as cache:
        cache.set("key", 1)
        if coherence != "none":
            wait_for(lambda: live(cache), "the link is live")
        assert cache.get("key") == 1


def test_clients_in_place_of_a_url(deployment, make):
    """A redis.Sentinel with the service's name, or what its master_for returns."""
    sentinels = redis.Sentinel([("127.0.0.1", each.port) for each in deployment.sentinels])
    one, other = make(sentinels, service=SERVICE), make(sentinels.master_for(SERVICE))
    one.set("key", 1)
    assert other.get("key") == 1
    with pytest.raises(ConfigurationError, match="service must name"):
        Cache(sentinels)


@pytest.mark.parametrize("fault", ["dead", "hanging", "black hole"])
def test_one_bad_sentinel_costs_next_to_nothing(deployment, namespace, fault):
    """A sentinel that is dead, hangs, or swallows every packet holds up nobody: the others are a majority."""
    with contextlib.ExitStack() as stack:
        ports = [each.port for each in deployment.sentinels]
        if fault == "dead":
            ports[0] = _free_port()
        elif fault == "hanging":
            deployment.sentinels[0].signal(signal.SIGSTOP)
            stack.callback(deployment.sentinels[0].signal, signal.SIGCONT)
        else:
            full = stack.enter_context(socket.socket())
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for _ in range(3):  # whose queue of connections is full: further ones aren't answered
                waiting = stack.enter_context(socket.socket())
                waiting.setblocking(False)
                waiting.connect_ex(full.getsockname())
            ports[0] = full.getsockname()[1]
        url = f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{SERVICE}"
        took = []
        for _ in range(3):
            began = time.monotonic()
            with Cache(url, namespace=namespace, connect="eager", timeout=0.6, connect_timeout=0.5):
                took.append(time.monotonic() - began)
        assert min(took) < 0.3
        with Cache(url, namespace=namespace) as cache:
            wait_for(lambda: live(cache), "the link is live")


def test_nobody_to_ask(namespace):
    """Without any sentinel, an eager cache tells why at once; a lazy one serves from the local tier."""
    url = f"redis+sentinel://app:{SECRET}@127.0.0.1:{_free_port()},127.0.0.1:{_free_port()}/{SERVICE}"
    began = time.monotonic()
    with pytest.raises(RemoteUnavailable, match=r"name no primary of 'orders' .*Connection refused") as caught:
        Cache(url, namespace=namespace, connect="eager", timeout=0.6)
    assert time.monotonic() - began < 0.3 + SLACK
    assert SECRET not in str(caught.value)
    with Cache(url, namespace=namespace) as cache:
        cache.set("key", 1)
        assert cache.get("key") == 1
        assert cache.get_or_set("loaded", lambda: 2) == 2


def test_an_unknown_service(deployment, namespace):
    """A service that the sentinels don't watch is told of."""
    with pytest.raises(RemoteUnavailable, match=r"name no primary of 'elsewhere'.*knows no such service"):
        Cache(deployment.url.replace(SERVICE, "elsewhere"), namespace=namespace, connect="eager")


def test_sentinels_with_passwords(namespace):
    """Sentinels may want other credentials than the servers; without them, the reason is told, and no secret."""
    user = f"user eve on >{SECRET} ~* &* +@all\n"
    with EmbeddedSentinels(replicas=0, sentinels=1, sentinel_settings=user) as deployment:
        url = deployment.url.replace("//", "//app:app@")
        settings = {"namespace": namespace, "connect": "eager", **PATIENT}
        with Cache(f"{url}?sentinel_username=eve&sentinel_password={SECRET}", **settings) as cache:
            wait_for(lambda: live(cache), "the link is live")
        with Cache(url, sentinel_username="eve", sentinel_password=SECRET, **settings):
            pass
        with pytest.raises(RemoteUnavailable, match="refuses the user name or password") as caught:
            Cache(url, sentinel_username="eve", sentinel_password=f"{SECRET}!", **settings)
        assert SECRET not in str(caught.value)


def test_least_permissions_on_sentinels(namespace):
    """The permissions that the page on high availability lists are enough for the user of the sentinels."""
    page = (ROOT / "docs" / "high-availability.md").read_text()
    (rules,) = re.findall(r"^user cache on >CHANGE-ME (.*)$", page, flags=re.MULTILINE)
    with EmbeddedSentinels(replicas=1, sentinels=1, sentinel_settings=f"user eve on >{SECRET} {rules}\n") as deployment:
        settings = {"sentinel_username": "eve", "sentinel_password": SECRET, "replica_fallback": True}
        with Cache(deployment.url, namespace=namespace, connect="eager", **PATIENT, **settings) as cache:
            wait_for(lambda: live(cache), "the link is live")
            watch = cache._namespace.topology._watch
            wait_for(lambda: watch.replicas, "the replicas are known")
            old = deployment.primary()
            deployment.kill(old)
            new = deployment.nodes[1 - old].port
            wait_for(lambda: (now := watch._primary) and now.place.port == new, "the announcement was heard")


def test_what_is_named_but_is_no_primary_is_not_used(deployment, namespace):
    """A server is asked for its role before it is used, whatever sentinels say."""
    primary = deployment.primary()
    replica = deployment.nodes[(primary + 1) % 3]
    with EmbeddedSentinels(replicas=0, sentinels=1) as lying, lying.sentinels[0].client() as sentinel:
        sentinel.sentinel_remove(SERVICE)
        sentinel.sentinel_monitor(SERVICE, "127.0.0.1", replica.port, 1)
        sentinel.sentinel_set(SERVICE, "down-after-milliseconds", 60_000)
        # It finds out within a second what the server is; until then it names it.
        with pytest.raises(RemoteUnavailable, match=r"isn't one|no primary"):
            Cache(lying.url, namespace=namespace, connect="eager", timeout=0.6)


def test_without_a_majority_nothing_is_fresh(deployment, namespace):
    """While most sentinels are silent the primary stays in use, the link isn't live; it is again once they answer."""
    with Cache(deployment.url, namespace=namespace) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set("key", 1)
        assert "key" in cache._namespace.store
        stopped = deployment.sentinels[:2]
        for each in stopped:
            each.signal(signal.SIGSTOP)
        began = time.monotonic()
        wait_for(lambda: cache.health().link != "live", "the link is no longer live")
        assert time.monotonic() - began < cache.options.max_staleness + SLACK
        assert "key" not in cache._namespace.store
        assert cache.get("key") == 1
        cache.set("key", 2)
        assert cache.get("key") == 2
        assert cache.stats().remote_errors == 0
        for each in stopped:
            each.signal(signal.SIGCONT)
        wait_for(lambda: live(cache), "the link is live again")
        assert_coherent(cache)


def test_a_client_cut_off_from_the_sentinels_trusts_nothing(deployment, namespace):
    """On the wrong side of a parted network, with the old primary alone, nothing is taken for fresh past the bound."""
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(FaultProxy(f"redis://127.0.0.1:{each.port}")) for each in deployment.sentinels]
        places = ",".join(proxy.url.split("//")[1].removesuffix("/0") for proxy in proxies)
        cache = stack.enter_context(Cache(f"redis+sentinel://{places}/{SERVICE}", namespace=namespace))
        peer = stack.enter_context(Cache(deployment.url, namespace=namespace))
        wait_for(lambda: live(cache) and live(peer), "the links are live")
        cache.set("key", "old")
        for proxy in proxies:
            proxy.link.silent = proxy.data.silent = BOTH_WAYS
        old = deployment.primary()
        with deployment.sentinels[0].client() as sentinel:
            sentinel.execute_command("SENTINEL", "FAILOVER", SERVICE)
        deployment.wait_for_failover(old)
        wait_for(lambda: live(peer), "the peer has followed")
        peer.set("key", "new")
        written = time.monotonic()
        while time.monotonic() - written < cache.options.max_staleness + 0.5:
            fresh = cache._namespace.store.get("key")
            assert fresh != "old" or time.monotonic() - written < cache.options.max_staleness
        for proxy in proxies:
            proxy.heal()
        wait_for(lambda: live(cache) and cache.get("key") == "new", "the cache has followed")
        wait_for(lambda: not cache.health().journal, "the journal is empty")
        assert_coherent(cache, peer)

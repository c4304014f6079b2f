"""What redis-py's own pool, Sentinel and Cluster clients do where a network or a process fails, beside twotier.

    python bench/redis_py.py [--only WORD]

Each line shows one fact on a real server, most of them through the fault proxy: the reasons why twotier has its own
pool, link, and Sentinel and Cluster routing (DECISIONS.md, *Why not redis-py's pool*). Takes about 45 s.
"""

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import redis

from twotier import Cache
from twotier.testing import EmbeddedServer, FaultProxy
from twotier.testing.faults import BOTH_WAYS

TIMEOUT = 0.25
LIMITS: dict[str, Any] = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
VALUE = "v" * 4_000
FORKS = 150

Shown = tuple[str, str]
"""What was seen of redis-py, and of twotier."""
FACTS: dict[str, Callable[[], Shown]] = {}


def fact(words: str) -> Callable[[Callable[[], Shown]], Callable[[], Shown]]:
    """Name a fact."""

    def enter(show: Callable[[], Shown]) -> Callable[[], Shown]:
        FACTS[words] = show
        return show

    return enter


@contextlib.contextmanager
def proxied() -> Iterator[tuple[EmbeddedServer, FaultProxy, redis.Redis]]:
    """Yield a server, a proxy before it, and a client that goes past the proxy."""
    with (
        EmbeddedServer() as server,
        FaultProxy(server.url) as proxy,
        redis.Redis(unix_socket_path=server.socket_path) as admin,
    ):
        yield server, proxy, admin


def live(url: str, **settings: Any) -> Cache:
    """Return a cache with a live link."""
    cache = Cache(url, **{"timeout": TIMEOUT, "connect_timeout": TIMEOUT, **settings})
    deadline = time.monotonic() + 10
    while cache.get("nothing") is None and cache.health().link not in {"live", "none"}:
        if time.monotonic() > deadline:
            raise TimeoutError("the link doesn't become live")
        time.sleep(0.01)
    return cache


def attempt(call: Callable[[], Any]) -> str:
    """Return how long a call takes, and what comes of it."""
    began = time.monotonic()
    try:
        found = repr(call())
    except Exception as error:  # noqa: BLE001 - shown
        found = type(error).__name__
    return f"{time.monotonic() - began:.2f} s: {found[:20]}"


@fact("a reply that drips in, timeout 0.25 s")
def dripping() -> Shown:
    """Let through 1,000 bytes a second: each byte renews redis-py's timeout, and none twotier's."""
    with proxied() as (_, proxy, admin), live(proxy.url, local_ttl=1e-3) as cache:
        client = redis.Redis.from_url(proxy.url, **LIMITS)
        admin.set("key", VALUE)
        cache.set("key", VALUE)
        client.ping()
        proxy.data.bandwidth = 1_000
        time.sleep(0.01)
        return attempt(lambda: client.get("key")), attempt(lambda: cache.get("key"))


class CountingConnection(redis.Connection):
    """A connection of redis-py's that counts the attempts to connect."""

    attempts = 0

    def _connect(self) -> socket.socket:
        CountingConnection.attempts += 1
        return super()._connect()


@fact("one GET after the server was killed, defaults of each")
def killed() -> Shown:
    """Count the connections that one call tries to open."""
    with EmbeddedServer(tcp=True) as server, live(server.tcp_url) as cache:
        pool = redis.ConnectionPool(CountingConnection, **redis.Redis(port=server.port).get_connection_kwargs())
        client = redis.Redis(connection_pool=pool)
        client.ping()
        server.kill()
        CountingConnection.attempts = 0
        mine = attempt(lambda: client.get("key"))
        return f"{mine}, {CountingConnection.attempts} connects", attempt(lambda: cache.get("key"))


@fact("one GET on a server that hangs, timeout 0.02 s and other defaults")
def hanging() -> Shown:
    """Count the connections that one call opens where the server accepts them and says nothing."""
    with proxied() as (server, proxy, admin), live(server.url, timeout=0.02, connect_timeout=0.02) as cache:
        client = redis.Redis(port=urlsplit(proxy.url).port or 0, socket_timeout=0.02)
        client.ping()
        proxy.data.silent = proxy.link.silent = BOTH_WAYS
        before = admin.info("stats")["total_connections_received"]
        mine = attempt(lambda: client.get("key"))
        opened = admin.info("stats")["total_connections_received"] - before
        os.kill(server.pid or 0, signal.SIGSTOP)
        ours = attempt(lambda: cache.get("key"))
        os.kill(server.pid or 0, signal.SIGCONT)
        return f"{mine}, {opened} connects", ours


@fact("a pooled connection with an unread reply")
def unread() -> Shown:
    """Give a connection back before its reply is read, as an exception between sending and reading does."""
    with proxied() as (server, proxy, admin), live(server.url, local_ttl=1e-3, namespace="ns") as cache:
        client = redis.Redis.from_url(proxy.url)
        client.mset({"a": "value of a", "b": "value of b"})
        connection = client.connection_pool.get_connection()
        connection.send_command("GET", "a")
        client.connection_pool.release(connection)
        time.sleep(0.05)
        mine = f"GET b: {client.get('b')!r}"
        cache.set_many({"a": "value of a", "b": "value of b"})
        names = {key[-1:]: key for key in admin.scan_iter("ns:*:[ab]")}
        admin.copy(names[b"a"], names[b"b"], replace=True)  # every reply to a read of b is now one to a read of a
        with live(server.url, namespace="ns") as other:
            return mine, f"get b: {other.get('b')!r}, {other.stats().corrupt} reply refused"


@fact("a subscription whose connection went silent, timeout 0.25 s, health checks each second")
def half_open() -> Shown:
    """Let nothing through any more, close nothing, and listen for 4 s."""
    with proxied() as (server, proxy, admin), live(proxy.url) as cache, live(server.url) as other:
        subscription = redis.Redis.from_url(proxy.url, health_check_interval=1, **LIMITS).pubsub()
        subscription.subscribe("channel")
        subscription.get_message(timeout=1)
        cache.set("key", "old")
        proxy.sever()
        began = time.monotonic()
        admin.publish("channel", "message")
        other.set("key", "new")
        errors, messages, seen = 0, 0, "never"
        while time.monotonic() < began + 4:
            if seen == "never" and cache.get("key") == "new":
                seen = f"after {time.monotonic() - began:.1f} s"
            try:
                messages += subscription.get_message(timeout=0.1) is not None
            except redis.RedisError:
                errors += 1
            admin.publish("channel", "message")
        return f"{errors} errors, {messages} messages", f"the write is read {seen}"


@fact("a message that is published while a subscription reconnects")
def reconnecting() -> Shown:
    """Reset every connection, and publish before the subscriber is back."""
    with proxied() as (server, proxy, admin), live(proxy.url) as cache, live(server.url) as other:
        subscription = redis.Redis(port=urlsplit(proxy.url).port or 0).pubsub()
        subscription.subscribe("channel")
        subscription.get_message(timeout=1)
        cache.set("key", "old")
        proxy.reset()
        admin.publish("channel", "message")
        other.set("key", "new")
        heard = []
        ended = time.monotonic() + 1.5
        while time.monotonic() < ended:
            try:
                heard.append(subscription.get_message(timeout=0.1))
            except redis.RedisError as error:
                heard.append({"type": type(error).__name__})
        return (
            f"hears {[each['type'] for each in heard if each]}",
            f"ends the lease, and gets {cache.get('key')!r}",
        )


@fact(f"{FORKS} forks while four threads read")
def forks() -> Shown:
    """Fork amid calls, with threads that switch often; each child makes one call."""
    with EmbeddedServer(tcp=True) as server, live(server.tcp_url, local_ttl=1e-3) as cache:
        client = redis.Redis(port=server.port)
        client.set("key", "value")
        cache.set("key", "value")
        usual = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            return _forked(lambda: client.get("key")), _forked(lambda: cache.get("key"))
        finally:
            sys.setswitchinterval(usual)


def _forked(call: Callable[[], Any]) -> str:
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            call()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    ends = [_child(call) for _ in range(FORKS)]
    over.set()
    for thread in threads:
        thread.join()
    return f"{ends.count('hangs')} children hang, {ends.count('failed')} fail"


def _child(call: Callable[[], Any]) -> str:
    """Fork a child that makes one call; return how it ends, "hangs" if not within 1 s."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            status = 0 if call() in {"value", b"value"} else 1
        finally:
            os._exit(status)
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return "failed" if status else "answered"
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hangs"


@fact("three sentinels that refuse connections")
def sentinels() -> Shown:
    """Ask for a primary where no sentinel is up, with the defaults of each."""
    ports = []
    for _ in range(3):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            ports.append(taken.getsockname()[1])
    client = redis.Sentinel([("127.0.0.1", port) for port in ports])
    url = "redis+sentinel://" + ",".join(f"127.0.0.1:{port}" for port in ports) + "/service"
    with Cache(url) as cache:
        return attempt(lambda: client.discover_master("service")), attempt(lambda: cache.get("key"))


@fact("a replica in the primary's place")
def demoted() -> Shown:
    """Demote the server that a client and a subscription are connected to, as a failover does with an old primary."""
    with EmbeddedServer(tcp=True) as old, EmbeddedServer(tcp=True) as new, live(old.tcp_url) as cache:
        subscription = redis.Redis(port=old.port).pubsub()
        subscription.subscribe("channel")
        subscription.get_message(timeout=1)
        redis.Redis(port=old.port).replicaof("127.0.0.1", str(new.port))
        ended = time.monotonic() + 3
        errors = 0
        while time.monotonic() < ended:
            try:
                subscription.get_message(timeout=0.1)
            except redis.RedisError:
                errors += 1
        return f"subscription: {errors} errors in 3 s", f"health().link is {cache.health().link!r}"


@fact("a cluster that is down while the client is made")
def cluster() -> Shown:
    """Make a client of a cluster none of whose nodes answers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    try:
        redis.RedisCluster("127.0.0.1", port)
    except Exception as error:  # noqa: BLE001 - shown
        kind = "a" if isinstance(error, redis.RedisError) else "no"
        mine = f"{type(error).__name__}, {kind} RedisError"
    with Cache(f"redis+cluster://127.0.0.1:{port}") as cache:
        return f"the constructor raises {mine}", f"starts; get: {attempt(lambda: cache.get('key'))}"


def main() -> None:
    """Show the facts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="show only the facts that hold this word")
    asked = parser.parse_args()
    for words, show in FACTS.items():
        if asked.only in words:
            mine, ours = show()
            print(f"{words}\n    redis-py {redis.__version__}: {mine}\n    twotier: {ours}", flush=True)


if __name__ == "__main__":
    main()

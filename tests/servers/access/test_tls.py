"""TLS on a real server: verified unless told otherwise, on the data path and the link alike, and after a reconnect."""

import asyncio

import pytest
import redis
from waiting import PATIENT, live, wait_for

from twotier import AsyncCache, Cache, ConfigurationError, RemoteUnavailable

EAGER = {**PATIENT, "connect": "eager"}


def settle(cache):
    """Wait until the link is live."""
    wait_for(lambda: live(cache), "the link is live")


def test_an_unknown_authority_is_refused(tls_server, certificates, namespace):
    """The server's certificate is verified: one by a stranger, or for another name, isn't talked to."""
    server = tls_server()
    for url in (
        f"rediss://127.0.0.1:{server.tls_port}",
        f"rediss://127.0.0.1:{server.tls_port}?ssl_ca_certs={certificates.stranger_crt}",
        f"rediss://localhost:{server.tls_port}?ssl_ca_certs={certificates.ca_crt}",
    ):
        with pytest.raises(RemoteUnavailable, match=r"(?i)certificate"):
            Cache(url, namespace=namespace, **EAGER)


@pytest.mark.parametrize("coherence", ["pubsub", "tracking"])
def test_the_link_is_live_over_tls(tls_server, certificates, namespace, coherence):
    """Two caches hear of each other's writes over TLS, many at once as well."""
    server = tls_server()
    url = f"rediss://127.0.0.1:{server.tls_port}/0"
    settings = {"namespace": namespace, "coherence": coherence, "ssl_ca_certs": certificates.ca_crt, **EAGER}
    with Cache(url, **settings) as one, Cache(url, **settings) as other:
        settle(one)
        settle(other)
        keys = [f"key {number}" for number in range(2000)]
        one.set_many(dict.fromkeys(keys, "x" * 100))
        assert len(other.get_many(keys)) == 2000
        one.set_many(dict.fromkeys(keys, "y" * 100))
        wait_for(lambda: set(other.get_many(keys).values()) == {"y" * 100}, "the news has arrived")
        one.set("large", "z" * 3_000_000)
        assert other.get("large") == "z" * 3_000_000


def test_connections_come_back_over_tls(tls_server, certificates, namespace):
    """After the server cut every connection, or was away, the link and the data path are there again."""
    server = tls_server()
    settings = {"namespace": namespace, "ssl_ca_certs": certificates.ca_crt, **EAGER}
    with Cache(f"rediss://127.0.0.1:{server.tls_port}/0", **settings) as cache:
        settle(cache)
        epoch = cache.health().epoch
        with redis.Redis.from_url(server.url) as admin:
            admin.client_kill_filter(_type="normal", skipme=True)
            admin.client_kill_filter(_type="pubsub")
        wait_for(lambda: cache.health().epoch > epoch and live(cache), "the link is live again")
        server.kill()
        cache.set("key", 1)
        assert cache.get("key") == 1
        server.start()
        wait_for(lambda: live(cache) and cache.health().breaker == "closed", "recovered")
        cache.set("key", 2)
        wait_for(lambda: "key" in cache._namespace.store, "the key is fresh")


def test_clients_show_their_certificate(tls_server, certificates, namespace):
    """A server that asks for certificates takes ours, from the URL or the options, and nobody without one."""
    server = tls_server(clients_certified=True)
    url = f"rediss://127.0.0.1:{server.tls_port}/0"
    with pytest.raises(RemoteUnavailable):
        Cache(url, namespace=namespace, ssl_ca_certs=certificates.ca_crt, **EAGER)
    files = {
        "ssl_ca_certs": certificates.ca_crt,
        "ssl_certfile": certificates.client_crt,
        "ssl_keyfile": certificates.client_key,
    }
    query = "&".join(f"{name}={path}" for name, path in files.items())
    for cache in (Cache(url, namespace=namespace, **files, **EAGER), Cache(f"{url}?{query}", namespace=namespace)):
        with cache:
            settle(cache)


def test_tls_files_fit_the_target():
    """Files for TLS are refused without TLS, and where the URL names them too."""
    with pytest.raises(ConfigurationError, match="ssl_ca_certs must be None without TLS"):
        Cache("redis://localhost", ssl_ca_certs="/ca.pem")
    with pytest.raises(ConfigurationError, match="ssl_ca_certs is given twice"):
        Cache("rediss://localhost?ssl_ca_certs=/other.pem", ssl_ca_certs="/ca.pem")
    with pytest.raises(ConfigurationError, match="ssl_keyfile"):
        Cache("rediss://localhost", ssl_keyfile="/key.pem")


@pytest.mark.parametrize("kind", ["asyncio", "uvloop"])
def test_event_loops_speak_tls(tls_server, certificates, namespace, kind, request):
    """Tasks at once, values larger than any buffer, and cancelled trips, over TLS."""
    loop, server = request.getfixturevalue(kind), tls_server()
    settings = {"namespace": namespace, "ssl_ca_certs": certificates.ca_crt, "local_ttl": 0.001, "max_connections": 3}

    async def one(cache, number):
        value = [number] * (1 + number % 2 * 700_000)
        await cache.set(f"key {number}", value)
        assert await cache.get(f"key {number}") == value

    async def scene():
        async with AsyncCache(f"rediss://127.0.0.1:{server.tls_port}/0", **settings, **EAGER) as cache:
            tasks = [asyncio.create_task(one(cache, number)) for number in range(24)]
            await asyncio.sleep(0.02)
            for task in tasks[::3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert not [result for result in results if isinstance(result, Exception)]
            for number in range(6):
                await one(cache, number)

    loop.run(scene())

"""Targets: what a URL or a client leads to, what is refused, and that no secret shows."""

import pytest
import redis
from redis.connection import SSLConnection, UnixDomainSocketConnection

from twotier.errors import ConfigurationError
from twotier.options import Options
from twotier.remote.commands.base import Ping
from twotier.remote.deploy.factory import connect
from twotier.remote.deploy.masking import masked

SECRET = "hunter2"


def link_of(target, **settings):
    return connect(target, Options(**settings)).link_connection()


def test_tcp():
    """redis:// gives host, port, database and credentials."""
    link = link_of(f"redis://bob:{SECRET}@cache.example:6380/3")
    assert (link.host, link.port, link.db, link.username, link.password) == ("cache.example", 6380, 3, "bob", SECRET)


def test_defaults():
    """Port and database may be left out, and percent signs decode."""
    link = link_of("redis://:p%40ss%2Fword@h")
    assert (link.port, link.db, link.password) == (6379, 0, "p@ss/word")


def test_unix():
    """unix:// gives the socket's path; database and password come as options."""
    link = link_of(f"unix:///run/valkey.sock?db=2&password={SECRET}")
    assert isinstance(link, UnixDomainSocketConnection)
    assert (link.path, link.db, link.password) == ("/run/valkey.sock", 2, SECRET)


def test_tls_verifies_unless_told_otherwise():
    """rediss:// checks certificate and host name by default; the URL can name a CA, or switch the check off."""
    link = link_of("rediss://h:6379/0")
    assert isinstance(link, SSLConnection)
    assert (link.cert_reqs.name, link.check_hostname) == ("CERT_REQUIRED", True)
    assert link_of("rediss://h?ssl_ca_certs=/ca.pem").ca_certs == "/ca.pem"
    assert link_of("rediss://h?ssl_cert_reqs=none").cert_reqs.name == "CERT_NONE"


@pytest.mark.parametrize("protocol", [2, 3])
def test_what_breaks_deadlines_is_off(protocol):
    """Connections have our timeouts and protocol, no retries, no health checks, no maintenance notifications."""
    client = redis.Redis(decode_responses=True, socket_timeout=99, health_check_interval=1, protocol=5 - protocol)
    for target in ("redis://h", client):
        link = link_of(target, protocol=protocol, timeout=0.2, connect_timeout=0.1)
        assert (link.socket_timeout, link.socket_connect_timeout, link.protocol) == (0.2, 0.1, protocol)
        assert link.retry.get_retries() == 0
        assert link.retry_on_error == []
        assert link.health_check_interval == 0
        assert not link.encoder.decode_responses
        assert not link.maint_notifications_config.enabled


def test_a_client_lends_address_and_credentials(server, remotes):
    """A redis.Redis in place of the URL leads to its server, and its own pool isn't used."""
    client = redis.Redis.from_url(server.tcp_url, decode_responses=True, username=None)
    remote = remotes(client)
    remote.run(Ping())
    assert remote.topology.label == server.tcp_url
    assert client.connection_pool.get_connection_count()[0][0] == 0
    link = link_of(redis.Redis(host="h", username="bob", password=SECRET, db=4, ssl=True, ssl_ca_certs="/ca.pem"))
    assert (link.username, link.password, link.db, link.ca_certs) == ("bob", SECRET, 4, "/ca.pem")


def test_a_client_of_many_servers_is_refused():
    """A client whose pool goes its own ways isn't taken for one of a single server."""

    class Elsewhere(redis.ConnectionPool):
        pass

    client = redis.Redis(connection_pool=Elsewhere())
    with pytest.raises(ConfigurationError, match="one server"):
        connect(client, Options())


@pytest.mark.parametrize(
    "url",
    [
        f"http://bob:{SECRET}@h",
        f"redis:/bob:{SECRET}@h",
        f"bob:{SECRET}@h:6379",
        SECRET,
        f"redis://bob:{SECRET}@h:99999",
        f"redis://bob:{SECRET}@h:0",
        f"redis://bob:{SECRET}@h:port",
        f"redis://bob:{SECRET}/x@h:6379",
        f"redis://bob:{SECRET}@h/not-a-number",
        f"redis://bob:{SECRET}@h/-1",
        f"redis://bob:{SECRET}@[::1",
        f"redis://bob:{SECRET}@",
        f"redis://bob:{SECRET}@h?socket_timeout=3",
        f"redis://bob:{SECRET}@h?db={SECRET}",
        f"redis://h?password={SECRET}&db=x",
        f"redis://h?{SECRET}",
        f"rediss://bob:{SECRET}@h?ssl_check_hostname=no&nonsense=1",
        f"redis://u:12#{SECRET}@h",
        f"redis://u:12?{SECRET}@h",
        f"redis://u:12/{SECRET}@h",
        f"unix://bob:{SECRET}@?db=1",
        f"embedded://{SECRET}",
    ],
)
def test_bad_urls_are_refused_without_their_secrets(url):
    """What can't work is a ConfigurationError at once, and no part of the error shows the password."""
    with pytest.raises(ConfigurationError) as caught:
        connect(url, Options())
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_other_types_are_refused():
    """A target that is neither URL nor client is named by its type, not by its value."""
    with pytest.raises(ConfigurationError, match=r"builtins\.bytes"):
        connect(b"redis://:hunter2@h", Options())


def test_no_secret_in_repr_label_or_identity():
    """What names a deployment, in logs or elsewhere, holds no credentials."""
    topology = connect(f"redis://bob:{SECRET}@h:1/2?client_name=app", Options())
    shown = f"{topology!r} {topology.label} {topology.identity!r} {topology.pool()!r} {vars(topology)!r}"
    assert SECRET not in shown
    assert topology.label == "redis://h:1/2"


def test_identity_is_the_deployment():
    """The same place reached in the same way is the same; another user, database or protocol isn't."""

    def identity(url, **settings):
        return connect(url, Options(**settings)).identity

    same = identity("redis://u:p@h:6379/0")
    assert same == identity("redis://u:p@h")
    assert hash(same) == hash(identity("redis://u:p@h"))
    others = [identity("redis://h"), identity("redis://u:q@h"), identity("redis://u:p@h/1"), identity("rediss://u:p@h")]
    assert same not in others
    assert same != identity("redis://u:p@h", protocol=2)
    assert connect(redis.Redis(host="h"), Options()).identity == connect(redis.Redis(host="h"), Options()).identity


def test_ipv6_label():
    """An IPv6 host keeps its brackets."""
    assert connect("redis://[::1]:7/0", Options()).label == "redis://[::1]:7/0"


def test_masked():
    """Everything that may hold a secret is masked, however the URL is broken."""
    assert masked("redis://u:p@h") == "redis://***@h"
    assert masked("redis://u:a@b/c?d@h/0?password=x#y") == "redis://***@h/0?***"
    assert masked("nonsense") == "***"


def test_embedded_lives_as_long_as_the_topology(remotes):
    """embedded:// starts a server, which goes when the topology is closed."""
    remote = remotes("embedded://")
    remote.run(Ping())
    server = remote.topology._own_server
    assert server.running
    remote.topology.close()
    assert not server.running

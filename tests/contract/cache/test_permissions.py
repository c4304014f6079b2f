"""The permissions that a cache needs on the server, as docs/acl.conf lists them: the contract, as that user."""

import re

import pytest
import redis
from private_servers import known_to, private_server
from project import ROOT
from test_contract import *  # noqa: F403 - every test of the contract, on the fixture below
from waiting import PATIENT, live, wait_for

from twotier import Cache
from twotier.core.namespace import sweep

ACL = ROOT / "docs" / "acl.conf"
PASSWORD = "only-for-tests"


def rules(admin, namespaces, name="app"):
    """Return the words of a shipped user, for these namespaces instead of `shop`."""
    (user,) = re.findall(rf"^user {name} (.*)$", known_to(admin, ACL.read_text()), flags=re.MULTILINE)
    return [word.replace("CHANGE-ME", PASSWORD).replace("shop", namespaces) for word in user.split()]


@pytest.fixture(scope="session")
def restricted(server):
    """A URL of the shared server, as the shipped user; it may use the namespaces of tests."""
    with redis.Redis.from_url(server.url) as admin:
        for name in ("app", "tracking"):
            admin.execute_command("ACL", "SETUSER", name, *rules(admin, "t*", name))
        yield f"redis://app:{PASSWORD}@127.0.0.1:{server.port}/0"
        admin.execute_command("ACL", "DELUSER", "app", "tracking")


@pytest.fixture
def cache(restricted, namespace):
    """A cache in two tiers that connects as the shipped user."""
    with Cache(restricted, namespace=namespace, **PATIENT) as cache:
        wait_for(lambda: live(cache), "the link is live")
        yield cache
        assert cache._namespace.closed or cache.stats().remote_errors == 0


@pytest.mark.parametrize("settings", [{"protocol": 2}, {"replay": "set"}, {"coherence": "tracking"}], ids=str)
def test_the_shipped_permissions_are_enough_in_every_mode(restricted, namespace, settings, monkeypatch):
    """Whatever the protocol and the way of coherence, nothing is refused."""
    monkeypatch.setattr(sweep, "GRACE", 0.0)
    url = restricted.replace("app:", "tracking:") if "coherence" in settings else restricted
    with Cache(url, namespace=namespace, **PATIENT, **settings) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set("key", 1)
        cache._namespace.fleet.look()
        assert cache.incr("key") == 2
        assert cache.touch("key", 10)
        assert cache.delete("key")
        assert cache.get_or_set("loaded", lambda: 3) == 3
        for ttl in (10, 9999, None):
            cache.set("key", 1, ttl=ttl, tags=["x"])
        assert cache.add("key", 1, tags=["x"]) is False
        assert cache.touch("key", 99999)
        cache.invalidate_tag("x")
        assert cache.add("key", 1) is True
        assert cache.invalidate("key") is True
        cache.set("swept", 1, ttl=None)
        cache.clear()
        assert cache.get("loaded") is None
        wait_for(lambda: cache.stats().swept, "what the clear has left is removed")
        assert cache.stats().remote_errors == 0


def test_nothing_else_is_permitted(restricted):
    """The shipped user can neither touch keys and channels of others, nor look around."""
    with redis.Redis.from_url(restricted) as user:
        for command in (
            ["GET", "other:key"],
            ["PUBLISH", "other:inv:v1", "x"],
            ["KEYS", "*"],
            ["FLUSHALL"],
            ["CONFIG", "GET", "*"],
            ["EVAL", "return 1", "0"],
            ["ACL", "LIST"],
            ["CLIENT", "TRACKING", "ON", "BCAST"],  # tells the names of everybody's keys
        ):
            with pytest.raises(redis.exceptions.NoPermissionError):
                user.execute_command(*command)


def test_the_shipped_file_is_configuration_that_servers_take(server, tmp_path):
    """The file can be included in a server's configuration as it is."""
    included = tmp_path / "acl.conf"
    with redis.Redis.from_url(server.url) as admin:
        included.write_text(known_to(admin, ACL.read_text()))
    with (
        private_server(tcp=True, settings={"include": str(included)}) as own,
        redis.Redis(port=own.port, username="app", password="CHANGE-ME") as user,
    ):
        assert user.ping()

"""The permissions that a cache needs on the server, as the design page lists them."""

import re
from pathlib import Path

import redis
from waiting import live, wait_for

from twotier import Cache

DESIGN = Path(__file__).parents[2] / "docs" / "design.md"


def test_the_documented_permissions_are_enough(own_server, namespace):
    """A user with no more than the documented ACL can do everything, and nothing outside of the namespace."""
    (rules,) = re.findall(r"ACL SETUSER app on >PASSWORD (.*)", DESIGN.read_text())
    with redis.Redis.from_url(own_server.url) as admin:
        words = rules.replace("PASSWORD", "secret").replace("shop", namespace).split()
        admin.execute_command("ACL", "SETUSER", "app", "on", ">secret", *words)
        admin.execute_command("ACL", "SETUSER", "default", "off")
        url = f"redis://app:secret@127.0.0.1:{own_server.port}/0"
        for settings in ({}, {"protocol": 2}, {"replay": "set"}, {"coherence": "tracking"}):
            with Cache(url, namespace=namespace, **settings) as cache:
                wait_for(lambda cache=cache: live(cache), "the link is live")
                cache.set("key", 1)
                cache.set_many({"a": 1, "b": [2]}, ttl=None)
                assert cache.get_many(["key", "a", "b"]) == {"key": 1, "a": 1, "b": [2]}
                assert cache.incr("key") == 2
                assert cache.touch("key", 10)
                assert cache.touch("key", None)
                assert cache.ttl("key") is None
                assert cache.add("key", 1) is False
                assert cache.delete("key")
                assert cache.get_or_set("loaded", lambda: 3) == 3
                cache.clear()
                assert cache.get("loaded") is None
                assert cache.stats().remote_errors == 0
        with Cache(url, namespace=f"not-{namespace}") as other:
            other.set("key", 1)
            assert other.stats().remote_errors

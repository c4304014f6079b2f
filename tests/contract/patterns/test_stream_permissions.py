"""The permissions that a write-behind needs on the server, as docs/acl.conf lists them."""

import re

import pytest
import redis
from private_servers import denials, known_to
from project import ROOT
from waiting import PATIENT, live, wait_for

from twotier import Cache

ACL = ROOT / "docs" / "acl.conf"


@pytest.fixture(params=["WriteBehind", "AsyncWriteBehind"])
def face(request):
    """Both faces: what these tests say holds for either."""
    return request.param


@pytest.fixture
def users(own_server, namespace):
    """A URL for each shipped user, for this test's namespace; and a connection of the administrator."""
    with redis.Redis.from_url(own_server.url) as admin:
        urls = {}
        for name, words in re.findall(r"^user (\w+) (.*)$", known_to(admin, ACL.read_text()), flags=re.MULTILINE):
            granted = words.replace("CHANGE-ME", "secret").replace("shop", namespace)
            admin.execute_command("ACL", "SETUSER", name, *granted.split())
            urls[name] = f"redis://{name}:secret@127.0.0.1:{own_server.port}/0"
        yield urls, admin


@pytest.mark.parametrize("settings", [{}, {"coherence": "tracking"}, {"protocol": 2}], ids=str)
def test_the_shipped_permissions_are_enough(users, namespace, source, behind, settings):
    """The second shipped user can do all of it: append, drain, take over, bury, try again and discard."""
    urls, admin = users
    if "coherence" in settings:
        admin.execute_command("ACL", "SETUSER", "behind", "+client|tracking")
    with Cache(urls["behind"], namespace=namespace, **PATIENT, **settings) as cache:
        wait_for(lambda: live(cache), "the link is live")
        refused = {"values": True}

        def before():
            if refused["values"]:
                raise ValueError("not now")

        source.before = before
        first = behind(cache)
        first.set_many({"a": 1, "b": [2]})
        first.delete("c")
        first.flush(20)
        assert len(first.dead_letters()) == 3
        cache.get_or_set("c", lambda: "old")
        first.close()
        refused["values"] = False
        second = behind(cache)
        second.retry_dead_letters()
        second.set("d", 4)
        second.flush(20)
        assert source.rows == {"a": 1, "b": [2], "d": 4}
        assert second.discard_dead_letters(first.dead_letters()) == 0
        assert second.stats().depth == 0
        assert cache.stats().remote_errors == 0
    assert denials(admin, "command") == denials(admin, "key") == denials(admin, "channel") == 0


def test_the_first_user_has_no_streams(users):
    """Who has no write-behind gets no permission for it; neither user reaches another namespace."""
    urls, _ = users
    for url, command in (
        (urls["app"], ["XADD", "{namespace}:wb", "*", "k", "v"]),
        (urls["behind"], ["XADD", "other:wb", "*", "k", "v"]),
        (urls["behind"], ["XTRIM", "{namespace}:wb", "MAXLEN", "0"]),
    ):
        with redis.Redis.from_url(url) as user, pytest.raises(redis.exceptions.NoPermissionError):
            user.execute_command(*command)

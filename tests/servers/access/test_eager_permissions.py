"""`connect="eager"` finds out whether the server permits what the cache will ask for."""

import re

import pytest
import redis
from private_servers import known_to
from project import ROOT
from waiting import PATIENT, wait_for

from twotier import AccessDenied, Cache, RemoteUnavailable

PASSWORD = "only-for-tests"
EAGER = {**PATIENT, "connect": "eager"}
ACL = (ROOT / "docs" / "acl.conf").read_text()


def rules(admin, user, namespace):
    """Return the words of a shipped user, for this namespace."""
    (found,) = re.findall(rf"^user {user} (.*)$", known_to(admin, ACL), flags=re.MULTILINE)
    return found.replace("CHANGE-ME", PASSWORD).replace("shop", namespace).split()


HANDSHAKE = {"+ping", "+select", "+client|setname", "+client|setinfo", "+client|id"}
COMMANDS = sorted(set(re.findall(r"^user app (.*)$", ACL, flags=re.MULTILINE)[0].split()))
SWEEP = {"+append", "+getrange", "+scan"}
COMMANDS = [word for word in COMMANDS if word.startswith("+") and word not in HANDSHAKE | SWEEP]


@pytest.fixture
def admin(server):
    """Who sets users up."""
    with redis.Redis.from_url(server.url) as client:
        yield client
        client.execute_command("ACL", "DELUSER", "lesser")


@pytest.fixture
def lesser(server, admin):
    """Gives a user rights, and returns its URL."""

    def lesser(words):
        admin.execute_command("ACL", "SETUSER", "lesser", "reset", *words)
        return f"redis://lesser:{PASSWORD}@127.0.0.1:{server.port}/0"

    return lesser


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("word", COMMANDS)
def test_a_command_that_is_denied_is_named(admin, lesser, namespace, word, protocol):
    """Whichever of the shipped permissions is left out, the error says which; nothing has taken place."""
    url = lesser([each for each in rules(admin, "app", namespace) if each != word])
    with pytest.raises(RemoteUnavailable, match=rf"denied {word[1:].upper()}\b.*docs/acl\.conf"):
        Cache(url, namespace=namespace, protocol=protocol, **EAGER)
    assert not admin.keys(f"{namespace}:*")


@pytest.mark.parametrize("word", sorted(SWEEP))
def test_what_the_sweep_alone_needs_may_be_denied(admin, lesser, namespace, word):
    """An eager cache starts, works and clears without it, and logs once what is denied."""
    url = lesser([each for each in rules(admin, "app", namespace) if each != word])
    with Cache(url, namespace=namespace, **EAGER) as cache:
        cache.set("key", 1)
        cache.clear()
        assert cache.get("key") is None
        wait_for(lambda: cache._namespace.sweep._permitted is False, "it is found out")
        assert cache.stats().remote_errors == 0


def test_whatever_is_denied_is_named_at_once(admin, lesser, namespace):
    """Commands, keys and channels are told apart, all in one error."""
    denied = {f"~{namespace}:*", f"&{namespace}:*", "+set", "+persist"}
    url = lesser([each for each in rules(admin, "app", namespace) if each not in denied])
    with pytest.raises(RemoteUnavailable) as caught:
        Cache(url, namespace=namespace, **EAGER)
    text = str(caught.value)
    assert f"WATCH of keys '{namespace}:*'" in text
    url = lesser(
        [each for each in rules(admin, "app", namespace) if each not in {*denied, *list(denied)} or "~" in each]
    )
    with pytest.raises(RemoteUnavailable) as caught:
        Cache(url, namespace=namespace, **EAGER)
    text = str(caught.value)
    assert f"denied SET, PERSIST, PUBLISH on the channel '{namespace}:inv:v1', SUBSCRIBE on the channel" in text


@pytest.mark.parametrize(
    ("user", "settings"),
    [("app", {}), ("app", {"protocol": 2}), ("tracking", {"coherence": "tracking"}), ("app", {"coherence": "none"})],
    ids=str,
)
def test_the_shipped_permissions_are_enough(admin, lesser, namespace, user, settings):
    """Nothing is asked for that docs/acl.conf doesn't list; the check leaves no key and no subscription behind."""
    with Cache(lesser(rules(admin, user, namespace)), namespace=namespace, **EAGER, **settings) as cache:
        assert not admin.keys(f"{namespace}:access:*")
        cache.set("key", 1)
        assert cache.incr("key") == 2
        assert cache.stats().remote_errors == 0


def test_tracking_has_to_be_permitted(admin, lesser, namespace):
    """Who may do all else is told of the one word that is missing."""
    with pytest.raises(RemoteUnavailable, match=r"denied CLIENT\|TRACKING \("):
        Cache(lesser(rules(admin, "app", namespace)), namespace=namespace, coherence="tracking", **EAGER)


def test_a_wrong_password_raises_a_documented_error(server, namespace):
    """A counter raises AccessDenied itself where the server refuses the credentials."""
    url = f"redis://nobody:{PASSWORD}@127.0.0.1:{server.port}/0"
    with Cache(url, namespace=namespace, **PATIENT) as cache:
        for _ in range(2):
            with pytest.raises(AccessDenied, match="refuses the user name or password") as caught:
                cache.incr("count")
            assert type(caught.value) is AccessDenied


def test_a_denied_command_raises_a_documented_error(admin, lesser, namespace):
    """As above, for permissions."""
    url = lesser([each for each in rules(admin, "app", namespace) if each != "+incrby"])
    with Cache(url, namespace=namespace, **PATIENT) as cache:
        with pytest.raises(AccessDenied, match="NOPERM") as caught:
            cache.incr("count")
        assert type(caught.value) is AccessDenied

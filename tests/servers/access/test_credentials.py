"""Credentials from the options, asked for at each connection; and none of them in anything that is shown."""

import io
import logging
import threading
import traceback

import pytest
import redis
from waiting import PATIENT, live, wait_for

from twotier import Cache, ConfigurationError, Options, RemoteError, RemoteUnavailable

SECRET = "hunter2"
ALL = ("+@all", "~*", "&*")


@pytest.fixture
def admin(own_server):
    """A client of a server on which `app` needs a password."""
    with redis.Redis.from_url(own_server.url) as client:
        client.execute_command("ACL", "SETUSER", "app", "on", f">{SECRET}", *ALL)
        client.execute_command("CONFIG", "SET", "requirepass", SECRET)
        client.auth(SECRET)
        yield client


@pytest.mark.usefixtures("admin")
def test_from_options(own_server, namespace):
    """User name and password may come from the options, in part or whole."""
    place = f"127.0.0.1:{own_server.port}"
    for url, settings in (
        (f"redis://{place}", {"username": "app", "password": SECRET}),
        (f"redis://{place}", {"password": SECRET}),
        (f"redis://app@{place}", {"password": SECRET}),
        (f"redis://{place}", {"credentials": lambda: SECRET}),
        (f"redis://{place}", {"credentials": lambda: ("app", SECRET)}),
        (f"redis://{place}", {"credentials": redis.UsernamePasswordCredentialProvider("app", SECRET)}),
    ):
        with Cache.from_url(url, namespace=namespace, connect="eager", **settings, **PATIENT) as cache:
            wait_for(lambda cache=cache: live(cache), "the link is live")


def test_given_twice():
    """What both the URL (or client) and the options give is refused, without showing either."""
    for target, settings in (
        (f"redis://:{SECRET}@localhost", {"password": SECRET}),
        ("redis://bob@localhost", {"username": "bob"}),
        (f"redis://:{SECRET}@localhost", {"credentials": lambda: SECRET}),
        (redis.Redis(credential_provider=redis.UsernamePasswordCredentialProvider("x", SECRET)), {"password": "x"}),
    ):
        with pytest.raises(ConfigurationError, match="given twice") as caught:
            Cache(target, **settings)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"password": 7},
        {"password": ""},
        {"username": b"bob"},
        {"credentials": SECRET},
        {"credentials": lambda: SECRET, "password": SECRET},
    ],
    ids="+".join,
)
def test_bad_options(settings):
    """What can't be a credential is refused by name, and isn't shown."""
    with pytest.raises(ConfigurationError, match=r"username|password|credentials") as caught:
        Options(**settings)
    assert SECRET not in str(caught.value)


def test_rotation(own_server, admin, namespace):
    """Each connection asks anew, so that a changed password needs no restart: of the link, and of the data path."""
    current = [SECRET]
    asked = []

    def credentials():
        asked.append(threading.current_thread().name)
        return "app", current[0]

    with Cache(own_server.tcp_url, namespace=namespace, credentials=credentials, **PATIENT) as cache:
        wait_for(lambda: live(cache), "the link is live")
        cache.set("key", 1)
        assert {"twotier-connect", "twotier-link"} <= set(asked)
        epoch, before = cache.health().epoch, len(asked)
        current[0] = "another"
        admin.execute_command("ACL", "SETUSER", "app", "resetpass", ">another")
        admin.execute_command("CLIENT", "KILL", "USER", "app")
        wait_for(lambda: cache.health().epoch > epoch and live(cache), "the link is live again")
        cache.set("key", 2)
        assert cache.get("key") == 2
        assert len(asked) > before


def test_a_failing_source_is_an_outage(own_server, namespace):
    """A source that raises, or gives something else, is a connection that failed; its text isn't passed on."""

    def broken():
        raise RuntimeError(SECRET)

    for credentials in (broken, lambda: 7, lambda: ("a", "b", SECRET)):
        with pytest.raises(RemoteUnavailable, match="source of credentials") as caught:
            Cache(own_server.tcp_url, namespace=namespace, credentials=credentials, connect="eager")
        assert SECRET not in "".join(traceback.format_exception(caught.value))


class Old:
    """A source whose errors are redis-py's, with the password in them."""

    def get_credentials(self):
        raise redis.exceptions.ConnectionError(f"can't log in with {SECRET}")


def test_nothing_shows_a_secret(own_server, admin, namespace):
    """Whatever fails: no log line, error, traceback or repr holds a password."""
    shown = io.StringIO()
    handler = logging.StreamHandler(shown)
    handler.setLevel(logging.DEBUG)
    root = logging.getLogger()
    root.addHandler(handler)
    level = logging.getLogger("twotier").level
    logging.getLogger("twotier").setLevel(logging.DEBUG)
    place = f"127.0.0.1:{own_server.port}"
    try:
        admin.execute_command("CONFIG", "SET", "requirepass", "something else")
        targets = [
            (f"redis://:{SECRET}@{place}", {}),
            (f"redis://app:{SECRET}x@{place}", {}),
            (f"redis://app:{SECRET}@127.0.0.1:1", {}),
            (f"redis://app:{SECRET}@nowhere.invalid", {}),
            (f"redis://app:{SECRET}@{place}/99", {}),
            (f"rediss://app:{SECRET}@{place}", {}),
            (f"redis://{place}", {"password": SECRET, "protocol": 2}),
            (f"redis://{place}", {"credentials": Old()}),
            (f"unix:///nowhere/{namespace}.sock?password={SECRET}", {}),
            (redis.Redis(port=own_server.port, password=SECRET), {}),
        ]
        for target, settings in targets:
            with Cache(target, namespace=namespace, secret=f"{SECRET} and some more", **settings) as cache:
                cache.set("key", SECRET)
                cache.get("other")
                try:
                    cache.incr("count")
                except RemoteError as error:
                    shown.write("".join(traceback.format_exception(error)))
                wait_for(lambda cache=cache: cache.health().link == "down", "the link has tried")
                for part in (cache, cache.options, cache._namespace, cache._namespace.topology, cache.health()):
                    shown.write(f"{part!r}\n")
            try:
                Cache(target, namespace=namespace, connect="eager", **settings)
            except RemoteError as error:
                shown.write("".join(traceback.format_exception(error)))
    finally:
        root.removeHandler(handler)
        logging.getLogger("twotier").setLevel(level)
    assert shown.getvalue().count("Traceback") >= len(targets)
    assert SECRET not in shown.getvalue()


def test_a_server_that_quotes_what_it_does_not_know(fake_answers, namespace, caplog):
    """An old server's error about HELLO quotes the password; neither the link nor the data path passes it on."""
    server = fake_answers(
        f"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `app`, `{SECRET}`,\r\n"
    )
    with Cache(f"redis://app:{SECRET}@127.0.0.1:{server}", namespace=namespace) as cache:
        cache.get("key")
        wait_for(lambda: any("link can't connect" in line for line in caplog.messages), "the link has said something")
        with pytest.raises(RemoteError) as caught:
            cache.incr("count")
    assert SECRET not in caplog.text
    assert SECRET not in "".join(traceback.format_exception(caught.value))

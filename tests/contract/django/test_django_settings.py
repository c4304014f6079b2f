"""What the settings of a backend mean: the location, the options, and the secrets that values are signed with."""

import asyncio

import pytest
from django.core.cache import InvalidCacheBackendError
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings
from twotier.django.configuration import options_of
from twotier.django.shared import shared_caches


@pytest.mark.parametrize("given", [["redis://127.0.0.1:6379"], None, 5, "127.0.0.1:11211", "memcached://127.0.0.1"])
def test_a_location_that_is_no_url_is_improperly_configured(caches_of, given):
    """A LOCATION that can't work is refused when the backend is made, by the setting's name."""
    with pytest.raises(ImproperlyConfigured, match="LOCATION"):
        caches_of(given)["default"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"maxsize": 0}, "maxsize must be an int >= 1"),
        ({"MAX_ENTRIES": 30}, "'MAX_ENTRIES'"),
        ({"ttl": 30}, "TIMEOUT"),
    ],
)
def test_options_that_cannot_work_are_improperly_configured(caches_of, options, message):
    """OPTIONS that aren't twotier's, or are wrong, are refused by name when the backend is made."""
    with pytest.raises(InvalidCacheBackendError, match=message):
        caches_of("", default={"OPTIONS": options})["default"]


def test_secrets_come_from_djangos_and_rotate_with_them(caches_of, server, namespace):
    """Values are signed by SECRET_KEY; once it has become a fallback they are still read, and not after that."""
    options = {"OPTIONS": {"namespace": namespace}}

    def read():
        shared_caches.close()
        return caches_of(server.url, default=options)["default"].get("a")

    with override_settings(SECRET_KEY="old"):
        caches_of(server.url, default=options)["default"].set("a", {"signed": True})
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["old"]):
        assert read() == {"signed": True}
    with override_settings(SECRET_KEY="new"):
        assert read() is None


def test_what_another_secret_has_signed_is_missed_by_every_call(caches_of, server, namespace):
    """After a change of SECRET_KEY without a fallback, what is cached is gone, and can be cached anew, by any call."""
    entry = {"OPTIONS": {"namespace": namespace}, "TIMEOUT": None}
    keys = ["get", "add", "touch", "incr", "load", "aadd"]
    with override_settings(SECRET_KEY="an old key of some length"):
        caches_of(server.url, default=entry)["default"].set_many({key: {"signed": True} for key in keys})
    shared_caches.close()
    with override_settings(SECRET_KEY="a new key of some length"):
        cache = caches_of(server.url, default=entry)["default"]
        assert cache.get_many(keys) == {}
        assert cache.get("get") is None
        assert "get" not in cache
        assert cache.touch("touch", 50) is False
        with pytest.raises(ValueError, match="not found"):
            cache.incr("incr")
        assert cache.add("add", "anew") is True
        assert asyncio.run(cache.aadd("aadd", "anew")) is True
        assert cache.get_or_set("load", lambda: "anew") == "anew"
        assert cache.get_many(keys) == dict.fromkeys(["add", "aadd", "load"], "anew")


def test_the_signing_key_is_not_the_secret_key():
    """The key is derived, so that it gives SECRET_KEY away to nobody; a secret in OPTIONS is taken as it is."""
    with override_settings(SECRET_KEY="the site's"):
        derived = options_of({}).secrets
    assert len(derived) == 1
    assert b"the site's" not in derived[0]
    assert options_of({"OPTIONS": {"secret": ["a first key of 16", "another key of 16"]}}).secrets == (
        b"a first key of 16",
        b"another key of 16",
    )


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"SECRET_KEY_FALLBACKS": ["the old one", ""]}, r"SECRET_KEY_FALLBACKS\[1\]"),
        ({"SECRET_KEY_FALLBACKS": [b""]}, r"SECRET_KEY_FALLBACKS\[0\]"),
        ({"SECRET_KEY_FALLBACKS": [None]}, r"SECRET_KEY_FALLBACKS\[0\]"),
        ({"SECRET_KEY_FALLBACKS": "the old one"}, "SECRET_KEY_FALLBACKS"),
        ({"SECRET_KEY": 7}, "SECRET_KEY"),
    ],
)
def test_keys_that_anybody_can_guess_are_improperly_configured(settings, name):
    """An empty fallback would verify what anybody signs, and a str in place of a list each of its letters."""
    with override_settings(**settings), pytest.raises(InvalidCacheBackendError, match=name):
        options_of({})


def test_short_keys_of_django_are_taken():
    """Django leaves it to `check --deploy` to warn of a short SECRET_KEY, and settings of tests have such."""
    with override_settings(SECRET_KEY="x", SECRET_KEY_FALLBACKS=["y"]):
        assert [len(key) for key in options_of({}).secrets] == [32, 32]

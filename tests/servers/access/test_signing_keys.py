"""The option `secret`: every key of it is checked, since every one verifies, and no error shows a key."""

import pickle
import re
import subprocess
import sys

import pytest

from twotier import Cache, ConfigurationError, Options

GOOD = "correct horse battery"
BAD = {
    "empty str": "",
    "empty bytes": b"",
    "empty list": [],
    "empty tuple": (),
    "short str": "hunter2hunter2!",
    "short bytes": b"hunter2hunter2!",
    "bytearray": bytearray(b"hunter2hunter2hunter2"),
    "int": 7,
    "bool": False,
    "dict": {"hunter2hunter2hunter2": 1},
    "set": {"hunter2hunter2hunter2"},
    "generator": (each for each in ["hunter2hunter2hunter2"]),
    "lone surrogates": "hunter2" * 3 + "\ud800",
    "empty one in a list": [GOOD, ""],
    "short one in a list": [GOOD, b"hunter2"],
    "None in a list": [GOOD, None],
    "list in a list": [[GOOD]],
    "bytearray in a tuple": (bytearray(b"hunter2hunter2hunter2"),),
    "int in a list": [16],
}


@pytest.mark.parametrize("secret", BAD.values(), ids=BAD)
def test_bad_keys_are_refused(secret):
    """An empty, short or foreign element is a ConfigurationError that names its place and shows no key."""
    with pytest.raises(ConfigurationError, match=r"^secret") as caught:
        Options(secret=secret)
    assert "hunter2" not in str(caught.value)
    assert GOOD not in str(caught.value)
    if isinstance(secret, list) and len(secret) > 1:
        assert str(caught.value).startswith("secret[1] must be")


def test_a_short_key_says_how_to_make_one():
    """The error has a command that makes a key, and what it prints is taken."""
    with pytest.raises(ConfigurationError, match="at least 16 bytes") as caught:
        Options(secret="short")
    code = re.search(r'python -c "(.*?)"', str(caught.value)).group(1)
    made = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert len(Options(secret=made.stdout.strip()).secrets[0]) >= 32


def test_keys_of_every_form_are_taken():
    """A str counts in UTF-8; bytes are taken as they are; lists and tuples keep their order."""
    assert Options(secret="é" * 8).secrets == ("é".encode() * 8,)
    assert Options(secret=bytes(16)).secrets == (bytes(16),)
    for several in ([GOOD, bytes(16)], (GOOD, bytes(16))):
        assert Options(secret=several).secrets == (GOOD.encode(), bytes(16))


def test_a_cache_is_not_made_with_an_empty_key_in_its_rotation(server, namespace):
    """What a value signed with the empty key could run is never read, as no cache verifies with it."""
    with pytest.raises(ConfigurationError, match=r"secret\[1\]"):
        Cache(server.url, namespace=namespace, secret=[GOOD, ""])


@pytest.mark.parametrize("cleared", [True, False])
def test_a_rotation_keeps_values_if_the_namespace_is_cleared_under_the_new_key(server, namespace, cleared):
    """SECURITY.md's steps: each loses nothing but what `clear` removes; without the `clear`, the last step clears."""
    target, new = server.url, "another correct horse"
    with (
        Cache(target, namespace=namespace, secret=GOOD) as first,
        Cache(target, namespace=namespace, secret=[GOOD, new]) as both,
    ):
        first.set("a", 1)
        assert both.get("a") == 1
        with Cache(target, namespace=namespace, secret=[new, GOOD]) as turned:
            assert turned.get("a") == 1
            if cleared:
                turned.clear()
            turned.set("b", 2)
            assert both.get("b") == 2
    with Cache(target, namespace=namespace, secret=new) as last:
        assert last.get("b") == (2 if cleared else None)
        last.set("c", 3)
        assert last.get("c") == 3


def test_options_with_keys_can_be_pickled_and_shown():
    """The keys are no part of a repr."""
    options = Options(secret=[GOOD])
    assert GOOD not in repr(options)
    assert pickle.loads(pickle.dumps(options)) == options

"""SECURITY.md: the tests that it names exist, and what it says that somebody may do is so."""

import ast
import re
import stat
from pathlib import Path

import pytest
import redis
from project import ROOT
from waiting import live, wait_for

from twotier import Cache
from twotier.testing import EmbeddedServer

PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = sorted(set(re.findall(r"`(tests/[^`]*)`", PAGE)))
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| can they |")]
SECRET = "a key of 16 bytes"


@pytest.mark.parametrize("test", NAMED)
def test_the_tests_that_it_names_exist(test):
    """Each is a function of its file."""
    path, _, name = test.partition("::")
    functions = {node.name for node in ast.parse((ROOT / path).read_text()).body if isinstance(node, ast.FunctionDef)}
    assert name in functions


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_each_row_names_its_test(row):
    """It says what holds with and without a secret, and which test shows it."""
    cells = row.strip("|").split("|")
    assert len(cells) == 4
    assert all(cell.strip() for cell in cells)
    assert "`tests/" in cells[3] or cells[3].strip().startswith("none: ")


@pytest.fixture(params=[None, SECRET], ids=["unsigned", "signed"])
def cache(request, server, namespace):
    """A live cache that asks the server each time."""
    with Cache(server.url, namespace=namespace, secret=request.param, local_ttl=0.001) as cache:
        wait_for(lambda: live(cache), "the link is live")
        yield cache


@pytest.fixture
def admin(server):
    """Who can write to the server."""
    with redis.Redis.from_url(server.url) as client:
        yield client


def only(admin, pattern):
    """Return the only name on the server that fits."""
    (name,) = admin.keys(pattern)
    return name


def test_values_are_signed_and_not_encrypted(cache, admin, namespace):
    """Who reads the server reads them."""
    cache.set("key", "a plain word")
    assert b"a plain word" in admin.get(only(admin, f"{namespace}:*:key"))


def test_an_older_value_of_the_same_key_can_be_put_back(cache, admin, namespace):
    """A signature doesn't tell that a value is the latest."""
    cache.set("key", "old")
    place = only(admin, f"{namespace}:*:key")
    old = admin.get(place)
    cache.set("key", "new")
    admin.set(place, old)
    cache._namespace.bump_epoch()
    assert cache.get("key") == "old"


def test_a_tag_that_was_ended_can_be_brought_back(cache, admin, namespace):
    """The versions of tags aren't signed."""
    cache.set("key", "tagged", tags=["tag"])
    place = f"{namespace}:#tag"
    version = admin.get(place)
    cache.invalidate_tag("tag")
    assert cache.get("key") is None
    admin.set(place, version)
    cache._namespace.bump_epoch()
    assert cache.get("key") == "tagged"


def test_an_embedded_server_is_its_users_alone():
    """Its socket is in a folder that nobody else can enter."""
    with EmbeddedServer() as server:
        folder = Path(server.socket_path).parent
        assert not stat.S_IMODE(folder.stat().st_mode) & 0o077

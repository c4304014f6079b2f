"""Django's settings for the tests in this process, and backends made as Django makes them."""

import tempfile
from pathlib import Path

import django
import pytest
from django.conf import settings
from django.core.cache import CacheHandler
from twotier.django.shared import shared_caches
from waiting import PATIENT, live, wait_for

_folder = tempfile.TemporaryDirectory()
settings.configure(
    SECRET_KEY="for tests alone",
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"},
        "file": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(_folder.name) / "db.sqlite3"},
    },
    USE_I18N=True,
)
django.setup()


@pytest.fixture
def caches_of():
    """Make a handler, as `django.core.cache.caches` is one, for CACHES; close what stands behind it at the end."""

    def make(location, **entries):
        entries = entries or {"default": {}}
        return CacheHandler(
            {
                alias: {"BACKEND": "twotier.django.TwoTierCache", "LOCATION": location, **entry}
                for alias, entry in entries.items()
            }
        )

    yield make
    shared_caches.close()


@pytest.fixture(params=["local", "two-tier"])
def location(request):
    """A LOCATION of either kind."""
    return "" if request.param == "local" else request.getfixturevalue("server").url


@pytest.fixture
def cache(caches_of, location, namespace):
    """A backend with the defaults, on both kinds of LOCATION."""
    backend = caches_of(location, default={"OPTIONS": {"namespace": namespace, **PATIENT}})["default"]
    if location:
        wait_for(lambda: live(backend.cache), "the link is live")
    return backend

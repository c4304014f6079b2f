"""Run the cache tests that Django ships against the backend: `run_django_suite.py FOLDER_WITH_TESTS LOCATION`.

A program of its own, since it needs Django's settings for itself. Prints one line of JSON at the end.
"""

import json
import sys
import unittest

import django
from django.conf import settings

tests, location = sys.argv[1:]
sys.path.insert(0, tests)

ENTRY = {"BACKEND": "twotier.django.TwoTierCache", "LOCATION": location}

settings.configure(
    SECRET_KEY="for tests alone",
    CACHES={"default": ENTRY},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    INSTALLED_APPS=["cache", "django.contrib.sessions"],
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    USE_TZ=False,
)
django.setup()

from cache.tests import BaseCacheTests, caches_setting_for_tests  # noqa: E402 - from Django's sdist
from django.core.cache import cache, caches  # noqa: E402
from django.test import TestCase, override_settings  # noqa: E402
from django.test.utils import get_runner  # noqa: E402


@override_settings(CACHES=caches_setting_for_tests(base=ENTRY, exclude={"cull", "zero_cull"}))
class TwoTierCacheTests(BaseCacheTests, TestCase):
    """Every test that Django has for all of its backends; those of culling skip themselves, as with Redis."""

    def test_backend(self):
        """What runs here is the backend, in the mode asked for."""
        assert (cache.cache.health().link == "local") == (not location)
        assert caches["prefix"].cache is cache.cache


runner = get_runner(settings)(verbosity=1, interactive=False)
runner.setup_test_environment()
databases = runner.setup_databases()
suite = unittest.defaultTestLoader.loadTestsFromTestCase(TwoTierCacheTests)
result = runner.run_suite(suite)
runner.teardown_databases(databases)
runner.teardown_test_environment()
counts = {"run": result.testsRun}
for name in ("failures", "errors", "skipped", "unexpectedSuccesses"):
    counts[name] = [str(case[0]) if isinstance(case, tuple) else str(case) for case in getattr(result, name)]
print(json.dumps(counts))  # noqa: T201 - its answer

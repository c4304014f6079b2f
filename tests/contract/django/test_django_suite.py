"""Django's own cache tests, from the sdist of the Django that is installed, run against the backend."""

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import django
import pytest

RUNNER = Path(__file__).with_name("run_django_suite.py")
CULLING = 3  # tests that skip themselves where a backend doesn't cull


@pytest.fixture(scope="module")
def django_tests(request) -> Path:
    """The folder `tests` of Django's sdist: from pip, which checks it against the index, and kept in pytest's cache."""
    name = f"django-{django.__version__}"
    kept = request.config.cache.mkdir("django-sdists")
    if not (kept / name).exists():
        with tempfile.TemporaryDirectory(dir=kept) as scratch:
            command = ["download", "--quiet", "--no-deps", "--no-binary", "django", "--dest", scratch]
            pip = subprocess.run(
                [sys.executable, "-m", "pip", *command, f"django=={django.__version__}"],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if pip.returncode:
                pytest.fail(f"Django's sdist, which its cache tests come in, can't be had:\n{pip.stderr}")
            with tarfile.open(next(Path(scratch).glob("*.tar.gz"))) as sdist:
                top = sdist.getnames()[0].partition("/")[0]
                wanted = [member for member in sdist if member.name.startswith(f"{top}/tests/cache/")]
                safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python 3.11.4 brought it
                sdist.extractall(scratch, wanted, **safely)
            shutil.move(Path(scratch, top), kept / name)
    return kept / name / "tests"


@pytest.fixture(scope="module")
def runs(server, django_tests):
    """The suite in both modes, side by side: its time goes into waiting for expiry."""
    started = {
        mode: subprocess.Popen(
            [sys.executable, "-W", "always::ResourceWarning", RUNNER, django_tests, location],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for mode, location in (("two-tier", server.url), ("local", ""))
    }
    yield started
    for run in started.values():
        if run.poll() is None:
            run.kill()
            run.communicate()


@pytest.mark.parametrize("mode", ["two-tier", "local"])
def test_django_cache_suite(runs, mode):
    """All of Django's tests for any backend pass; only those of culling don't apply."""
    out, log = runs[mode].communicate(timeout=100)
    assert runs[mode].returncode == 0, log
    counts = json.loads(out.splitlines()[-1])
    assert not counts["failures"], log
    assert not counts["errors"], log
    assert not counts["unexpectedSuccesses"], log
    assert len(counts["skipped"]) == CULLING, counts["skipped"]
    assert counts["run"] > 50
    assert "ResourceWarning" not in log, log

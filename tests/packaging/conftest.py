"""One build of the project for all packaging tests: a copy of the tree, its sdist, and the wheel made of that sdist."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from project import ROOT

NOT_SOURCES = shutil.ignore_patterns(
    ".*", "build", "dist", "*.egg-info", "__pycache__", "*.so", "_speedups.c", "_speedups.html", "results"
)


@dataclass(frozen=True)
class Built:
    """The two files that a release consists of."""

    sdist: Path
    wheel: Path


@dataclass(frozen=True)
class Environment:
    """A virtual environment, and the interpreter in it."""

    python: Path

    def install(self, *requirements: str, **variables: str) -> str:
        """Install with pip under further environment variables; return what it printed."""
        command = [sys.executable, "-m", "pip", "--python", str(self.python), "install", "--no-input", *requirements]
        return output(command, cwd=self.python.parent, **variables)

    def run(self, code: str, **variables: str) -> str:
        """Run code outside of the repository; return what it printed, warnings included."""
        return output([str(self.python), "-c", code], cwd=self.python.parent, **variables)


def output(command: list[str], cwd: Path, **variables: str) -> str:
    """Run a command, apart from this process's own Python settings, and return all that it printed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TWOTIER"))}
    environment |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", **variables}
    done = subprocess.run(
        command, cwd=cwd, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    """The sdist and the wheel; the wheel is made from the sdist alone, so that nothing can be missing in it."""
    tree = tmp_path_factory.mktemp("build") / "twotier"
    shutil.copytree(ROOT, tree, ignore=NOT_SOURCES)
    shutil.copytree(ROOT / ".ci", tree / ".ci")
    output([sys.executable, "-m", "build", "--outdir", "dist", "."], cwd=tree, TWOTIER_COMPILE="required")
    (sdist,) = (tree / "dist").glob("*.tar.gz")
    (wheel,) = (tree / "dist").glob("*.whl")
    return Built(sdist, wheel)


@pytest.fixture
def environment(tmp_path) -> Environment:
    """A fresh virtual environment without anything in it."""
    folder = tmp_path / "venv"
    output([sys.executable, "-m", "venv", "--without-pip", str(folder)], cwd=tmp_path)
    return Environment(folder / "bin" / "python")


@pytest.fixture
def run():
    """Run a command, and return what it printed."""
    return output

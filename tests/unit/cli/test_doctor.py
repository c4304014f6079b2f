"""`twotier doctor` as users run it: what it says of the installation and of a server, and its exit code."""

import os
import subprocess
import sys

import pytest
import redis

COMMAND = [sys.executable, "-c", "from twotier.cli import main\nif __name__ == '__main__': main()", "doctor"]


def run(*arguments, **environment):
    """Run the command; return its exit code and what it printed."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, "TWOTIER_IMPL": "", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


def test_a_compiled_installation_and_a_server_that_permits_all_are_well(own_server):
    """It exits with 0, and leaves nothing on the server."""
    code, said = run(own_server.url)
    assert code == 0, said
    assert "the local tier is compiled" in said
    assert "the server answers" in said
    assert "WRONG" not in said
    with redis.Redis.from_url(own_server.url) as client:
        assert client.dbsize() == 0


def test_the_python_twin_is_named():
    """An installation whose compilation failed exits with 1."""
    code, said = run(TWOTIER_IMPL="python")
    assert code == 1
    assert "WRONG the local tier is the Python twin" in said


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://app:hunter2@127.0.0.1:1", "can't connect to redis://127.0.0.1:1/0"),
        ("http://app:hunter2@h", "the URL must begin with"),
    ],
)
def test_a_server_that_cannot_be_used_is_named(url, says):
    """The reason is on one line, without secrets."""
    code, said = run(url)
    assert code == 1
    assert says in said
    assert "hunter2" not in said
    assert len(said.splitlines()) == 3

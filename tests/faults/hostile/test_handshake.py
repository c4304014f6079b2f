"""A server that shakes hands as it likes: a connection isn't made then, within bounds of time and memory."""

import logging
import subprocess
import sys
import time

import pytest
from wires import UNFIT, always

from twotier import Cache
from twotier.errors import RemoteError
from twotier.remote.io.handshake import TIMEOUTS

QUIET = {"a map", "an attribute", "pushes"}
"""Answers to HELLO that are none, or could be."""


@pytest.mark.parametrize("wire", [wire for name, wire in UNFIT.items() if name not in QUIET])
def test_whatever_is_answered_to_hello(scripted, wire):
    """No answer to HELLO makes a call raise what it wouldn't raise for a server that is away."""
    server = scripted(always(None), hello=wire)
    with Cache(server.url, namespace="t") as cache:
        assert cache.get("key", "none") == "none"
        cache.set("key", 1)
        with pytest.raises(RemoteError):
            cache.incr("count")
        assert cache.health().link == "down"


def test_what_is_said_before_it_is_asked_for_is_not_believed(scripted):
    """A server that answers commands in advance isn't used, even if these answers would fit."""
    fitting = b"%1\r\n$5\r\nproto\r\n:3\r\n" + b"$-1\r\n:-2\r\n"
    server = scripted(always(None), hello=fitting)
    with Cache(server.url, namespace="t") as cache, pytest.raises(RemoteError, match="the Redis protocol"):
        cache.incr("count")


def test_an_answer_that_drips_in_has_one_deadline(scripted):
    """Each byte in time, and yet the handshake ends."""
    ended = []

    def drip(connection):
        begun = time.monotonic()
        try:
            while True:
                connection.sendall(b"+" if not ended else b"x")
                time.sleep(0.02)
        except OSError:
            ended.append(time.monotonic() - begun)

    server = scripted(always(None), hello=drip)
    with Cache(server.url, namespace="t", timeout=0.25) as cache:
        assert cache.get("key") is None
        deadline = time.monotonic() + 20
        while not ended:
            assert time.monotonic() < deadline, "the handshake goes on for ever"
            time.sleep(0.01)
    assert ended[0] < TIMEOUTS * 0.25 + 5


CHILD = """
import resource, sys
from twotier import Cache

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10

with Cache(sys.argv[1], namespace="t", timeout=2.0, connect_timeout=2.0, max_staleness=8.0) as cache:
    cache.peek("warm") if hasattr(cache, "peek") else None
    before = peak()
    for _ in range(3):
        assert cache.get("key", "none") == "none"
    print(peak() - before)
"""


@pytest.mark.parametrize("flooded", ["hello", "command"])
def test_a_flood_takes_no_memory(scripted, flooded):
    """A gigabyte in answer to HELLO, or to a command, is refused when its length comes."""

    def flood(connection):
        connection.sendall(b"$1000000000\r\n")
        for _ in range(1000):
            connection.sendall(bytes(1_000_000))

    if flooded == "hello":
        server = scripted(always(None), hello=flood)
    else:
        server = scripted(lambda _, connection: flood(connection))
    child = subprocess.run(
        [sys.executable, "-c", CHILD, server.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert child.returncode == 0, child.stderr
    assert int(child.stdout) < 40


@pytest.mark.parametrize("code", ["MASTERDOWN", "LOADING", "NOAUTH", "NOPERM", "ERR", "READONLY", "EXECABORT"])
def test_refusals_are_shown_in_one_short_line(scripted, code, caplog):
    """Whatever a server says in place of a handshake, errors and logs show none of its control characters."""
    text = f"-{code} \x1b[31m{'x' * 5000}\r\n".encode()
    server = scripted(always(text), hello=text)
    with caplog.at_level(logging.DEBUG, "twotier"), pytest.raises(RemoteError) as caught:
        Cache(server.url, namespace="t", connect="eager")
    for line in (str(caught.value), *caplog.messages):
        assert line.isprintable()
        assert len(line) < 700

"""The end of a process that didn't close its caches."""

import importlib.util
import os
import subprocess
import sys

import pytest

SCRIPT = """
import atexit, time
atexit.register(time.sleep, 0.3)  # registered first, runs last: whatever the end stirs up has time to be told
from twotier import Cache
cache = Cache("embedded://")
cache.set("key", 1)
while cache.health().link != "live":
    time.sleep(0.001)
print(cache.get("key"))
"""


def test_a_process_ends_quietly():
    """A cache left open, with an embedded server, ends with the process: nothing is logged or raised on the way."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)


SUBINTERPRETER = """
import sys
import _xxsubinterpreters as interpreters

sub = interpreters.create(isolated=False)
interpreters.run_string(sub, '''
import sys, time
sys.path[:0] = %r
from twotier import Cache
cache = Cache(%r, namespace=%r, timeout=2.0, max_staleness=8.0)
cache.set("key", 1, ttl=100)
while cache.health().link != "live":
    time.sleep(0.001)
    cache.get("is the link up?")
assert cache.get_or_set("other", lambda: 2, hard_timeout=10) == 2
cache.close()
''' % (sys.path, *sys.argv[1:]))
interpreters.destroy(sub)
print("ended")
"""


@pytest.mark.skipif(importlib.util.find_spec("_xxsubinterpreters") is None, reason="no sub-interpreters by that name")
def test_a_sub_interpreter_may_end_right_after_close(server, namespace):
    """No thread is left in it, for which the process would be aborted."""
    done = subprocess.run(
        [sys.executable, "-c", SUBINTERPRETER, server.url, namespace],
        capture_output=True,
        text=True,
        env={**os.environ, "TWOTIER_IMPL": "python"},
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("ended\n", "", 0)

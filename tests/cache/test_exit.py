"""The end of a process that didn't close its caches."""

import subprocess
import sys

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

"""Real processes on a real server through the fault proxy: every read is checked, and all agree after quiet.

`bench/availability.py` runs them, as a program of its own; this checks what it has seen.
"""

import json
import subprocess
import sys

import pytest
from private_servers import BINARY
from project import ROOT

FAULTS = (
    "server killed, back empty",
    "server hangs",
    "link gone",
    "data path gone",
    "connections reset 20 times",
    "100 ms, 11 bytes at a time",
)
RUN = [sys.executable, str(ROOT / "bench" / "availability.py"), "--json", "--seconds=3", "--witnesses=3", "--keys=20"]


@pytest.fixture(scope="module")
def seen():
    """What three witnesses behind the proxy, and a writer beside it, have seen of each fault, one after the other."""
    server = [] if BINARY is None else ["--server", BINARY]
    done = subprocess.run(
        [*RUN, *server, *(f"--fault={fault}" for fault in FAULTS)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {each["fault"]: each for each in map(json.loads, done.stdout.splitlines())}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_read_keeps_the_promises(seen, fault):
    """No read raises or is wrong, none is taken for fresh past the bound, and all processes agree with the server."""
    total = seen[fault]
    assert total["recovered"] < 5  # two seconds on a machine that has the time
    assert total["reads"] > 100
    assert (total["failed"], total["wrong"], total["late"]) == (0, 0, 0), total["first_complaint"]
    assert total["slowest"] < 5000
    assert total["oldest_fresh"] <= 2500

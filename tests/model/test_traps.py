"""Known mistakes: each must be found, by what follows from it, in the fewest moves."""

import pytest
from protocol.explorer import explore
from protocol.traps import FOUND, TRAPS


@pytest.mark.parametrize("trap", TRAPS + FOUND, ids=lambda trap: f"{trap.name} ({trap.breaks})")
def test_trap_is_found(trap, record_state_count):
    """With one rule changed, the invariant breaks; the trace shows how."""
    report = explore(trap.scenario, trap.rules, frozenset({trap.breaks}), reduced=False)
    record_state_count(report)
    assert report.broken.startswith(trap.breaks), f"not found: {report}"

"""The protocol as twotier follows it: in small bounds no interleaving breaks an invariant; `--deep` for larger ones."""

import pytest
from protocol.bounds import DEEP, QUICK
from protocol.explorer import explore
from protocol.rules import Rules
from protocol.scenario import Scenario
from protocol.traps import FOUND, GET, SET, TRAPS


@pytest.mark.parametrize("scenario", QUICK, ids=lambda scenario: scenario.name)
def test_protocol_holds(scenario, record_state_count):
    """Every state that a small case can come to satisfies I1 to I8, and every flow ends."""
    report = explore(scenario)
    record_state_count(report)
    assert not report.trace, str(report)


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("scenario", DEEP, ids=lambda scenario: scenario.name)
def test_protocol_holds_in_larger_bounds(scenario, record_state_count):
    """The same for cases of up to some millions of states."""
    report = explore(scenario)
    record_state_count(report)
    assert not report.trace, str(report)


@pytest.mark.parametrize(
    "trap", [trap for trap in TRAPS + FOUND if not trap.large], ids=lambda trap: f"{trap.name} ({trap.breaks})"
)
def test_protocol_holds_where_the_traps_are(trap, record_state_count):
    """What is wrong in a trap is its rule, not its scenario: with the rules as they are, the same scenario holds."""
    report = explore(trap.scenario)
    record_state_count(report)
    assert not report.trace, str(report)


@pytest.mark.parametrize("rules", [Rules(), Rules(fill="naive")], ids=["as they are", "a mistake"])
@pytest.mark.parametrize("programs", [((GET, GET), (SET,)), ((GET,), (GET,), (SET,))], ids=["threads", "processes"])
def test_reductions_lose_nothing(programs, rules):
    """With and without the reductions, explorations come to the same verdict."""
    scenario = Scenario("interchangeable readers", programs, cold=True)
    whole, reduced = (explore(scenario, rules, frozenset({"I2"}), reduced=reduced) for reduced in (False, True))
    assert whole.broken[:2] == reduced.broken[:2] == ("I2" if rules.fill == "naive" else "")
    assert whole.depth >= reduced.depth
    assert reduced.states < whole.states

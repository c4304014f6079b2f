"""The larger bounds (`--deep`), and how many states each exploration visits: the last lines tell, with -v each."""

import pytest

_counted = pytest.StashKey[list[tuple[str, int, int]]]()


@pytest.fixture
def record_state_count(request):
    """Record the size of an exploration under the test's name."""
    stash = request.config.stash.setdefault(_counted, [])

    def record(report) -> None:
        stash.append((request.node.name, report.states, report.moves))

    return record


def pytest_terminal_summary(terminalreporter, config):
    """Print the totals, and with -v each size."""
    counted = config.stash.get(_counted, [])
    if not counted:
        return
    states, moves = sum(each[1] for each in counted), sum(each[2] for each in counted)
    terminalreporter.write_line(f"the model: {len(counted)} explorations, {states:,} states, {moves:,} moves")
    if config.get_verbosity() > 0:
        for name, states, moves in counted:
            terminalreporter.write_line(f"  {states:>9,} states {moves:>9,} moves  {name}")

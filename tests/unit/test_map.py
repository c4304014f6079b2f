"""CONTRIBUTING.md's map: the names that it shows exist, and real calls take the walks that it describes."""

import functools
import importlib

import pytest
from project import ROOT, SOURCES, modules, stops
from walks import WALKS

from twotier.local import COMPILED

HEADINGS = {
    "A `get` that misses the local tier": "get",
    "A `set`": "set",
    "An invalidation": "invalidation",
    "A load across processes": "get_or_set",
    "An outage and the replay after it": None,
}
"""The map's walks, and the names that those which are traced have in `walks`."""
CHANGES = 20


def test_the_map_has_its_walks_and_changes():
    """The map shows five walks, each with several stops, and where to go for twenty changes."""
    shown = stops()
    assert list(dict.fromkeys(stop.walk for stop in shown if stop.walk)) == list(HEADINGS)
    for heading in HEADINGS:
        assert sum(len(stop.names) for stop in shown if stop.walk == heading) >= 5, heading
    table = (ROOT / "CONTRIBUTING.md").read_text().partition("| I want to change |")[2].partition("\n\n")[0]
    assert table.count("\n| ") == CHANGES


def test_the_map_names_what_is_there():
    """Every file on the map is in the project, and every name is found in its module by import."""
    module_at = {path: name for name, path in modules().items()}
    wrong = []
    for _, path, names in stops():
        if not (ROOT / path).exists():
            wrong.append(f"{path} isn't there")
        elif names and ROOT / path not in module_at:
            wrong.append(f"{path} is no module of {', '.join(SOURCES)}, to look up {', '.join(names)} in")
        for name in names:
            try:
                functools.reduce(getattr, name.split("."), importlib.import_module(module_at[ROOT / path]))
            except (AttributeError, ImportError, KeyError) as error:
                wrong.append(f"{path} has no {name}: {error!r}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.skipif(not COMPILED, reason="the Python twin has files of its own")
@pytest.mark.parametrize("heading", [heading for heading, walk in HEADINGS.items() if walk])
def test_calls_take_the_walks(heading, server, namespace):
    """A traced call enters each module that its walk on the map names."""
    entered = WALKS[HEADINGS[heading]](server.url, namespace)
    shown = {stop.path.removeprefix("twotier/") for stop in stops() if stop.walk == heading and stop.names}
    assert shown <= entered, f"not entered: {sorted(shown - entered)}"

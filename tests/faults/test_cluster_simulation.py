"""Groups of slots, whose generations change one by one and whose nodes are lost, under any order of what arrives."""

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from simulated_cluster import KEYS, NODES, ClusterWorld

from twotier.core.flow.batch import Part
from twotier.core.namespace.cluster_generations import GroupedGenerations
from twotier.core.namespace.generations import Generations
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.core.namespace.subscriber import TrackingSubscriber

numbers = st.integers(0, 1)
keys = st.sampled_from(KEYS)
nodes = st.sampled_from(NODES)
few = st.integers(0, 3)
KINDS = ["get", "get_many", "set", "set_many", "delete", "clear", "load"]


class Groups(RuleBasedStateMachine):
    """Moves the world one step at a time."""

    @initialize()
    def begin(self):
        """Both processes hold every key."""
        self.world = ClusterWorld()
        for number, kind in ((0, "set_many"), (0, "get_many"), (1, "get_many")):
            self.at_once(number, kind, KEYS[0])
            self.hear(number, NODES[0], 10**6)
            self.hear(number, NODES[1], 10**6)

    @rule(number=numbers, kind=st.sampled_from(KINDS), key=keys)
    def start(self, number, kind, key):
        """Begin a call."""
        if kind != "load" or not self.world.calls:
            self.world.start(number, kind, key)

    @rule(number=numbers, kind=st.sampled_from(KINDS), key=keys)
    def at_once(self, number, kind, key):
        """Begin a call and carry it to its end."""
        if kind != "load" or not self.world.calls:
            call = self.world.start(number, kind, key)
            for _ in range(500):
                if call.done:
                    return
                self.world.go(self.world.calls.index(call), 0)
                self.world.clock.advance(0.05)

    @rule(number=few, at=few)
    def go(self, number, at):
        """Let a trip arrive."""
        self.world.go(number, at)

    @rule(number=few, at=few)
    def go_unheard(self, number, at):
        """Let a trip arrive and its reply be lost."""
        self.world.go(number, at, unheard=True)

    @rule(number=numbers, node=nodes, count=st.sampled_from([1, 2, 10**6]))
    def hear(self, number, node, count):
        """Let a process hear of what was changed."""
        self.world.processes[number].hear(node, count)

    @rule(node=nodes)
    def lose(self, node):
        """Lose a node."""
        self.world.lose(node)

    @rule(node=nodes)
    def restore(self, node):
        """Have it back."""
        self.world.restore(node)

    @rule(number=numbers)
    def recover(self, number):
        """Let a process replay what it can."""
        self.world.processes[number].recover()

    def teardown(self):
        """What must hold once all is quiet."""
        if hasattr(self, "world"):
            self.world.settle()


STEPS = settings(max_examples=120, stateful_step_count=30, deadline=None, derandomize=True)
Groups.TestCase.settings = STEPS
TestGroups = Groups.TestCase


def unfenced(generations, keys, make):
    """Write under the generations that are known, and don't ask whether they stood."""
    parts = yield from generations.each(keys, make)
    return [Part(members, outcome) for members, outcome in parts]


received = TrackingSubscriber.received
MISTAKES = {
    "a write doesn't look at its generation": (GroupedGenerations, "write_each", unfenced),
    "a clear forgets the groups it didn't reach": (TwoTierNamespace, "doubt_clear", lambda *_: None),
    "a clear is of the first group": (
        Generations,
        "clear",
        lambda self, groups, publication, clear=Generations.clear: clear(self, list(groups)[:1], publication),
    ),
    "nobody hears of a clear": (
        TrackingSubscriber,
        "received",
        lambda self, changed: received(self, [key for key in changed if key not in self.generation_keys]),
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found(mistake, monkeypatch):
    """The simulation finds what it is there to find."""
    monkeypatch.setattr(*MISTAKES[mistake])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Groups, settings=settings(STEPS, phases=[Phase.generate]))

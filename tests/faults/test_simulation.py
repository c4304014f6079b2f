"""The protocol's invariants under scripts of delay, loss, reordering and disconnection (DESIGN section 5)."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from simulation import KEYS, World

numbers = st.integers(0, 1)
positions = st.integers(0, 7)


class Faults(RuleBasedStateMachine):
    """Moves the world one step at a time, in any order that TCP allows."""

    @initialize()
    def begin(self):
        """Two processes whose links are live."""
        self.world = World(2)
        for _ in range(4):
            for process in self.world.processes:
                process.connect()
                process.send()
                process.hear()

    @rule(number=numbers, kind=st.sampled_from(["get", "get", "set", "set", "delete"]), key=st.sampled_from(KEYS))
    def start(self, number, kind, key):
        """Begin an operation."""
        self.world.start(number, kind, key)

    def call(self, position):
        """Return one of the calls under way."""
        return self.world.calls[position % len(self.world.calls)]

    @precondition(lambda self: self.world.calls)
    @rule(position=positions)
    def request(self, position):
        """A request arrives."""
        self.world.request_arrives(self.call(position))

    @precondition(lambda self: self.world.calls)
    @rule(position=positions)
    def reply(self, position):
        """A reply arrives."""
        self.world.reply_arrives(self.call(position))

    @precondition(lambda self: self.world.calls)
    @rule(position=positions)
    def trip(self, position):
        """A request and its reply arrive."""
        call = self.call(position)
        self.world.request_arrives(call)
        self.world.reply_arrives(call)

    @precondition(lambda self: self.world.calls)
    @rule(position=positions)
    def give_up(self, position):
        """A caller's deadline passes."""
        self.world.give_up(self.call(position))

    @precondition(lambda self: self.world.abandoned)
    @rule(position=positions)
    def late(self, position):
        """A request arrives that was given up on."""
        self.world.late_arrival(position)

    @rule(number=numbers)
    def send(self, number):
        """A link's questions arrive."""
        self.world.processes[number].send()

    @rule(number=numbers, share=st.sampled_from([0.3, 1.0, 1.0]))
    def hear(self, number, share):
        """What the server pushed arrives, or the first part of it."""
        self.world.processes[number].hear(share)

    @rule(number=numbers)
    def disconnect(self, number):
        """A link is lost."""
        self.world.processes[number].disconnect()

    @rule(number=numbers)
    def connect(self, number):
        """A link is begun anew, and goes as far as to live if nothing is in its way."""
        process = self.world.processes[number]
        process.connect()
        process.send()
        process.hear()

    @rule(number=numbers)
    def recover(self, number):
        """Recovery tries."""
        self.world.processes[number].recover()
        self.world.record()

    @rule(seconds=st.sampled_from([0.01, 0.6, 1.1, 2.6]))
    def wait(self, seconds):
        """Time passes."""
        self.world.clock.advance(seconds)
        for process in self.world.processes:
            process.send()

    @invariant()
    def nothing_fresh_is_old(self):
        """I3, at every moment."""
        if hasattr(self, "world"):
            self.world.check_fresh()

    def teardown(self):
        """I2 and I6, once all is quiet."""
        if hasattr(self, "world"):
            self.world.settle()


Faults.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None, derandomize=True)
TestFaults = Faults.TestCase

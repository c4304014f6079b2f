"""What a process may believe of its namespace's generations in a cluster, group by group."""

import pytest

from twotier.clock import NEVER, SystemClock
from twotier.core.namespace.cluster_generations import GROUP_SLOTS, GROUPS, GroupedGenerations
from twotier.errors import RemoteError, RemoteTimeout, RemoteUnavailable
from twotier.local import Store
from twotier.remote.commands.base import FetchMany, Generation, Put, PutMany, SetGeneration
from twotier.remote.commands.batch import Batch, PartialResult, PerKey
from twotier.remote.commands.conditional import IfEqual
from twotier.remote.commands.generations import UnderGeneration, WithGeneration
from twotier.remote.commands.replicas import ReadGeneration
from twotier.remote.commands.sweep import AddNames

KEYS = [f"key{number}" for number in range(40)]


class Nodes:
    """Generations without a wire: a dict, groups that are lost, and what was asked for."""

    def __init__(self):
        self.names, self.lost, self.asked = {}, set(), []
        self.store = Store(10)
        self.store.renew(NEVER)
        self.border = 0
        """The first slot of the second node."""
        self.generations = GroupedGenerations("shop", self.store, SystemClock(), NEVER, lambda slot: slot < self.border)

    def run(self, flow):
        """Take a flow to its end; return its result."""
        try:
            command = next(flow)
            while True:
                try:
                    reply = self.answer(command)
                except RemoteError as error:
                    command = flow.throw(error)
                else:
                    command = flow.send(reply)
        except StopIteration as done:
            return done.value

    def answer(self, command):  # noqa: PLR0911 - one return a command
        """Return what comes of a command."""
        if isinstance(command, Batch):
            return [self._outcome(each) for each in command.commands]
        if isinstance(command, WithGeneration):
            self._reach(command.generation_key)
            self.asked.append(command)
            return UnderGeneration(
                len(command.write.items) if isinstance(command.write, PutMany) else True, self._name(command)
            )
        if isinstance(command, Generation):
            self._reach(command.key)
            self.asked.append(command)
            return self.names.setdefault(command.key, command.candidate)
        if isinstance(command, ReadGeneration):
            self._reach(command.key)
            return self.names.get(command.key)
        if isinstance(command, AddNames):
            return True
        if isinstance(command, SetGeneration):
            self._reach(command.key)
            self.names[command.key] = command.value
            return None
        if isinstance(command, IfEqual):
            self._reach(command.watched)
            if self.names.get(command.watched) != command.expected:
                return False
            self.names[command.watched] = command.write.value
            return True
        assert isinstance(command, PerKey)
        return PartialResult(command.command, {})

    def _name(self, command):
        return self.names.get(command.generation_key)

    def _outcome(self, command):
        try:
            return self.answer(command)
        except RemoteError as error:
            return error

    def _reach(self, key):
        if self.generations.keys.index(key) in self.lost:
            raise RemoteUnavailable("lost")

    def lose(self, group):
        """Lose the node of a group, and with it the link."""
        self.lost.add(group)
        self.store.lose()

    def count(self, kind):
        """Return how many commands of a kind were asked for since the last count."""
        found = sum(isinstance(each, kind) for each in self.asked)
        self.asked.clear()
        return found


@pytest.fixture
def nodes():
    """All nodes are there, and nothing is known yet."""
    return Nodes()


def put_many(keys, places):
    """Make a write of keys."""
    return PutMany([(place, key.encode(), None) for key, place in zip(keys, places, strict=True)], None)


def put(place):
    """Make a write of one key."""
    return Put(place, b"value", None, absent=False, publication=None)


def test_the_first_need_asks_for_all(nodes):
    """One question an epoch: who comes next finds every group known."""
    nodes.run(nodes.generations.place(KEYS[0]))
    assert nodes.count(Generation) == GROUPS
    for key in KEYS:
        nodes.run(nodes.generations.place(key))
    assert nodes.count(Generation) == 0
    nodes.store.bump_epoch()
    nodes.run(nodes.generations.place(KEYS[0]))
    assert nodes.count(Generation) == GROUPS


def test_without_a_lease_only_what_is_needed_is_asked_for(nodes):
    """While a node is lost nothing is believed, and each call asks for its own groups alone."""
    nodes.store.lose()
    for _ in range(2):
        nodes.run(nodes.generations.write(KEYS[0], put))
        assert nodes.count(Generation) == 1
    nodes.run(nodes.generations.write_each(KEYS, put_many))
    assert nodes.count(Generation) == len({nodes.generations.group_of(key) for key in KEYS})


def test_a_lost_group_takes_its_own_keys_along_and_no_others(nodes):
    """Each group's keys have an outcome of their own; one that is known to be lost isn't written to."""
    lost = nodes.generations.group_of(KEYS[0])
    nodes.lose(lost)
    parts = nodes.run(nodes.generations.write_each(KEYS, put_many))
    failed = [key for keys, outcome in parts if isinstance(outcome, RemoteError) for key in keys]
    assert failed == [key for key in KEYS if nodes.generations.group_of(key) == lost]
    assert sum(outcome for _, outcome in parts if not isinstance(outcome, RemoteError)) == len(KEYS) - len(failed)
    with pytest.raises(RemoteUnavailable):
        nodes.run(nodes.generations.write(KEYS[0], put))


def test_only_what_a_clear_overtook_is_done_again(nodes):
    """Of a bulk, those groups are written once more whose generation is another by now."""
    nodes.run(nodes.generations.place(KEYS[0]))
    nodes.count(Generation)
    cleared = nodes.generations.group_of(KEYS[0])
    nodes.run(nodes.generations.clear([cleared], None))
    epoch = nodes.store.epoch
    parts = nodes.run(nodes.generations.write_each(KEYS, put_many))
    assert sorted(key for keys, _ in parts for key in keys) == sorted(KEYS)
    assert not any(isinstance(outcome, RemoteError) for _, outcome in parts)
    groups = [each.generation_key for each in nodes.asked if isinstance(each, WithGeneration)]
    again = {key for key in groups if groups.count(key) > 1}
    assert again == {nodes.generations.keys[cleared]}
    assert nodes.store.epoch > epoch


def test_a_clear_tells_what_it_did_not_reach(nodes):
    """Every group that is there is cleared, and those of a lost node are named."""
    nodes.run(nodes.generations.place(KEYS[0]))
    before = dict(nodes.names)
    nodes.lose(7)
    failed = nodes.run(nodes.generations.clear(range(GROUPS), None))
    assert list(failed) == [7]
    assert [key for key in before if nodes.names[key] == before[key]] == [nodes.generations.keys[7]]


def test_the_last_name_will_do_for_a_read_that_nothing_is_kept_of(nodes):
    """A key whose generation's node alone is lost is read on, and its token is void; it isn't written."""
    key = KEYS[0]
    nodes.border = nodes.generations.group_of(key) * GROUP_SLOTS + 1
    place = nodes.run(nodes.generations.place(key))
    nodes.lose(nodes.generations.group_of(key))
    token = nodes.store.token(key)
    assert nodes.run(nodes.generations.place(key)) == place
    ((keys, fetch),) = nodes.run(nodes.generations.each([key], lambda _, places: FetchMany(places), reads=True))
    assert (keys, fetch.keys) == ([key], [place])
    nodes.store.renew(NEVER)
    nodes.store.install(key, "old", token, expires=NEVER)
    assert key not in nodes.store
    nodes.store.lose()
    ((_, outcome),) = nodes.run(nodes.generations.each([key], put_many))
    assert isinstance(outcome, RemoteError)


def test_no_lost_node_is_asked_twice(nodes):
    """Where the generation's node has all of its group's keys, a read ends with the question for the generation."""
    key = KEYS[0]
    nodes.run(nodes.generations.place(key))
    nodes.lose(nodes.generations.group_of(key))
    with pytest.raises(RemoteUnavailable):
        nodes.run(nodes.generations.place(key))
    ((_, outcome),) = nodes.run(nodes.generations.each([key], lambda _, places: FetchMany(places), reads=True))
    assert isinstance(outcome, RemoteError)


def test_nothing_is_guessed_while_the_link_is_live(nodes):
    """A generation that can't be asked for after a clear isn't taken to be the one before."""
    key = KEYS[0]
    nodes.run(nodes.generations.place(key))
    nodes.store.clear()
    nodes.border = nodes.generations.group_of(key) * GROUP_SLOTS + 1
    nodes.lost.add(nodes.generations.group_of(key))
    with pytest.raises(RemoteUnavailable):
        nodes.run(nodes.generations.place(key))


def test_answers_that_differ_within_an_epoch_put_everything_in_doubt(nodes):
    """As on one server: nobody knows which of them is out of date."""
    nodes.run(nodes.generations.place(KEYS[0]))
    group = nodes.generations.group_of(KEYS[0])
    epoch = nodes.store.epoch
    assert nodes.generations.contradicts(b"other-78", group)
    nodes.names[nodes.generations.keys[group]] = b"other-78"
    prefixes = nodes.run(nodes.generations.ask([group]))
    assert prefixes == {group: b"shop:other-78:"}
    assert nodes.store.epoch == epoch + 1
    assert not nodes.generations.contradicts(b"other-78", group)


def test_a_timeout_is_one_groups_alone(nodes, monkeypatch):
    """What a question comes to is told of its own group."""
    answer = nodes.answer
    late = nodes.generations.keys[nodes.generations.group_of(KEYS[0])]

    def slow(command):
        if isinstance(command, WithGeneration) and command.generation_key == late:
            raise RemoteTimeout("late")
        return answer(command)

    monkeypatch.setattr(nodes, "answer", slow)
    parts = nodes.run(nodes.generations.write_each(KEYS, put_many))
    assert [type(outcome) for keys, outcome in parts if KEYS[0] in keys] == [RemoteTimeout]
    assert sum(isinstance(outcome, RemoteError) for _, outcome in parts) == 1


def test_planted_generations_are_replaced_group_by_group(nodes):
    """Those of some groups that aren't ours are replaced in one go; the keys of the others keep theirs."""
    before = {key: nodes.run(nodes.generations.place(key)) for key in KEYS}
    planted = {nodes.generations.group_of(key) for key in KEYS[:5]}
    for group in planted:
        nodes.names[nodes.generations.keys[group]] = b"note:mallory"
    nodes.store.bump_epoch()
    for key in KEYS:
        place = nodes.run(nodes.generations.place(key))
        assert (place == before[key]) == (nodes.generations.group_of(key) not in planted)
        assert b"mallory" not in place

"""Flows of the core, taken by hand: each request takes place, is answered, or fails when the test says so."""

from collections.abc import Callable, Iterable

import pytest

from twotier.clock import NEVER
from twotier.codec.envelope import op_id_of
from twotier.coherence.message import Message
from twotier.core.access.write_through import TwoTierThrough
from twotier.core.loading.call_policy import CallPolicy
from twotier.core.loading.load_locks import TwoTier
from twotier.core.loading.load_many import Loads
from twotier.core.namespace.namespace import TwoTierNamespace
from twotier.errors import RemoteTimeout
from twotier.load_policy import LoadPolicy
from twotier.opid import op_tag
from twotier.options import Options
from twotier.remote.commands.base import Fetch, Fetched, FetchMany, Ping, Put, Remove, SetGeneration
from twotier.remote.commands.conditional import IfEqual, IfUnchanged, PutUnchanged, RemoveLateWrite
from twotier.remote.commands.conditional_writes import Add, WithPrevious
from twotier.remote.commands.generations import UnderGeneration, WithGeneration
from twotier.remote.commands.load_locks import LockReply, PutAbsence, SettleLoadLocks, TakeLoadLocks
from twotier.remote.commands.name_copies import ReadName, RestoreName, copies_of
from twotier.remote.commands.replicas import ReadGeneration
from twotier.remote.commands.sweep import AddNames
from twotier.remote.commands.tags import MakeVersions, ReadVersions, Version
from twotier.remote.commands.write_through_locks import PutLocked, TakeWriteLocks
from twotier.remote.deploy.factory import connect


class Server:
    """A dict that answers commands, without a wire."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    def run(self, command, *, probing=False):  # noqa: ARG002 - an executor's signature
        """Let `command` take place, and return what it gives."""
        return getattr(self, f"_{type(command).__name__.lower()}")(command)

    def _ping(self, _command: Ping) -> None:
        """Be there."""

    def _withgeneration(self, command: WithGeneration) -> UnderGeneration:
        return UnderGeneration(self.run(command.write), self.values.get(command.generation_key))

    def _fetch(self, command: Fetch) -> Fetched:
        life = 10_000 if b"!" in command.key else -1  # a lease that never ends is none
        return Fetched(self.values.get(command.key), life if command.key in self.values else -2)

    def _fetchmany(self, command: FetchMany) -> list[Fetched]:
        return [self.run(Fetch(key)) for key in command.keys]

    def _readname(self, command: ReadName) -> bytes | None:
        return self.values.get(command.key)

    def _restorename(self, command: RestoreName) -> bytes:
        keys = (command.key, *copies_of(command.key))
        name = next((self.values[key] for key in keys if key in self.values), command.candidate)
        self.values.update(dict.fromkeys(keys, name))
        return name

    def _readgeneration(self, command: ReadGeneration) -> bytes | None:
        return self.values.get(command.key)

    def _addnames(self, _command: AddNames) -> bool:
        """Record nothing: nobody sweeps here."""
        return True

    def _setgeneration(self, command: SetGeneration) -> None:
        self.values.update(dict.fromkeys((command.key, *command.copies), command.value))

    def _put(self, command: Put) -> bool:
        self.values[command.key] = command.data
        self._drop(command.voids)
        return True

    def _remove(self, command: Remove) -> int:
        self._drop(command.voids)
        return self._drop(command.keys)

    def _fetchmany(self, command: FetchMany) -> list[Fetched]:
        return [self.run(Fetch(key)) for key in command.keys]

    def _add(self, command: Add) -> WithPrevious:
        stood = self.values.get(command.key)
        return WithPrevious(
            stood is None and self.run(Put(command.key, command.data, None, absent=True, publication=None)), stood
        )

    def _putunchanged(self, command: PutUnchanged) -> bool:
        stands = self.values.get(command.watched)
        op_id = None if stands is None else op_id_of(stands)
        return op_id is not None and op_tag(op_id) == command.seen and self.run(command.put)

    def _removelatewrite(self, command: RemoveLateWrite) -> bool:
        second = command.second(self.values.get(command.watched))
        return isinstance(second, IfUnchanged) and bool(self.run(second.write))

    def _readversions(self, command: ReadVersions) -> list[Version]:
        return [Version(self.values.get(key), -1 if key in self.values else -2) for key in command.keys]

    def _makeversions(self, command: MakeVersions) -> list[Version]:
        for key, candidate in zip(command.keys, command.candidates, strict=True):
            self.values.setdefault(key, candidate)
        return self._readversions(command)

    def _takeloadlocks(self, command: TakeLoadLocks) -> list[LockReply]:
        return [self._take(key, lease, command.token) for key, lease in command.places]

    def _take(self, key: bytes, lease: bytes, token: bytes) -> LockReply:
        taken = lease not in self.values
        holder = self.run(Fetch(lease))
        self.values.setdefault(lease, token)
        return LockReply(taken, self.run(Fetch(key)), holder)

    def _ifequal(self, command: IfEqual) -> bool:
        return self.values.get(command.watched) == command.expected and self.run(command.write)

    def _settleloadlocks(self, command: SettleLoadLocks) -> list[bool]:
        held = [self.values.get(lease) == command.token for lease in command.leases]
        for lease, put, holds in zip(command.leases, command.puts, held, strict=True):
            if holds and put is not None:
                self.run(put)
            if holds and not isinstance(put, PutAbsence):
                self._drop((lease,))
        return held

    def _takewritelocks(self, command: TakeWriteLocks) -> None:
        self.values.update(dict.fromkeys(command.leases, command.token))

    def _putlocked(self, command: PutLocked) -> UnderGeneration:
        held = [self.values.get(lease) == command.token for lease in command.leases]
        for lease, (key, data, _), holds in zip(command.leases, command.items, held, strict=True):
            if holds:
                self.values[key] = data
                self._drop((lease,))
        return UnderGeneration(held, self.values.get(command.generation_key))

    def _putabsence(self, command: PutAbsence) -> None:
        self.values[command.lease] = command.absence
        self._drop(command.removes)

    def _drop(self, keys: Iterable[bytes]) -> int:
        return sum(self.values.pop(key, None) is not None for key in keys)


class Call:
    """One call of the cache under way."""

    def __init__(self, flow, server: Server) -> None:
        self._flow, self._server = flow, server
        self.ended = False
        self.result = self._reply = None
        self._go(lambda: next(flow))

    def execute(self) -> "Call":
        """Let the request take place; its reply is still under way."""
        self._reply = self._server.run(self.request)
        return self

    def reply(self) -> "Call":
        """Let the reply arrive."""
        self._go(lambda: self._flow.send(self._reply))
        return self

    def fail(self, error: BaseException | None = None) -> "Call":
        """Let the request fail, by default with a timeout."""
        self._go(lambda: self._flow.throw(error or RemoteTimeout("no reply")))
        return self

    def close(self) -> None:
        """Throw the flow away, as the collector does with a coroutine's."""
        self._flow.close()

    def load(self, value) -> "Call":
        """Let the loader return `value`."""
        self._go(lambda: self._flow.send(value))
        return self

    def raised(self, error: BaseException) -> "Call":
        """Let the loader raise `error`."""
        self._go(lambda: self._flow.throw(error))
        return self

    def to(self, kind: type) -> "Call":
        """Let everything take place up to a request of a kind, which is under way then."""
        while not isinstance(self.request, kind):
            self.execute().reply()
            assert not self.ended, f"it ended without {kind.__name__}"
        return self

    def end(self):
        """Let everything else take place, and return the result."""
        while not self.ended:
            self.execute().reply()
        return self.result

    def _go(self, step: Callable[[], object]) -> None:
        try:
            self.request = step()
        except StopIteration as stop:
            self.ended, self.result = True, stop.value


class Unasked:
    """A writer whose methods the test answers for."""

    write = delete = None


class Process:
    """One process's namespace, live, without threads and connections of its own."""

    def __init__(self, server: Server, monkeypatch, **settings) -> None:
        options = Options(namespace="shop", **settings)
        self.namespace = TwoTierNamespace(connect("redis://127.0.0.1:1", options), options)
        monkeypatch.setattr(self.namespace, "ensure_listening", lambda: None)
        monkeypatch.setattr(self.namespace.recovery, "wake", lambda: None)
        monkeypatch.setattr(self.namespace.sweep, "wake", lambda **_: None)
        monkeypatch.setattr(self.namespace.executor, "run", server.run)
        self.store = self.namespace.store
        self.namespace.renew(NEVER)
        self.tiers = TwoTier(self.namespace)
        self.loads = Loads(self.tiers, self.namespace)
        self.through = TwoTierThrough(self.namespace, Unasked())
        self._server = server

    def call(self, flow) -> Call:
        """Begin a call: its first request is under way."""
        return Call(flow, self._server)

    def set(self, value, key="key", tags=()) -> Call:
        """Begin to set."""
        return self.call(self.tiers.set(key, value, NEVER, tags=tags))

    def write(self, *values, ttl=NEVER) -> Call:
        """Begin to write through, the first value under "key" and others beside it; the writer is the test's."""
        return self.call(self.through.put_through({f"key{at or ''}": value for at, value in enumerate(values)}, ttl))

    def end_tag(self, tag="tag") -> Call:
        """Begin to end a tag."""
        return self.call(self.tiers.invalidate_tags((tag,)))

    def hear(self, tag="tag") -> None:
        """Hear that another process has ended a tag."""
        message = Message("tag", self.namespace.op_ids.next(), (tag,))
        self.namespace.subscriber.received([self.namespace.messages.encode(message)])

    def get(self, key="key") -> Call:
        """Begin to read what the local tier has missed."""
        return self.call(self.tiers.get(key))

    def delete(self, key="key") -> Call:
        """Begin to delete."""
        return self.call(self.tiers.delete_many((key,)))

    def invalidate(self, key="key") -> Call:
        """Begin to expire."""
        return self.call(self.tiers.delete_many((key,), kept=True))

    def load(self, key="key", ttl=NEVER, **policy) -> Call:
        """Begin to load what the local tier has missed; the loader's result is the test's to give."""
        return self.call(self.loads.get_or_set(key, lambda: None, CallPolicy(LoadPolicy(**policy), ttl)))

    def refresh(self, key="key", ttl=NEVER, **policy) -> Call:
        """Begin to load anew."""
        return self.call(self.loads.refresh(key, lambda: None, CallPolicy(LoadPolicy(**policy), ttl)))

    def clear(self) -> Call:
        """Begin to clear the namespace."""
        return self.call(self.tiers.clear())

    def replay(self) -> None:
        """Make good what the journal holds."""
        self.namespace.recovery._replay(probing=False)


@pytest.fixture
def server():
    """An empty server."""
    return Server()


@pytest.fixture
def make_process(server, monkeypatch):
    """Make processes on the server; their stores are validated at the end."""
    made = []

    def make(**settings) -> Process:
        process = Process(server, monkeypatch, **settings)
        made.append(process)
        return process

    yield make
    for process in made:
        process.store.validate()
        process.namespace.close()

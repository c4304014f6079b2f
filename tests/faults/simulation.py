"""The real core (flows, store, recovery, link) over a server, a network and a clock that a test moves by hand.

Nothing runs by itself: each request, each reply and each chunk on a link is under way until it is told to arrive, or to
be lost. Over one connection bytes stay in order; across connections anything goes, a request that its caller has given
up on included. Processes fork, loaders read a source at one moment and return at another.
"""

import contextlib
import itertools
from collections.abc import Callable
from typing import Any

from simulated_process import KEYS, OURS, Call, Process, SourceError
from simulated_server import Request, SimulatedServer

from twotier.clock import NEVER, SECOND, ManualClock
from twotier.core.access.keys import as_bytes
from twotier.core.flow.requests import Load, Pause, Wait
from twotier.core.loading.call_policy import CallPolicy
from twotier.core.loading.load_many import Loads
from twotier.core.tags.tag_index import Tag
from twotier.errors import RemoteError, RemoteTimeout
from twotier.load_policy import LoadPolicy

SOURCED = KEYS[-1]
TAG = "tag"
LONGEST = 30
"""Steps that a flow may take to its end, but for waiting."""


class World:
    """Processes, a server, a source, the requests under way, and the history that invariants are checked against."""

    def __init__(self, processes: int) -> None:
        self.clock = ManualClock()
        self.server = SimulatedServer(self.clock, map(as_bytes, KEYS))
        self.processes = [Process(self.server, self.clock) for _ in range(processes)]
        self.calls: list[Call] = []
        self.vanished: list[Call] = []
        """Calls of a parent, which the child has no more."""
        self.abandoned: list[Request] = []
        """Requests that their callers gave up on, which may still arrive."""
        self.history: dict[str, list[tuple[int, Any]]] = {key: [(0, None)] for key in KEYS}
        """What the server held under each key, and from when on."""
        self.acknowledged: dict[tuple[int, str], int] = {}
        """Where in the history a process's last acknowledged write of a key is."""
        self.ended: dict[tuple[int, str], int] = {}
        """Where in the history the last value is whose tag each process has ended, with an acknowledgement."""
        self.doubts: list[tuple[str, str | None, int]] = []
        """Writes in doubt: the key, the value, and how long the history was."""
        self.source = 0
        """The version that the source has of what is cached under `SOURCED`."""
        self.told: dict[int, int] = {}
        """The version that each process's last acknowledged update made."""
        self.loaded: dict[str, int] = {}
        """How often the key had been superseded when each value was loaded."""
        self.written = 0
        self.tagged: set[str] = set()
        """Values that were set under `TAG`."""

    def start(self, number: int, kind: str, key: str) -> None:
        """Begin an operation in a process."""
        number %= len(self.processes)
        process = self.processes[number]
        if kind in {"get", "load"}:
            found = process.namespace.store.get(key, self)
            if found is not self:
                self.check_own(number, key, found)
                return
        self.written += 1
        write = f"value {self.written}" if kind in {"set", "tag"} else None
        if kind == "tag":
            self.tagged.add(str(write))
        if kind == "update":
            self.source += 1
        call = Call(process, _kept(process) if kind == "keep" else self._flow(process, kind, key, write))
        call.number, call.kind, call.write = number, kind, write
        call.keys = {"clear": KEYS, "end": OURS, "keep": ()}.get(kind, (key,))
        call.floor = self.floor(number, key)
        call.begun = {each: len(self.history[each]) - 1 for each in call.keys}
        call.version, call.told = self.source, self.told.get(number, 0)
        call.stale = process.namespace.counters.stale_served
        call.advance()
        self._note(call)

    def _flow(self, process: Process, kind: str, key: str, write: str | None) -> Any:
        tiers = process.tiers
        match kind:
            case "get":
                return tiers.get(key)
            case "set" | "tag":
                return tiers.set(key, write, NEVER, tags=(TAG,) if kind == "tag" else ())
            case "delete" | "update" | "invalidate":
                return tiers.delete_many((key,), kept=kind == "invalidate")
            case "end":
                return tiers.invalidate_tags((TAG,))
            case "clear":
                return tiers.clear()
        loads = Loads(tiers, process.namespace)
        return loads.get_or_set(key, lambda: self._read_source(key), CallPolicy(LoadPolicy(), NEVER))

    def _read_source(self, key: str) -> str:
        """Be the loader: a value that no other load has given."""
        self.written += 1
        value = f"{self.source if key == SOURCED else 0} loaded {self.written}"
        self.loaded[value] = self.server.superseded[as_bytes(key)]
        return value

    def request_arrives(self, call: Call) -> None:
        """Let the server run the next trip of a request, the source be read, or what is waited for end the waiting."""
        match call.command:
            case Wait(future):
                if future.done():
                    error = future.exception()
                    call.advance(None if error else future.result(), error)
                    self._note(call, known=True)
            case Pause():
                call.advance()
                self._note(call, known=True)
            case Load(loader):
                call.loaded = call.loaded or loader()
            case _ if call.request.replies is None:
                call.request.run(self.server)
                self.record()

    def reply_arrives(self, call: Call) -> None:
        """Let the caller have its reply."""
        if call.loaded is not None:
            call.advance(call.loaded)
        elif call.request is not None and call.request.replies is not None:
            call.process.namespace.breaker.succeeded()
            try:
                result = call.request.result()
            except RemoteError as error:
                call.advance(error=error)
            else:
                call.advance(result)
        else:
            return
        self._note(call, known=True)

    def operate(self, number: int, kind: str, key: str) -> None:
        """Begin an operation and carry it to its end, as far as it doesn't wait for others."""
        before = list(self.calls)
        self.start(number, kind, key)
        self.finish([call for call in self.calls if call not in before])

    def finish(self, calls: list[Call], until: Callable[[], Any] = lambda: False) -> None:
        """Carry calls to their ends, or `until` something holds, as far as they don't wait for others."""
        for _ in range(LONGEST):
            for call in [call for call in self.calls if call in calls]:
                self.request_arrives(call)
                if until():
                    return
                self.reply_arrives(call)

    def give_up(self, call: Call) -> None:
        """Let the caller's deadline pass, or the source fail; a request under way may arrive later."""
        if isinstance(call.command, Load):
            call.advance(error=SourceError())
        elif call.request is None:
            return
        else:
            if call.request.replies is None:
                self.abandoned.append(call.request)
            call.in_doubt = True
            call.process.namespace.breaker.failed()
            call.advance(error=RemoteTimeout("simulated"))
        self._note(call, known=True)

    def late_arrival(self, position: int) -> None:
        """Let a request arrive that nobody waits for."""
        self.abandoned.pop(position % len(self.abandoned)).run(self.server)
        self.record()

    def fork(self, number: int) -> None:
        """Fork a process: its callers are the parent's, which goes on, and makes good what they began."""
        number %= len(self.processes)
        child, new = self.processes[number], len(self.processes)
        gone = [call for call in self.calls if call.process is child]
        self.processes.append(child.fork())
        for key in KEYS:
            self.acknowledged[new, key], self.ended[new, key] = self.floor(number, key)
        self.told[new] = self.told.get(number, 0)
        self.calls = [call for call in self.calls if call not in gone]
        self.vanished += gone
        for call in gone:
            if call.request is not None and call.request.replies is None:
                self.abandoned.append(call.request)
            if call.kind == "update":
                self.start(new, "delete", SOURCED)

    def record(self) -> None:
        """Note what the server holds now; check I8: what was loaded before a write isn't stored after it."""
        for key in KEYS:
            value, stands = self.current(key), self.current(key, ended=True)
            if stands in self.tagged and stands != value and all(stands != held for _, held in self.history[key]):
                self.history[key].append((self.clock.now(), stands))  # it had ended when it arrived: there for no time
            if self.history[key][-1][1] != value:
                self.history[key].append((self.clock.now(), value))
                if value in self.loaded:
                    writes = self.server.superseded[as_bytes(key)] - self.loaded[value] - 1
                    assert not writes, f"{value!r} was stored under {key!r} after {writes} later writes"

    def current(self, key: str, *, ended: bool = False) -> Any:
        """Return what the server holds under a key, None for nothing, or (unless asked for) what its tag has ended."""
        namespace = self.processes[0].namespace
        name = self.server.name
        if name is None:
            return None
        place = namespace.generations.prefix_of(name) + as_bytes(key)
        data = self.server.data.get(place)
        if data is None:
            return None
        loaded = namespace.values.load(place, data)
        stands = {tag: self.server.data.get(namespace.versions.place(tag)) for tag in loaded.stamps}
        return loaded.value if ended or stands == loaded.stamps else None

    def check_fresh(self) -> None:
        """Check that nothing is fresh without a link, and I3: it was on the server at some moment within the bound."""
        now = self.clock.now()
        for number, process in enumerate(self.processes):
            for key, value in process.fresh():
                assert process.live, f"{value!r} is fresh under {key!r} in process {number}, which hears of nothing"
                past = self.history[key]
                ends = [later[0] for (_, held), later in itertools.pairwise(past) if held == value]
                assert past[-1][1] == value or (ends and now - max(ends) <= 2.5 * SECOND), (
                    f"{value!r} is fresh under {key!r}, and the server's history is {past}"
                )

    def floor(self, number: int, key: str) -> tuple[int, int]:
        """Return from where in the history on a process may read values, and tagged values."""
        return self.acknowledged.get((number, key), 0), self.ended.get((number, key), 0)

    def check_own(self, number: int, key: str, value: Any, floor: tuple[int, int] | None = None) -> None:
        """Check I5: nothing older than the process's own last acknowledged write is read, nor what it has ended.

        The end of a tag is a write of what carries the tag, not of the key. What was never there is of a write that is
        under way still: it met a generation that a clear has ended.
        """
        written, ended = self.floor(number, key) if floor is None else floor
        oldest = max(written, ended) if value in self.tagged else written
        held = [value for _, value in self.history[key]]
        assert value in held[oldest:] or value not in held, (
            f"read {value!r} of {key!r} after its own write, number {oldest} of {held}"
        )

    def settle(self) -> None:
        """Let everything arrive and everyone recover; then check I2, I6 and I8."""
        self.server.full = False
        for _ in range(LONGEST):
            self.finish(self.calls)
            self.clock.advance(0.05)  # whose lease nobody holds any more has an end
            if not self.calls:
                break
        assert not self.calls, "a flow never ends"
        while self.abandoned:
            self.late_arrival(0)
        for process in self.processes:
            process.reachable = True
            process.connect()
            namespace = process.namespace
            while namespace.breaker.state != "closed" or namespace.journal or namespace.late.suspects:
                process.recover()
        self.record()
        for _ in range(4):
            for process in self.processes:
                process.connect()
                process.send()
                process.hear()
                if process.namespace.journal:
                    process.recover()  # it has heard of a late write of its own, which it undoes
            self.record()
            self.clock.advance(0.5)
        self._check_quiet()

    def _check_quiet(self) -> None:
        for process in self.processes:
            process.namespace.store.validate()
            assert process.live
            assert not process.namespace.journal
            for key, value in process.fresh():
                assert value == self.current(key), f"{value!r} is fresh under {key!r}, not {self.current(key)!r}"
        for key, value, length in self.doubts:
            held, now = [each for _, each in self.history[key]], self.current(key)
            assert now is None or now == value or now in held[length:], f"{now!r} of before the outage stands: {held}"
        cached = self.current(SOURCED)
        assert cached is None or version(cached) == self.source, f"{cached!r} stands, and the source has {self.source}"

    def _note(self, call: Call, *, known: bool = False) -> None:
        """Keep the books of a call: which are under way, what is acknowledged, what is in doubt."""
        if not call.done:
            if call not in self.calls:
                self.calls.append(call)
            return
        if call in self.calls:
            self.calls.remove(call)
        counters = call.process.namespace.counters
        if call.kind in {"get", "load"}:
            if known and isinstance(call.result, str) and not call.in_doubt and counters.stale_served == call.stale:
                self._check_read(call)
            return
        for key in call.keys:
            if call.kind == "end":
                self._note_end(call, key)
            else:
                self._note_write(call, key)

    def _note_end(self, call: Call, key: str) -> None:
        """Note where in the history the end of the tag is, or that it is in doubt."""
        held, begun = [value for _, value in self.history[key]], call.begun[key]
        if Tag(TAG) in call.process.namespace.journal:
            if held[-1] in self.tagged:
                self.doubts.append((key, None, len(held)))
        else:
            if held[begun] in self.tagged:
                assert len(held) > begun + 1, f"the end of a tag was acknowledged, and {held[-1]!r} still stands"
            self.ended[call.number, key] = max(begun + 1, self.ended.get((call.number, key), 0))

    def _check_read(self, call: Call) -> None:
        """Check I5 of a read, and that a load is no older than what its process has told of the source."""
        (key,) = call.keys
        if call.result not in self.loaded or call.kind == "get":
            self.check_own(call.number, key, call.result, call.floor)
        if call.result in self.loaded and key == SOURCED:
            assert version(call.result) >= call.told, f"got {call.result!r} after telling of version {call.told}"

    def _note_write(self, call: Call, key: str) -> None:
        """Note where in the history a write is, or that it is in doubt; one that was acknowledged took place."""
        held = [value for _, value in self.history[key]]
        if key in call.process.namespace.journal:
            self.doubts.append((key, call.write, len(held)))
            return
        begun = call.begun[key]
        assert call.write in held[begun:], f"{call.kind} of {key!r} was acknowledged and never took place: {held}"
        place = held.index(call.write, begun)
        self.acknowledged[call.number, key] = max(place, self.acknowledged.get((call.number, key), 0))
        if call.kind == "update":
            self.told[call.number] = max(call.version, self.told.get(call.number, 0))


def _kept(process: Process) -> Any:
    """Write what was evicted of the generation's name and copies again, as is done every `max_staleness`."""
    with contextlib.suppress(RemoteError):
        yield from process.namespace.generations.keep_copies()


def version(value: str) -> int:
    """Return the version of the source that a loaded value shows."""
    return int(value.split(maxsplit=1)[0])

"""What tests of the remote tier share: an executor on a real server, and servers that misbehave on demand."""

import contextlib
import os

import pytest
from scripted_server import ScriptedServer
from waiting import PATIENT

from twotier.clock import SystemClock
from twotier.options import Options
from twotier.remote.deploy.factory import connect
from twotier.remote.execute.round_trip import Endpoint
from twotier.remote.execute.tasks import AsyncExecutor
from twotier.remote.execute.threads import Executor
from twotier.remote.io.breaker import Breaker


class Remote:
    """An executor with its topology and breaker; on `loop`, if there is one."""

    def __init__(self, target, loop=None, **settings):
        self.options = Options(**settings)
        self.topology = connect(target, self.options)
        self.breaker = Breaker(SystemClock())
        self.edge = Endpoint(self.topology, self.options, self.breaker)
        self.pool = self.topology.pool()
        self._executor = Executor(self.edge) if loop is None else AsyncExecutor(self.edge)
        self._loop = loop

    def run(self, command, *, probing=False):
        result = self._executor.run(command, probing=probing)
        return result if self._loop is None else self._loop.run(result)

    def close(self):
        self.topology.close()


@pytest.fixture(params=["threads", "asyncio"])
def face(request):
    """Who calls: threads, or a loop's tasks; None for threads, else a `LoopThread`."""
    return None if request.param == "threads" else request.getfixturevalue(request.param)


@pytest.fixture
def remotes(face):
    """A factory of `Remote`s, which are closed after the test; patient unless a timeout is given."""
    with contextlib.ExitStack() as stack:

        def make(target, **settings):
            remote = Remote(target, face, **(settings if "timeout" in settings else {**PATIENT, **settings}))
            stack.callback(remote.close)
            return remote

        yield make


@pytest.fixture
def remote(remotes, server):
    """An executor on the shared server."""
    return remotes(server.url)


@pytest.fixture
def fake_server(tmp_path_factory):
    """A factory of `ScriptedServer`s, which are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(answer, **settings):
            path = tmp_path_factory.mktemp("fake") / "s.sock"
            if len(os.fsencode(path)) > 100:
                pytest.skip(f"the temporary directory's name is too long for a socket: {path}")
            server = ScriptedServer(path, answer, **settings)
            stack.callback(server.close)
            return server

        yield make

"""The server that the benchmarks share, reached over its unix socket and over TCP."""

from collections.abc import Iterator

import pytest
from contenders import Contender, Make, Maker

from twotier.remote.deploy.embedded import EmbeddedServer


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedServer]:
    """Start a private server for the session."""
    with EmbeddedServer(tcp=True) as running:
        yield running


@pytest.fixture(params=["unix", "tcp"])
def url(request: pytest.FixtureRequest, server: EmbeddedServer) -> str:
    """Return the server's URL, by either way."""
    return server.url if request.param == "unix" else server.tcp_url


@pytest.fixture
def contender() -> Iterator[Make]:
    """Make contenders that hold the given keys, and close what has to be."""
    made: list[Contender] = []

    def make(maker: Maker, url: str, keys: list[str]) -> Contender:
        made.append(maker(url))
        made[-1].fill(keys)
        return made[-1]

    yield make
    for each in made:
        if each.cache is not None:
            each.cache.close()

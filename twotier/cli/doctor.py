"""`twotier doctor` reports which local tier this installation has, and whether a cache could use a server."""

import platform
from collections.abc import Iterator
from importlib.metadata import version
from typing import NamedTuple

from twotier.cache import Cache
from twotier.errors import TwoTierError
from twotier.remote.io.errors import one_line


class Finding(NamedTuple):
    """One line of the report."""

    well: bool
    text: str


def examine(url: str | None) -> Iterator[Finding]:
    """Yield the findings about the installation and about the server at `url`."""
    yield Finding(True, f"twotier {version('twotier')} on Python {platform.python_version()}")
    with Cache() as cache:
        compiled = cache.health().compiled
    if compiled:
        yield Finding(True, "the local tier is compiled")
    else:
        yield Finding(
            False,
            "the local tier is the Python twin, many times slower: install with a C compiler and "
            "TWOTIER_COMPILE=required, which makes a failed compilation an error",
        )
    if url is None:
        return
    try:
        with Cache(
            url, namespace="twotier-doctor", connect="eager", timeout=1.0, connect_timeout=1.0, max_staleness=4.0
        ):
            pass
    except TwoTierError as error:
        yield Finding(False, one_line(str(error)))
    else:
        yield Finding(True, "the server answers, and permits what a cache asks for")

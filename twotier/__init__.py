"""twotier: a compiled in-process cache in front of Redis or Valkey, coherent, serving through outages."""

from twotier.aio import AsyncCache
from twotier.async_write_behind import AsyncWriteBehind
from twotier.cache import Cache
from twotier.core.loading.context import LoadContext
from twotier.core.write_behind.reports import DeadLetter, WriteBehindStats
from twotier.core.write_behind.settings import WriteBehindOptions
from twotier.errors import (
    AccessDenied,
    BacklogFull,
    ConfigurationError,
    LoaderError,
    LoadShed,
    LoadTimeout,
    RemoteError,
    RemoteTimeout,
    RemoteUnavailable,
    SerializationError,
    TooFewReplicas,
    TwoTierError,
    WritesLost,
)
from twotier.load_policy import LoadPolicy
from twotier.local.localcache import LocalCache
from twotier.notfound import NOT_FOUND
from twotier.options import DEFAULT_TTL, Options
from twotier.stats import Health, Stats
from twotier.write_behind import WriteBehind
from twotier.writer import Writer

__all__ = [
    "DEFAULT_TTL",
    "NOT_FOUND",
    "AccessDenied",
    "AsyncCache",
    "AsyncWriteBehind",
    "BacklogFull",
    "Cache",
    "ConfigurationError",
    "DeadLetter",
    "Health",
    "LoadContext",
    "LoadPolicy",
    "LoadShed",
    "LoadTimeout",
    "LoaderError",
    "LocalCache",
    "Options",
    "RemoteError",
    "RemoteTimeout",
    "RemoteUnavailable",
    "SerializationError",
    "Stats",
    "TooFewReplicas",
    "TwoTierError",
    "WriteBehind",
    "WriteBehindOptions",
    "WriteBehindStats",
    "Writer",
    "WritesLost",
]

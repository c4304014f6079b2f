"""Every setting of a cache, documented once and checked once, across fields."""

import enum
import math
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, Protocol

from twotier.checking import MOST_SECONDS, expect, is_int, is_seconds
from twotier.clock import NEVER, SECOND, Clock
from twotier.load_policy import LoadPolicy, LoadPolicyDict
from twotier.signing_keys import signing_keys
from twotier.writer import Writer, is_writer

Policy = Literal["lru", "lfu", "adaptive"]

MIB: Final = 1 << 20
MAX_KEY_BYTES: Final = 64 << 10
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


_SECRET: Final = frozenset({"secret", "password", "credentials", "sentinel_password"})
"""Options that no repr shows."""


class CredentialProvider(Protocol):
    """Gives the credentials of each connection; redis-py's providers do."""

    def get_credentials(self) -> tuple[str] | tuple[str, str]:
        """Return the password, or user name and password."""
        ...


CredentialSource = CredentialProvider | Callable[[], str | tuple[str] | tuple[str, str]]
"""The type of `Options.credentials`."""


class OptionsDict(LoadPolicyDict, total=False):
    """The fields of `Options` as keyword arguments (a test holds the two equal)."""

    namespace: str
    maxsize: int
    max_bytes: int | None
    weigher: Callable[[str, Any], int] | None
    on_removal: Callable[[str, Any, str], object] | None
    policy: Policy
    ttl: float | None
    coherence: Literal["pubsub", "tracking", "none"]
    local_ttl: float | None
    stale_ttl: float
    jitter: float
    copy: Literal["auto", "never", "check"]
    on_outage: Literal["serve", "miss"]
    replay: Literal["delete", "set"]
    max_staleness: float
    timeout: float
    connect_timeout: float
    max_connections: int
    load_lease: float
    max_concurrent_loads: int
    protocol: Literal[2, 3]
    connect: Literal["lazy", "eager"]
    username: str | None
    password: str | None
    credentials: CredentialSource | None
    ssl_ca_certs: str | None
    ssl_certfile: str | None
    ssl_keyfile: str | None
    service: str | None
    sentinel_username: str | None
    sentinel_password: str | None
    allowed_hosts: Sequence[str] | None
    replica_fallback: bool
    wait_replicas: int
    too_few_replicas: Literal["count", "raise"]
    allow: Sequence[type]
    secret: str | bytes | Sequence[str | bytes] | None
    max_value_bytes: int
    max_journal: int
    audit_interval: float | None
    writer: Writer | None
    clock: Clock | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(LoadPolicy):
    """Settings of a `Cache`, in seconds and bytes throughout. ConfigurationError names an invalid setting.

    The fields of `LoadPolicy` are settings too: the defaults of every load.

    >>> Options(namespace="shop", ttl=60).ttl
    60
    >>> Options(maxsize=0)
    Traceback (most recent call last):
    twotier.errors.ConfigurationError: maxsize must be an int >= 1, got 0
    """

    namespace: str = "twotier"
    """Prefix of every key and channel on the server; caches with the same one share entries."""

    maxsize: int = 100_000
    """Most entries the local tier holds."""

    max_bytes: int | None = None
    """Most bytes of encoded values the local tier holds; None bounds it by count alone."""

    weigher: Callable[[str, Any], int] | None = None
    """Returns an entry's weight for `max_bytes`, from key and value; None takes the size of the encoded value."""

    on_removal: Callable[[str, Any, str], object] | None = None
    """Called with key, value and cause ("explicit", "replaced", "size", "expired", "invalidated") of each entry that
    has left the local tier; its errors are counted, and logged once a minute."""

    policy: Policy = "adaptive"
    """Eviction policy of the local tier."""

    ttl: float | None = 300.0
    """Life of an entry that is set without one (s); None for no expiry."""

    coherence: Literal["pubsub", "tracking", "none"] = "pubsub"
    """How this process receives invalidations. "pubsub": from the writers. "tracking": from the server, for writes by
    any client, and for keys that expire there, are evicted or flushed. "none": not at all, for servers that allow
    neither; local entries then live until their ttl, whatever is written. All processes of a namespace must agree."""

    local_ttl: float | None = None
    """Cap on an entry's life in the local tier (s); None leaves it the remote tier's."""

    stale_ttl: float = 3600.0
    """How long past its expiry a local entry may still be served while the remote tier is away (s)."""

    jitter: float = 0.05
    """Largest share of a filled entry's local ttl that is subtracted at random, so that entries filled together expire
    apart."""

    copy: Literal["auto", "never", "check"] = "auto"
    """"auto" hands out copies of mutable values; "never" hands out references, for callers who don't mutate them;
    "check" does so too, and logs values that were changed all the same, for development."""

    on_outage: Literal["serve", "miss"] = "serve"
    """While the remote tier is away: serve stale local entries, or treat them as misses."""

    replay: Literal["delete", "set"] = "delete"
    """After an outage: "delete" removes the keys written meanwhile from the remote tier; "set" puts their new values
    there if the value known before the outage is unchanged, and removes the other keys."""

    max_staleness: float = 2.5
    """Bound on the age of a local hit that was superseded elsewhere (s); past it, hits are not fresh."""

    timeout: float = 0.25
    """Deadline of one whole call to the remote tier, connecting included (s)."""

    connect_timeout: float = 0.25
    """Deadline of opening one connection (s)."""

    max_connections: int = 64
    """Most connections in the pool of the data path; callers over it wait within their deadline."""

    load_lease: float = 10.0
    """Longest that callers wait for another caller's load of a key (s), and lifetime of its load lock; the result of a
    longer load isn't stored."""

    max_concurrent_loads: int = 32
    """Most loaders that run at once in this process; `when_busy` decides about callers over it."""

    protocol: Literal[2, 3] = 3
    """RESP version spoken to the server."""

    connect: Literal["lazy", "eager"] = "lazy"
    """"lazy": the constructor succeeds without a server, and the cache then serves from the local tier alone. "eager":
    the constructor raises RemoteUnavailable unless the server answers within `timeout`, is a primary, and permits the
    cache's commands. It blocks until the answers arrive (an `AsyncCache` blocks its loop, too)."""

    username: str | None = None
    """User name for the server, where neither URL nor client gives one."""

    password: str | None = None
    """Password for the server, where neither URL nor client gives one."""

    credentials: CredentialSource | None = None
    """Credentials that change: a callable, or a redis `CredentialProvider`, that is asked at each connection. It gives
    the password, or user name and password; in place of `username` and `password`."""

    ssl_ca_certs: str | None = None
    """File with the certificates that vouch for the server's, for TLS; None takes the system's."""

    ssl_certfile: str | None = None
    """File with our own certificate, for servers that ask clients for one."""

    ssl_keyfile: str | None = None
    """File with the key of `ssl_certfile`, unless it is in there."""

    service: str | None = None
    """Name of the service that the sentinels of a `redis.Sentinel` watch; a URL has it in its path."""

    sentinel_username: str | None = None
    """User name for the sentinels."""

    sentinel_password: str | None = None
    """Password for the sentinels."""

    allowed_hosts: Sequence[str] | None = None
    """Hosts that sentinels and cluster nodes may send us, and our credentials, to: names, domains (".example.org"),
    addresses and networks ("10.0.0.0/8"); None: any."""

    replica_fallback: bool = False
    """While the primary is away, read keys that the local tier lacks from a replica, and serve them as stale. Needs
    sentinels, or a cluster."""

    wait_replicas: int = 0
    """Replicas that a write waits for, in its own trip and for up to half of `timeout`, one of a `WriteBehind` as well;
    loaded values don't wait."""

    too_few_replicas: Literal["count", "raise"] = "count"
    """Handling of a write that too few replicas have in time: "count" it in `Stats.few_replicas`, or "raise"
    TooFewReplicas as well. The primary has the write either way."""

    allow: Sequence[type] = ()
    """Types, beside the built-in value types, that the restricted codec may rebuild."""

    secret: str | bytes | Sequence[str | bytes] | None = None
    """Key that signs values and messages, or a list or tuple of several (the first signs, all verify), each a str or
    bytes of at least 16 bytes; opens the codec to any type."""

    max_value_bytes: int = 32 * MIB
    """Size of the largest encoded value that the cache accepts (bytes)."""

    max_journal: int = 10_000
    """Most keys remembered in full while the remote tier is away. Further ones are remembered by name, and removed from
    it afterwards; once all take 32 MiB as well, the namespace is cleared instead."""

    audit_interval: float | None = None
    """Seconds between two rounds of the audit, which compares a few fresh local entries with the remote tier; None: no
    audit. A round costs up to 8 trips, and a list of the local tier's keys."""

    writer: Writer | None = None
    """The source that `set` and `delete` write to before the cache (write-through); None: none, as in cache-aside."""

    clock: Clock | None = None
    """Source of time; None for the machine's own. For tests."""

    def __post_init__(self) -> None:
        """Check every field, and the fields that constrain each other."""
        LoadPolicy.__post_init__(self)
        expect(
            isinstance(self.namespace, str) and _NAMESPACE.fullmatch(self.namespace) is not None,
            "namespace", self.namespace, "1 to 64 letters, digits, '.', '_' or '-', the first a letter or digit",
        )  # fmt: skip
        for name in ("maxsize", "max_value_bytes", "max_connections", "max_journal", "max_concurrent_loads"):
            expect(is_int(getattr(self, name), 1), name, getattr(self, name), "an int >= 1")
        expect(
            self.max_bytes is None or (is_int(self.max_bytes, 1) and self.max_bytes <= 1 << 62),
            "max_bytes", self.max_bytes, "None or an int from 1 to 2**62",
        )  # fmt: skip
        for name, choices in (
            ("policy", ("lru", "lfu", "adaptive")),
            ("copy", ("auto", "never", "check")),
            ("on_outage", ("serve", "miss")),
            ("coherence", ("pubsub", "tracking", "none")),
            ("replay", ("delete", "set")),
            ("protocol", (2, 3)),
            ("connect", ("lazy", "eager")),
            ("too_few_replicas", ("count", "raise")),
        ):
            expect(getattr(self, name) in choices, name, getattr(self, name), f"one of {choices}")
        for name in ("weigher", "on_removal"):
            given = getattr(self, name)
            expect(given is None or callable(given), name, given, "None or a callable")
        expect(
            self.writer is None or is_writer(self.writer),
            "writer", self.writer, "None or an object with the methods write and delete (see Writer)",
        )  # fmt: skip
        expect(
            self.coherence != "tracking" or self.protocol == 3,  # noqa: PLR2004 - the version that has pushes
            "protocol", self.protocol, 'with coherence="tracking" 3',
        )  # fmt: skip
        for name in ("max_staleness", "timeout", "connect_timeout", "load_lease"):
            given = getattr(self, name)
            expect(is_seconds(given, 0.001), name, given, "seconds >= 0.001, up to 100 years")
        for name in ("ttl", "local_ttl", "audit_interval"):
            given = getattr(self, name)
            fits = given is None or is_seconds(given, 0.001)
            expect(fits, name, given, "None or seconds >= 0.001, up to 100 years")
        expect(is_seconds(self.stale_ttl, 0), "stale_ttl", self.stale_ttl, "seconds >= 0, up to 100 years")
        self.check_held(self)
        expect(is_seconds(self.jitter, 0) and self.jitter < 1, "jitter", self.jitter, "a share >= 0 and < 1")
        expect(
            self.max_staleness >= 4 * self.timeout,
            "max_staleness", self.max_staleness, f"at least four times timeout ({self.timeout}), so that one slow "
            "reply doesn't end the lease",
        )  # fmt: skip
        expect(
            isinstance(self.allow, Collection) and all(isinstance(kind, type) for kind in self.allow),
            "allow", self.allow, "a sequence of types",
        )  # fmt: skip
        signing_keys(self.secret)
        self._check_access()

    def _check_access(self) -> None:
        """Check the credentials and certificates; errors don't show values that could be secret."""
        words = ("username", "password", "service", "sentinel_username", "sentinel_password")
        for name in (*words, "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"):
            given = getattr(self, name)
            expect(given is None or (isinstance(given, str) and given != ""), name, _kind(given), "None or a str")
        hosts = self.allowed_hosts
        expect(
            hosts is None or (isinstance(hosts, list | tuple) and all(isinstance(each, str) for each in hosts)),
            "allowed_hosts", hosts, "None, or a list or tuple of str",
        )  # fmt: skip
        expect(is_int(self.wait_replicas, 0), "wait_replicas", self.wait_replicas, "an int >= 0")
        expect(isinstance(self.replica_fallback, bool), "replica_fallback", self.replica_fallback, "a bool")
        given = self.credentials
        expect(
            given is None or callable(given) or callable(getattr(given, "get_credentials", None)),
            "credentials", _kind(given), "None, a callable, or an object with get_credentials()",
        )  # fmt: skip
        expect(
            given is None or (self.username is None and self.password is None),
            "credentials", _kind(given), "None where username or password is given",
        )  # fmt: skip
        expect(
            self.ssl_keyfile is None or self.ssl_certfile is not None,
            "ssl_keyfile", self.ssl_keyfile, "None without ssl_certfile",
        )  # fmt: skip

    def __repr__(self) -> str:
        """Show every setting but the secrets."""
        ordered = sorted(fields(self), key=lambda field: field.name in LoadPolicy.__dataclass_fields__)
        settings = {field.name: getattr(self, field.name) for field in ordered}
        shown = ", ".join(
            f"{name}={'***' if name in _SECRET and value else repr(value)}" for name, value in settings.items()
        )
        return f"Options({shown})"

    def check_held(self, policy: LoadPolicy) -> None:
        """Raise ConfigurationError where `policy` would serve stale copies for longer than they are held."""
        window = policy.stale_while_revalidate
        expect(
            window is None or window <= self.stale_ttl,
            "stale_while_revalidate", window, f"at most stale_ttl ({self.stale_ttl}), for which stale copies are held",
        )  # fmt: skip

    @property
    def secrets(self) -> tuple[bytes, ...]:
        """The signing keys as bytes, the one that signs first; empty when values aren't signed."""
        return signing_keys(self.secret)


class DefaultTtl(enum.Enum):
    """The type of `DEFAULT_TTL`."""

    DEFAULT_TTL = "the cache's own ttl"


DEFAULT_TTL: Final = DefaultTtl.DEFAULT_TTL
"""As a ttl: the one that the cache was made with."""

Ttl = float | None | DefaultTtl
"""A ttl as callers give it: seconds, None for no expiry, or DEFAULT_TTL."""


def ttl_ns(ttl: float | None, name: str = "ttl") -> int:
    """Turn a caller's ttl (s) into nanoseconds; None, and more than a hundred years, gives NEVER.

    >>> ttl_ns(1.5), ttl_ns(None) == NEVER
    (1500000000, True)
    """
    if ttl is None:
        return NEVER
    if isinstance(ttl, bool) or not isinstance(ttl, int | float):
        raise TypeError(f"{name} must be seconds (int or float) or None, got {ttl!r}")
    if math.isnan(ttl) or ttl < 0:
        raise ValueError(f"{name} must be >= 0 seconds, got {ttl!r}")
    return round(ttl * SECOND) if ttl <= MOST_SECONDS else NEVER


def _kind(given: object) -> str:
    return "an empty str" if given == "" else f"a {type(given).__name__}"

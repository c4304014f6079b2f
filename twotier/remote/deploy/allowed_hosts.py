"""Check the hosts that servers name: whoever answers as a cluster node or a sentinel chooses them.

A connection carries credentials. So with `allowed_hosts`, a host that a redirection, a cluster's map or a sentinel
names is refused unless it is on the list; hosts that the user has named are always allowed.
"""

import ipaddress
import logging
from collections.abc import Sequence

from twotier.clock import SystemClock
from twotier.errors import ConfigurationError, RemoteUnavailable
from twotier.rate_limited_log import RateLimitedLog
from twotier.remote.io.host_and_port import host_in

_occasional = RateLimitedLog(SystemClock())
"""Logs one line a minute, for all refused hosts together."""


def check_allowed_hosts(given: Sequence[str] | None) -> None:
    """Raise ConfigurationError unless each element is a host name, a domain, an address or a network."""
    for each in given or ():
        if not (_network(each) or _is_name(each)):
            raise ConfigurationError(
                "allowed_hosts must hold host names, domains ('.example.org'), IP addresses and networks "
                f"('10.0.0.0/8'), got {each!r}"
            )


def ensure_allowed(host: str, allowed: Sequence[str] | None) -> None:
    """Raise RemoteUnavailable, and log once a minute, unless `host`, which a server has named, is `allowed`.

    >>> ensure_allowed("10.1.2.3", ["10.0.0.0/8", ".example.org"])
    >>> ensure_allowed("Cache-1.example.org", ["10.0.0.0/8", ".example.org"])
    """
    if allowed is None or any(_matches(host, each) for each in allowed):
        return
    refused = f"a server names the host {host!r}, which allowed_hosts doesn't include: not connecting to it"
    _occasional.log(logging.ERROR, "refused", "%s (logged once a minute)", refused)
    raise RemoteUnavailable(refused)


def _matches(host: str, allowed: str) -> bool:
    network = _network(allowed)
    if network is None:
        name, host = allowed.lower().rstrip("."), host.lower().rstrip(".")
        return host == name or (name.startswith(".") and host.endswith(name))
    try:
        return ipaddress.ip_address(host.partition("%")[0]) in network
    except ValueError:
        return False


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None


def _is_name(text: str) -> bool:
    try:
        return host_in(text) not in (".", "") and ":" not in text
    except ValueError:
        return False

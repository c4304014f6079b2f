"""Hosts and ports in the replies of servers: in redirects, in the map of a cluster, in the replies of sentinels.

The server chooses these texts, and they reach connections, logs and errors. So only texts in the form of a
host name or an IP address, and of a port, are accepted.
"""

import re
from typing import Any, Final

_HOST: Final = re.compile(r"[0-9A-Za-z_.:%-]{1,253}")
_PORT: Final = re.compile(rb"[0-9]{1,5}")
_HIGHEST_PORT: Final = 65_535


def host_in(text: Any) -> str:
    """Return `text` (bytes or str) as a host; raise ValueError if it isn't one.

    >>> host_in(b"10.0.0.7"), host_in("cache-1.example.org"), host_in(b"fe80::1%eth0")
    ('10.0.0.7', 'cache-1.example.org', 'fe80::1%eth0')
    """
    host = text.decode("ascii") if type(text) is bytes else text
    if type(host) is not str or not _HOST.fullmatch(host):
        raise ValueError("not a host")
    return host


def port_in(text: Any) -> int:
    """Return `text` (an int, or its digits as bytes) as a port; raise ValueError if it isn't one.

    >>> port_in(b"6379"), port_in(7000)
    (6379, 7000)
    """
    port = int(text) if type(text) is bytes and _PORT.fullmatch(text) else text
    if type(port) is not int or not 1 <= port <= _HIGHEST_PORT:
        raise ValueError("not a port")
    return port

"""Mapping of error replies to RemoteErrors.

Only the code of a server's text is kept: the rest may quote keys and values.
"""

import re
from typing import Any, Final

from twotier.errors import AccessDenied, RemoteError, RemoteUnavailable
from twotier.remote.io.host_and_port import host_in, port_in
from twotier.resp import ErrorReply

_CODE: Final = re.compile("[A-Z]{1,32}")
_SLOT: Final = re.compile("[0-9]{1,5}")
_LAST_SLOT: Final = 16_383
_SHOWN: Final = 160
"""Most characters of an error's text in a log line."""
_LINE: Final = 400
"""Most characters of a text that also names a server."""


class NotAnInteger(RemoteError):  # noqa: N818 - says what is wrong with the value
    """An increment met a value that isn't an integer of 64 bits; nothing was changed."""


class IntegerOverflow(RemoteError):  # noqa: N818 - the field's name
    """An increment would have left the range of 64 bits; nothing was changed."""


class OtherTypeError(RemoteError):
    """The key holds a list, a hash or another type; nothing was changed."""


class OutOfStepError(RemoteUnavailable):
    """A reply that doesn't fit the command: the connection's replies don't match its commands."""

    def __init__(self, command: str) -> None:
        super().__init__(f"the server's reply doesn't fit {command}; the connection was dropped")


class NotServingError(RemoteUnavailable):
    """The server replies but doesn't serve data now: it is loading, without its primary, or held by a script."""


class NoMemoryError(RemoteError):
    """The server refuses commands that may need memory, since it is at `maxmemory` and evicts nothing."""


class StaleConnectionError(RemoteError):
    """The server refused for a reason that may not apply to a fresh connection, such as a demoted primary."""


class RefusedCredentialsError(StaleConnectionError):
    """The server refuses the connection's user name or password; those of a fresh connection may be right."""


class RedirectionError(RemoteError):
    """Another cluster node serves the slot: for good (MOVED), or for keys that have left this node (ASK)."""

    def __init__(self, slot: int, host: str, port: int, *, asking: bool) -> None:
        super().__init__(f"slot {slot} is served by another node of the cluster")
        self.slot, self.host, self.port, self.asking = slot, host, port, asking


class CrossSlotError(RemoteError):
    """A node of a cluster was asked for keys of several slots at once."""


class MovingError(RemoteError):
    """The keys of one command are on two nodes just now, as their slot is being moved; another try may succeed."""


_OUTAGES: Final = {
    "LOADING": "is loading its data",
    "MASTERDOWN": "has lost its primary",
    "CLUSTERDOWN": "serves no whole cluster",
    "BUSY": "is held by a long script",
}
_STALE: Final = {
    "READONLY": "is a read-only replica",
    "UNBLOCKED": "changed its role",
}
_CREDENTIALS: Final = {"NOAUTH": "asks for authentication", "WRONGPASS": "refuses the user name or password"}
_DENIED: Final = {"NOPERM": "denies our user this command, key or channel (ACL)"}
_REASONS: Final = {
    "EXECABORT": "refused a command of the transaction",
    "MISCONF": "can't persist, and refuses writes",
    "NOREPLICAS": "has too few replicas, and refuses writes",
}
_CROSS_SLOT: Final = {"CROSSSLOT": "asks for keys of one slot"}
_FULL: Final = {"OOM": "is out of memory (maxmemory with noeviction)"}
_OTHER_TYPE: Final = {"WRONGTYPE": "holds a value of another type under the key"}
_KNOWN: Final = {
    NotServingError: _OUTAGES,
    StaleConnectionError: _STALE,
    RefusedCredentialsError: _CREDENTIALS,
    AccessDenied: _DENIED,
    CrossSlotError: _CROSS_SLOT,
    NoMemoryError: _FULL,
    OtherTypeError: _OTHER_TYPE,
    RemoteError: _REASONS,
}


def code(error: ErrorReply) -> str:
    """Return the code that precedes the error's text; "ERR" if there is none."""
    first = error.text.partition(" ")[0]
    return first if _CODE.fullmatch(first) else "ERR"


def shown(error: ErrorReply) -> str:
    r"""Return the error with its text for a log: escaped, so that it can't end the line, and cut to a bounded length.

    >>> shown(ErrorReply("NOPERM no access to \x1b[31mchannel"))
    "NOPERM: 'no access to \\x1b[31mchannel'"
    """
    kind = code(error)
    text = error.text.removeprefix(f"{kind} ")
    return f"{kind}: {text[:_SHOWN]!r}"


def one_line(text: str) -> str:
    r"""Return a text, maybe a server's, as one line for logs and terminals: cut, and without control characters.

    >>> one_line("max clients\r\n\x1b[31m")
    'max clients\\r\\n\\x1b[31m'
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text[:_LINE])


def refusal(error: ErrorReply) -> RemoteError:
    """Return the exception for an error reply, without the server's text."""
    kind = code(error)
    if kind in ("MOVED", "ASK"):
        return _redirection(error.text, asking=kind == "ASK")
    if kind == "TRYAGAIN":
        return MovingError("the server is moving the keys (TRYAGAIN)")
    for meaning, reasons in _KNOWN.items():
        if kind in reasons:
            return meaning(f"the server {reasons[kind]} ({kind})")
    text = error.text
    if "not an integer" in text:
        return NotAnInteger("the value is not an integer of 64 bits")
    if "would overflow" in text:
        return IntegerOverflow("the sum would leave the range of 64 bits")
    return RemoteError(f"the server refused the command ({code(error)})")


def _redirection(text: str, *, asking: bool) -> RemoteError:
    try:
        _, slot, where = text.split(" ")[:3]
        host, _, port = where.rpartition(":")
        # Without a host, the node that sent the redirect is meant.
        return RedirectionError(_slot_in(slot), host and host_in(host), port_in(port.encode()), asking=asking)
    except ValueError:
        return OutOfStepError("a command in a cluster")


def _slot_in(text: str) -> int:
    if not _SLOT.fullmatch(text) or int(text) > _LAST_SLOT:
        raise ValueError("not a slot")
    return int(text)


def check(reply: Any) -> Any:
    """Return `reply`, or raise its exception if it is an error."""
    if type(reply) is ErrorReply:
        raise refusal(reply)
    return reply


def executed(replies: list[Any]) -> list[Any]:
    """Return the results of a MULTI's steps, or raise the error of a step that couldn't be queued."""
    for reply in replies[:-1]:
        if reply not in (b"QUEUED", b"OK"):
            check(reply)
            raise OutOfStepError("MULTI")
    results = check(replies[-1])
    if type(results) is not list or len(results) != len(replies) - 2:
        raise OutOfStepError("EXEC")
    return results

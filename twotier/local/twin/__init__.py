"""The surface of the Python twin: the names that the compiled module has (`twotier/_speedups.pyi`)."""

from twotier.local.twin.fast_get import AsyncFront, Front, LocalFront
from twotier.local.twin.memo import Memo
from twotier.local.twin.store import Store, now
from twotier.replies import PlainReader as ReplyReader

__all__ = ["AsyncFront", "Front", "LocalFront", "Memo", "ReplyReader", "Store", "now"]

"""The surface of the Python twin: the names that the compiled module has (`twotier/_speedups.pyi`)."""

from twotier.local._faces import AsyncFront, Front, LocalFront
from twotier.local._fallback import Store, now
from twotier.local._memo import Memo
from twotier.replies import PlainReader as ReplyReader

__all__ = ["AsyncFront", "Front", "LocalFront", "Memo", "ReplyReader", "Store", "now"]

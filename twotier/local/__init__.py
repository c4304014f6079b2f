"""The local tier: the compiled store, or its Python twin where there is none (or `TWOTIER_IMPL=python` asks for it)."""

import logging
import os
from typing import TYPE_CHECKING

COMPILED: bool
"""Whether the compiled store is in use."""

if TYPE_CHECKING:
    from twotier._speedups import AsyncFront, Front, LocalFront, Memo, Store
elif os.environ.get("TWOTIER_IMPL") == "python":
    from twotier.local._fallback import AsyncFront, Front, LocalFront, Memo, Store

    COMPILED = False
else:
    try:
        from twotier._speedups import AsyncFront, Front, LocalFront, Memo, Store

        COMPILED = True
    except ImportError as error:
        from twotier.local._fallback import AsyncFront, Front, LocalFront, Memo, Store

        COMPILED = False
        logging.getLogger("twotier").warning("the compiled local tier is missing (%s): the Python twin serves", error)

__all__ = ["COMPILED", "AsyncFront", "Front", "LocalFront", "Memo", "Store"]

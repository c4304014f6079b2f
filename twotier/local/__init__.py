"""The local tier: the compiled store, or its Python twin without an extension or with `TWOTIER_IMPL=python`."""

import os
import warnings
from typing import TYPE_CHECKING

COMPILED: bool
"""Whether the compiled store is in use."""

if TYPE_CHECKING:
    from twotier._speedups import AsyncFront, Front, LocalFront, Memo, Store
elif os.environ.get("TWOTIER_IMPL") == "python":
    from twotier.local.twin import AsyncFront, Front, LocalFront, Memo, Store

    COMPILED = False
else:
    try:
        from twotier._speedups import AsyncFront, Front, LocalFront, Memo, Store

        COMPILED = True
    except ImportError as error:
        from twotier.local.twin import AsyncFront, Front, LocalFront, Memo, Store

        COMPILED = False
        warnings.warn(
            f"the compiled local tier of twotier is missing ({error}): the Python twin serves, many times slower. "
            "Install with a C compiler and TWOTIER_COMPILE=required, or set TWOTIER_IMPL=python if this is intended",
            RuntimeWarning,
            stacklevel=2,
        )

__all__ = ["COMPILED", "AsyncFront", "Front", "LocalFront", "Memo", "Store"]

"""The plain format: compiled, or its Python twin without an extension or with `TWOTIER_IMPL=python`."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from twotier._speedups import PlainFormat
elif os.environ.get("TWOTIER_IMPL") == "python":
    from twotier.codec._fallback import PlainFormat
else:
    try:
        from twotier._speedups import PlainFormat
    except ImportError:
        from twotier.codec._fallback import PlainFormat

__all__ = ["PlainFormat"]

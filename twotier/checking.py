"""The checks that settings share; each error names the field, the given value and the expected one."""

from typing import Any, Final

from twotier.errors import ConfigurationError

MOST_SECONDS: Final = 3_155_760_000
"""The longest span that can be asked for, a hundred years (s): the sum of two fits into 64 bits (ns)."""


def expect(holds: bool, name: str, given: object, expected: str) -> None:
    """Raise ConfigurationError unless `holds`.

    >>> expect(False, "maxsize", 0, "an int >= 1")
    Traceback (most recent call last):
    twotier.errors.ConfigurationError: maxsize must be an int >= 1, got 0
    """
    if not holds:
        raise ConfigurationError(f"{name} must be {expected}, got {given!r}")


def is_int(given: Any, least: int) -> bool:
    """Return True if `given` is an int, and at least `least`."""
    return isinstance(given, int) and not isinstance(given, bool) and given >= least


def is_seconds(given: Any, least: float) -> bool:
    """Return True if `given` is a number of at least `least`, and at most a hundred years."""
    return isinstance(given, int | float) and not isinstance(given, bool) and least <= given <= MOST_SECONDS

"""The sentinel for a missing value, where None is a value."""

from typing import Final

MISSING: Final = object()
"""Stands for "no value"."""

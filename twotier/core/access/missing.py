"""The sign of absence where None is a value."""

from typing import Final

MISSING: Final = object()
"""Stands for "no value"."""

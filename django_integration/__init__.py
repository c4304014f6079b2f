"""The Django cache backend: `"BACKEND": "twotier.django.TwoTierCache"`."""

from .backend import TwoTierCache
from .errors import UncacheableError

__all__ = ["TwoTierCache", "UncacheableError"]

"""`cache.cached(...)`: functions whose results are kept in a cache, under keys made of their arguments."""

from twotier.decorators.cached import CachedFunction, CacheInfo
from twotier.decorators.decorator import Decorator

__all__ = ["CacheInfo", "CachedFunction", "Decorator"]

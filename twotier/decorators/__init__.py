"""`cache.cached(...)`: functions whose results are kept in a cache, under keys made of their arguments."""

from twotier.decorators.cached import CacheInfo
from twotier.decorators.coroutines import CachedCoroutine
from twotier.decorators.decorator import AsyncDecorator, Decorator
from twotier.decorators.functions import CachedFunction

__all__ = ["AsyncDecorator", "CacheInfo", "CachedCoroutine", "CachedFunction", "Decorator"]

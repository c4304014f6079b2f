"""`cache.cached(...)`: functions whose results are kept in a cache, under keys made of their arguments."""

from twotier.decorators.cached import CacheInfo
from twotier.decorators.coroutines import CachedCoroutine
from twotier.decorators.decorator import Asked, AsyncDecorator, Decorator
from twotier.decorators.functions import CachedFunction

__all__ = ["Asked", "AsyncDecorator", "CacheInfo", "CachedCoroutine", "CachedFunction", "Decorator"]

"""Functions that are cached, in a module, as programs have them."""

import sys

from twotier import Cache

cache = Cache()


@cache.cached(ttl=60)
def load(user_id, full=False, *extra, lang="en", **more):
    """Load a user."""
    return (user_id, full, extra, lang, more)


@cache.cached(key="user:{user_id}")
def by_template(user_id):
    return {"id": user_id}


class Shop:
    def __init__(self, name):
        self.name = name

    @cache.cached(key="{self.name}:price:{item}")
    def price(self, item):
        return f"{item} at {self.name}"

    @cache.cached()
    @classmethod
    def kind(cls, number):
        return f"{cls.__name__}{number}"

    @cache.cached()
    @staticmethod
    def vat(rate):
        return rate * 2


if __name__ == "__main__":  # prints keys, for a test of other interpreters
    from shop import load as imported

    sys.stdout.write(imported.key_for(7, more={"x", "y", "z"}, when=frozenset({1, 2, "3"})) + "\n")
    sys.stdout.write(imported.key_for("x" * 1000) + "\n")

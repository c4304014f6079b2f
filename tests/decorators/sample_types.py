"""What a type checker is to make of cached functions: what each line must be found to be is beside it."""
# ruff: noqa: F821 - reveal_type is the type checker's

from twotier import Cache

cache = Cache()


@cache.cached(ttl=60, key="user:{user_id}")
def load(user_id: int, *, full: bool = False) -> dict[str, int]:
    return {"id": user_id, "full": full}


class Shop:
    @cache.cached(ignore=("self",))
    def price(self, item: str) -> float:
        return float(len(item))

    @cache.cached()
    @staticmethod
    def vat(rate: int) -> int:
        return rate


reveal_type(load)  # twotier.decorators.cached.CachedFunction[[user_id: int, *, full: bool =], dict[str, int]]
reveal_type(load(1))  # dict[str, int]
reveal_type(load.key_for(1, full=True))  # str
reveal_type(load.cache_info().hits)  # int
reveal_type(load.__wrapped__)  # def (user_id: int, *, full: bool =) -> dict[str, int]
reveal_type(Shop().price)  # twotier.decorators.cached.BoundFunction[[item: str], float]
reveal_type(Shop().price("a"))  # float
reveal_type(Shop().price.key_for("a"))  # str
reveal_type(Shop.price(Shop(), "a"))  # float
reveal_type(Shop.vat(1))  # int

load("1")  # error: Argument 1 to "__call__" of "CachedFunction" has incompatible type "str"; expected "int"
load(1, ful=True)  # error: Unexpected keyword argument "ful"
load.key_for()  # error: Missing positional argument "user_id"
Shop().price(1)  # error: Argument 1 to "__call__" of "Bound" has incompatible type "int"; expected "str"
cache.cached(tll=60)  # error: Unexpected keyword argument "tll"

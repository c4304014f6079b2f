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

    @cache.cached(ignore=("self",))
    async def stock(self, item: str) -> int:
        return len(item)


@cache.cached()
async def fetch(user_id: int) -> list[int]:
    return [user_id]


@cache.aio.cached(key="{user_id}")
async def fetch_too(user_id: int) -> bytes:
    return bytes(user_id)


async def awaiting() -> None:
    reveal_type(fetch)  # twotier.decorators.coroutines.CachedCoroutine[[user_id: int], list[int]]
    reveal_type(await fetch(1))  # list[int]
    reveal_type(await fetch.invalidate(1))  # bool
    reveal_type(await fetch_too(1))  # bytes
    reveal_type(await Shop().stock("a"))  # int
    reveal_type(await Shop().stock.invalidate("a"))  # bool
    reveal_type(Shop().price.invalidate("a"))  # bool
    await fetch("1")  # error: Argument 1 to "__call__" of "Cached" has incompatible type "str"; expected "int"


reveal_type(load)  # twotier.decorators.functions.CachedFunction[[user_id: int, *, full: bool =], dict[str, int]]
reveal_type(load(1))  # dict[str, int]
reveal_type(load.key_for(1, full=True))  # str
reveal_type(load.cache_info().hits)  # int
reveal_type(load.__wrapped__)  # def (user_id: int, *, full: bool =) -> dict[str, int]
reveal_type(Shop().price)  # twotier.decorators.functions.BoundFunction[[item: str], float]
reveal_type(Shop().price("a"))  # float
reveal_type(Shop().price.key_for("a"))  # str
reveal_type(Shop.price(Shop(), "a"))  # float
reveal_type(Shop.vat(1))  # int

load("1")  # error: Argument 1 to "__call__" of "Cached" has incompatible type "str"; expected "int"
load(1, ful=True)  # error: Unexpected keyword argument "ful"
load.key_for()  # error: Missing positional argument "user_id"
Shop().price(1)  # error: Argument 1 to "__call__" of "Bound" has incompatible type "int"; expected "str"
cache.cached(tll=60)  # error: Unexpected keyword argument "tll"

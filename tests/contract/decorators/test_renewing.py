"""Results that are to change: invalidated, loaded anew, cleared, tagged, loaded ahead or kept by a policy of loads."""

import threading

import pytest
from waiting import wait_for

from twotier import Cache, TwoTierError
from twotier.clock import ManualClock


def test_invalidate(cache):
    """A call's result expires, through the function or through an object's method; others stay."""

    class User:
        number = 7

        @cache.cached(key="user:{self.number}:{part}")
        def part(self, part):
            return part

    user = User()
    for invalidate in (user.part.invalidate, lambda part: User.part.invalidate(user, part)):
        user.part("a"), user.part("b")
        assert invalidate("a") is True
        assert invalidate("a") is False
        before = User.part.cache_info().misses
        assert (user.part("a"), user.part("b")) == ("a", "b")
        assert User.part.cache_info().misses == before + 1


def test_refresh(cache):
    """The function is run whatever is cached, and its result is what callers get from then on."""
    source = ["old"]

    class Page:
        @cache.cached(key="page:{number}")
        def text(self, number):
            return [number, *source]

    page = Page()
    assert page.text(1) == [1, "old"]
    source[0] = "new"
    assert page.text(1) == [1, "old"]
    assert page.text.refresh(1) == [1, "new"]
    assert page.text(1) == cache.get("page:1") == [1, "new"]
    source[0] = "newest"
    assert Page.text.refresh(page, 1) == page.text(1) == [1, "newest"]
    assert Page.text.cache_info().misses == 3


def test_cache_clear(cache):
    """Every result of the function expires, whatever its arguments, and nothing else."""

    class Shop:
        @cache.cached(ignore=("self",))
        def price(self, item):
            return [item]

    @cache.cached(key="stock:{item}")
    def stock(item):
        return {item: 1}

    shop = Shop()
    for clear in (shop.price.cache_clear, Shop.price.cache_clear):
        before = shop.price.cache_info().misses
        for _ in range(2):
            for item in ("a", "b", 1):
                assert (shop.price(item), stock(item)) == ([item], {item: 1})
        assert shop.price.cache_info().misses == before + 3
        clear()
    stock_misses = stock.cache_info().misses
    stock.cache_clear()
    shop.price("a")
    before = shop.price.cache_info().misses
    stock("a"), shop.price("a")
    assert (stock.cache_info().misses, shop.price.cache_info().misses) == (stock_misses + 1, before)


def test_cache_clear_reaches_every_process(make):
    """Another cache of the namespace loads anew, and what it was loading meanwhile isn't kept."""
    caches = [make(), make()]
    source = ["old"]
    loads = [cache.cached(key="everywhere:{x}")(lambda x: [x, *source]) for cache in caches]
    assert [load(1) for load in loads] == [[1, "old"]] * 2
    assert loads[1].cache_info()[:2] == (1, 0)
    source[0] = "new"
    loads[0].cache_clear()
    assert loads[0](1) == [1, "new"]
    wait_for(lambda: loads[1](1) == [1, "new"], "the other cache has heard of it")
    assert loads[1].cache_info().misses == 0

    began, go_on = threading.Event(), threading.Event()

    @caches[1].cached(key="slow:{x}")
    def slow(x):
        result = [x, source[0]]
        began.set()
        assert go_on.wait(30)
        return result

    clear_slow = caches[0].cached(key="slow:{x}")(lambda x: x).cache_clear
    thread = threading.Thread(target=slow, args=(1,))
    thread.start()
    assert began.wait(30)
    source[0] = "newest"
    clear_slow()
    go_on.set()
    thread.join()
    wait_for(lambda: slow(1) == [1, "newest"], "the loading process has heard of it")


def test_results_without_a_tag(cache):
    """With `clearable=False` results carry no tag of ours, and `cache_clear` says so."""

    @cache.cached(clearable=False)
    def load(x):
        return x

    assert load(1) == load(1) == 1
    with pytest.raises(TwoTierError, match="was cached with clearable=False"):
        load.cache_clear()


def test_tags(cache):
    """Results carry the tags that the templates give, and expire with them."""

    @cache.cached(key="{user.name}:{part}", tags=["users", "user:{user.name}"])
    def load(user, part):
        return [user.name, part]

    class Ada:
        name = "ada"

    class Bob:
        name = "bob"

    def misses():
        before = load.cache_info().misses
        for user in (Ada, Bob):
            for part in ("a", "b"):
                assert load(user, part) == [user.name, part]
        return load.cache_info().misses - before

    assert (misses(), misses()) == (4, 0)
    cache.invalidate_tag("user:ada")
    assert (misses(), misses()) == (2, 0)
    cache.invalidate_tag("users")
    assert (misses(), misses()) == (4, 0)


def test_load_policy():
    """Settings of loads are those of `get_or_set`: here a stale copy in place of an error."""
    clock = ManualClock()
    with Cache(clock=clock) as cache:
        working = [True]

        @cache.cached(ttl=10, stale_on_error=True)
        def load(x):
            if not working:
                raise ZeroDivisionError
            return [x]

        assert load(1) == [1]
        working.clear()
        clock.advance(20)
        assert load(1) == [1]
        with pytest.raises(ZeroDivisionError):
            load(2)


@pytest.mark.parametrize("options", [{"early_refresh": 1e9}, {}])
def test_early_refresh(options):
    """Hits draw chances to load ahead, whether the cache or the function asks for it."""
    with Cache(**({} if options else {"early_refresh": 1e9})) as cache:
        source, seen = ["old"], set()

        @cache.cached(**options)
        def load(x):
            return source[x]

        assert load(0) == "old"
        source[0] = "new"
        wait_for(lambda: seen.add(load(0)) or load(0) == "new", "it was loaded ahead")
        assert seen <= {"old", "new"}
        assert load.cache_info().misses >= 2

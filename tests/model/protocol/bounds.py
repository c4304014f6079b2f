"""The bounds in which the protocol is checked whole: small cases, each with every interleaving.

`QUICK` runs with every `make test`; `DEEP` (`pytest --deep`) takes 8 minutes and 0.5 GB on one core.
"""

from typing import Final

from protocol.scenario import Choice, Program, Scenario
from protocol.state import Budget

WRITE: Final[Choice] = ("set 0", "delete 0")
ANY_WRITE: Final[Choice] = ("set 0", "delete 0", "touch 0", "incr 0", "add 0")
GET: Final[Program] = (("get 0",),)
ASK: Final[Program] = (("refresh 0",),)
WRITES: Final[Program] = (WRITE,)


CUT: Final = Budget(cuts=1)
FORK: Final = Budget(forks=1)
LIVES: Final = Budget(expiries=1, local_expiries=1)


def then(*steps: Choice | str) -> Program:
    """Return the program of these steps."""
    return tuple((step,) if isinstance(step, str) else step for step in steps)


QUICK: Final = (
    Scenario("a reader and every write", ((then("get 0", "get 0"),), (then(ANY_WRITE, ANY_WRITE),)), cold=True),
    Scenario("two readers and two writers", ((GET, GET), (then("set 0"),), (then("delete 0"),)), cold=True),
    Scenario("own writes beside another's", ((then("set 0", "get 0"), GET), (then(ANY_WRITE),))),
    Scenario("writers against writers", ((then(WRITE), GET), (then(WRITE, "get 0"),))),
    Scenario("two keys", ((GET, then("get 1")), (then("set 0"), then("set 1"))), 2, cold=True),
    Scenario("messages that come twice", ((then("get 0", WRITE), GET), (WRITES,)), budget=Budget(duplicates=1)),
    Scenario("lives end", ((then("get 0", "get 0"),), (then(ANY_WRITE),)), budget=LIVES),
    Scenario("a link breaks under readers", ((ASK, then("refresh 0", "get 0")), (then("set 0"),)), budget=CUT),
    Scenario("a link breaks under a writer", ((then("set 0", "get 0"),), (WRITES,)), budget=CUT),
    Scenario("leases in time", ((GET,), (then("set 0"),)), staleness=2),
    Scenario("a clear and own reads", ((then("clear 0", "get 0"),), (then(WRITE, "get 0"),)), asks=True),
    Scenario("a clear and writes elsewhere", ((WRITES,), (then("clear 0", "set 0"),)), asks=True),
    Scenario("a clear and reads elsewhere", ((GET,), (then("clear 0"), then("set 0"))), asks=True, cold=True),
    Scenario("all is lost", ((GET, GET), (GET,)), asks=True, cold=True, budget=Budget(flushes=1)),
    Scenario("the name is evicted", ((then(WRITE, "get 0"), GET),), asks=True, cold=True, budget=Budget(evictions=2)),
    Scenario(
        "the name is evicted, a clear", ((then("clear 0"),), (then("set 0"),)), asks=True, budget=Budget(evictions=1)
    ),
    Scenario(
        "the name is evicted, a clear that fails",
        ((then("clear 0", "get 0"),),),
        asks=True,
        budget=Budget(evictions=1, failures=2),
    ),
    Scenario(
        "tracking, the name is evicted",
        ((then("clear 0", "get 0"),), (GET,)),
        tracking=True,
        asks=True,
        budget=Budget(evictions=1),
    ),
    Scenario("a restart", ((then("set 0", "get 0"), GET),), asks=True, budget=Budget(restarts=1)),
    Scenario("tracking", ((then(WRITE, "get 0"), GET), (then(ANY_WRITE),)), tracking=True),
    Scenario("tracking, lives end", ((ASK,), (then(ANY_WRITE),)), tracking=True, budget=LIVES),
    Scenario("tracking, all is lost", ((GET, GET),), tracking=True, asks=True, cold=True, budget=Budget(flushes=1)),
    Scenario("a fork", ((then("get 0", "set 0"),), (then("get 0", WRITE, "get 0"),)), parents=(0, 0), budget=FORK),
    Scenario("a write that fails", ((then(WRITE, "get 0"),), (GET,)), budget=Budget(failures=1)),
    Scenario("a write that fails under reads", ((WRITES, then("get 0", "get 0")),), budget=Budget(failures=1)),
    Scenario("a write that fails beside another", ((WRITES, WRITES),), budget=Budget(failures=1)),
    Scenario("a write that comes late", ((then(WRITE, "get 0"),),), budget=Budget(failures=2, late=1)),
    Scenario("a journal that overflows", ((then(WRITE, "get 0"),),), asks=True, budget=Budget(failures=2, overflows=1)),
    Scenario("a clear that fails", ((then("clear 0", "get 0"),),), asks=True, budget=Budget(failures=2)),
    Scenario("replay of sets", ((then("set 0"),), (WRITES,)), budget=Budget(failures=1), replay="set"),
    Scenario("loads and an update", ((then("load 0"), then("update 0")), (then("load 0"),)), empty=True),
    Scenario("loads and a clear", ((then("clear 0"),), (then("load 0", "get 0"),)), empty=True, asks=True),
    Scenario("a load's lease ends", ((then("update 0"),), (then("load 0", "get 0"),)), empty=True, budget=LIVES),
    Scenario(
        "a load that fails", ((then("update 0"),), (then("load 0", "get 0"),)), empty=True, budget=Budget(failures=1)
    ),
    Scenario(
        "a load beside a lease that was abandoned",
        ((then("update 0"),), (then("load 0", "load 0"),)),
        empty=True,
        budget=Budget(failures=1),
    ),
)

DEEP: Final = (
    Scenario(
        "the name is evicted, a clear", ((then("clear 0", "get 0"),), (WRITES,)), asks=True, budget=Budget(evictions=2)
    ),
    Scenario("three processes write", ((then(WRITE),), (then(WRITE),), (then("get 0", WRITE),))),
    Scenario("two readers and two writers", ((GET, GET), (WRITES,), (then(ANY_WRITE),)), cold=True),
    Scenario("writers against writers, twice", ((then(WRITE, "get 0"), GET), (then(WRITE), then("get 0", "get 0")))),
    Scenario("two keys", ((then("set 0", "get 0"), then("delete 1", "get 1")), (then("set 1"),)), 2),
    Scenario("two keys read in turn", ((then("get 0", "get 1"),), (then("set 0", "set 1"), WRITES)), 2, cold=True),
    Scenario("a link breaks twice", ((then("refresh 0", "get 0"), ASK), (then("set 0"),)), budget=Budget(cuts=2)),
    Scenario("a link breaks under writers", ((then(WRITE, "get 0"), GET), (WRITES,)), budget=CUT),
    Scenario("leases in time, a dead link", ((GET,), (then("set 0"),)), staleness=3, budget=CUT),
    Scenario("a clear and writes elsewhere", ((then(WRITE, "get 0"),), (then("clear 0", "set 0"),)), asks=True),
    Scenario("two clears", ((then("clear 0", "get 0"),), (then("clear 0", WRITE),)), asks=True),
    Scenario("all is lost", ((then("get 0", "set 0"), GET), (GET,)), asks=True, cold=True, budget=Budget(flushes=1)),
    Scenario("a restart", ((GET,), (then("set 0"),)), asks=True, budget=Budget(restarts=1)),
    Scenario("a write that fails", ((then(WRITE, "get 0"), GET), (GET,)), budget=Budget(failures=1)),
    Scenario("a write that fails beside another", ((then(WRITE, "get 0"), WRITES),), budget=Budget(failures=2)),
    Scenario(
        "a write that fails, a clear elsewhere",
        ((then("set 0", "get 0"),), (then("clear 0"),)),
        asks=True,
        budget=Budget(failures=1),
    ),
    Scenario(
        "a clear that fails", ((then("clear 0", "get 0"),), (then("set 0"),)), asks=True, budget=Budget(failures=1)
    ),
    Scenario("replay of sets", ((then("set 0", "get 0"),), (WRITES,)), budget=Budget(failures=1), replay="set"),
    Scenario(
        "replay of sets that come late",
        ((then("set 0"),), (then("set 0"),)),
        budget=Budget(failures=2, late=1),
        replay="set",
    ),
    Scenario(
        "a load's lease ends", ((then("update 0"),), (then("load 0"),), (then("load 0"),)), empty=True, budget=LIVES
    ),
    Scenario(
        "loads that fail beside an update",
        ((then("update 0"), then("load 0", "get 0")),),
        empty=True,
        budget=Budget(failures=2),
    ),
)

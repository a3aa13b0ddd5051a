"""Whatever is asked of them, in whatever order, memory and Redis decide alike."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from typing_extensions import override

from gateway.store.state import Admitted, Limited, Refusal
from gateway.store.state.memory import MemoryState
from gateway.store.state.redis import RedisCounters
from gateway.values import Reservation
from tests.contract.state.stores import RedisStore, hold, rate, slot
from tests.fakes.clock import HandClock
from tests.servers.redis_server import RedisServer

# Budgets, rates and places by number; what is asked of each. Amounts are small, or beyond a double's reach.
_MONEY = st.sampled_from((0, 1, 20, 50, 101, 2**53 + 1, 9 * 10**18))
_LIMITS = st.sampled_from((0, 50, 100, 2**53 + 52, 4 * 10**18))
_NAMES = st.integers(0, 2)


def _few(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(_NAMES, strategy, max_size=3)


def _told(decision: object) -> object:
    """A decision without times, which no two clocks have alike."""
    if isinstance(decision, Admitted):
        return [(left.limit, left.remaining) for left in decision.rates]
    if isinstance(decision, Limited):
        return decision.bucket, decision.what, decision.remaining, decision.retry_after is None
    assert isinstance(decision, Refusal)
    return decision


class Agreement(RuleBasedStateMachine):
    """Two stores that are asked the same."""

    runner: asyncio.Runner
    url: str
    runs = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).runs += 1
        self.counters = RedisCounters(self.url, prefix=f"agree-{self.runs}", timeout=20.0)
        self.runner.run(self.counters.connect())
        self.memory, self.redis = MemoryState(HandClock()), RedisStore(self.counters)

    @override
    def teardown(self) -> None:
        self.runner.run(self.counters.aclose())

    @rule(
        name=st.integers(0, 5),
        money=_few(st.tuples(_MONEY, _LIMITS)),
        rates=_few(st.tuples(st.integers(0, 6), st.sampled_from(("requests", "tokens")))),
        places=_few(st.integers(0, 3)),
    )
    def admit(
        self,
        name: int,
        money: dict[int, tuple[int, int]],
        rates: dict[int, tuple[int, str]],
        places: dict[int, int],
    ) -> None:
        asked = Reservation(
            f"r{name}",
            tuple(hold(f"b{key}", amount, limit) for key, (amount, limit) in money.items()),
            tuple(rate(f"m{key}", 7 + key, take, what=what) for key, (take, what) in rates.items()),
            tuple(slot(f"c{key}", limit) for key, limit in places.items()),
        )

        async def both() -> None:
            expected = await self.memory.admit(asked)
            assert _told(await self.redis.admit(asked)) == _told(expected)

        self.runner.run(both())

    @rule(
        name=st.integers(0, 5),
        charge=st.sampled_from((0, 1, 30, 2**53 + 1)),
        tokens=st.none() | st.integers(0, 9),
    )
    def settle(self, name: int, charge: int, tokens: int | None) -> None:
        async def both() -> None:
            unknown = self.memory.unknown_settlements
            await self.memory.settle(f"r{name}", charge, tokens)
            held = self.memory.unknown_settlements == unknown
            assert await self.redis.settle(f"r{name}", charge, tokens) == held

        self.runner.run(both())

    @invariant()
    def all_budgets_are_alike(self) -> None:
        async def both() -> None:
            for key in range(3):
                asked = Reservation("probe", (hold(f"b{key}", 9 * 10**18, 1),))
                assert await self.redis.admit(asked) == await self.memory.admit(asked)

        self.runner.run(both())


@pytest.mark.parametrize("examples", [40])
def test_memory_and_redis_decide_alike(redis_server: RedisServer, examples: int) -> None:
    with asyncio.Runner() as runner:
        Agreement.runner, Agreement.url = runner, redis_server.url
        run_state_machine_as_test(
            Agreement,
            settings=settings(
                max_examples=examples,
                stateful_step_count=25,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            ),
        )

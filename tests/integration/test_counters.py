"""Budget counters from the ledger, when budgets come and change while requests are under way."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.flow.counters import Counters
from gateway.policies.budgets import bucket, holds
from gateway.store.database import Database
from gateway.store.state import Admitted, Refusal
from gateway.store.state.memory import MemoryState
from gateway.usage.recent import Recent
from gateway.values import BudgetRule, Principal, Reservation
from pricing import Money
from tests.fakes.clock import HandClock
from tests.unit.gateway.usage.samples import NOW, attempt, outcome

GRACE = 100.0
DOLLAR = 10**12


def rule(period: str, scope: str = "team") -> BudgetRule:
    return BudgetRule(
        id="bud_1", scope=scope, limit_pico=10 * DOLLAR, currency="USD", period=period
    )


def caller(*rules: BudgetRule) -> Principal:
    made = outcome()
    return Principal(
        key_id=made.key_id,
        key_name="k",
        team_id=made.team_id,
        team_name="t",
        organisation_id=made.organisation_id,
        budgets=rules,
    )


class Desk:
    """A state store, and counters that are rebuilt from an empty ledger and what is not in it yet."""

    def __init__(self, database: Database) -> None:
        self.clock = HandClock(NOW)
        self.state = MemoryState()
        self.recent = Recent()
        self.counters = Counters(
            database, self.state, self.recent, asyncio.Lock(), self.clock, grace=GRACE
        )
        self.settled = 0

    async def settle(self, dollars: int, *held: BudgetRule) -> None:
        """A request that ends: it holds and books in the budgets that it was let in under."""
        self.settled += 1
        name = f"gen-{self.settled}"
        taken = holds(held, Money("USD", 0), self.clock.now())
        assert isinstance(await self.state.admit(Reservation(name, taken)), Admitted)
        charged = attempt(name, charge=dollars * DOLLAR)
        self.recent.put(outcome(name, created_ms=int(self.clock.now() * 1000), attempts=(charged,)))
        await self.state.settle(name, dollars * 10**9)

    async def refused(self, dollars: int, asked: BudgetRule) -> bool:
        """Whether a request that may cost so much is refused."""
        wanted = holds((asked,), Money("USD", dollars * DOLLAR), self.clock.now())
        decision = await self.state.admit(Reservation("gen-asked", wanted))
        await self.state.settle("gen-asked", 0)
        return isinstance(decision, Refusal)


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    database = Database(database_url)
    yield Desk(database)
    await database.aclose()


async def test_a_new_budget_counts_what_its_team_spent_before(desk: Desk) -> None:
    await desk.counters.ensure(caller())
    await desk.settle(9)
    await desk.counters.ensure(caller(rule("monthly")))
    assert not await desk.refused(1, rule("monthly"))
    assert await desk.refused(2, rule("monthly"))


async def test_what_was_under_way_when_a_budget_was_set_is_counted_in_it(desk: Desk) -> None:
    await desk.counters.ensure(caller())
    await desk.counters.ensure(caller(rule("monthly")))
    await desk.settle(9)  # let in before: it holds nothing in the new budget
    await desk.counters.ensure(caller(rule("monthly")))
    assert await desk.refused(2, rule("monthly"))


async def test_a_period_that_is_changed_and_changed_back_forgets_nothing(desk: Desk) -> None:
    await desk.counters.ensure(caller(rule("monthly")))
    await desk.settle(1, rule("monthly"))
    await desk.counters.ensure(caller(rule("daily")))
    await desk.settle(8, rule("daily"))
    desk.clock.advance(GRACE + 1)
    await desk.counters.ensure(caller(rule("monthly")))
    assert not await desk.refused(1, rule("monthly"))
    assert await desk.refused(2, rule("monthly"))


async def test_a_counter_that_nothing_can_escape_is_read_once(desk: Desk) -> None:
    await desk.counters.ensure(caller(rule("monthly")))
    await desk.state.load(bucket(rule("monthly"), desk.clock.now()), 5 * 10**9)
    await desk.counters.ensure(caller(rule("monthly")))  # or it would read nothing, and set zero
    assert await desk.refused(6, rule("monthly"))

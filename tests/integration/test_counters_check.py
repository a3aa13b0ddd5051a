"""`tidegate ledger check` over counters in Redis: none may be below what the ledger has."""

import time
from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from gateway.accounts.checking_counters import ABANDONED, Counted, check_counters
from gateway.errors import Unavailable
from gateway.settings_state import StateSettings
from gateway.store.database import Database
from gateway.store.state.redis import RedisCounters
from gateway.store.state.resp import address, connect, pack
from gateway.usage import ledger
from gateway.usage.audit_rules import Fault
from gateway.values import BudgetHold, Reservation
from tests.servers.redis_server import RedisServer
from tests.unit.gateway.usage.samples import outcome

LEDGER_NANO = 34_000
BUCKET = "bud_1:total"
HOLD = BudgetHold(BUCKET, 10**12, 1_000, None, "team")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """One request of 34 microdollars, of a team with a budget."""
    made = Database(database_url)
    async with made.transaction() as connection:
        for statement in (
            "INSERT INTO organisations (id, name, created_ms) VALUES ('org-1', 'o', 1)",
            "INSERT INTO teams (id, organisation_id, name, created_ms) VALUES ('team-1', 'org-1', 't', 1)",
            (
                "INSERT INTO budgets (id, scope, team_id, limit_pico, currency, period, created_ms)"
                " VALUES ('bud_1', 'team', 'team-1', 1000000000000, 'USD', 'total', 1)"
            ),
        ):
            await connection.execute(text(statement))
    await ledger.write(made, outcomes=[outcome()])
    yield made
    await made.aclose()


@pytest.fixture
async def counters(redis_server: RedisServer) -> AsyncIterator[RedisCounters]:
    made = RedisCounters(redis_server.url, prefix="books", timeout=20.0)
    await made.connect()
    yield made
    await made.aclose()


async def load(counters: RedisCounters, spent_nano: int) -> None:
    begun = await counters.begin_load(HOLD)
    assert begun is not None
    assert await counters.finish_load(HOLD, spent_nano, begun[0])


async def checked(database: Database, url: str) -> tuple[list[Fault], Counted]:
    faults: list[Fault] = []
    state = StateSettings(url=SecretStr(url), prefix="books")
    return faults, await check_counters(database, state, time.time(), faults.append)


async def test_an_empty_store_has_nothing_to_compare(
    database: Database, redis_server: RedisServer
) -> None:
    assert await checked(database, redis_server.url) == ([], Counted())


async def test_a_counter_that_agrees_is_clean(
    database: Database, counters: RedisCounters, redis_server: RedisServer
) -> None:
    await load(counters, LEDGER_NANO)
    assert await checked(database, redis_server.url) == ([], Counted(1))


async def test_a_counter_below_the_ledger_is_a_fault(
    database: Database, counters: RedisCounters, redis_server: RedisServer
) -> None:
    await load(counters, LEDGER_NANO - 1)
    ((fault,), _) = await checked(database, redis_server.url)
    assert (fault.rule, fault.about) == ("counter", BUCKET)
    assert fault.says == "its counter says 0.000033999 USD spent and 0 USD held"


async def test_what_requests_hold_covers_what_the_counter_lacks(
    database: Database, counters: RedisCounters, redis_server: RedisServer
) -> None:
    await load(counters, LEDGER_NANO - 1_000)
    await counters.admit(Reservation("gen-1", (HOLD,)), 600.0)
    assert await checked(database, redis_server.url) == ([], Counted(1))


async def test_a_counter_above_the_ledger_is_told_and_no_fault(
    database: Database, counters: RedisCounters, redis_server: RedisServer
) -> None:
    await load(counters, LEDGER_NANO + 5)
    faults, counted = await checked(database, redis_server.url)
    assert faults == []
    assert counted.above == (f"{BUCKET} is 0.000000005 USD above the ledger",)


async def test_a_hold_that_nobody_runs_is_a_fault(
    database: Database, counters: RedisCounters, redis_server: RedisServer
) -> None:
    await load(counters, LEDGER_NANO)
    await counters.admit(Reservation("gen-late", (HOLD,)), -float(ABANDONED) - 10)
    await counters.admit(Reservation("gen-live", (HOLD,)), 0.0)
    ((fault,), _) = await checked(database, redis_server.url)
    assert (fault.rule, fault.about) == ("hold", "gen-late")


async def test_looking_changes_nothing(
    database: Database, counters: RedisCounters, redis_server: RedisServer
) -> None:
    await load(counters, LEDGER_NANO)
    await counters.admit(Reservation("gen-late", (HOLD,)), -float(ABANDONED) - 10)
    before = await _all(redis_server.url)
    await checked(database, redis_server.url)
    assert await _all(redis_server.url) == before


async def _all(url: str) -> dict[bytes, object]:
    connection = await connect(address(url), timeout=20.0)
    try:
        names: list[bytes] = await connection.call(pack("KEYS", "*"))
        return {name: await connection.call(pack("DUMP", name)) for name in sorted(names)}
    finally:
        await connection.aclose()


async def test_a_store_that_is_away_is_an_outage(database: Database, unused_tcp_port: int) -> None:
    with pytest.raises(Unavailable, match="counters in Redis"):
        await checked(database, f"redis://127.0.0.1:{unused_tcp_port}")

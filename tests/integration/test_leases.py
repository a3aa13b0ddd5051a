"""Leases of jobs, on both databases: one holder at a time, whatever the clocks of processes say."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from gateway.store import leases
from gateway.store.database import Database
from gateway.store.leases import LeaderLock
from tests.fakes.clock import HandClock


@pytest.fixture
async def databases(database_url: str) -> AsyncIterator[list[Database]]:
    made = [Database(database_url) for _ in range(4)]
    yield made
    for database in made:
        await database.aclose()


async def _end(database: Database, name: str) -> None:
    """As if its time were over."""
    async with database.transaction() as connection:
        await connection.execute(
            text("UPDATE leases SET until_ms = 0 WHERE name = :name"), {"name": name}
        )


async def test_of_many_who_ask_at_once_one_gets_it(databases: list[Database]) -> None:
    for job in ("first", "again"):
        taken = await asyncio.gather(
            *(
                leases.take(database, job, f"w{number}-{part}", ttl=60)
                for number, database in enumerate(databases)
                for part in range(4)
            )
        )
        assert taken.count(True) == 1


async def test_of_many_who_find_it_over_one_gets_it(databases: list[Database]) -> None:
    assert await leases.take(databases[0], "sweep", "dead", ttl=60)
    await _end(databases[0], "sweep")
    taken = await asyncio.gather(
        *(leases.take(database, "sweep", f"w{n}", ttl=60) for n, database in enumerate(databases))
    )
    assert taken.count(True) == 1
    assert not await leases.take(databases[0], "sweep", "dead", ttl=60)


async def test_who_has_it_is_seen_and_whether_it_was_renewed(databases: list[Database]) -> None:
    first, second = databases[:2]
    assert await leases.standing(first, "alone") is None
    assert await leases.take(first, "alone", "a", ttl=60)
    found = await leases.standing(second, "alone")
    assert found is not None
    assert found.holder == "a"
    assert await leases.standing(second, "alone") == found
    assert await leases.take(first, "alone", "a", ttl=90)
    renewed = await leases.standing(second, "alone")
    assert renewed is not None
    assert renewed.until_ms >= found.until_ms + 20_000
    await _end(first, "alone")
    assert await leases.standing(second, "alone") is None


async def test_it_is_renewed_kept_and_given_back(databases: list[Database]) -> None:
    first, second = databases[:2]
    assert await leases.take(first, "sweep", "a", ttl=60)
    assert await leases.take(first, "sweep", "a", ttl=60)
    assert not await leases.take(second, "sweep", "b", ttl=60)
    await leases.release(second, "sweep", "b")
    assert not await leases.take(second, "sweep", "b", ttl=60), "it was another's to give back"
    await leases.release(first, "sweep", "a")
    assert await leases.take(second, "sweep", "b", ttl=60)


async def test_a_holder_stops_before_its_time_is_over_and_whatever_its_calendar_says(
    databases: list[Database],
) -> None:
    early, late = HandClock(), HandClock()
    first = LeaderLock(databases[0], "sweep", "a", ttl=60, clock=early)
    second = LeaderLock(databases[1], "sweep", "b", ttl=60, clock=late)
    assert await first.renew()
    late.advance(10**6)
    assert not await second.renew()
    assert not second.held
    before = first.held
    early.advance(59)
    assert (before, first.held) == (True, False)
    await first.release()
    assert await second.renew()

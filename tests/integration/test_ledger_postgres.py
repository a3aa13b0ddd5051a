"""The ledger on PostgreSQL: exact beyond 64 bits, written once, whatever callers word."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import pytest
from sqlalchemy import text

from gateway.store.database import Database
from gateway.usage import ledger
from gateway.usage.ledger import Shipped
from gateway.usage.lines import Card
from tests.unit.gateway.usage.samples import CARD, NOW_MS, attempt, outcome


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[Database]:
    made = Database(postgres_url)
    yield made
    await made.aclose()


async def _one(database: Database, statement: str) -> tuple[object, ...]:
    async with database.reading() as connection:
        return tuple((await connection.execute(text(statement))).one())


async def test_sums_beyond_64_bits_are_exact(database: Database) -> None:
    most = 2**63 - 1
    outcomes = [
        outcome(name := f"gen-{number}", attempts=(attempt(name, charge=most),))
        for number in range(300)
    ]
    await ledger.write(database, outcomes=outcomes)
    found = await _one(database, "SELECT sum(charge_pico), count(*) FROM ledger_entries")
    assert found == (Decimal(300 * most), 300)


async def test_the_same_written_by_several_at_once_is_there_once(database: Database) -> None:
    outcomes = [
        outcome(name := f"gen-{number}", attempts=(attempt(name, charge=7),))
        for number in range(50)
    ]
    await asyncio.gather(
        *(
            ledger.write(
                database,
                outcomes=outcomes,
                cards=[Card(CARD, NOW_MS)],
                files={"a.jsonl": Shipped(offset)},
            )
            for offset in range(5)
        )
    )
    assert await _one(database, "SELECT sum(charge_pico), count(*) FROM ledger_entries") == (
        350,
        50,
    )
    assert await _one(database, "SELECT count(*) FROM generations") == (50,)
    assert await _one(database, "SELECT count(*) FROM rate_cards") == (1,)


async def test_a_nul_that_a_caller_words_is_replaced_not_refused(database: Database) -> None:
    await ledger.write(database, outcomes=[outcome("gen-1", model_requested="a\0b")])
    assert await _one(database, "SELECT model_requested FROM generations") == ("a\ufffdb",)

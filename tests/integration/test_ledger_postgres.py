"""The ledger on PostgreSQL: exact beyond 64 bits, written once, whatever callers word."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from gateway.errors import Unavailable
from gateway.store.database import Database
from gateway.usage import ledger, queries
from gateway.usage.delivery import REJECTED_FILE, deliver
from gateway.usage.ledger import Shipped
from gateway.usage.lines import Card
from gateway.values import Outcome
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


async def test_a_transaction_that_stands_still_is_ended_and_the_next_one_works(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.database.IDLE_TIMEOUT", 0.2)
    hanging = Database(postgres_url)
    with pytest.raises(Unavailable):
        await _stand_still(hanging, postgres_url)
    assert await _one(hanging, "SELECT 1") == (1,)
    await hanging.aclose()


async def _stand_still(hanging: Database, url: str) -> None:
    looking = Database(url)
    async with hanging.transaction() as connection:
        (backend,) = (await connection.execute(text("SELECT pg_backend_pid()"))).one()
        alive = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
        async with asyncio.timeout(20):
            while True:
                async with looking.reading() as other:
                    if (await other.execute(alive, {"pid": backend})).scalar_one() == 0:
                        break
                await asyncio.sleep(0.02)
        await looking.aclose()
        await connection.execute(text("SELECT 1"))


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


@pytest.mark.parametrize("many", [1, 33, 70])
async def test_any_number_of_outcomes_arrives_each_as_it_was(database: Database, many: int) -> None:
    written = [
        outcome(
            name := f"gen-{n}",
            model_requested='a "q" \\u0000 \\ é 🌊',
            error_code=None if n % 2 else "late",
            attempts=tuple(attempt(name, k + 1, charge=10**21 + n) for k in range(n % 3)),
        )
        for n in range(many)
    ]
    await ledger.write(database, outcomes=written)
    found = [await queries.generation(database, ended.generation_id) for ended in written]
    assert found == written


_BAD = {
    "an id that is too long": outcome("gen-" + "2" * 70),
    "a number beyond its column": outcome("gen-2", ttft_ms=2**63),
    "an amount beyond all": outcome("gen-2", attempts=(attempt("gen-2", charge=10**38),)),
}


@pytest.mark.parametrize("bad", _BAD.values(), ids=_BAD)
async def test_what_does_not_fit_is_refused_and_the_others_are_kept(
    database: Database, tmp_path: Path, bad: Outcome
) -> None:
    with pytest.raises(DBAPIError):
        await ledger.write(database, outcomes=[outcome("gen-1"), bad])
    assert await _one(database, "SELECT count(*) FROM generations") == (0,)
    assert await _one(database, "SELECT count(*) FROM ledger_entries") == (0,)
    for outcomes in ([outcome("gen-1"), bad], [bad]):  # alone it is its own fault too
        rejected = await deliver(database, tmp_path, outcomes=outcomes, files={})
        assert rejected == {bad.generation_id}
    assert len((tmp_path / REJECTED_FILE).read_text().splitlines()) == 2
    assert await _one(database, "SELECT count(*) FROM generations") == (1,)

"""Outcomes in the database: exact, once, and found again."""

import asyncio
import shutil
import sqlite3
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import OperationalError

from gateway.errors import Unavailable
from gateway.store.database import Database, sqlite_url
from gateway.store.tables.usage import generations, journal_files, ledger_entries, rate_cards
from gateway.usage import ledger, queries
from gateway.usage.ledger import Shipped
from gateway.usage.lines import Card
from gateway.values import Outcome, Result
from pricing import Money
from tests.unit.gateway.usage.samples import CARD, NOW_MS, attempt, outcome


async def write(database: Database, *outcomes: Outcome) -> None:
    await ledger.write(database, outcomes=outcomes)


async def count(database: Database) -> tuple[int, int, int]:
    async with database.reading() as connection:
        found = [
            await connection.scalar(select(func.count()).select_from(table))
            for table in (generations, ledger_entries, rate_cards)
        ]
    return int(found[0] or 0), int(found[1] or 0), int(found[2] or 0)


async def test_an_outcome_is_found_as_it_was_written(database: Database) -> None:
    written = outcome(attempts=(attempt("gen-1", 1, charge=0), attempt("gen-1", 2)))
    await write(database, written)
    assert await queries.generation(database, "gen-1", "team-1") == written
    assert await queries.generation(database, "gen-1") == written


async def test_another_teams_generation_looks_like_none(database: Database) -> None:
    await write(database, outcome())
    assert await queries.generation(database, "gen-1", "team-2") is None
    assert await queries.generation(database, "gen-2", "team-1") is None


async def test_a_refused_request_has_a_generation_and_no_entries(database: Database) -> None:
    refused = outcome(
        result=Result.REFUSED, status=402, error_code="budget_exceeded", attempts=(), ttft_ms=None
    )
    await write(database, refused)
    assert await queries.generation(database, "gen-1") == refused


async def test_writing_twice_changes_nothing(database: Database) -> None:
    first = outcome()
    await ledger.write(database, outcomes=[first], cards=[Card(CARD, 1)])
    changed = outcome(status=500, attempts=(attempt("gen-1", charge=1),))
    await ledger.write(database, outcomes=[first, changed], cards=[Card(CARD, 2)])
    assert await count(database) == (1, 1, 1)
    assert await queries.generation(database, "gen-1") == first
    async with database.reading() as connection:
        card = (await connection.execute(select(rate_cards))).one()
    assert card.first_seen_ms == 1
    assert msgspec.json.decode(card.content, type=type(CARD)) == CARD


async def test_rows_and_offsets_are_written_together_or_not_at_all(database: Database) -> None:
    too_large = outcome("gen-2", attempts=(attempt("gen-2", charge=2**63),))
    with pytest.raises(OverflowError):
        await ledger.write(
            database,
            outcomes=[outcome("gen-1"), too_large],
            cards=[Card(CARD, 1)],
            files={"ab-1.jsonl": Shipped(10)},
        )
    assert await count(database) == (0, 0, 0)
    assert await queries.shipped_offsets(database, ["ab-1.jsonl"]) == {}


async def test_offsets_move_on(database: Database) -> None:
    for shipped in (Shipped(10), Shipped(30, closed=True)):
        await ledger.write(database, files={"ab-1.jsonl": shipped})
    assert await queries.shipped_offsets(database, ["ab-1.jsonl", "cd-1.jsonl"]) == {
        "ab-1.jsonl": 30
    }
    async with database.reading() as connection:
        assert await connection.scalar(select(journal_files.c.closed)) is True


async def test_text_with_nul_is_kept(database: Database) -> None:
    await write(database, worded := outcome(model_requested="kimi\0k2"))
    assert await queries.generation(database, "gen-1") == worded


@pytest.mark.parametrize("many", [1, 3, 5, 21, 340])
async def test_any_number_of_outcomes_arrives_each_as_it_was(database: Database, many: int) -> None:
    written = [
        outcome(f"gen-{n}", attempts=tuple(attempt(f"gen-{n}", k + 1) for k in range(n % 3)))
        for n in range(many)
    ]
    await write(database, *written)
    found = [await queries.generation(database, ended.generation_id) for ended in written]
    assert found == written


async def test_a_missing_table_is_no_outage(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "empty.db"))
    with pytest.raises(OperationalError, match="no such table"):
        await write(database, outcome())
    await database.aclose()


async def test_a_database_locked_for_too_long_is_unavailable(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.database.BUSY_TIMEOUT_MS", 1)
    impatient = Database(database._engine.url.render_as_string())
    async with database.transaction():
        with pytest.raises(Unavailable):
            await write(impatient, outcome())
    await write(impatient, outcome())
    assert await count(database) == (1, 1, 0)
    await impatient.aclose()


async def test_cancelled_while_it_writes_it_waits_until_the_rows_are_in(database: Database) -> None:
    await write(database, outcome("gen-0"))
    writing = asyncio.create_task(write(database, *(outcome(f"gen-{n}") for n in range(1, 31))))
    await asyncio.sleep(0)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await count(database) == (31, 31, 0)


async def test_spend_is_summed_by_scope_time_and_currency(database: Database) -> None:
    yuan = attempt("gen-4")
    await write(
        database,
        outcome("gen-1", attempts=(attempt("gen-1", 1, charge=5), attempt("gen-1", 2, charge=7))),
        outcome("gen-2", key_id="key-2", attempts=(attempt("gen-2", charge=100),)),
        outcome("gen-3", created_ms=NOW_MS - 1, attempts=(attempt("gen-3", charge=1000),)),
        outcome("gen-4", attempts=(msgspec.structs.replace(yuan, charge=Money("CNY", 10_000)),)),
    )

    async def spent(scope: str, scope_id: str, since: int, currency: str = "USD") -> int:
        return await queries.spent(database, scope, scope_id, since, currency)

    assert await spent("key", "key-1", NOW_MS) == 12
    assert await spent("team", "team-1", NOW_MS) == 112
    assert await spent("key", "key-1", 0) == 1012
    assert await spent("key", "key-1", 0, "CNY") == 10_000
    assert await spent("key", "key-9", 0) == 0
    with pytest.raises(KeyError):
        await spent("tenant", "org-1", 0)


async def test_sums_beyond_64_bits_are_exact_and_may_hold_negative_corrections(
    database: Database,
) -> None:
    big = 2**63 - 1
    amounts = [big, big, big, -5, -(10**9) - 3]
    await write(
        database,
        *(
            outcome(f"gen-{n}", attempts=(attempt(f"gen-{n}", charge=amount),))
            for n, amount in enumerate(amounts)
        ),
    )
    assert await queries.spent(database, "team", "team-1", 0, "USD") == sum(amounts)


async def test_known_generations_are_told_from_unknown_ones(database: Database) -> None:
    await write(database, *(outcome(f"gen-{n}") for n in range(3)))
    asked = [f"gen-{n}" for n in range(2, 1202)]
    assert await queries.known_generations(database, asked) == {"gen-2"}
    assert await queries.known_generations(database, []) == set()


async def test_once_durable_the_database_file_alone_holds_what_was_committed(
    database: Database, tmp_path: Path
) -> None:
    def rows_without_the_log() -> int:
        copy = tmp_path / "copy.db"
        shutil.copy(tmp_path / "ledger.db", copy)
        connection = sqlite3.connect(copy)
        (rows,) = connection.execute("SELECT count(*) FROM ledger_entries").fetchone()
        connection.close()
        return int(rows)

    assert await ledger.make_durable(database)
    await write(database, outcome())
    assert rows_without_the_log() == 0
    assert await ledger.make_durable(database)
    assert rows_without_the_log() == 1


async def test_a_reader_of_older_rows_keeps_the_journal_from_being_let_go(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.database.BUSY_TIMEOUT_MS", 1)
    impatient = Database(database._engine.url.render_as_string())
    await write(database, outcome("gen-1"))
    async with database.reading() as connection:
        await connection.scalar(select(func.count()).select_from(generations))
        await write(database, outcome("gen-2"))
        assert not await ledger.make_durable(impatient, patience=0)
    assert await ledger.make_durable(impatient)
    await impatient.aclose()


async def test_what_sqlite_does_not_wait_for_itself_is_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.store.database.BUSY_TIMEOUT_MS", 1)
    impatient = Database(database._engine.url.render_as_string())
    await write(database, outcome("gen-1"))
    async with database.reading() as connection:
        await connection.scalar(select(func.count()).select_from(generations))
        await write(database, outcome("gen-2"))
        waiting = asyncio.create_task(ledger.make_durable(impatient))
        await asyncio.sleep(0.2)
        assert not waiting.done()
    assert await waiting
    await impatient.aclose()


def test_every_column_has_its_place_in_the_inserts() -> None:
    def named(statement: str) -> list[str]:
        return statement.partition("(")[2].partition(")")[0].split(", ")

    # A correction is written by whoever decides it, not shipped.
    every = {column.name for column in ledger_entries.columns} - {"corrects"}
    statement = ledger._ENTRIES[1]
    marks = statement.partition("VALUES (")[2].partition(")")[0].split(", ")
    assert marks == ["?"] * len(named(statement))
    assert set(named(statement)) == every
    _, _, inserting = ledger._OUTCOMES.partition(" INSERT INTO ledger_entries ")
    values = inserting.partition(" SELECT ")[2].partition(" FROM ")[0].split(", ")
    assert len(values) == len(named(inserting))
    assert set(named(inserting)) == every

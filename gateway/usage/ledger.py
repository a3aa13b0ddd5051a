"""Writing outcomes to the database: in bulk, and harmlessly twice.

Rows go through the driver's own `executemany`, at about half the cost of SQLAlchemy's Core inserts
(SQLite, Python 3.11, measured November 2026): every request pays for it.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.database import Database
from gateway.store.tables.usage import generations, journal_files, ledger_entries, rate_cards
from gateway.usage.lines import Card
from gateway.values import AttemptRecord, Outcome

Row = tuple[Any, ...]


class Shipped(Struct, frozen=True):
    """How much of a journal file is in the database; `closed` once nothing in it is needed."""

    offset: int
    closed: bool = False


# Rows in one statement. Each statement is a journey to the driver's thread and back, and the driver gives
# up and takes back the interpreter's lock at each: rows one by one would make the event loop's thread
# wait as often. PostgreSQL takes 65,535 parameters in a statement, SQLite 32,766.
_ROWS = (256, 32)


class _Statements(Struct, frozen=True):
    generation: str
    generations: Mapping[int, str]  # by how many of them
    entry: str
    entries: Mapping[int, str]
    card: str
    file: str


def _insert(table: Table, dialect: str, conflict: str, rows: int = 1) -> str:
    names = [column.name for column in table.columns]
    # Each driver's own placeholders: asyncpg numbers them, sqlite3 does not.
    marks = iter(
        f"${n}" if dialect == "postgresql" else "?" for n in range(1, rows * len(names) + 1)
    )
    values = ", ".join(f"({', '.join([next(marks) for _ in names])})" for _ in range(rows))
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) "  # noqa: S608 -- names of our own tables
        f"VALUES {values} ON CONFLICT {conflict}"
    )


_STATEMENTS = {
    dialect: _Statements(
        generation=_insert(generations, dialect, "DO NOTHING"),
        generations={n: _insert(generations, dialect, "DO NOTHING", n) for n in _ROWS},
        entry=_insert(ledger_entries, dialect, "DO NOTHING"),
        entries={n: _insert(ledger_entries, dialect, "DO NOTHING", n) for n in _ROWS},
        card=_insert(rate_cards, dialect, "DO NOTHING"),
        file=_insert(
            journal_files,
            dialect,
            "(name) DO UPDATE SET shipped_offset = excluded.shipped_offset, "
            "closed = excluded.closed",
        ),
    )
    for dialect in ("sqlite", "postgresql")
}


async def write(
    connection: AsyncConnection,
    *,
    outcomes: Collection[Outcome] = (),
    cards: Collection[Card] = (),
    files: Mapping[str, Shipped] | None = None,
) -> None:
    """Insert generations, their entries and rate cards, and note how far journal files are shipped.

    All in the caller's transaction: either everything is there, or the offsets do not say so. What
    is there already, by generation id, attempt id or rate-card id, stays as it is.

    Raises:
        sqlalchemy.exc.DBAPIError, OverflowError: the database refuses a row.
    """
    dialect = connection.dialect.name
    statements = _STATEMENTS[dialect]
    pico = Decimal if dialect == "postgresql" else int
    if cards:
        await connection.exec_driver_sql(statements.card, [_card_row(card) for card in cards])
    if outcomes:
        await _insert_rows(
            connection,
            statements.generations,
            statements.generation,
            [_generation_row(outcome) for outcome in outcomes],
        )
        entries = [
            _entry_row(outcome, attempt, pico)
            for outcome in outcomes
            for attempt in outcome.attempts
        ]
        await _insert_rows(connection, statements.entries, statements.entry, entries)
    if files:
        await connection.exec_driver_sql(
            statements.file,
            [(name, shipped.offset, shipped.closed) for name, shipped in files.items()],
        )


async def _insert_rows(
    connection: AsyncConnection, many: Mapping[int, str], one: str, rows: Sequence[Row]
) -> None:
    """Insert `rows`: by statements of `many` as far as they fill them, the rest by `one`."""
    done = 0
    for count in _ROWS:
        while len(rows) - done >= count:
            values = tuple(chain.from_iterable(rows[done : done + count]))
            await connection.exec_driver_sql(many[count], values)
            done += count
    if done < len(rows):
        await connection.exec_driver_sql(one, list(rows[done:]))


async def make_durable(database: Database) -> bool:
    """See that what was committed so far outlives a power cut, before its journal is deleted.

    PostgreSQL promises that with each commit. SQLite as `Database` sets it up does so only at a
    checkpoint.

    Returns:
        False if a reader kept SQLite from finishing the checkpoint: keep the journal, try later.

    Raises:
        Unavailable: the database cannot be reached.
    """
    if database.dialect != "sqlite":
        return True
    async with database.reading() as connection:
        # Past SQLAlchemy, which would begin a transaction: a checkpoint cannot run inside one.
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        async with driver.execute("PRAGMA wal_checkpoint(FULL)") as cursor:
            busy, _, _ = await cursor.fetchone()
    return not busy


def _text(text: str | None) -> str | None:
    """What a caller or provider worded, without NUL, which PostgreSQL's text cannot hold."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}") if text else text


def _card_row(card: Card) -> Row:
    return (card.card.id, msgspec.json.encode(card.card).decode(), card.seen_ms)


def _generation_row(outcome: Outcome) -> Row:
    return (
        outcome.generation_id,
        _text(outcome.request_id),
        outcome.created_ms,
        outcome.closed_ms,
        outcome.organisation_id,
        outcome.team_id,
        outcome.key_id,
        outcome.api,
        _text(outcome.model_requested),
        _text(outcome.model),
        outcome.streamed,
        outcome.result._value_,
        outcome.status,
        _text(outcome.error_code),
        _text(outcome.finish_reason),
        _text(outcome.native_finish_reason),
        outcome.ttft_ms,
        outcome.sandbox,
    )


def _entry_row(outcome: Outcome, attempt: AttemptRecord, pico: type[int | Decimal]) -> Row:
    quantities = attempt.quantities
    return (
        attempt.id,
        outcome.generation_id,
        attempt.ordinal,
        outcome.created_ms,
        outcome.organisation_id,
        outcome.team_id,
        outcome.key_id,
        _text(outcome.model),
        outcome.sandbox,
        attempt.endpoint_id,
        attempt.provider,
        attempt.upstream_model,
        attempt.rate_card_id,
        attempt.result._value_,
        _text(attempt.error_code),
        attempt.upstream_status,
        _text(attempt.upstream_id),
        attempt.started_ms,
        attempt.ttft_ms,
        attempt.duration_ms,
        quantities.fresh_input,
        quantities.cache_read,
        quantities.cache_write_5m,
        quantities.cache_write_1h,
        quantities.output,
        attempt.reasoning_tokens,
        quantities.requests,
        quantities.images,
        quantities.searches,
        attempt.basis._value_,
        attempt.cost.currency,
        pico(attempt.cost.pico),
        attempt.charge.currency,
        pico(attempt.charge.pico),
        _text(attempt.reported_cost),
        None,  # corrects: a correction is written by whoever decides it, not shipped
    )

"""Writing outcomes to the database: in bulk, and harmlessly twice.

Every request pays for this, so the rows are made by `astuple` and go to the driver as they are:
SQLAlchemy's Core inserts cost twice as much (SQLite, Python 3.11, measured November 2026).
"""

import asyncio
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import astuple, fields
from sqlalchemy import Table

from gateway.store.database import Database, Inserts
from gateway.store.tables.usage import generations, journal_files, ledger_entries, rate_cards
from gateway.usage.lines import Card
from gateway.values import AttemptRecord, Outcome
from pricing import Money, Quantities

Row = tuple[Any, ...]


class Shipped(Struct, frozen=True):
    """How much of a journal file is in the database; `closed` once nothing in it is needed."""

    offset: int
    closed: bool = False


# Rows in one statement. The driver gives up and takes back the interpreter's lock at each statement:
# rows one by one would make the event loop's thread wait as often. PostgreSQL takes 65,535 parameters
# in a statement, SQLite 32,766.
_ROWS = (256, 64, 16, 4, 1)
_AT_A_TIME = 32  # outcomes that become rows before others may run
_PATIENCE = 5.0  # seconds for checkpoints of other processes, each a few milliseconds
_CHECKPOINT_PAUSE = 0.02

# What an entry repeats of its request, so that sums need no join.
_REPEATED = (
    "generation_id",
    "created_ms",
    "organisation_id",
    "team_id",
    "key_id",
    "model",
    "sandbox",
)
_repeated = attrgetter(*_REPEATED)


def _names(kind: type[Struct]) -> list[str]:
    return [field.name for field in fields(kind)]


# Columns in the order in which `_add_rows` fills them.
_GENERATION = ["id" if name == "generation_id" else name for name in _names(Outcome)[:-1]]
_ENTRY = [
    *_REPEATED,
    *_names(AttemptRecord)[:-3],
    *_names(Quantities),
    *(f"{amount}_{part}" for amount in ("cost", "charge") for part in _names(Money)),
]


class _Statements(Struct, frozen=True):
    generations: Mapping[int, str]  # by how many of them
    entries: Mapping[int, str]
    card: str
    file: str


def _insert(
    table: Table, dialect: str, columns: Sequence[str], conflict: str, rows: int = 1
) -> str:
    if unknown := set(columns) - {column.name for column in table.columns}:
        raise ValueError(f"{table.name} has no columns {unknown}")
    # Each driver's own placeholders: asyncpg numbers them, sqlite3 does not.
    marks = iter(
        f"${n}" if dialect == "postgresql" else "?" for n in range(1, rows * len(columns) + 1)
    )
    values = ", ".join(f"({', '.join([next(marks) for _ in columns])})" for _ in range(rows))
    return (
        f"INSERT INTO {table.name} ({', '.join(columns)}) "  # noqa: S608 -- names of our own tables
        f"VALUES {values} ON CONFLICT {conflict}"
    )


def _statements(dialect: str) -> _Statements:
    nothing = "DO NOTHING"
    return _Statements(
        generations={n: _insert(generations, dialect, _GENERATION, nothing, n) for n in _ROWS},
        entries={n: _insert(ledger_entries, dialect, _ENTRY, nothing, n) for n in _ROWS},
        card=_insert(rate_cards, dialect, ("id", "content", "first_seen_ms"), nothing),
        file=_insert(
            journal_files,
            dialect,
            ("name", "shipped_offset", "closed"),
            "(name) DO UPDATE SET shipped_offset = excluded.shipped_offset, "
            "closed = excluded.closed",
        ),
    )


_STATEMENTS = {dialect: _statements(dialect) for dialect in ("sqlite", "postgresql")}


async def write(
    database: Database,
    *,
    outcomes: Collection[Outcome] = (),
    cards: Collection[Card] = (),
    files: Mapping[str, Shipped] | None = None,
) -> None:
    """Insert generations, their entries and rate cards, and note how far journal files are shipped.

    All in one transaction: either everything is there, or the offsets do not say so. What is there
    already, by generation id, attempt id or rate-card id, stays as it is.

    Raises:
        Unavailable: the database is away.
        sqlalchemy.exc.DBAPIError, OverflowError: it refuses a row.
    """
    generation_rows: list[Row] = []
    entry_rows: list[Row] = []
    for number, outcome in enumerate(outcomes, 1):
        _add_rows(outcome, generation_rows, entry_rows)
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)  # requests under way come first
    await database.insert(
        inserts(database.dialect, generation_rows, entry_rows, cards=cards, files=files or {})
    )


def inserts(
    dialect: str,
    generation_rows: Sequence[Row],
    entry_rows: Sequence[Row],
    *,
    cards: Collection[Card] = (),
    files: Mapping[str, Shipped] | None = None,
) -> Inserts:
    """Statements with the rows that each is to be executed for."""
    statements = _STATEMENTS[dialect]
    made: list[tuple[str, Sequence[Row]]] = []
    if cards:
        made.append((statements.card, [_card_row(card) for card in cards]))
    if dialect == "postgresql":
        generation_rows = [_without_nul(row) for row in generation_rows]
        entry_rows = [_without_nul(row) for row in entry_rows]
    made += _several_at_a_time(statements.generations, generation_rows)
    made += _several_at_a_time(statements.entries, entry_rows)
    if files:
        made.append(
            (
                statements.file,
                [(name, shipped.offset, shipped.closed) for name, shipped in files.items()],
            )
        )
    return made


def _add_rows(outcome: Outcome, generation_rows: list[Row], entry_rows: list[Row]) -> None:
    """Append an outcome's row of `generations`, and those of `ledger_entries`."""
    row = astuple(outcome)
    generation_rows.append(row[:-1])
    repeated = _repeated(outcome)
    for attempt in row[-1]:
        own = astuple(attempt)
        quantities, cost, charge = own[-3:]
        entry_rows.append(
            repeated + own[:-3] + astuple(quantities) + astuple(cost) + astuple(charge)
        )


def _several_at_a_time(
    statements: Mapping[int, str], rows: Sequence[Row]
) -> Iterator[tuple[str, Sequence[Row]]]:
    done = 0
    for count, statement in statements.items():
        if len(rows) - done >= count:
            batches = []
            while len(rows) - done >= count:
                batches.append(tuple(chain.from_iterable(rows[done : done + count])))
                done += count
            yield statement, batches


async def make_durable(database: Database, *, patience: float = _PATIENCE) -> bool:
    """See that what was committed so far outlives a power cut, before its journal is deleted.

    PostgreSQL promises that with each commit. SQLite as `Database` sets it up does so only at a
    checkpoint.

    Args:
        database: where the ledger is.
        patience: seconds to wait for other processes' checkpoints.

    Returns:
        False if a reader or a checkpoint of another process kept SQLite from finishing it: keep the
        journal, try later.

    Raises:
        Unavailable: the database cannot be reached.
    """
    if database.dialect != "sqlite":
        return True
    async with database.reading() as connection:
        # Past SQLAlchemy, which would begin a transaction: a checkpoint cannot run inside one.
        raw = await connection.get_raw_connection()
        driver: Any = raw.driver_connection
        until = asyncio.get_running_loop().time() + patience
        while True:
            async with driver.execute("PRAGMA wal_checkpoint(FULL)") as cursor:
                busy, _, _ = await cursor.fetchone()
            if not busy or asyncio.get_running_loop().time() >= until:
                return not busy
            # SQLite waits for readers itself, but never for the lock of a checkpoint that runs
            # (its documentation of sqlite3_wal_checkpoint_v2, November 2026).
            await asyncio.sleep(_CHECKPOINT_PAUSE)


def _without_nul(row: Sequence[Any]) -> Row:
    """A row whose texts hold no NUL, which callers and providers may write and PostgreSQL cannot keep."""
    return tuple(
        value.replace("\0", "\N{REPLACEMENT CHARACTER}")
        if isinstance(value, str) and "\0" in value
        else value
        for value in row
    )


def _card_row(card: Card) -> Row:
    return (card.card.id, msgspec.json.encode(card.card).decode(), card.seen_ms)

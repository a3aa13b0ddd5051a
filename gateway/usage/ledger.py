"""Writing outcomes to the database: in bulk, and harmlessly twice.

Every request pays for this, so it is done in the way that costs this process least:

- SQLite works in this process. Rows are made by `astuple` and go to the driver as they are: SQLAlchemy's
  Core inserts cost twice as much (Python 3.11, measured November 2026).
- PostgreSQL gets a batch as one JSON text, which it takes apart itself. To pack the 56 parameters of a
  request one by one cost 43 µs of a batch of 500, the text costs 12 (asyncpg 0.32, measured November 2026).
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
from sqlalchemy.dialects import postgresql

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


# Rows in one statement to SQLite. The driver gives up and takes back the interpreter's lock at each
# statement: rows one by one would make the event loop's thread wait as often. It takes 32,766 parameters.
_ROWS = (256, 64, 16, 4, 1)
_AT_A_TIME = 32  # outcomes that become rows before others may run
_PATIENCE = 5.0  # seconds for checkpoints of other processes, each a few milliseconds
_CHECKPOINT_PAUSE = 0.02
_NUL = b"\\u0000"  # in JSON

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
_MONEY = _names(Money)
_ATTEMPT = _names(AttemptRecord)[:-4]
_ENTRY = [
    *_REPEATED,
    *_ATTEMPT,
    *_names(Quantities),
    *(f"{amount}_{part}" for amount in ("cost", "charge") for part in _MONEY),
    "cost_basis",
]


_NOTHING = "ON CONFLICT DO NOTHING"
_ADVANCE = (
    "ON CONFLICT (name) DO UPDATE SET shipped_offset = excluded.shipped_offset, "
    "closed = excluded.closed"
)


def _insert(
    table: Table, dialect: str, columns: Sequence[str], conflict: str, rows: int = 1
) -> str:
    _known(table, columns)
    # Each driver's own placeholders: asyncpg numbers them, sqlite3 does not.
    marks = iter(
        f"${n}" if dialect == "postgresql" else "?" for n in range(1, rows * len(columns) + 1)
    )
    values = ", ".join(f"({', '.join([next(marks) for _ in columns])})" for _ in range(rows))
    return f"INSERT INTO {table.name} ({', '.join(columns)}) VALUES {values} {conflict}"  # noqa: S608 -- our own names


def _known(table: Table, columns: Sequence[str]) -> None:
    if unknown := set(columns) - {column.name for column in table.columns}:
        raise ValueError(f"{table.name} has no columns {unknown}")


def _typed(table: Table, columns: Sequence[str], fields: Sequence[str] | None = None) -> str:
    """The fields of a JSON object that these columns are filled from, by name, with their types."""
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    return ", ".join(
        f"{field} {table.c[column].type.compile(dialect)}"
        for column, field in zip(columns, fields or columns, strict=True)
    )


def _from_json() -> str:
    """The statement that inserts a JSON list of outcomes into PostgreSQL."""
    _known(generations, _GENERATION)
    _known(ledger_entries, _ENTRY)
    told = _names(Outcome)[:-1]
    quantities, basis = _names(Quantities), ["cost_basis"]
    parts = (
        *(("o", _REPEATED), ("a", _ATTEMPT), ("q", quantities)),
        *(("c", _MONEY), ("h", _MONEY), ("a", basis)),
    )
    values = ", ".join(f"{of}.{name}" for of, names in parts for name in names)
    cost, charge = (
        _typed(ledger_entries, [f"{amount}_{part}" for part in _MONEY], _MONEY)
        for amount in ("cost", "charge")
    )
    return (
        "WITH o AS MATERIALIZED (SELECT * FROM json_to_recordset($1::json)"  # noqa: S608 -- our own names
        f" AS o({_typed(generations, _GENERATION, told)}, attempts json)),"
        f" added AS (INSERT INTO generations ({', '.join(_GENERATION)})"
        f" SELECT {', '.join(told)} FROM o {_NOTHING})"
        f" INSERT INTO ledger_entries ({', '.join(_ENTRY)}) SELECT {values} FROM o,"
        f" json_to_recordset(o.attempts) AS a({_typed(ledger_entries, _ATTEMPT + basis)},"
        " quantities json, cost json, charge json),"
        f" json_to_record(a.quantities) AS q({_typed(ledger_entries, quantities)}),"
        f" json_to_record(a.cost) AS c({cost}), json_to_record(a.charge) AS h({charge}) {_NOTHING}"
    )


_GENERATIONS = {n: _insert(generations, "sqlite", _GENERATION, _NOTHING, n) for n in _ROWS}
_ENTRIES = {n: _insert(ledger_entries, "sqlite", _ENTRY, _NOTHING, n) for n in _ROWS}
_OUTCOMES = _from_json()
_CARD = {
    dialect: _insert(rate_cards, dialect, ("id", "content", "first_seen_ms"), _NOTHING)
    for dialect in ("sqlite", "postgresql")
}
_FILE = {
    dialect: _insert(journal_files, dialect, ("name", "shipped_offset", "closed"), _ADVANCE)
    for dialect in ("sqlite", "postgresql")
}


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
    made: list[tuple[str, Sequence[Sequence[Any]]]] = []
    if cards:
        made.append((_CARD[database.dialect], [_card_row(card) for card in cards]))
    if outcomes:
        made += await _INSERTS[database.dialect](outcomes)
    if files:
        rows = [(name, shipped.offset, shipped.closed) for name, shipped in files.items()]
        made.append((_FILE[database.dialect], rows))
    await database.insert(made)


async def _as_rows(outcomes: Collection[Outcome]) -> Inserts:
    """For SQLite."""
    generation_rows: list[Row] = []
    entry_rows: list[Row] = []
    for number, outcome in enumerate(outcomes, 1):
        _add_rows(outcome, generation_rows, entry_rows)
        if number % _AT_A_TIME == 0:
            await asyncio.sleep(0)  # requests under way come first
    return [
        *_several_at_a_time(_GENERATIONS, generation_rows),
        *_several_at_a_time(_ENTRIES, entry_rows),
    ]


async def _as_json(outcomes: Collection[Outcome]) -> Inserts:
    """For PostgreSQL."""
    told, parts = list(outcomes), []
    for start in range(0, len(told), _AT_A_TIME):
        some = told[start : start + _AT_A_TIME]
        part = msgspec.json.encode(some)
        if _NUL in part:  # maybe a backslash and the text u0000, which is not changed
            part = msgspec.json.encode(_without_nul(msgspec.to_builtins(some)))
        parts.append(part[1:-1])
        await asyncio.sleep(0)
    return [(_OUTCOMES, [(f"[{b','.join(parts).decode()}]",)])]


_INSERTS = {"sqlite": _as_rows, "postgresql": _as_json}


def _add_rows(outcome: Outcome, generation_rows: list[Row], entry_rows: list[Row]) -> None:
    """Append an outcome's row of `generations`, and those of `ledger_entries`."""
    row = astuple(outcome)
    generation_rows.append(row[:-1])
    repeated = _repeated(outcome)
    for attempt in row[-1]:
        own = astuple(attempt)
        quantities, cost, charge, basis = own[-4:]
        amounts = (*astuple(quantities), *astuple(cost), *astuple(charge))
        entry_rows.append((*repeated, *own[:-4], *amounts, basis))


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


def _without_nul(value: Any) -> Any:
    """The same without NUL in its texts: callers and providers may write it, PostgreSQL cannot keep it."""
    if isinstance(value, str):
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, dict):
        return {name: _without_nul(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nul(part) for part in value]
    return value


def _card_row(card: Card) -> Row:
    return (card.card.id, msgspec.json.encode(card.card).decode(), card.seen_ms)

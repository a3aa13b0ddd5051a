"""Sums of the ledger by the hour: made from its entries, and read together with what is in no sum yet.

    entries ──(trigger)──> marks of hours ──(`sum_hour`, one transaction an hour)──> roll_ups

An hour's sums are made anew from all its entries, so whatever was shipped late, twice or in between changes
nothing but the time. What an entry adds:

- money and tokens: always, a correction's too, which are differences;
- one to `attempts`, unless it is a correction; to `failures` where the provider failed;
- one to `requests`, if it is the attempt that answered, or else the request's last one;
- its time to first token, if there was one; its duration, if it was a success.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from msgspec import Struct
from sqlalchemy import (
    ColumnElement,
    Label,
    Select,
    case,
    delete,
    func,
    insert,
    literal_column,
    select,
    union_all,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.database import Database
from gateway.store.tables.roll_ups import (
    AMOUNTS,
    BOUNDS_MS,
    DIMENSIONS,
    HOUR_MS,
    PLACES,
    SPLIT,
    SUMMED,
    TIMES,
    histogram,
    roll_up_hours,
    roll_up_marks,
    roll_ups,
)
from gateway.store.tables.usage import ledger_entries
from gateway.values import Result

_ALONE: Final = 0x7464_726F  # of PostgreSQL's advisory locks: any number that nobody else locks
_MARKS_AT_ONCE: Final = 5000
_ZERO: Final[ColumnElement[int]] = literal_column("0")
_ONE: Final[ColumnElement[int]] = literal_column("1")


class Stretch(Struct, frozen=True):
    """An hour with entries that are in no sum; all its entries have ids between these two, inclusive."""

    hour: int
    first_id: str
    last_id: str


async def unsummed(
    connection: AsyncConnection, since: int = 0, until: int = 2**31 - 1
) -> list[Stretch]:
    """The hours with entries that are in no sum yet, in their order.

    Args:
        connection: for a true report, all is read in one snapshot.
        since: the first hour, inclusive; whole hours since the epoch.
        until: the last one, exclusive.
    """
    marks, hours = roll_up_marks, roll_up_hours
    within = (marks.c.hour >= since, marks.c.hour < until)
    # The database compares the ids: its order of letters need not be Python's.
    both = union_all(
        select(marks.c.hour, marks.c.first_id, marks.c.last_id).where(*within),
        select(hours.c.hour, hours.c.first_id, hours.c.last_id).where(
            hours.c.hour.in_(select(marks.c.hour).where(*within))
        ),
    ).subquery()
    query = (
        select(both.c.hour, func.min(both.c.first_id), func.max(both.c.last_id))
        .group_by(both.c.hour)
        .order_by(both.c.hour)
    )
    return [Stretch(*row) for row in await connection.execute(query)]


def hour_sums(stretch: Stretch, dialect: str) -> Select[Any]:
    """The sums of an hour from its entries, with the columns of `roll_ups` but for its id."""
    entry = ledger_entries.c
    begin = stretch.hour * HOUR_MS
    answered = case((entry.result == Result.SUCCESS.value, _ZERO), else_=_ONE)
    inner = (
        select(
            ledger_entries,
            func.row_number()
            .over(
                partition_by=(entry.generation_id, entry.corrects.is_(None)),
                order_by=(answered, entry.ordinal.desc()),
            )
            .label("place"),
        )
        .where(entry.id >= stretch.first_id, entry.id <= stretch.last_id)
        .where(entry.created_ms >= begin, entry.created_ms < begin + HOUR_MS)
        .subquery()
    )
    return select(
        literal_column(str(stretch.hour)).label("hour"),
        *(inner.c[name] for name in DIMENSIONS),
        *_sums(inner.c, dialect),
    ).group_by(*(inner.c[name] for name in DIMENSIONS))


def _sums(entry: Any, dialect: str) -> list[Label[Any]]:
    original = entry.corrects.is_(None)
    success = entry.result == Result.SUCCESS.value
    found: dict[str, ColumnElement[Any]] = {
        "requests": _count(original & (entry.place == 1)),
        "attempts": _count(original),
        "failures": _count(original & (entry.result == Result.FAILED.value)),
        "reasoning": func.sum(entry.reasoning_tokens),
    }
    for name in ("fresh_input", "cache_read", "cache_write_5m", "cache_write_1h", "output"):
        found[name] = func.sum(entry[name])
    found["searches"] = func.sum(entry.searches)
    for amount in AMOUNTS:
        # Both halves round towards zero and take the amount's sign, on either database.
        pico = f"{amount}_pico"
        high, low = (
            (f"div({pico}, {SPLIT})", f"mod({pico}, {SPLIT})")
            if dialect == "postgresql"
            else (f"{pico} / {SPLIT}", f"{pico} % {SPLIT}")
        )
        found[f"{amount}_high"] = func.sum(literal_column(high))
        found[f"{amount}_low"] = func.sum(literal_column(low))
    for time in TIMES:
        value = entry[f"{time}_ms"]
        counted = original & (value.is_not(None) if time == "ttft" else success)
        found[f"{time}_count"] = _count(counted)
        found[f"{time}_ms"] = func.sum(case((counted, value), else_=_ZERO))
        for place, column in enumerate(histogram(time)):
            within = counted
            if place > 0:
                within &= value > literal_column(str(BOUNDS_MS[place - 1]))
            if place < PLACES - 1:
                within &= value <= literal_column(str(BOUNDS_MS[place]))
            found[column] = _count(within)
    return [found[name].label(name) for name in SUMMED]


def _count(condition: ColumnElement[bool]) -> ColumnElement[Any]:
    return func.sum(case((condition, _ONE), else_=_ZERO))


async def sum_hour(database: Database, hour: int) -> bool:
    """Make an hour's sums anew, if entries came that are in none; all of it or nothing.

    Returns:
        Whether there were any.

    Raises:
        Unavailable: the database cannot be used.
    """
    async with _alone(database) as connection:
        # First the marks, then the entries: what is committed in between may be in the sums already,
        # and its mark stays, so that the hour is summed again.
        marks = await _marks(connection, hour)
        stretches = await unsummed(connection, hour, hour + 1)
        if not marks or not stretches:
            return False
        (stretch,) = stretches
        await connection.execute(delete(roll_ups).where(roll_ups.c.hour == hour))
        await connection.execute(
            insert(roll_ups).from_select(
                ["hour", *DIMENSIONS, *SUMMED], hour_sums(stretch, database.dialect)
            )
        )
        await _remember(connection, stretch)
        await connection.execute(delete(roll_up_marks).where(roll_up_marks.c.id.in_(marks)))
    return True


async def fold_marks(database: Database, hour: int) -> None:
    """Make one mark of many, of an hour that is not to be summed yet.

    Raises:
        Unavailable: the database cannot be used.
    """
    async with _alone(database) as connection:
        marks = await _marks(connection, hour)
        if len(marks) <= 1:
            return
        (stretch,) = await unsummed(connection, hour, hour + 1)
        await connection.execute(delete(roll_up_marks).where(roll_up_marks.c.id.in_(marks)))
        await connection.execute(
            insert(roll_up_marks).values(
                hour=hour, first_id=stretch.first_id, last_id=stretch.last_id
            )
        )


async def marked(database: Database) -> list[int]:
    """The hours with entries that are in no sum, in their order.

    Raises:
        Unavailable: the database cannot be used.
    """
    query = select(roll_up_marks.c.hour).distinct().order_by(roll_up_marks.c.hour)
    async with database.reading() as connection:
        return list((await connection.execute(query)).scalars())


@asynccontextmanager
async def _alone(database: Database) -> AsyncIterator[AsyncConnection]:
    """A transaction beside which no other sums: two leaders would write an hour's sums twice."""
    async with database.transaction() as connection:
        if database.dialect == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(_ALONE)))
        yield connection


async def _marks(connection: AsyncConnection, hour: int) -> list[int]:
    # Some thousand at once: so many parameters every driver takes; the rest is for the next time.
    query = select(roll_up_marks.c.id).where(roll_up_marks.c.hour == hour).limit(_MARKS_AT_ONCE)
    return list((await connection.execute(query)).scalars())


async def _remember(connection: AsyncConnection, stretch: Stretch) -> None:
    await connection.execute(delete(roll_up_hours).where(roll_up_hours.c.hour == stretch.hour))
    await connection.execute(
        insert(roll_up_hours).values(
            hour=stretch.hour, first_id=stretch.first_id, last_id=stretch.last_id
        )
    )

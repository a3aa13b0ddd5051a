"""Sums by the hour are those of the ledger: whatever comes late, twice, or corrects something."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from sqlalchemy import insert, select, text

from gateway.jobs.roll_ups import RollUps
from gateway.store.database import Database
from gateway.store.tables.roll_ups import (
    BOUNDS_MS,
    DIMENSIONS,
    HOUR_MS,
    PLACES,
    SPLIT,
    roll_up_marks,
    roll_ups,
)
from gateway.store.tables.usage import ledger_entries
from gateway.usage import ledger
from gateway.usage import roll_ups as summing
from gateway.values import Outcome, Result
from pricing import Money
from tests.unit.gateway.usage.samples import NOW_MS, StoppedClock, attempt, outcome

HOUR = NOW_MS // HOUR_MS
_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    made = Database(database_url)
    yield made
    await made.aclose()


def generation_id(at_ms: int, number: int) -> str:
    """As `gateway.ids` makes them."""
    seconds = at_ms // 1000
    digits = "".join(_DIGITS[(seconds >> 5 * place) & 31] for place in range(7, -1, -1))
    return f"gen-{digits}{number:012}"


def random_outcome(chance: random.Random, number: int, *, hours: int = 30) -> Outcome:
    """A request at any time in some hours before the clock's, with one to three attempts."""
    at = NOW_MS - chance.randrange(hours * HOUR_MS)
    if chance.random() < 0.2:
        at -= at % HOUR_MS - chance.choice((0, HOUR_MS - 1))  # the first and the last moment
    name = generation_id(at + chance.choice((-1500, 0, 700)), number)
    attempts = []
    for ordinal in range(1, chance.choice((1, 1, 2, 3)) + 1):
        made = attempt(name, ordinal, charge=chance.choice((0, 7, 10**16, 3 * 10**18)))
        attempts.append(
            msgspec.structs.replace(
                made,
                provider=chance.choice(("novita", "moonshot")),
                result=chance.choice(list(Result)[:4]),
                ttft_ms=chance.choice((None, 0, 50, 51, 60_000, 60_001)),
                duration_ms=chance.choice((1, 999, 10**7)),
                cost=Money(chance.choice(("USD", "CNY")), chance.randrange(10**15)),
            )
        )
    return outcome(
        name,
        created_ms=at,
        team_id=chance.choice(("team-1", "team-2")),
        key_id=chance.choice(("key-1", "key-2")),
        sandbox=chance.random() < 0.3,
        attempts=tuple(attempts),
    )


def correction(row: Any, number: int, pico: int) -> dict[str, Any]:
    """A correcting entry: differences, under an id of its own."""
    values = dict(row._mapping)
    zero = ("fresh_input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
    return (
        values
        | dict.fromkeys((*zero, "reasoning_tokens", "requests"), 0)
        | {
            "id": f"{row.generation_id}-c{number}",
            "corrects": row.id,
            "cost_pico": pico,
            "charge_pico": -pico,
        }
    )


async def entries(database: Database) -> list[Any]:
    async with database.reading() as connection:
        return list((await connection.execute(select(ledger_entries))).all())


async def roll(job: RollUps) -> None:
    """Pass after pass, until nothing is left."""
    while await job.roll():
        pass


async def sums(database: Database) -> dict[tuple[Any, ...], dict[str, int]]:
    """What `roll_ups` says."""
    async with database.reading() as connection:
        rows = (await connection.execute(select(roll_ups))).all()
    found = {}
    for row in rows:
        values = dict(row._mapping)
        del values["id"]
        key = tuple(values.pop(name) for name in ("hour", *DIMENSIONS))
        assert key not in found, "an hour is summed once"
        for amount in ("cost", "charge"):
            high, low = values.pop(f"{amount}_high"), values.pop(f"{amount}_low")
            values[amount] = high * SPLIT + low
        found[key] = values
    return found


def expected(rows: list[Any]) -> dict[tuple[Any, ...], dict[str, int]]:
    """The same from the entries, in Python."""
    counting: dict[str, Any] = {}
    for row in rows:
        if row.corrects is None:
            best = counting.get(row.generation_id)
            rank = (row.result == "success", row.ordinal)
            if best is None or rank > (best.result == "success", best.ordinal):
                counting[row.generation_id] = row
    counted = {row.id for row in counting.values()}
    found: dict[tuple[Any, ...], dict[str, int]] = {}
    for row in rows:
        key = (row.created_ms // HOUR_MS, *(getattr(row, name) for name in DIMENSIONS))
        into = found.setdefault(key, {})

        def add(name: str, count: int, into: dict[str, int] = into) -> None:
            into[name] = into.get(name, 0) + count

        original = row.corrects is None
        add("requests", int(row.id in counted))
        add("attempts", int(original))
        add("failures", int(original and row.result == "failed"))
        for name in ("fresh_input", "cache_read", "cache_write_5m", "cache_write_1h", "output"):
            add(name, getattr(row, name))
        add("reasoning", row.reasoning_tokens)
        add("searches", row.searches)
        add("cost", row.cost_pico)
        add("charge", row.charge_pico)
        for time, value, counts in (
            ("ttft", row.ttft_ms, original and row.ttft_ms is not None),
            ("duration", row.duration_ms, original and row.result == "success"),
        ):
            add(f"{time}_count", int(counts))
            add(f"{time}_ms", value if counts else 0)
            place = sum(bound < value for bound in BOUNDS_MS) if counts else -1
            for one in range(PLACES):
                add(f"{time}_{one:02}", int(one == place))
    return found


@pytest.mark.parametrize("seed", range(4))
async def test_sums_equal_the_ledger_whatever_comes_in_whatever_order(
    database: Database, seed: int
) -> None:
    chance = random.Random(seed)  # noqa: S311 - no secret
    job = RollUps(database, StoppedClock((HOUR + 1) * HOUR_MS / 1000))
    outcomes = [random_outcome(chance, number) for number in range(120)]
    for number, start in enumerate(range(0, 120, 30)):
        # What was shipped before comes again, as after a crash.
        again = chance.sample(outcomes[:start], min(start, 10))
        await ledger.write(database, outcomes=[*outcomes[start : start + 30], *again])
        rows = await entries(database)
        corrected = [
            correction(row, number, chance.randrange(10**9)) for row in chance.sample(rows, 3)
        ]
        async with database.transaction() as connection:
            await connection.execute(insert(ledger_entries), corrected)
        if chance.random() < 0.7:
            await job.roll()
    await roll(job)
    assert await sums(database) == expected(await entries(database))
    assert await summing.marked(database) == []


async def test_what_is_shipped_twice_has_nothing_summed_again(database: Database) -> None:
    job = RollUps(database, StoppedClock((HOUR + 1) * HOUR_MS / 1000))
    one = random_outcome(random.Random(1), 1)  # noqa: S311 - no secret
    await ledger.write(database, outcomes=[one])
    await roll(job)
    await ledger.write(database, outcomes=[one])
    assert await summing.marked(database) == []


async def test_an_hour_is_summed_when_it_is_over(database: Database) -> None:
    clock = StoppedClock()
    job = RollUps(database, clock)
    for number in range(3):
        one = outcome(generation_id(NOW_MS, number))
        await ledger.write(database, outcomes=[one])
    await roll(job)
    assert await sums(database) == {}
    async with database.reading() as connection:
        marks = (await connection.execute(select(roll_up_marks.c.id))).all()
    assert len(marks) == 1, "marks of the running hour do not pile up"
    clock.time += 3600
    await roll(job)
    assert await sums(database) == expected(await entries(database))


async def test_the_job_rests_between_passes(database: Database) -> None:
    clock = StoppedClock((HOUR + 1) * HOUR_MS / 1000)
    job = RollUps(database, clock, interval=30)
    await job.look()
    await ledger.write(database, outcomes=[outcome(generation_id(NOW_MS, 1))])
    clock.time += 29
    await job.look()
    assert await summing.marked(database) == [HOUR]
    clock.time += 1
    await job.look()
    assert await summing.marked(database) == []


async def test_two_that_sum_at_once_write_the_sums_once(database: Database) -> None:
    chance = random.Random(5)  # noqa: S311 - no secret
    outcomes = [random_outcome(chance, number, hours=3) for number in range(40)]
    await ledger.write(database, outcomes=outcomes)
    jobs = [RollUps(database, StoppedClock((HOUR + 1) * HOUR_MS / 1000)) for _ in range(3)]
    await asyncio.gather(*(roll(job) for job in jobs))
    assert await sums(database) == expected(await entries(database))


async def test_entries_of_before_the_migration_are_summed(blank_url: str) -> None:
    from gateway.store import schema  # noqa: PLC0415 - only here

    await schema.upgrade(blank_url, "0004")
    database = Database(blank_url)
    chance = random.Random(6)  # noqa: S311 - no secret
    await ledger.write(database, outcomes=[random_outcome(chance, n) for n in range(50)])
    await database.aclose()
    await schema.upgrade(blank_url)
    database = Database(blank_url)
    await roll(RollUps(database, StoppedClock((HOUR + 1) * HOUR_MS / 1000)))
    assert await sums(database) == expected(await entries(database))
    await database.aclose()


async def test_what_a_person_inserts_is_noted_too(database: Database) -> None:
    clock = StoppedClock((HOUR + 1) * HOUR_MS / 1000)
    await ledger.write(database, outcomes=[outcome(generation_id(NOW_MS, 1))])
    await roll(RollUps(database, clock))
    columns = ", ".join(c.name for c in ledger_entries.columns if c.name != "id")
    async with database.transaction() as connection:
        await connection.execute(
            text(
                f"INSERT INTO ledger_entries (id, {columns})"  # noqa: S608 - names of our own
                f" SELECT id || '0', {columns} FROM ledger_entries"
            )
        )
    assert await summing.marked(database) == [HOUR]

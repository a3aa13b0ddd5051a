"""Reading the ledger from end to end, to see whether it agrees with itself. Nothing is written.

Entries are read in the order of their ids by bytes, in which those of a generation stand together whatever
the collation of the database is; generations by their primary key, for as many entries as are in memory.
All of it is one snapshot: a gateway may go on meanwhile.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct
from sqlalchemy import Select, collate, exists, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.database import Database
from gateway.store.tables.usage import generations, ledger_entries, rate_cards
from gateway.usage.audit_rules import (
    Entry,
    Fault,
    Repeated,
    Request,
    card_faults,
    generation_faults,
)
from gateway.values import Result
from pricing import Money, Quantities, RateCard

BLOCK: Final = 1000
"""Entries in memory at a time."""

Note = Callable[[Fault], None]


class Totals(Struct):
    """What was read. Amounts are in picos by currency, corrections included."""

    generations: int = 0
    entries: int = 0
    corrections: int = 0
    rate_cards: int = 0
    cost: dict[str, int] = msgspec.field(default_factory=dict)
    charge: dict[str, int] = msgspec.field(default_factory=dict)


async def check_ledger(database: Database, note: Note, *, block: int = BLOCK) -> Totals:
    """Hold every row of the ledger to the rules.

    Memory is bounded by `block` entries, their generations, and all rate cards.

    Args:
        database: where it is. One with no limit to the time of a statement, if it is large.
        note: told of each fault.
        block: entries to read at a time.

    Raises:
        Unavailable: the database cannot be read.
    """
    totals = Totals()
    async with database.reading() as connection:
        cards = await _cards(connection, note)
        totals.rate_cards = len(cards)
        counted = select(func.count()).select_from(generations)
        totals.generations = int((await connection.execute(counted)).scalar_one())
        async for groups in _groups(connection, database.dialect, block):
            requests = await _requests(connection, list(groups))
            for name, entries in groups.items():
                for fault in generation_faults(name, requests.get(name), entries, cards):
                    note(fault)
                _add(totals, entries)
        await _without_entries(connection, note, block)
    return totals


async def _cards(connection: AsyncConnection, note: Note) -> dict[str, RateCard]:
    cards: dict[str, RateCard] = {}
    decode = msgspec.json.Decoder(RateCard).decode
    for row in await connection.execute(select(rate_cards.c.id, rate_cards.c.content)):
        try:
            card = decode(row.content)
        except (msgspec.DecodeError, UnicodeError) as wrong:
            note(
                Fault(
                    "rate card",
                    row.id,
                    f"its content cannot be read: {wrong}",
                    "the prices of each entry are kept beside it",
                )
            )
            continue
        cards[row.id] = card
        for fault in card_faults(row.id, card):
            note(fault)
    return cards


async def _groups(
    connection: AsyncConnection, dialect: str, block: int
) -> AsyncIterator[dict[str, list[Entry]]]:
    """Entries by generation, whole generations only, about `block` of them at a time."""
    groups: dict[str, list[Entry]] = {}
    held = 0
    rows = await connection.stream(_entries(dialect).execution_options(yield_per=block))
    try:
        async for some in rows.partitions():
            for row in some:
                entry = _entry(row)
                if held >= block and entry.generation_id not in groups:
                    yield groups
                    groups, held = {}, 0
                groups.setdefault(entry.generation_id, []).append(entry)
                held += 1
    finally:
        await rows.close()
    if groups:
        yield groups


def _entries(dialect: str) -> Select[Any]:
    columns = ledger_entries.c
    by_bytes = collate(columns.id, "C") if dialect == "postgresql" else columns.id
    return select(
        columns.id,
        columns.generation_id,
        columns.ordinal,
        *(columns[name] for name in Repeated.__struct_fields__),
        columns.rate_card_id,
        columns.result,
        columns.ttft_ms,
        *(columns[name] for name in Quantities.__struct_fields__),
        columns.reasoning_tokens,
        columns.cost_currency,
        columns.cost_pico,
        columns.charge_currency,
        columns.charge_pico,
        columns.reported_cost,
        columns.cost_basis,
        columns.corrects,
    ).order_by(by_bytes)


def _entry(row: Sequence[Any]) -> Entry:
    """A row of `_entries`, whose order this follows."""
    # fmt: off
    (
        name, generation_id, ordinal,
        organisation_id, team_id, key_id, model, created_ms, sandbox,
        rate_card_id, result, ttft_ms,
        fresh_input, cache_read, cache_write_5m, cache_write_1h, output, requests, images, searches,
        reasoning_tokens, cost_currency, cost_pico, charge_currency, charge_pico,
        reported_cost, cost_basis, corrects,
    ) = row
    # fmt: on
    return Entry(
        name,
        generation_id,
        ordinal,
        Repeated(organisation_id, team_id, key_id, model, created_ms, sandbox),
        rate_card_id,
        result,
        ttft_ms,
        Quantities(
            fresh_input=fresh_input,
            cache_read=cache_read,
            cache_write_5m=cache_write_5m,
            cache_write_1h=cache_write_1h,
            output=output,
            requests=requests,
            images=images,
            searches=searches,
        ),
        reasoning_tokens,
        Money(cost_currency, cost_pico),
        Money(charge_currency, charge_pico),
        reported_cost,
        cost_basis,
        corrects,
    )


async def _requests(connection: AsyncConnection, names: Sequence[str]) -> dict[str, Request]:
    columns = generations.c
    query = select(
        columns.id, columns.result, *(columns[name] for name in Repeated.__struct_fields__)
    )
    found: dict[str, Request] = {}
    for first in range(0, len(names), BLOCK):
        some = query.where(columns.id.in_(names[first : first + BLOCK]))
        for name, result, *repeated in await connection.execute(some):
            found[name] = Request(result, Repeated(*repeated))
    return found


def _add(totals: Totals, entries: Iterable[Entry]) -> None:
    for entry in entries:
        totals.entries += 1
        totals.corrections += entry.corrects is not None
        for sums, amount in ((totals.cost, entry.cost), (totals.charge, entry.charge)):
            sums[amount.currency] = sums.get(amount.currency, 0) + amount.pico


async def _without_entries(connection: AsyncConnection, note: Note, block: int) -> None:
    """Requests that were answered, and of which no attempt is booked."""
    first = ledger_entries.alias()
    query = (
        select(generations.c.id)
        .where(generations.c.result == Result.SUCCESS)
        .where(~exists().where(first.c.id == generations.c.id + "-1"))
    )
    rows = await connection.stream(query.execution_options(yield_per=block))
    try:
        async for (name,) in rows:
            note(
                Fault(
                    "entries",
                    name,
                    "it was answered, and its first attempt has no entry",
                    "each attempt has one",
                )
            )
    finally:
        await rows.close()

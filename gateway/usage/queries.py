"""Reading the ledger."""

import json
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import ColumnElement, Row, func, literal_column, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.database import Database
from gateway.store.tables.accounts import api_keys, budgets, teams
from gateway.store.tables.usage import generations, journal_files, ledger_entries
from gateway.values import AttemptRecord, Basis, Outcome, Result
from pricing import Money, Quantities

# Of members and organisations by their keys and teams: those have the indexes.
_SCOPES: dict[str, Callable[[str], ColumnElement[bool]]] = {
    "key": lambda owner: ledger_entries.c.key_id == owner,
    "team": lambda owner: ledger_entries.c.team_id == owner,
    "member": lambda owner: ledger_entries.c.key_id.in_(
        select(api_keys.c.id).where(api_keys.c.member_id == owner)
    ),
    "organisation": lambda owner: ledger_entries.c.team_id.in_(
        select(teams.c.id).where(teams.c.organisation_id == owner)
    ),
}
_SPLIT = 10**9
_IDS_AT_ONCE = 500  # SQLite takes 32,766 parameters, PostgreSQL's protocol as many; far below both


async def generation(
    database: Database, generation_id: str, team_id: str | None = None
) -> Outcome | None:
    """A shipped request as it was settled, without later corrections.

    Args:
        database: where to look.
        generation_id: which one.
        team_id: whose it must be; None lets an operator see any. Another team's looks like none.

    Raises:
        Unavailable: the database cannot be reached.
    """
    wanted = select(generations).where(generations.c.id == generation_id)
    if team_id is not None:
        wanted = wanted.where(generations.c.team_id == team_id)
    attempts = (
        select(ledger_entries)
        # By primary key: see the tables. The character after the hyphen is the full stop.
        .where(ledger_entries.c.id > f"{generation_id}-")
        .where(ledger_entries.c.id < f"{generation_id}.")
        .where(ledger_entries.c.corrects.is_(None))
        .order_by(ledger_entries.c.ordinal)
    )
    async with database.reading() as connection:
        row = (await connection.execute(wanted)).one_or_none()
        if row is None:
            return None
        entries = (await connection.execute(attempts)).all()
    return _outcome(row, tuple(_attempt(entry) for entry in entries))


async def spent(
    database: Database,
    scope: str,
    scope_id: str,
    since_ms: int,
    currency: str,
    *,
    excluding: Collection[str] = (),
) -> int:
    """What somebody was charged for requests admitted since a time, in picos; exact.

    Args:
        database: where the ledger is.
        scope: `key`, `team`, `member` (all keys that are that member's now) or `organisation`.
        scope_id: its id.
        since_ms: epoch milliseconds, inclusive: the beginning of a budget's window.
        currency: only charges in this currency count.
        excluding: generations that do not count; corrections of them do.

    Raises:
        KeyError: no such scope.
        Unavailable: the database cannot be reached.
    """
    if database.dialect == "sqlite":
        # 64-bit sums overflow; the sums of quotients and of remainders do not. Both round towards
        # zero and take the sign of the amount, so that they belong together below zero as well.
        high, low = f"charge_pico / {_SPLIT}", f"charge_pico % {_SPLIT}"
    else:
        high, low = "0", "charge_pico"
    columns: tuple[ColumnElement[Any], ...] = (
        func.sum(literal_column(high)),
        func.sum(literal_column(low)),
    )
    query = (
        select(*columns)
        .where(_SCOPES[scope](scope_id))
        .where(ledger_entries.c.created_ms >= since_ms)
        .where(ledger_entries.c.charge_currency == currency)
    )
    if excluding:
        # One statement and one parameter: two would see two states of the ledger, and thousands of
        # parameters are more than drivers take.
        unnested = (
            "SELECT value FROM json_each(:ids)"
            if database.dialect == "sqlite"
            else "SELECT jsonb_array_elements_text(CAST(:ids AS jsonb))"
        )
        left_out = text(
            f"(ledger_entries.corrects IS NOT NULL OR ledger_entries.generation_id NOT IN ({unnested}))"
        )
        query = query.where(left_out.bindparams(ids=json.dumps(list(excluding))))
    async with database.reading() as connection:
        quotients, remainders = (await connection.execute(query)).one()
    return int(quotients or 0) * _SPLIT + int(remainders or 0)


async def charges(
    database: Database, generation_ids: Collection[str]
) -> dict[str, tuple[Money, ...]]:
    """What was charged for each attempt of those generations that are in the ledger, uncorrected.

    Raises:
        Unavailable: the database cannot be reached.
    """
    ids = list(generation_ids)
    found: dict[str, tuple[Money, ...]] = {}
    entries = ledger_entries.c
    async with database.reading() as connection:
        for name in await _known(connection, ids):
            query = (
                select(entries.charge_currency, entries.charge_pico)
                .where(entries.id > f"{name}-", entries.id < f"{name}.")
                .where(entries.corrects.is_(None))
            )
            rows = await connection.execute(query)
            found[name] = tuple([Money(row.charge_currency, row.charge_pico) for row in rows])
    return found


async def budget_owner(database: Database, budget_id: str) -> tuple[str, str, str] | None:
    """The scope of a budget, the id of whose it is, and its currency; None: there is no such budget.

    Raises:
        Unavailable: the database cannot be reached.
    """
    columns = budgets.c
    query = select(
        columns.scope,
        func.coalesce(
            columns.key_id, columns.team_id, columns.member_id, columns.organisation_id
        ).label("owner"),
        columns.currency,
    ).where(columns.id == budget_id)
    async with database.reading() as connection:
        row = (await connection.execute(query)).one_or_none()
    return None if row is None else (row.scope, row.owner, row.currency)


async def keys_of_member(database: Database, member_id: str) -> frozenset[str]:
    """The keys that are a member's now.

    Raises:
        Unavailable: the database cannot be reached.
    """
    query = select(api_keys.c.id).where(api_keys.c.member_id == member_id)
    async with database.reading() as connection:
        return frozenset((await connection.execute(query)).scalars())


async def shipped_offsets(database: Database, names: Collection[str]) -> dict[str, int]:
    """How many bytes of these journal files are in the database; files it never saw are left out.

    Raises:
        Unavailable: the database cannot be reached.
    """
    query = select(journal_files.c.name, journal_files.c.shipped_offset).where(
        journal_files.c.name.in_(names)
    )
    async with database.reading() as connection:
        rows = (await connection.execute(query)).all()
    return {row.name: row.shipped_offset for row in rows}


async def known_generations(database: Database, generation_ids: Collection[str]) -> set[str]:
    """Those of the ids that are in the ledger.

    Raises:
        Unavailable: the database cannot be reached.
    """
    async with database.reading() as connection:
        return await _known(connection, list(generation_ids))


async def _known(connection: AsyncConnection, ids: list[str]) -> set[str]:
    known: set[str] = set()
    for start in range(0, len(ids), _IDS_AT_ONCE):
        query = select(generations.c.id).where(
            generations.c.id.in_(ids[start : start + _IDS_AT_ONCE])
        )
        known.update((await connection.execute(query)).scalars())
    return known


def _outcome(row: Row[Any], attempts: tuple[AttemptRecord, ...]) -> Outcome:
    return Outcome(
        generation_id=row.id,
        request_id=row.request_id,
        created_ms=row.created_ms,
        closed_ms=row.closed_ms,
        organisation_id=row.organisation_id,
        team_id=row.team_id,
        key_id=row.key_id,
        api=row.api,
        model_requested=row.model_requested,
        model=row.model,
        streamed=row.streamed,
        result=Result(row.result),
        status=row.status,
        error_code=row.error_code,
        finish_reason=row.finish_reason,
        native_finish_reason=row.native_finish_reason,
        ttft_ms=row.ttft_ms,
        sandbox=row.sandbox,
        attempts=attempts,
    )


def _attempt(row: Row[Any]) -> AttemptRecord:
    return AttemptRecord(
        id=row.id,
        ordinal=row.ordinal,
        endpoint_id=row.endpoint_id,
        provider=row.provider,
        upstream_model=row.upstream_model,
        rate_card_id=row.rate_card_id,
        result=Result(row.result),
        error_code=row.error_code,
        upstream_status=row.upstream_status,
        upstream_id=row.upstream_id,
        started_ms=row.started_ms,
        ttft_ms=row.ttft_ms,
        duration_ms=row.duration_ms,
        quantities=Quantities(
            fresh_input=row.fresh_input,
            cache_read=row.cache_read,
            cache_write_5m=row.cache_write_5m,
            cache_write_1h=row.cache_write_1h,
            output=row.output,
            requests=row.requests,
            images=row.images,
            searches=row.searches,
        ),
        reasoning_tokens=row.reasoning_tokens,
        basis=Basis(row.basis),
        cost=Money(row.cost_currency, row.cost_pico),
        charge=Money(row.charge_currency, row.charge_pico),
        reported_cost=row.reported_cost,
        cost_basis=row.cost_basis,
    )

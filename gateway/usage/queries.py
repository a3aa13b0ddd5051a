"""Reading the ledger."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Row, func, literal_column, select

from gateway.store.database import Database
from gateway.store.tables.usage import generations, journal_files, ledger_entries
from gateway.values import AttemptRecord, Basis, Outcome, Result
from pricing import Money, Quantities

_SCOPES = {"key": ledger_entries.c.key_id, "team": ledger_entries.c.team_id}
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


async def spent(database: Database, scope: str, scope_id: str, since_ms: int, currency: str) -> int:
    """What a key or a team was charged for requests admitted since a time, in picos; exact.

    Args:
        database: where the ledger is.
        scope: `key` or `team`.
        scope_id: its id.
        since_ms: epoch milliseconds, inclusive: the beginning of a budget's window.
        currency: only charges in this currency count.

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
        .where(_SCOPES[scope] == scope_id)
        .where(ledger_entries.c.created_ms >= since_ms)
        .where(ledger_entries.c.charge_currency == currency)
    )
    async with database.reading() as connection:
        quotients, remainders = (await connection.execute(query)).one()
    return int(quotients or 0) * _SPLIT + int(remainders or 0)


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
    ids = list(generation_ids)
    known: set[str] = set()
    async with database.reading() as connection:
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
    )

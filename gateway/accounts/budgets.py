"""Budgets: at most one for each key and one for each team.

A budget keeps its id while its amount or period changes, so that what was spent in the window
still counts. Another currency is another budget, with another id: what was spent in one says
nothing about the other.
"""

from typing import Literal

from msgspec import Struct
from sqlalchemy import Column, delete, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.ids import new_id
from gateway.accounts.rows import Budget
from gateway.clock import Clock
from gateway.errors import InvalidRequest, NotFound
from gateway.store.database import Database
from gateway.store.tables import accounts as tables
from pricing import Money

PERIODS = ("total", "daily", "weekly", "monthly")
MAX_UNITS = 9_000_000  # the largest round amount whose picos fit SQLite's 64 bits

Scope = Literal["key", "team"]

_LISTED = (
    select(
        tables.budgets,
        tables.api_keys.c.name.label("key_name"),
        tables.teams.c.name.label("team_name"),
    )
    .join(tables.api_keys, tables.api_keys.c.id == tables.budgets.c.key_id, isouter=True)
    .join(tables.teams, tables.teams.c.id == tables.budgets.c.team_id, isouter=True)
)


class Limit(Struct, frozen=True):
    """How much may be spent in which period."""

    amount: Money
    period: str


def limit(amount: str, period: str, currency: str = "USD") -> Limit:
    """A limit from an amount as people write it, such as `5.00`: exact, up to 12 decimals.

    Raises:
        InvalidRequest: invalid_budget, with what is wrong.
    """
    try:
        money = Money.parse(amount, currency)
    except ValueError as fault:
        raise InvalidRequest(
            f"a budget needs an amount like 5.00 and a currency like USD: {fault}",
            code="invalid_budget",
            param="amount",
        ) from fault
    if money.pico > MAX_UNITS * 10**12:
        raise InvalidRequest(
            f"a budget may be {MAX_UNITS:,} at most", code="invalid_budget", param="amount"
        )
    if period not in PERIODS:
        raise InvalidRequest(
            f"unknown period {period!r}; use one of {', '.join(PERIODS)}",
            code="invalid_budget",
            param="period",
        )
    return Limit(money, period)


async def set_budget(
    db: Database, scope: Scope, owner_id: str, new: Limit, *, clock: Clock
) -> Budget:
    """Give a key or a team its budget, instead of the one it had.

    Raises:
        NotFound: no such key or team; code key_not_found or team_not_found.
    """
    owners = tables.api_keys if scope == "key" else tables.teams
    async with db.transaction() as connection:
        exists = select(owners.c.id).where(owners.c.id == owner_id)
        if await connection.scalar(exists) is None:
            raise NotFound(
                f"no {scope} {owner_id!r}; `tidegate {scope}s list` shows the ids",
                code=f"{scope}_not_found",
                param=scope,
            )
        await put(connection, scope, owner_id, new, now_ms=int(clock.now() * 1000))
        rows = await connection.execute(_LISTED.where(_owner(scope) == owner_id))
        return _budget(rows.one())


async def put(
    connection: AsyncConnection, scope: Scope, owner_id: str, new: Limit, *, now_ms: int
) -> None:
    """`set_budget`, inside a transaction that is open already and whose owner exists."""
    mine = _owner(scope) == owner_id
    currency = new.amount.currency
    values = {"limit_pico": new.amount.pico, "currency": currency, "period": new.period}
    changed = await connection.execute(
        update(tables.budgets).where(mine, tables.budgets.c.currency == currency).values(values)
    )
    if changed.rowcount:
        return
    await connection.execute(delete(tables.budgets).where(mine))
    await connection.execute(
        insert(tables.budgets).values(
            id=new_id("bud"),
            scope=scope,
            key_id=owner_id if scope == "key" else None,
            team_id=owner_id if scope == "team" else None,
            created_ms=now_ms,
            **values,
        )
    )


async def get_budget(db: Database, scope: Scope, owner_id: str) -> Budget | None:
    """The budget of a key or a team; None if it has none."""
    async with db.reading() as connection:
        rows = await connection.execute(_LISTED.where(_owner(scope) == owner_id))
        row = rows.one_or_none()
    return None if row is None else _budget(row)


async def list_all(db: Database) -> list[Budget]:
    """Every budget, oldest first."""
    query = _LISTED.order_by(tables.budgets.c.created_ms, tables.budgets.c.id)
    async with db.reading() as connection:
        return [_budget(row) for row in await connection.execute(query)]


async def remove(db: Database, scope: Scope, owner_id: str) -> None:
    """Take the budget of a key or a team away: its spend has no limit of its own any more.

    Raises:
        NotFound: it has none; code budget_not_found.
    """
    async with db.transaction() as connection:
        gone = await connection.execute(delete(tables.budgets).where(_owner(scope) == owner_id))
    if not gone.rowcount:
        raise NotFound(
            f"{scope} {owner_id!r} has no budget; `tidegate budgets list` shows them",
            code="budget_not_found",
            param=scope,
        )


def _owner(scope: Scope) -> Column[str | None]:
    return tables.budgets.c.key_id if scope == "key" else tables.budgets.c.team_id


def _budget(row: Row[tuple[object, ...]]) -> Budget:
    key = row.scope == "key"
    return Budget(
        id=row.id,
        scope=row.scope,
        owner_id=row.key_id if key else row.team_id,
        owner_name=row.key_name if key else row.team_name,
        limit=Money(row.currency, row.limit_pico),
        period=row.period,
    )

"""Budgets: at most one for each key, team, member and organisation.

A budget keeps its id while its amount or period changes, so that what was spent in the window
still counts. Another currency is another budget, with another id: what was spent in one says
nothing about the other.
"""

from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import Column, delete, func, insert, select, update
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts import organisations, owners, pages, revisions, roles
from gateway.accounts.ids import new_id
from gateway.accounts.office import Act, Office
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Budget, Page
from gateway.errors import InvalidRequest, NotFound
from gateway.store.tables import accounts as tables
from pricing import Money

PERIODS = ("total", "daily", "weekly", "monthly")
ON_STATE_LOSS = ("lease", "refuse")
MAX_UNITS = 9_000_000  # the largest round amount whose picos fit SQLite's 64 bits

Scope = Literal["key", "team", "member", "organisation"]

_BUDGETS = tables.budgets
_OWNERS: dict[str, Column[str]] = {
    "key": _BUDGETS.c.key_id,
    "team": _BUDGETS.c.team_id,
    "member": _BUDGETS.c.member_id,
    "organisation": _BUDGETS.c.organisation_id,
}
_OF_KEY = tables.teams.alias("team_of_key")
_WITHIN = func.coalesce(
    _BUDGETS.c.organisation_id,
    tables.teams.c.organisation_id,
    tables.members.c.organisation_id,
    _OF_KEY.c.organisation_id,
)
_LISTED = (
    select(
        _BUDGETS.c.id,
        _BUDGETS.c.created_ms,
        _BUDGETS.c.scope,
        _BUDGETS.c.limit_pico,
        _BUDGETS.c.currency,
        _BUDGETS.c.period,
        _BUDGETS.c.on_state_loss,
        _BUDGETS.c.revision,
        func.coalesce(*_OWNERS.values()).label("owner_id"),
        func.coalesce(
            tables.api_keys.c.name,
            tables.teams.c.name,
            tables.members.c.name,
            tables.organisations.c.name,
        ).label("owner_name"),
        _WITHIN.label("in_organisation"),
    )
    .join(tables.api_keys, tables.api_keys.c.id == _BUDGETS.c.key_id, isouter=True)
    .join(_OF_KEY, _OF_KEY.c.id == tables.api_keys.c.team_id, isouter=True)
    .join(tables.teams, tables.teams.c.id == _BUDGETS.c.team_id, isouter=True)
    .join(tables.members, tables.members.c.id == _BUDGETS.c.member_id, isouter=True)
    .join(
        tables.organisations, tables.organisations.c.id == _BUDGETS.c.organisation_id, isouter=True
    )
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
    office: Office,
    actor: Actor,
    scope: Scope,
    owner: str,
    new: Limit,
    *,
    on_state_loss: str | None = None,
    revision: int | None = None,
) -> Budget:
    """Give a key, a team, a member or an organisation its budget, instead of the one it had.

    Args:
        office: where it is done.
        actor: who does it: with `budgets:write` in the team of a team or key, else in the organisation.
        scope: whose budget it is.
        owner: id of the owner; of organisations and teams also the name, of members the email.
        new: amount and period.
        on_state_loss: "lease" or "refuse", see `Budget`; None leaves it as it was, at first "lease".
        revision: of the budget that it had; 0: there must be none yet; None: not checked.

    Raises:
        NotFound: no such owner; codes key_not_found, team_not_found and so on.
        Forbidden: codes permission_denied, insufficient_scope.
        InvalidRequest: codes invalid_budget, team_ambiguous, member_ambiguous.
        RevisionConflict: code revision_conflict.
    """
    if on_state_loss not in {None, *ON_STATE_LOSS}:
        raise InvalidRequest(
            f"on_state_loss is lease or refuse, not {on_state_loss!r}",
            code="invalid_budget",
            param="on_state_loss",
        )
    async with office.act(actor) as act:
        # Locked, so that of two first budgets at once one comes after the other.
        whose = await owners.find(act.connection, act.actor, scope, owner, for_update=True)
        roles.require(act.actor, "budgets:write", whose.organisation_id, whose.team_id)
        old = await of(act.connection, scope, whose.id)
        revisions.check_revision(
            "budget", current=0 if old is None else old.revision, revision=revision
        )
        return await put(act, scope, whose.id, new, on_state_loss=on_state_loss)


async def put(
    act: Act,
    scope: Scope,
    owner_id: str,
    new: Limit,
    *,
    on_state_loss: str | None = None,
) -> Budget:
    """`set_budget`, inside an act that is allowed already and whose owner exists.

    Nothing is written where nothing changes.
    """
    old = await of(act.connection, scope, owner_id)
    await _write(act, scope, owner_id, old=old, new=new, on_state_loss=on_state_loss)
    made = _budget((await act.connection.execute(_LISTED.where(_OWNERS[scope] == owner_id))).one())
    if made != old:
        act.record(
            "budget.set",
            scope,
            owner_id,
            organisation_id=made.organisation_id,
            before=None if old is None else _audited(old),
            after=_audited(made),
        )
        act.changed(scope, owner_id)
    return made


async def _write(
    act: Act,
    scope: Scope,
    owner_id: str,
    *,
    old: Budget | None,
    new: Limit,
    on_state_loss: str | None,
) -> None:
    connection = act.connection
    wanted = on_state_loss or ("lease" if old is None else old.on_state_loss)
    if old is not None and (old.limit, old.period, old.on_state_loss) == (
        new.amount,
        new.period,
        wanted,
    ):
        return
    values = {
        "limit_pico": new.amount.pico,
        "currency": new.amount.currency,
        "period": new.period,
        "on_state_loss": wanted,
        "revision": 1 if old is None else old.revision + 1,
    }
    if old is not None and old.limit.currency == new.amount.currency:
        await connection.execute(update(_BUDGETS).where(_BUDGETS.c.id == old.id).values(values))
        return
    if old is not None:
        await connection.execute(delete(_BUDGETS).where(_BUDGETS.c.id == old.id))
    await connection.execute(
        insert(_BUDGETS).values(
            id=new_id("bud"),
            scope=scope,
            created_ms=act.now_ms,
            **{_OWNERS[scope].name: owner_id},
            **values,
        )
    )


async def get_budget(office: Office, actor: Actor, scope: Scope, owner: str) -> Budget | None:
    """The budget of a key, a team, a member or an organisation; None if it has none.

    Raises:
        NotFound, InvalidRequest: as `set_budget`.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        whose = await owners.find(look.connection, look.actor, scope, owner)
        roles.require(look.actor, "budgets:read", whose.organisation_id, whose.team_id)
        return await of(look.connection, scope, whose.id)


async def list_page(
    office: Office,
    actor: Actor,
    *,
    organisation: str | None = None,
    limit: int = pages.DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[Budget]:
    """The budgets that the actor may see, oldest first; of one organisation, if it is given.

    Raises:
        NotFound: no such organisation; code organisation_not_found.
        InvalidRequest: codes invalid_limit, invalid_cursor.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        where = look.actor.organisation_id
        if organisation is not None:
            where = (await organisations.find(look.connection, look.actor, organisation)).id
        seen = roles.teams_with(look.actor, "budgets:read", where)
        query = _LISTED
        if where is not None:
            query = query.where(_WITHIN.in_([where]))
        if seen is not None:
            query = query.where(func.coalesce(_BUDGETS.c.team_id, _OF_KEY.c.id).in_(seen))
        return await pages.read_page(
            look.connection,
            query,
            (_BUDGETS.c.created_ms, _BUDGETS.c.id),
            _budget,
            limit=limit,
            cursor=cursor,
        )


async def list_all(
    office: Office, actor: Actor, *, organisation: str | None = None
) -> list[Budget]:
    """All of `list_page`."""
    return await pages.every(
        lambda cursor: list_page(
            office, actor, organisation=organisation, limit=pages.MAX_LIMIT, cursor=cursor
        )
    )


async def remove(
    office: Office, actor: Actor, scope: Scope, owner: str, *, revision: int | None = None
) -> None:
    """Take a budget away: the spend of its owner has no limit of its own any more.

    Raises:
        NotFound: no such owner (as `set_budget`), or it has none; code budget_not_found.
        Forbidden: codes permission_denied, insufficient_scope.
        RevisionConflict: `revision` is not the current one; code revision_conflict.
    """
    async with office.act(actor) as act:
        whose = await owners.find(act.connection, act.actor, scope, owner, for_update=True)
        roles.require(act.actor, "budgets:write", whose.organisation_id, whose.team_id)
        old = await of(act.connection, scope, whose.id)
        if old is None:
            raise NotFound(
                f"{scope} {whose.name!r} has no budget; `tidegate budgets list` shows them",
                code="budget_not_found",
                param=scope,
            )
        revisions.check_revision("budget", current=old.revision, revision=revision)
        await act.connection.execute(delete(_BUDGETS).where(_BUDGETS.c.id == old.id))
        act.record(
            "budget.remove",
            scope,
            whose.id,
            organisation_id=whose.organisation_id,
            before=_audited(old),
        )
        act.changed(scope, whose.id)


async def of(connection: AsyncConnection, scope: Scope, owner_id: str) -> Budget | None:
    """The budget of an owner, if it has one; rights are the caller's to check."""
    row = (await connection.execute(_LISTED.where(_OWNERS[scope] == owner_id))).one_or_none()
    return None if row is None else _budget(row)


def _audited(row: Budget) -> dict[str, Any]:
    return {
        "budget_id": row.id,
        "limit": row.limit.decimal_string(),
        "currency": row.limit.currency,
        "period": row.period,
        "on_state_loss": row.on_state_loss,
    }


def _budget(row: Row[Any]) -> Budget:
    return Budget(
        id=row.id,
        scope=row.scope,
        owner_id=row.owner_id,
        owner_name=row.owner_name,
        organisation_id=row.in_organisation,
        limit=Money(row.currency, row.limit_pico),
        period=row.period,
        created_ms=row.created_ms,
        on_state_loss=row.on_state_loss,
        revision=row.revision,
    )

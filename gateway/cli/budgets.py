"""`tidegate budgets`: limits on the spend of keys and teams."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.administration import data_option, json_option, show, with_database
from gateway.clock import SystemClock

if TYPE_CHECKING:
    from gateway.accounts.budgets import Scope
    from gateway.accounts.rows import Budget
    from gateway.store.database import Database

_key_option = click.option("--key", "key_id", metavar="ID", help="The key that it limits.")
_team_option = click.option("--team", metavar="TEAM", help="The team it limits, by id or name.")


@click.group()
def budgets() -> None:
    """Budgets: a key and a team can have one each, and both hold."""


@budgets.command("set")
@_key_option
@_team_option
@click.argument("amount")
@click.option(
    "--period",
    type=click.Choice(["total", "daily", "weekly", "monthly"]),
    required=True,
    help="What the budget is for; UTC, weeks begin on Monday.",
)
@click.option("--currency", default="USD", show_default=True, help="ISO 4217 code.")
@data_option
def set_budget(
    *, key_id: str | None, team: str | None, amount: str, period: str, currency: str, data: Path
) -> None:
    """Let a key or a team spend at most AMOUNT, such as 5.00, in each period."""
    from gateway.accounts import budgets as accounts

    _one_owner(key_id, team)

    async def put(db: "Database") -> "Budget":
        limit = accounts.limit(amount, period, currency)
        scope, owner_id = await _owner(db, key_id, team)
        return await accounts.set_budget(db, scope, owner_id, limit, clock=SystemClock())

    budget = with_database(data, put)
    click.echo(budget.id)
    click.echo(
        f"{budget.scope} {budget.owner_name} may spend {budget.limit} {_per(budget.period)}",
        err=True,
    )


@budgets.command("list")
@json_option
@data_option
def list_budgets(data: Path, *, as_json: bool) -> None:
    """List the budgets, oldest first."""
    from gateway.accounts import budgets as accounts

    rows: list[dict[str, Any]] = [
        {
            "id": budget.id,
            "scope": budget.scope,
            "owner_id": budget.owner_id,
            "owner": budget.owner_name,
            "limit": budget.limit.decimal_string(),
            "currency": budget.limit.currency,
            "period": budget.period,
        }
        for budget in with_database(data, accounts.list_all)
    ]
    show(
        rows,
        as_json=as_json,
        empty="no budgets; set one with `tidegate budgets set --team TEAM 100.00 --period monthly`",
    )


@budgets.command("remove")
@_key_option
@_team_option
@data_option
def remove(key_id: str | None, team: str | None, data: Path) -> None:
    """Take the budget of a key or a team away."""
    from gateway.accounts import budgets as accounts

    _one_owner(key_id, team)

    async def take(db: "Database") -> None:
        scope, owner_id = await _owner(db, key_id, team)
        await accounts.remove(db, scope, owner_id)

    with_database(data, take)
    click.echo("removed", err=True)


def _one_owner(key_id: str | None, team: str | None) -> None:
    if (key_id is None) == (team is None):
        raise click.UsageError("give either --key ID or --team TEAM")


async def _owner(db: "Database", key_id: str | None, team: str | None) -> "tuple[Scope, str]":
    from gateway.accounts import teams

    if team is None:
        return "key", key_id or ""
    return "team", (await teams.get(db, team)).id


def _per(period: str) -> str:
    return "in total" if period == "total" else period

"""`tidegate budgets`: limits on the spend of keys, teams, members and organisations."""

from typing import TYPE_CHECKING, Any

import click

from gateway.cli.administration import data_option, json_option, show, with_office

if TYPE_CHECKING:
    from gateway.accounts.budgets import Scope
    from gateway.accounts.office import Office
    from gateway.accounts.opening import Installation
    from gateway.accounts.roles import Actor
    from gateway.accounts.rows import Budget

_key_option = click.option("--key", "key_id", metavar="ID", help="The key that it limits.")
_team_option = click.option("--team", metavar="TEAM", help="The team it limits, by id or name.")
_member_option = click.option("--member", help="The member it limits, by id or email.")
_organisation_option = click.option("--organisation", help="The organisation, by id or name.")


@click.group()
def budgets() -> None:
    """Budgets: each key, team, member and organisation can have one, and all of them hold."""


@budgets.command("set")
@_key_option
@_team_option
@_member_option
@_organisation_option
@click.argument("amount")
@click.option(
    "--period",
    type=click.Choice(["total", "daily", "weekly", "monthly"]),
    required=True,
    help="What the budget is for; UTC, weeks begin on Monday.",
)
@click.option("--currency", default="USD", show_default=True, help="ISO 4217 code.")
@click.option(
    "--on-state-loss",
    type=click.Choice(["lease", "refuse"]),
    help="What may be spent while the shared counters are lost: what was leased, or nothing.",
)
@data_option
def set_budget(
    *,
    key_id: str | None,
    team: str | None,
    member: str | None,
    organisation: str | None,
    amount: str,
    period: str,
    currency: str,
    on_state_loss: str | None,
    data: "Installation",
) -> None:
    """Let a key, team, member or organisation spend at most AMOUNT, such as 5.00, in each period."""
    from gateway.accounts import budgets as accounts

    scope, owner = _owner(key=key_id, team=team, member=member, organisation=organisation)

    async def put(office: "Office", actor: "Actor") -> "Budget":
        limit = accounts.limit(amount, period, currency)
        return await accounts.set_budget(
            office, actor, scope, owner, limit, on_state_loss=on_state_loss
        )

    budget = with_office(data, put)
    click.echo(budget.id)
    click.echo(
        f"{budget.scope} {budget.owner_name} may spend {budget.limit} {_per(budget.period)}",
        err=True,
    )


@budgets.command("list")
@json_option
@data_option
def list_budgets(data: "Installation", *, as_json: bool) -> None:
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
            "on_state_loss": budget.on_state_loss,
        }
        for budget in with_office(data, accounts.list_all)
    ]
    show(
        rows,
        as_json=as_json,
        empty="no budgets; set one with `tidegate budgets set --team TEAM 100.00 --period monthly`",
    )


@budgets.command("remove")
@_key_option
@_team_option
@_member_option
@_organisation_option
@data_option
def remove(
    key_id: str | None,
    team: str | None,
    member: str | None,
    organisation: str | None,
    data: "Installation",
) -> None:
    """Take a budget away."""
    from gateway.accounts import budgets as accounts

    scope, owner = _owner(key=key_id, team=team, member=member, organisation=organisation)
    with_office(data, lambda office, actor: accounts.remove(office, actor, scope, owner))
    click.echo("removed", err=True)


def _owner(**named: str | None) -> "tuple[Scope, str]":
    given = [(scope, owner) for scope, owner in named.items() if owner is not None]
    if len(given) != 1:
        raise click.UsageError(
            "give one of --key ID, --team TEAM, --member MEMBER and --organisation ORGANISATION"
        )
    scope, owner = given[0]
    return scope, owner  # type: ignore[return-value] # the names are the scopes


def _per(period: str) -> str:
    return "in total" if period == "total" else period

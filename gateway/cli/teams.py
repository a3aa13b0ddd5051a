"""`tidegate teams`: make and list teams, and say what they demand."""

from typing import TYPE_CHECKING

import click

from gateway.cli.administration import SEEN, data_option, json_option, show, utc, with_office
from gateway.cli.privacy import change, columns, making_options, privacy, setting_options, told

if TYPE_CHECKING:
    from gateway.accounts.opening import Installation


@click.group()
def teams() -> None:
    """Teams: keys are issued to them, and budgets can be set on them."""


@teams.command("create")
@click.argument("name")
@click.option("--organisation", help="Id or name; the first one unless it is given.")
@making_options
@data_option
def create(
    *, name: str, organisation: str | None, zdr: bool, data_collection: str, data: "Installation"
) -> None:
    """Make a team called NAME and print its id."""
    from gateway.accounts import teams as accounts

    demanded = privacy(zdr=zdr, data_collection=data_collection)
    team = with_office(
        data,
        lambda office, actor: accounts.create(
            office, actor, name, organisation=organisation, privacy=demanded
        ),
    )
    click.echo(team.id)


@teams.command("set")
@click.argument("team")
@setting_options
@data_option
def set_team(
    *, team: str, zdr: bool | None, data_collection: str | None, data: "Installation"
) -> None:
    """Change what TEAM, by id or name, demands for all requests of its keys.

    What its organisation demands stays in force.
    """
    from gateway.accounts import teams as accounts

    demanded = change(zdr=zdr, data_collection=data_collection)
    row = with_office(
        data, lambda office, actor: accounts.set_privacy(office, actor, team, demanded)
    )
    click.echo(told(row.name, row.levels), err=True)


@teams.command("rename")
@click.argument("team")
@click.argument("name")
@data_option
def rename(team: str, name: str, data: "Installation") -> None:
    """Call TEAM, by id or name, NAME from now on."""
    from gateway.accounts import teams as accounts

    row = with_office(data, lambda office, actor: accounts.rename(office, actor, team, name))
    click.echo(f"{row.id} is {row.name}", err=True)


@teams.command("disable")
@click.argument("team")
@data_option
def disable(team: str, data: "Installation") -> None:
    """Refuse all keys of TEAM, by id or name."""
    from gateway.accounts import teams as accounts

    row = with_office(data, lambda office, actor: accounts.disable(office, actor, team))
    click.echo(f"{row.name} ({row.id}) is disabled; {SEEN}", err=True)


@teams.command("enable")
@click.argument("team")
@data_option
def enable(team: str, data: "Installation") -> None:
    """Take the keys of TEAM, by id or name, again."""
    from gateway.accounts import teams as accounts

    row = with_office(data, lambda office, actor: accounts.enable(office, actor, team))
    click.echo(f"{row.name} ({row.id}) is enabled; {SEEN}", err=True)


@teams.command("list")
@json_option
@data_option
def list_teams(data: "Installation", *, as_json: bool) -> None:
    """List the teams, oldest first.

    ZDR and DATA COLLECTION say what is in force, and which levels demand it.
    """
    from gateway.accounts import teams as accounts

    rows = [
        {
            "id": team.id,
            "name": team.name,
            "created": utc(team.created_ms),
            "disabled": utc(team.disabled_ms),
            **columns(team.levels),
        }
        for team in with_office(data, accounts.list_all)
    ]
    show(rows, as_json=as_json, empty="no teams; make one with `tidegate teams create NAME`")

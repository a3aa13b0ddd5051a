"""`tidegate teams`: make and list teams, and say what they demand."""

from pathlib import Path

import click

from gateway.cli.administration import data_option, json_option, show, utc, with_database
from gateway.cli.privacy import change, columns, making_options, privacy, setting_options, told
from gateway.clock import SystemClock


@click.group()
def teams() -> None:
    """Teams: keys are issued to them, and budgets can be set on them."""


@teams.command("create")
@click.argument("name")
@making_options
@data_option
def create(*, name: str, zdr: bool, data_collection: str, data: Path) -> None:
    """Make a team called NAME and print its id."""
    from gateway.accounts import teams as accounts

    demanded = privacy(zdr=zdr, data_collection=data_collection)
    team = with_database(
        data, lambda db: accounts.create(db, name, clock=SystemClock(), privacy=demanded)
    )
    click.echo(team.id)


@teams.command("set")
@click.argument("team")
@setting_options
@data_option
def set_team(*, team: str, zdr: bool | None, data_collection: str | None, data: Path) -> None:
    """Change what TEAM, by id or name, demands for all requests of its keys.

    What its organisation demands stays in force.
    """
    from gateway.accounts import teams as accounts

    demanded = change(zdr=zdr, data_collection=data_collection)
    row = with_database(data, lambda db: accounts.set_privacy(db, team, demanded))
    click.echo(told(row.name, row.levels), err=True)


@teams.command("list")
@json_option
@data_option
def list_teams(data: Path, *, as_json: bool) -> None:
    """List the teams, oldest first.

    ZDR and DATA COLLECTION say what is in force, and which levels demand it.
    """
    from gateway.accounts import teams as accounts

    rows = [
        {
            "id": team.id,
            "name": team.name,
            "created": utc(team.created_ms),
            **columns(team.levels),
        }
        for team in with_database(data, accounts.list_all)
    ]
    show(rows, as_json=as_json, empty="no teams; make one with `tidegate teams create NAME`")

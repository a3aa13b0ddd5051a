"""`tidegate teams`: make and list teams."""

from pathlib import Path

import click

from gateway.cli.administration import data_option, json_option, show, utc, with_database
from gateway.clock import SystemClock


@click.group()
def teams() -> None:
    """Teams: keys are issued to them, and budgets can be set on them."""


@teams.command("create")
@click.argument("name")
@data_option
def create(name: str, data: Path) -> None:
    """Make a team called NAME and print its id."""
    from gateway.accounts import teams as accounts

    team = with_database(data, lambda db: accounts.create(db, name, clock=SystemClock()))
    click.echo(team.id)


@teams.command("list")
@json_option
@data_option
def list_teams(data: Path, *, as_json: bool) -> None:
    """List the teams, oldest first."""
    from gateway.accounts import teams as accounts

    rows = [
        {"id": team.id, "name": team.name, "created": utc(team.created_ms)}
        for team in with_database(data, accounts.list_all)
    ]
    show(rows, as_json=as_json, empty="no teams; make one with `tidegate teams create NAME`")

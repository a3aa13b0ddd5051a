"""`tidegate organisations`: list organisations, and say what they demand."""

from pathlib import Path

import click

from gateway.cli.administration import data_option, json_option, show, utc, with_database
from gateway.cli.privacy import change, columns, setting_options, told


@click.group()
def organisations() -> None:
    """Organisations: the owners of teams."""


@organisations.command("list")
@json_option
@data_option
def list_organisations(data: Path, *, as_json: bool) -> None:
    """List the organisations, oldest first."""
    from gateway.accounts import organisations as accounts

    rows = [
        {
            "id": organisation.id,
            "name": organisation.name,
            "created": utc(organisation.created_ms),
            **columns(organisation.levels),
        }
        for organisation in with_database(data, accounts.list_all)
    ]
    show(rows, as_json=as_json, empty="no organisations; `tidegate migrate` makes the first one")


@organisations.command("set")
@click.argument("organisation")
@setting_options
@data_option
def set_organisation(
    *, organisation: str, zdr: bool | None, data_collection: str | None, data: Path
) -> None:
    """Change what ORGANISATION, by id or name, demands for all requests of its teams."""
    from gateway.accounts import organisations as accounts

    demanded = change(zdr=zdr, data_collection=data_collection)
    row = with_database(data, lambda db: accounts.set_privacy(db, organisation, demanded))
    click.echo(told(row.name, row.levels), err=True)

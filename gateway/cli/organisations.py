"""`tidegate organisations`: make and list organisations, and say what they demand."""

from typing import TYPE_CHECKING

import click

from gateway.cli.administration import data_option, json_option, show, utc, with_office
from gateway.cli.privacy import change, columns, setting_options, told

if TYPE_CHECKING:
    from gateway.accounts.opening import Installation


@click.group()
def organisations() -> None:
    """Organisations: the owners of teams."""


@organisations.command("create")
@click.argument("name")
@data_option
def create(name: str, data: "Installation") -> None:
    """Make an organisation called NAME and print its id."""
    from gateway.accounts import organisations as accounts

    made = with_office(data, lambda office, actor: accounts.create(office, actor, name))
    click.echo(made.id)


@organisations.command("list")
@json_option
@data_option
def list_organisations(data: "Installation", *, as_json: bool) -> None:
    """List the organisations, oldest first."""
    from gateway.accounts import organisations as accounts

    rows = [
        {
            "id": organisation.id,
            "name": organisation.name,
            "created": utc(organisation.created_ms),
            **columns(organisation.levels),
        }
        for organisation in with_office(data, accounts.list_all)
    ]
    show(rows, as_json=as_json, empty="no organisations; `tidegate migrate` makes the first one")


@organisations.command("set")
@click.argument("organisation")
@setting_options
@data_option
def set_organisation(
    *, organisation: str, zdr: bool | None, data_collection: str | None, data: "Installation"
) -> None:
    """Change what ORGANISATION, by id or name, demands for all requests of its teams."""
    from gateway.accounts import organisations as accounts

    demanded = change(zdr=zdr, data_collection=data_collection)
    row = with_office(
        data, lambda office, actor: accounts.set_privacy(office, actor, organisation, demanded)
    )
    click.echo(told(row.name, row.levels), err=True)

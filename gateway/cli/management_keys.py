"""`tidegate management-keys`: keys for the administrative API."""

from typing import TYPE_CHECKING

import click

from gateway.cli.administration import data_option, json_option, show, utc, with_office
from gateway.cli.keys import lifetime
from gateway.clock import SystemClock

if TYPE_CHECKING:
    from gateway.accounts.office import Office
    from gateway.accounts.opening import Installation
    from gateway.accounts.roles import Actor
    from gateway.accounts.rows import ManagementKey


@click.group("management-keys")
def management_keys() -> None:
    """Management keys: they administer, through `/admin/v1`, and send no requests to models."""


@management_keys.command("create")
@click.option("--name", default="unnamed", show_default=True, help="What the key is for.")
@click.option(
    "--organisation", help="Id or name; without it the key is for the whole installation."
)
@click.option(
    "--member", help="Id or email of the member whose roles it has; without it, nobody's."
)
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    metavar="SCOPE",
    help="What it may do, such as keys:write; may be given again.  [default: everything]",
)
@click.option("--expires", metavar="TIME", help="Life of the key: 90m, 12h, 30d or 8w.")
@data_option
def create(
    *,
    name: str,
    organisation: str | None,
    member: str | None,
    scopes: tuple[str, ...],
    expires: str | None,
    data: "Installation",
) -> None:
    """Make a management key and print it, once: only its hash is kept."""
    from gateway.accounts import management_keys as accounts
    from gateway.accounts.roles import SCOPES

    expires_ms = None
    if expires is not None:
        expires_ms = int((SystemClock().now() + lifetime(expires)) * 1000)

    async def make(office: "Office", actor: "Actor") -> "tuple[ManagementKey, str]":
        return await accounts.create(
            office,
            actor,
            name=name,
            scopes=frozenset(scopes) or SCOPES,
            organisation=organisation,
            member=member,
            expires_ms=expires_ms,
        )

    row, plaintext = with_office(data, make)
    _hand_out(row, plaintext)


@management_keys.command("list")
@click.option("--organisation", help="Only those of this one, by id or name.")
@json_option
@data_option
def list_keys(organisation: str | None, data: "Installation", *, as_json: bool) -> None:
    """List the management keys, oldest first; of each only its beginning and end."""
    from gateway.accounts import management_keys as accounts

    found = with_office(
        data, lambda office, actor: accounts.list_all(office, actor, organisation=organisation)
    )
    rows = [
        {
            "id": key.id,
            "name": key.name,
            "key": f"{key.prefix}…{key.last4}",
            "organisation": key.organisation_id or "all",
            "member": key.member_id,
            "scopes": " ".join(key.scopes),
            "created": utc(key.created_ms),
            "expires": utc(key.expires_ms),
            "disabled": utc(key.disabled_ms),
        }
        for key in found
    ]
    show(rows, as_json=as_json, empty="no management keys; `tidegate management-keys create`")


@management_keys.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap",
    default="24h",
    show_default=True,
    help="How long the old secret is taken; 0: not at all.",
)
@data_option
def rotate(key_id: str, overlap: str, data: "Installation") -> None:
    """Give the management key ID another secret and print it, once."""
    from gateway.accounts import management_keys as accounts

    seconds = 0 if overlap == "0" else lifetime(overlap, option="--overlap")
    row, plaintext = with_office(
        data, lambda office, actor: accounts.rotate(office, actor, key_id, overlap=seconds)
    )
    _hand_out(row, plaintext)


@management_keys.command("disable")
@click.argument("key_id", metavar="ID")
@data_option
def disable(key_id: str, data: "Installation") -> None:
    """Refuse the management key ID from now on."""
    from gateway.accounts import management_keys as accounts

    key = with_office(data, lambda office, actor: accounts.disable(office, actor, key_id))
    click.echo(f"{key.id} is disabled", err=True)


def _hand_out(row: "ManagementKey", plaintext: str) -> None:
    click.echo(plaintext)
    whose = "the whole installation" if row.organisation_id is None else row.organisation_id
    click.echo(f"{row.id}, for {whose}. Keep the key now: it cannot be shown again.", err=True)

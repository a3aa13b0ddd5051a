"""`tidegate migrate`: bring the database to this version's schema."""

from typing import TYPE_CHECKING

import click

from gateway.cli.administration import data_option, run

if TYPE_CHECKING:
    from gateway.accounts.opening import Installation


@click.command("migrate")
@click.option("--check", is_flag=True, help="Change nothing; exit status 1 if there is work to do.")
@data_option
def migrate(data: "Installation", *, check: bool) -> None:
    """Bring the database to this version's schema; make it if there is none."""
    from gateway.accounts.opening import make_folder
    from gateway.app import first_account
    from gateway.store import schema

    async def bring() -> str | None:
        url = data.url
        before = await schema.current(url)
        if not check:
            make_folder(data.data)
            await schema.upgrade(url)
            await first_account(data, with_key=False)
        return before

    before, head = run(bring()), schema.head()
    if before == head:
        click.echo(f"up to date at revision {head}")
    elif check:
        raise click.ClickException(
            f"the database is at revision {before or 'none'}, this version needs {head};"
            f" run `tidegate migrate`"
        )
    else:
        click.echo(f"migrated from revision {before or 'none'} to {head}")

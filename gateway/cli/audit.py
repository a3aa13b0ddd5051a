"""`tidegate audit`: who did what, when and from where."""

import json
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.administration import data_option, json_option, show, utc, with_office

if TYPE_CHECKING:
    from gateway.accounts.office import Office
    from gateway.accounts.opening import Installation
    from gateway.accounts.roles import Actor
    from gateway.accounts.rows import AuditLine, Page


@click.command("audit")
@click.option("--target", metavar="ID", help="Only what was done to this organisation, team, key …")
@click.option("--actor", metavar="ID", help="Only what this key or operator did.")
@click.option("--action", metavar="NAME", help="Only acts of this name, such as key.create.")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True)
@json_option
@data_option
def audit(
    *,
    target: str | None,
    actor: str | None,
    action: str | None,
    limit: int,
    data: "Installation",
    as_json: bool,
) -> None:
    """List administrative acts, newest first."""
    from gateway.accounts import audit as accounts

    async def work(office: "Office", who: "Actor") -> "Page[AuditLine]":
        return await accounts.list_page(
            office, who, target=target, by=actor, action=action, limit=limit
        )

    rows: list[dict[str, Any]] = [
        {
            "time": utc(line.at_ms),
            "who": line.actor_name,
            "via": line.via,
            "from": line.source,
            "action": line.action,
            "target": line.target_id,
            "before": line.before if as_json else _short(line.before),
            "after": line.after if as_json else _short(line.after),
        }
        for line in with_office(data, work).items
    ]
    show(rows, as_json=as_json, empty="nothing was done yet that fits")


def _short(values: dict[str, Any] | None) -> str | None:
    return None if values is None else json.dumps(values, separators=(",", ":"))

"""`tidegate keys`: issue, list and disable API keys, and say what they demand."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.administration import data_option, json_option, show, utc, with_database
from gateway.cli.privacy import change, columns, making_options, privacy, setting_options, told
from gateway.clock import SystemClock

if TYPE_CHECKING:
    from gateway.accounts.rows import Key
    from gateway.store.database import Database

_DURATION = re.compile(r"([1-9][0-9]{0,5})([mhdw])", re.ASCII)
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


@click.group()
def keys() -> None:
    """API keys: what callers send as `Authorization: Bearer sk-tg-…`."""


@keys.command("create")
@click.option("--team", required=True, help="Id or name of the team that the key belongs to.")
@click.option("--name", default="unnamed", show_default=True, help="What the key is for.")
@click.option("--budget", metavar="AMOUNT", help="Most that the key may spend, such as 5.00.")
@click.option(
    "--period",
    type=click.Choice(["total", "daily", "weekly", "monthly"]),
    help="What the budget is for; UTC, weeks begin on Monday.  [default: total]",
)
@click.option("--currency", help="ISO 4217 code of the budget.  [default: USD]")
@click.option("--expires", metavar="TIME", help="Life of the key: 90m, 12h, 30d or 8w.")
@making_options
@data_option
def create(
    *,
    team: str,
    name: str,
    budget: str | None,
    period: str | None,
    currency: str | None,
    expires: str | None,
    zdr: bool,
    data_collection: str,
    data: Path,
) -> None:
    """Issue a key to a team and print it, once: only its hash is kept."""
    from gateway.accounts import budgets, pepper
    from gateway.accounts import keys as accounts

    if budget is None and (period or currency):
        raise click.UsageError("--period and --currency need --budget AMOUNT")
    clock = SystemClock()
    expires_ms = None
    if expires is not None:
        expires_ms = int((clock.now() + _seconds(expires)) * 1000)

    async def issue(db: "Database") -> "tuple[Key, str]":
        limit = None
        if budget is not None:
            limit = budgets.limit(budget, period or "total", currency or "USD")
        return await accounts.create(
            db,
            pepper.ensure(data),
            team=team,
            clock=clock,
            name=name,
            expires_ms=expires_ms,
            budget=limit,
            privacy=privacy(zdr=zdr, data_collection=data_collection),
        )

    row, plaintext = with_database(data, issue)
    click.echo(plaintext)
    click.echo(
        f"{row.id}, for team {row.team_name}. Keep the key now: it cannot be shown again.", err=True
    )


@keys.command("list")
@click.option("--team", help="Only the keys of this team, by id or name.")
@json_option
@data_option
def list_keys(team: str | None, data: Path, *, as_json: bool) -> None:
    """List the keys, oldest first; of each only its beginning and end.

    ZDR and DATA COLLECTION say what is in force, and which levels demand it.
    """
    from gateway.accounts import keys as accounts

    now_ms = int(SystemClock().now() * 1000)
    rows = [
        {
            "id": key.id,
            "name": key.name,
            "key": f"{key.prefix}…{key.last4}",
            "team_id": key.team_id,
            "team": key.team_name,
            "state": _state(key, now_ms),
            "created": utc(key.created_ms),
            "expires": utc(key.expires_ms),
            "disabled": utc(key.disabled_ms),
            **columns(key.levels),
        }
        for key in with_database(data, lambda db: accounts.list_all(db, team=team))
    ]
    show(rows, as_json=as_json, empty="no keys; make one with `tidegate keys create --team TEAM`")


@keys.command("set")
@click.argument("key_id", metavar="ID")
@setting_options
@data_option
def set_key(*, key_id: str, zdr: bool | None, data_collection: str | None, data: Path) -> None:
    """Change what the key ID demands for its requests.

    What its team and organisation demand stays in force.
    """
    from gateway.accounts import keys as accounts

    demanded = change(zdr=zdr, data_collection=data_collection)
    key = with_database(data, lambda db: accounts.set_privacy(db, key_id, demanded))
    click.echo(told(key.id, key.levels), err=True)


@keys.command("disable")
@click.argument("key_id", metavar="ID")
@data_option
def disable(key_id: str, data: Path) -> None:
    """Refuse the key ID from now on."""
    from gateway.accounts import keys as accounts

    key = with_database(data, lambda db: accounts.disable(db, key_id, clock=SystemClock()))
    click.echo(
        f"{key.id} is disabled; running gateways refuse it within `auth.max_age` (15 s by default)",
        err=True,
    )


def _seconds(duration: str) -> int:
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise click.BadParameter(
            f"{duration!r} is not a time; write 90m, 12h, 30d or 8w", param_hint="--expires"
        )
    return int(match[1]) * _SECONDS[match[2]]


def _state(key: "Key", now_ms: int) -> str:
    if key.disabled_ms is not None:
        return "disabled"
    if key.expires_ms is not None and key.expires_ms <= now_ms:
        return "expired"
    return "active"

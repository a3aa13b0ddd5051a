"""`tidegate keys`: issue, list, change, rotate and disable API keys."""

import re
from typing import TYPE_CHECKING

import click
from msgspec import UNSET

from gateway.cli.administration import SEEN, data_option, json_option, show, utc, with_office
from gateway.cli.privacy import change, columns, making_options, privacy, setting_options, told
from gateway.clock import SystemClock

if TYPE_CHECKING:
    from gateway.accounts.office import Office
    from gateway.accounts.opening import Installation
    from gateway.accounts.roles import Actor
    from gateway.accounts.rows import Key

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
@click.option("--member", help="Id or email of the member whose key it is.")
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
    member: str | None,
    zdr: bool,
    data_collection: str,
    data: "Installation",
) -> None:
    """Issue a key to a team and print it, once: only its hash is kept."""
    from gateway.accounts import budgets
    from gateway.accounts import keys as accounts

    if budget is None and (period or currency):
        raise click.UsageError("--period and --currency need --budget AMOUNT")
    expires_ms = None if expires is None else _end(expires)

    async def issue(office: "Office", actor: "Actor") -> "tuple[Key, str]":
        limit = None
        if budget is not None:
            limit = budgets.limit(budget, period or "total", currency or "USD")
        return await accounts.create(
            office,
            actor,
            team=team,
            name=name,
            expires_ms=expires_ms,
            member=member,
            budget=limit,
            privacy=privacy(zdr=zdr, data_collection=data_collection),
        )

    row, plaintext = with_office(data, issue)
    click.echo(plaintext)
    click.echo(
        f"{row.id}, for team {row.team_name}. Keep the key now: it cannot be shown again.", err=True
    )


@keys.command("list")
@click.option("--team", help="Only the keys of this team, by id or name.")
@json_option
@data_option
def list_keys(team: str | None, data: "Installation", *, as_json: bool) -> None:
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
            "member_id": key.member_id,
            "state": _state(key, now_ms),
            "created": utc(key.created_ms),
            "expires": utc(key.expires_ms),
            "disabled": utc(key.disabled_ms),
            "old_secret_until": utc(_overlap_ends(key, now_ms)),
            **columns(key.levels),
        }
        for key in with_office(
            data, lambda office, actor: accounts.list_all(office, actor, team=team)
        )
    ]
    show(rows, as_json=as_json, empty="no keys; make one with `tidegate keys create --team TEAM`")


@keys.command("set")
@click.argument("key_id", metavar="ID")
@click.option("--name", help="Another name.")
@click.option("--expires", metavar="TIME", help="Life from now on: 90m, 12h, 30d or 8w.")
@click.option("--no-expiry", is_flag=True, help="Let it live until it is disabled.")
@setting_options
@data_option
def set_key(
    *,
    key_id: str,
    name: str | None,
    expires: str | None,
    no_expiry: bool,
    zdr: bool | None,
    data_collection: str | None,
    data: "Installation",
) -> None:
    """Change the key ID: its name, its expiry, what it demands for its requests.

    What its team and organisation demand stays in force.
    """
    from gateway.accounts import keys as accounts

    if expires is not None and no_expiry:
        raise click.UsageError("give --expires TIME or --no-expiry, not both")
    demanded = change(zdr=zdr, data_collection=data_collection)
    if name is None and expires is None and not no_expiry:
        key = with_office(
            data, lambda office, actor: accounts.set_privacy(office, actor, key_id, demanded)
        )
        click.echo(told(key.id, key.levels), err=True)
        return
    end = None if expires is None else _end(expires)
    key = with_office(
        data,
        lambda office, actor: accounts.update(
            office,
            actor,
            key_id,
            name=name,
            expires_ms=UNSET if expires is None and not no_expiry else end,
            privacy=None if zdr is None and data_collection is None else demanded,
        ),
    )
    lives = "never expires" if key.expires_ms is None else f"expires {utc(key.expires_ms)}"
    click.echo(f"{key.name}, {lives}; {told(key.id, key.levels)}", err=True)


@keys.command("rotate")
@click.argument("key_id", metavar="ID")
@click.option(
    "--overlap",
    default="24h",
    show_default=True,
    help="How long the old secret is taken; 0: not at all.",
)
@data_option
def rotate(key_id: str, overlap: str, data: "Installation") -> None:
    """Give the key ID another secret and print it, once; id, budget and settings stay."""
    from gateway.accounts import keys as accounts

    seconds = 0 if overlap == "0" else lifetime(overlap, option="--overlap")
    row, plaintext = with_office(
        data, lambda office, actor: accounts.rotate(office, actor, key_id, overlap=seconds)
    )
    click.echo(plaintext)
    until = (
        "is refused" if row.old_expires_ms is None else f"is taken until {utc(row.old_expires_ms)}"
    )
    click.echo(f"{row.id} has a new secret; the one before {until}.", err=True)


@keys.command("disable")
@click.argument("key_id", metavar="ID")
@data_option
def disable(key_id: str, data: "Installation") -> None:
    """Refuse the key ID from now on."""
    from gateway.accounts import keys as accounts

    key = with_office(data, lambda office, actor: accounts.disable(office, actor, key_id))
    click.echo(f"{key.id} is disabled; {SEEN}", err=True)


@keys.command("enable")
@click.argument("key_id", metavar="ID")
@data_option
def enable(key_id: str, data: "Installation") -> None:
    """Take the key ID back into use."""
    from gateway.accounts import keys as accounts

    key = with_office(
        data, lambda office, actor: accounts.update(office, actor, key_id, disabled=False)
    )
    click.echo(f"{key.id} is enabled; {SEEN}", err=True)


def lifetime(duration: str, *, option: str = "--expires") -> int:
    """The seconds that `30d` and the like mean.

    Raises:
        click.BadParameter: it means none; `option` is where it was given.
    """
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise click.BadParameter(
            f"{duration!r} is not a time; write 90m, 12h, 30d or 8w", param_hint=option
        )
    return int(match[1]) * _SECONDS[match[2]]


def _end(duration: str) -> int:
    """When what begins now and lives that long ends, in epoch milliseconds."""
    return int((SystemClock().now() + lifetime(duration)) * 1000)


def _overlap_ends(key: "Key", now_ms: int) -> int | None:
    """Until when the secret before the last rotation is taken; None where it is not."""
    end = key.old_expires_ms
    return end if end is not None and end > now_ms else None


def _state(key: "Key", now_ms: int) -> str:
    if key.disabled_ms is not None:
        return "disabled"
    if key.expires_ms is not None and key.expires_ms <= now_ms:
        return "expired"
    return "active"

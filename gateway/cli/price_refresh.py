"""`tidegate prices refresh`, `diff` and `approve`: newer prices, looked at before they are taken."""

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from gateway.cli.administration import json_option, run, the_operator, with_office
from gateway.cli.price_listing import price_row
from gateway.errors import ConfigurationError
from gateway.settings_prices import PriceSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.accounts.office import Office
    from gateway.accounts.roles import Actor
    from gateway.jobs.price_refresh import Answer, Refreshed
    from gateway.settings import PricePlaces
    from gateway.store.prices import PriceFolder
    from pricing.changes import Change

_FIELDS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")
_SIGHUP = "running gateways take it over at SIGHUP"
_config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings file; tidegate.yaml in this folder if there is one.",
)


@click.command("refresh")
@click.option(
    "--source",
    "sources",
    multiple=True,
    type=click.Choice(get_args(PriceSource)),
    help="Ask this source only, whatever the settings say; may be given more than once.",
)
@click.option(
    "--file",
    "body",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Read what the one --source published from this file, and ask nobody.",
)
@_config_option
@json_option
def refresh(
    *, sources: tuple[str, ...], body: Path | None, config: Path | None, as_json: bool
) -> None:
    """Ask the sources of prices what is new, and compare it with what is in force.

    A change of at most 30 % that is plausible holds from today on. More than that, a price that falls to
    zero or looks wrong, and a model that is new or gone wait for `tidegate prices approve`. A source that
    cannot be had or read changes nothing; the exit status is then 1.
    """
    if body is not None and len(sources) != 1:
        raise click.UsageError("--file needs one --source: the one whose prices are in the file")
    places, folder = _places(config)
    names = sources or places.prices.refresh.sources
    answers = run(_answers(places, folder, names, body))
    from gateway.accounts.opening import Installation
    from gateway.jobs import price_refresh

    async def take(office: "Office", actor: "Actor") -> "Refreshed":
        return await price_refresh.refresh(office, actor, folder, answers)

    result = with_office(Installation.of(places), take)
    if as_json:
        page = {
            "taken": [_change(change) for change in result.taken],
            "waiting": [_change(change) for change in result.waiting],
            "told": result.told,
            "unchanged": result.unchanged,
            "failed": result.failed,
        }
        click.echo(json.dumps(page, indent=2))
    else:
        for change in result.taken:
            click.echo("\n".join(_shown(change)))
        for line in result.told:
            click.echo(f"not taken over: {line}", err=True)
        for source in result.unchanged:
            click.echo(f"{source}: no change", err=True)
        told = f"{len(result.taken)} taken, {len(result.waiting)} waiting"
        told += f"; {_SIGHUP}" if result.taken else ""
        told += "; see `tidegate prices diff`" if result.waiting else ""
        click.echo(told, err=True)
    for source, why in result.failed.items():
        click.echo(f"{source}: nothing is taken from it: {why}", err=True)
    if result.failed:
        raise SystemExit(1)


@click.command("diff")
@_config_option
@json_option
def diff(*, config: Path | None, as_json: bool) -> None:
    """Show the price changes that wait for approval: old and new side by side, and why they wait."""
    from gateway.jobs.price_refresh import waiting

    _, folder = _places(config)
    try:
        changes = waiting(folder, dt.datetime.now(dt.UTC).date())
    except ConfigurationError as fault:
        raise click.ClickException("\n".join(fault.faults)) from fault
    if as_json:
        click.echo(json.dumps([_change(change) for change in changes], indent=2))
    elif changes:
        click.echo("\n\n".join("\n".join(_shown(change)) for change in changes))
    else:
        click.echo("nothing waits", err=True)


@click.command("approve")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.option("--all", "everything", is_flag=True, help="All that wait, but for prices of zero.")
@_config_option
def approve(*, ids: tuple[str, ...], everything: bool, config: Path | None) -> None:
    """Put price changes in force from today on, those called ID or all. Past days never change."""
    if bool(ids) == everything:
        raise click.UsageError("name the changes, or give --all")
    places, folder = _places(config)
    from gateway.accounts.opening import Installation
    from gateway.jobs import price_refresh

    async def take(office: "Office", actor: "Actor") -> "Sequence[Change]":
        return await price_refresh.approve(office, actor, folder, ids, everything=everything)

    chosen = with_office(Installation.of(places), take)
    for change in chosen:
        click.echo("\n".join(_shown(change)))
    told = f"{len(chosen)} approved by {the_operator().name}"
    click.echo(f"{told}; {_SIGHUP}" if chosen else told, err=True)


def _places(config: Path | None) -> "tuple[PricePlaces, PriceFolder]":
    from gateway.settings import PricePlaces, load_sections
    from gateway.store.prices import PriceFolder

    try:
        places = load_sections(PricePlaces, config)
    except ConfigurationError as fault:
        raise click.ClickException("\n".join(fault.faults)) from fault
    return places, PriceFolder(places.data, places.prices.file)


async def _answers(
    places: "PricePlaces", folder: "PriceFolder", names: "Sequence[str]", body: Path | None
) -> "dict[str, tuple[str, Answer]]":
    """What each source says, asked all at once."""
    from backends import ClientLimits, Dialer, Exemptions, HttpClient, Proxy
    from gateway.jobs.price_fetch import Failed, Fetched, fetch, url_of
    from gateway.jobs.price_refresh import still_counts

    settings, upstream = places.prices.refresh, places.upstream
    if body is not None:
        try:
            return {names[0]: (str(body), Fetched(body.read_bytes()))}  # noqa: ASYNC240 - nothing else runs
        except OSError as error:
            return {names[0]: (str(body), Failed(f"{body}: {error.strerror}"))}
    proxy = upstream.proxy
    client = HttpClient(
        clock=asyncio.get_running_loop().time,
        dialer=Dialer(
            tls=upstream.tls.files(),
            proxy=None if proxy is None else Proxy.of(proxy.get_secret_value()),
            exemptions=Exemptions(upstream.no_proxy),
        ),
        limits=ClientLimits(max_body_bytes=settings.max_bytes),
    )

    async def ask(source: str) -> "Answer":
        try:
            seen = still_counts(folder, source, url_of(source, settings))
            return await fetch(client, source, settings, seen)
        except Failed as failed:
            return failed

    try:
        answers = await asyncio.gather(*map(ask, names))
    finally:
        await client.aclose()
    return {
        name: (url_of(name, settings), answer) for name, answer in zip(names, answers, strict=True)
    }


def _change(change: "Change") -> dict[str, Any]:
    """A change for programs."""
    return {
        "id": change.id,
        "kind": change.kind,
        "reasons": list(change.reasons),
        "old": None if change.old is None else price_row(change.old),
        "new": price_row(change.new),
    }


def _shown(change: "Change") -> "Iterator[str]":
    """A change for people: what it is of, each price that differs, and why it waits."""
    old = None if change.old is None else price_row(change.old)
    new = price_row(change.new)
    named = f"{new['provider']} {new['provider_model_id']}, {new['tier']}"
    yield f"{change.id}  {change.kind}: {named}, from {new['valid_from']}, by {new['source']}"
    for field in _FIELDS:
        before = None if old is None else old[field]
        if before is None and new[field] is None:
            continue
        mark = "" if change.kind == "removed" or before == new[field] else "  <"
        name = field.replace("_", " ")
        yield f"  {name:<15} {before or '-':>12} {new[field] or '-':>12} {new['currency']}{mark}"
    yield from (
        f"  it {reason}" if reason.startswith(("is ", "looks ")) else f"  {reason}"
        for reason in change.reasons
    )

"""`tidegate prices`: the known prices, where they come from, and whether price files are right."""

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gateway.cli.backends import config_option, json_option
from gateway.cli.price_refresh import approve, diff, refresh

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pricing import Catalogue
    from pricing.faults import Fault


@click.group()
def prices() -> None:
    """Prices: what is known, where it comes from, and whether it is right."""


@prices.command("list")
@click.option("--provider", help="Only of this provider.")
@click.option("--model", help="Only of this model, under any of its names.")
@click.option(
    "--at",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The UTC day on which prices hold, as 2026-11-22; today unless given.",
)
@config_option
@json_option
def list_prices(
    *,
    provider: str | None,
    model: str | None,
    at: dt.datetime | None,
    config: Path | None,
    as_json: bool,
) -> None:
    """List the prices in force on a day, per million tokens: packaged, taken over, and of the settings.

    What a provider no longer lists, but may still bill, is left out: `tidegate prices show` has it.
    """
    from gateway.cli.price_listing import IN_FORCE, price_list, state_on

    catalogue = _in_force(config)
    day = (at or dt.datetime.now(dt.UTC)).date()
    known = _rows(catalogue, config)
    rows = [row for row in known if state_on(row, day) == IN_FORCE]
    if model is not None:
        slug = _slug(catalogue, known, model)
        rows = [row for row in rows if row["model"] == slug]
    if provider is not None:
        names = {row["provider"] for row in known} | {name for name, _ in catalogue.unpriced}
        if provider not in names:
            raise click.ClickException(
                f"no prices are known of provider {provider!r}{_hint(provider, names)}"
            )
        rows = [row for row in rows if row["provider"] == provider]
    rows.sort(key=lambda row: (row["model"], row["provider"]))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        click.echo("\n".join(price_list(rows)))
    else:
        click.echo(f"no price is known that holds on {day}", err=True)


@prices.command("show")
@click.argument("name")
@config_option
@json_option
def show(name: str, *, config: Path | None, as_json: bool) -> None:
    """Show what is known of NAME: a model, under any of its names, or a rate card's id.

    Of a model: facts, every price, past ones too, and who serves it without a price that can be trusted.
    """
    from msgspec import to_builtins

    from gateway.cli.price_listing import card_page, model_page

    catalogue = _in_force(config)
    today = dt.datetime.now(dt.UTC).date()
    known = _rows(catalogue, config)
    for row in known:
        if row["id"] == name:
            page = json.dumps(row, indent=2) if as_json else "\n".join(card_page(row, today))
            click.echo(page)
            return
    slug = _slug(catalogue, known, name)
    facts = catalogue.model(slug)
    rows = [row for row in known if row["model"] == slug]
    rows.sort(key=lambda row: (row["provider"], row["provider_model_id"], row["valid_from"] or ""))
    unpriced = [
        (provider, model_id, why)
        for (provider, model_id), why in catalogue.unpriced.items()
        if _meant(catalogue, known, model_id) == slug
    ]
    if as_json:
        names = ("provider", "provider_model_id", "reason")
        whole = {
            "model": to_builtins(facts),
            "prices": rows,
            "unpriced": [dict(zip(names, one, strict=True)) for one in unpriced],
        }
        click.echo(json.dumps(whole, indent=2))
    else:
        click.echo("\n".join(model_page(slug, facts, rows, unpriced, today)))


@prices.command("check")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[FILE]...")
@config_option
@json_option
def check(files: tuple[Path, ...], *, config: Path | None, as_json: bool) -> None:
    """Check the packaged prices, those of the settings, and price files (FILE), without a network.

    Each fault is one line: file, line, field, what is wrong and what to do. Errors make a price wrong or
    unusable and the exit status 1; warnings are for somebody to look at. Of the settings only
    `endpoints[].price` is read. Warnings of the packaged prices are told where neither FILE nor
    --config is given. The form of a price file: docs/guides/prices.md.
    """
    from msgspec import to_builtins

    from gateway.cli.price_settings import check_settings
    from pricing import load_packaged
    from pricing.file_checks import check_packaged, check_price_file
    from pricing.plausible import Plausible

    catalogue = load_packaged()
    plausible = Plausible(catalogue.cards)
    faults: list[Fault] = list(check_packaged(plausible))
    if files or config is not None:  # somebody wants to know of these
        faults = [fault for fault in faults if fault.severity == "error"]
    checked = ["the packaged prices"]
    config = _settings(config)
    if config is not None:
        faults += check_settings(_bytes(config), str(config), catalogue, plausible)
        checked.append(str(config))
    for file in files:
        faults += check_price_file(_bytes(file), str(file), packaged=catalogue, plausible=plausible)
        checked.append(str(file))
    errors = sum(fault.severity == "error" for fault in faults)
    if as_json:
        page = {"checked": checked, "faults": [to_builtins(fault) for fault in faults]}
        click.echo(json.dumps(page, indent=2))
    else:
        for fault in faults:
            click.echo(str(fault))
        told = f"{errors} errors, {len(faults) - errors} warnings in {', '.join(checked)}"
        click.echo(told, err=True)
    if errors:
        raise SystemExit(1)


prices.add_command(refresh)
prices.add_command(diff)
prices.add_command(approve)


def _in_force(config: Path | None) -> "Catalogue":
    """The prices that a gateway with these settings would use.

    Raises:
        click.ClickException: a price file is wrong.
    """
    from gateway.errors import ConfigurationError
    from gateway.settings import load_whereabouts
    from gateway.store.prices import PriceFolder
    from pricing import load_packaged

    try:
        places = load_whereabouts(_settings(config))
    except ConfigurationError as fault:
        for line in fault.faults:
            click.echo(line, err=True)
        click.echo("where other prices are cannot be told: these are the packaged ones", err=True)
        return load_packaged()
    try:
        return PriceFolder(places.data, places.prices.file).catalogue()
    except ConfigurationError as fault:
        raise click.ClickException("\n".join(fault.faults)) from fault


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error


def _rows(catalogue: "Catalogue", config: Path | None) -> list[dict[str, Any]]:
    """All known rows: the packaged ones, and those of the settings, if there are any."""
    from gateway.cli.price_listing import price_row
    from gateway.cli.price_settings import own_listings

    rows = [price_row(listing) for listing in catalogue.listings]
    config = _settings(config)
    if config is not None:
        own, others = own_listings(_bytes(config), catalogue)
        rows += [price_row(listing) | {"provider_model_id": model} for model, listing in own]
        if others:
            told = (
                f"{config}: {others} endpoint{'s'[: others > 1]} without a price that can be read"
            )
            click.echo(f"{told}: see `tidegate prices check`", err=True)
    return rows


def _settings(config: Path | None) -> Path | None:
    """The settings file that is meant, if there is one."""
    usual = Path("tidegate.yaml")
    return usual if config is None and usual.exists() else config


def _slug(catalogue: "Catalogue", known: "Sequence[dict[str, Any]]", name: str) -> str:
    """The canonical slug of a model, or of what some provider calls so.

    Raises:
        click.ClickException: nothing is called so; the message has the names that come near.
    """
    slug = _meant(catalogue, known, name)
    if slug is not None:
        return slug
    names = {row[field] for row in known for field in ("id", "provider_model_id", "model")}
    for facts in catalogue.models():
        names.update((facts.slug, facts.slug.rpartition("/")[2], *facts.aliases))
    raise click.ClickException(
        f"no model or rate card is called {name!r}{_hint(name, names)}: see `tidegate prices list`"
    )


def _meant(catalogue: "Catalogue", known: "Sequence[dict[str, Any]]", name: str) -> str | None:
    slug = catalogue.resolve(name)
    if slug is not None:
        return slug
    models = {row["model"] for row in known if name in {row["provider_model_id"], row["model"]}}
    return models.pop() if len(models) == 1 else None


def _hint(name: str, known: set[str]) -> str:
    from pricing.faults import near

    hint = near(name, known)
    return f"; {hint}" if hint else ""

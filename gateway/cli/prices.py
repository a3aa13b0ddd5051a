"""`tidegate prices`: the known prices, where they come from, and whether price files are right."""

import datetime as dt
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.cli.backends import config_option, json_option

if TYPE_CHECKING:
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
@json_option
def list_prices(
    *, provider: str | None, model: str | None, at: dt.datetime | None, as_json: bool
) -> None:
    """List the packaged prices in force on a day, per million tokens.

    What a provider no longer lists, but may still bill, is left out: `tidegate prices show` has it.
    """
    from gateway.cli.price_listing import price_list, price_row
    from pricing import load_packaged

    catalogue = load_packaged()
    day = (at or dt.datetime.now(dt.UTC)).date().isoformat()
    listings = [
        listing for listing in catalogue.listings if listing.offered and listing.card.valid_on(day)
    ]
    if model is not None:
        slug = _slug(catalogue, model)
        listings = [listing for listing in listings if listing.card.model == slug]
    if provider is not None:
        known = {card.provider for card in catalogue.cards}
        known.update(name for name, _ in catalogue.unpriced)
        if provider not in known:
            raise click.ClickException(
                f"no prices are known of provider {provider!r}{_hint(provider, known)}"
            )
        listings = [listing for listing in listings if listing.card.provider == provider]
    rows = [price_row(listing) for listing in listings]
    rows.sort(key=lambda row: (row["model"], row["provider"]))
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    elif rows:
        click.echo("\n".join(price_list(rows)))
    else:
        click.echo(f"no price is known that holds on {day}", err=True)


@prices.command("show")
@click.argument("name")
@json_option
def show(name: str, *, as_json: bool) -> None:
    """Show what is known of NAME: a model, under any of its names, or a rate card's id.

    Of a model: facts, every price, past ones too, and who serves it without a price that can be trusted.
    """
    from msgspec import to_builtins

    from gateway.cli.price_listing import card_page, model_page, price_row
    from pricing import load_packaged

    catalogue = load_packaged()
    today = dt.datetime.now(dt.UTC).date()
    if (card := catalogue.card(name)) is not None:
        row = next(price_row(one) for one in catalogue.listings if one.card is card)
        click.echo(json.dumps(row, indent=2) if as_json else "\n".join(card_page(row, today)))
        return
    slug = _slug(catalogue, name)
    facts = next(one for one in catalogue.models() if one.slug == slug)
    rows = [price_row(one) for one in catalogue.listings if one.card.model == slug]
    rows.sort(key=lambda row: (row["provider"], row["provider_model_id"], row["valid_from"] or ""))
    unpriced = [
        (provider, model_id, why)
        for (provider, model_id), why in catalogue.unpriced.items()
        if _meant(catalogue, model_id) == slug
    ]
    if as_json:
        names = ("provider", "provider_model_id", "reason")
        page = {
            "model": to_builtins(facts),
            "prices": rows,
            "unpriced": [dict(zip(names, one, strict=True)) for one in unpriced],
        }
        click.echo(json.dumps(page, indent=2))
    else:
        click.echo("\n".join(model_page(facts, rows, unpriced, today)))


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
    if config is None and (usual := Path("tidegate.yaml")).exists():
        config = usual
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


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from error


def _slug(catalogue: "Catalogue", name: str) -> str:
    """The canonical slug of a model, or of what some provider calls so.

    Raises:
        click.ClickException: nothing is called so; the message has the names that come near.
    """
    slug = _meant(catalogue, name)
    if slug is not None:
        return slug
    known = {card.id for card in catalogue.cards}
    known.update(card.provider_model_id for card in catalogue.cards)
    for facts in catalogue.models():
        known.update((facts.slug, facts.slug.rpartition("/")[2], *facts.aliases))
    raise click.ClickException(
        f"no model or rate card is called {name!r}{_hint(name, known)}: see `tidegate prices list`"
    )


def _meant(catalogue: "Catalogue", name: str) -> str | None:
    slug = catalogue.resolve(name)
    if slug is not None:
        return slug
    models = {card.model for card in catalogue.cards if card.provider_model_id == name}
    return models.pop() if len(models) == 1 else None


def _hint(name: str, known: set[str]) -> str:
    from pricing.faults import near

    hint = near(name, known)
    return f"; {hint}" if hint else ""

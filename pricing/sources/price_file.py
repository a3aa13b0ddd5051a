"""Price files of form `tidegate-prices/1`: a team's own, and those that hold what was taken over."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from pricing.catalogue import Catalogue, Listing, ModelFacts
from pricing.errors import PriceDataError
from pricing.file_checks import check_price_file
from pricing.money import PER_MILLION_DECIMALS, PICO_DECIMALS, scaled, unscaled
from pricing.plausible import Plausible
from pricing.rates import RateCard, rate_card
from pricing.sources.document import Node, NotADocument, document
from pricing.sources.packaged import SCHEMA

_PER_MILLION = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")


class PriceFile(Struct, frozen=True, kw_only=True):
    """What a price file adds to a catalogue; `notes` are those of its rows, in the same order."""

    listings: tuple[Listing, ...] = ()
    models: tuple[ModelFacts, ...] = ()
    notes: tuple[str | None, ...] = ()


def read_own(data: bytes, name: str, packaged: Catalogue) -> PriceFile:
    """A team's own price file, YAML or JSON, checked as `tidegate prices check` does.

    Args:
        data: the file.
        name: what it is called in messages; one that ends in `.json` must be JSON.
        packaged: the models that it may price beside its own, and the prices that plausible ones are near.

    Raises:
        PriceDataError: it has errors; the message has a line for each.
    """
    faults = check_price_file(data, name, packaged=packaged, plausible=Plausible(packaged.cards))
    errors = [str(fault) for fault in faults if fault.severity == "error"]
    if errors:
        raise PriceDataError("\n".join(errors))
    return read_taken(data, name)


def read_taken(data: bytes, name: str) -> PriceFile:
    """A price file that was checked when it was written, such as one of prices that were approved.

    Raises:
        PriceDataError: it is damaged; the message says where.
    """
    try:
        root = document(data, is_json=name.endswith(".json"))
    except NotADocument as error:
        raise PriceDataError(f"{name}:{error.line}: {error}") from None
    schema = root.fields.get("schema")
    if schema is None or schema.text != SCHEMA:
        raise PriceDataError(f'{name}:{root.line}: schema is not "{SCHEMA}"')
    searches = {
        (_text(row, "provider"), _text(row, "currency")): scaled(_text(row, "price"), PICO_DECIMALS)
        for row in _rows(root, "surcharges")
    }
    rows = tuple(_rows(root, "prices"))
    try:
        return PriceFile(
            listings=tuple(_listing(row, searches) for row in rows),
            models=tuple(_facts(row) for row in _rows(root, "models")),
            notes=tuple(row.fields["note"].text if "note" in row.fields else None for row in rows),
        )
    except (ValueError, KeyError) as error:
        raise PriceDataError(f"{name}: {error}") from None


def written(rows: Iterable[tuple[Listing, str | None]], about: str) -> bytes:
    """A price file of these rows, each with its note.

    Args:
        rows: the rows.
        about: what the file is, for people.
    """
    whole = {
        "schema": SCHEMA,
        "about": about,
        "unit": "decimal strings per 1,000,000 tokens",
        "prices": [_row(listing, note) for listing, note in rows],
    }
    return msgspec.json.format(msgspec.json.encode(whole), indent=1) + b"\n"


def _rows(root: Node, section: str) -> Iterable[Node]:
    found = root.fields.get(section)
    return () if found is None else found.items


def _text(row: Node, field: str) -> str:
    node = row.fields.get(field)
    if node is None:
        raise PriceDataError(f"line {row.line}: {field} is missing")
    return node.text


def _listing(row: Node, searches: Mapping[tuple[str, str], int]) -> Listing:
    texts = {
        name: node.text for name, node in row.fields.items() if node.kind not in {"null", "list"}
    }

    def price(field: str) -> int | None:
        decimals = PER_MILLION_DECIMALS if field in _PER_MILLION else PICO_DECIMALS
        text = texts.get(field)
        if text is None:
            return None
        try:
            return scaled(text, decimals)
        except ValueError as error:
            raise PriceDataError(f"line {row.line}: {field}: {error}") from None

    fresh, output = price("input"), price("output")
    if fresh is None or output is None:
        raise PriceDataError(f"line {row.line}: input and output are required")
    provider, currency = _text(row, "provider"), _text(row, "currency")
    per_search = price("per_search")
    card = rate_card(
        provider=provider,
        provider_model_id=_text(row, "provider_model_id"),
        model=_text(row, "model"),
        currency=currency,
        input=fresh,
        output=output,
        cache_read=price("cache_read"),
        cache_write_5m=price("cache_write_5m"),
        cache_write_1h=price("cache_write_1h"),
        per_request=price("per_request") or 0,
        per_search=searches.get((provider, currency)) if per_search is None else per_search,
        tier=texts.get("tier", "standard"),
        valid_from=texts.get("valid_from"),
        valid_to=texts.get("valid_to"),
        source=_text(row, "source"),
        source_date=_text(row, "source_date"),
    )
    return Listing(
        card=card,
        variant=texts.get("variant"),
        context_length=_tokens(texts.get("context_length")),
        max_output=_tokens(texts.get("max_output")),
        offered=texts.get("status") not in {"deprecated", "discontinued"},
    )


def _tokens(text: str | None) -> int | None:
    return None if text is None else int(text)


def _facts(row: Node) -> ModelFacts:
    fields: dict[str, Any] = {
        name: tuple(item.text for item in node.items) if node.kind == "list" else node.text
        for name, node in row.fields.items()
    }
    for name in ("context_length", "default_output"):
        if name in fields:
            fields[name] = int(fields[name])
    return msgspec.convert(fields, ModelFacts)


def _row(listing: Listing, note: str | None) -> dict[str, Any]:
    """A row as a price file has it; what is not stated is left out."""
    card = listing.card
    prices = {field: _per_million(getattr(card, field)) for field in _PER_MILLION}
    row = {
        "provider": card.provider,
        "provider_model_id": card.provider_model_id,
        "model": card.model,
        "variant": listing.variant,
        "tier": card.tier,
        "currency": card.currency,
        "context_length": listing.context_length,
        "max_output": listing.max_output,
        **prices,
        "per_request": unscaled(card.per_request, PICO_DECIMALS) if card.per_request else None,
        "per_search": None if card.per_search is None else unscaled(card.per_search, PICO_DECIMALS),
        "valid_from": card.valid_from,
        "valid_to": card.valid_to,
        "status": "listed" if listing.offered else "deprecated",
        "source": card.source,
        "source_date": card.source_date,
        "note": note,
    }
    return {name: value for name, value in row.items() if value is not None}


def _per_million(pico: int | None) -> str | None:
    return None if pico is None else unscaled(pico, PER_MILLION_DECIMALS)


def same_prices(one: RateCard, other: RateCard) -> bool:
    """Whether two cards ask the same, whoever says so and from whichever day on."""
    fields = (*_PER_MILLION, "per_request", "currency")
    return all(getattr(one, field) == getattr(other, field) for field in fields)

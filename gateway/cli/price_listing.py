"""How `tidegate prices` shows prices: for programs, and for people."""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from gateway.cli.backend_listing import grouped

if TYPE_CHECKING:
    from pricing import Listing, ModelFacts

WIDTH = 120  # columns of a terminal that lists stay within
IN_FORCE = "in force"
_CENTS = 2  # decimals that every price is shown with
_GAP = "  "
_LABEL = (
    "provider",
    "provider_model_id",
)  # columns that may share their width; then comes the tier
_TOKENS = ("input", "cache_read", "cache_write_5m", "cache_write_1h", "output")


class _Column(Struct, frozen=True):
    """One column: what it takes from a row, and whether it stays where no row has anything."""

    title: str
    field: str
    optional: bool = True
    number: bool = False


_COLUMNS = (
    _Column("PROVIDER", "provider", optional=False),
    _Column("MODEL THERE", "provider_model_id", optional=False),
    _Column("TIER", "kind", optional=False),
    _Column("INPUT", "input", optional=False, number=True),
    _Column("CACHED", "cache_read", number=True),
    _Column("WRITE", "cache_write_5m", number=True),
    _Column("OUTPUT", "output", optional=False, number=True),
    _Column("SRC", "mark", optional=False),
)


def price_row(listing: "Listing") -> dict[str, Any]:
    """A priced row for programs.

    Token prices are decimal strings per million tokens, the others per request and per search; None
    is "not stated". Days are UTC in ISO 8601, both inclusive; None leaves that end open.
    """
    from pricing.money import PER_MILLION_DECIMALS, PICO_DECIMALS, unscaled

    card = listing.card
    prices: dict[str, str | None] = {}
    for field in _TOKENS:
        pico = getattr(card, field)
        prices[field] = None if pico is None else unscaled(pico, PER_MILLION_DECIMALS)
    prices["per_request"] = unscaled(card.per_request, PICO_DECIMALS) if card.per_request else None
    search = card.per_search
    prices["per_search"] = None if search is None else unscaled(search, PICO_DECIMALS)
    return {
        "id": card.id,
        "provider": card.provider,
        "provider_model_id": card.provider_model_id,
        "model": card.model,
        "tier": card.tier,
        "variant": listing.variant,
        "currency": card.currency,
        **prices,
        "valid_from": card.valid_from,
        "valid_to": card.valid_to,
        "offered": listing.offered,
        "context_length": listing.context_length,
        "max_output": listing.max_output,
        "source": card.source,
        "source_date": card.source_date,
    }


def price_list(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Rows below their models, then what their sources are."""
    sources = _marks(rows)
    for model, group in grouped(rows, lambda row: (row["model"],)):
        yield from price_tables(model[0], group, sources)
        yield ""
    yield from _legend(sources)


def price_tables(
    title: str, rows: Sequence[dict[str, Any]], sources: Mapping[str, str]
) -> Iterator[str]:
    """A table of the rows of each currency, below a heading."""
    for currency, group in grouped(rows, lambda row: (row["currency"],)):
        yield f"{title}: {currency[0]} per million tokens"
        yield from _table(group, sources)


def _table(rows: Sequence[dict[str, Any]], sources: Mapping[str, str]) -> Iterator[str]:
    """Aligned columns, numbers by their points; columns with nothing in them are left out.

    What few rows have stands behind them in words: it would cost all others the width.
    """
    cells = [{**row, "mark": sources[_source(row)], "kind": _kind(row)} for row in rows]
    shown: list[list[str]] = []
    for column in _COLUMNS:
        texts = [cell[column.field] for cell in cells]
        if column.optional and not any(texts):
            continue
        padded = _by_points(texts) if column.number else texts
        shown.append([column.title, *(text or "-" for text in padded)])
    widths = [max(map(len, column)) for column in shown]
    excess = max(sum(widths) + len(_GAP) * len(widths) - WIDTH, 0)
    for line_texts, also in zip(zip(*shown, strict=True), ["", *map(_also, rows)], strict=True):
        provider, model_id, *others = (
            text.ljust(width) if at <= len(_LABEL) else text.rjust(width)
            for at, (text, width) in enumerate(zip(line_texts, widths, strict=True))
        )
        label = f"{provider}{_GAP}{model_id}"
        room = len(label) - excess
        if excess:
            label = f"{provider.rstrip()}{_GAP}{model_id.rstrip()}"
            if len(label) > room:
                yield _GAP + label
                label = ""
        line = (_GAP + _GAP.join((label.ljust(room), *others))).rstrip()
        if also and len(line) + len(_GAP + also) > WIDTH:
            yield line
            line = " " * min(len(_GAP) + room, WIDTH - len(_GAP + also))
        yield f"{line}{_GAP}{also}".rstrip()


def _kind(row: dict[str, Any]) -> str:
    """The tier and the variant, in one column: few rows have both."""
    tier, variant = row["tier"], row["variant"]
    if variant in {None, tier}:
        return str(tier)
    return str(variant) if tier == "standard" else f"{tier} {variant}"


def _also(row: dict[str, Any]) -> str:
    """What is said of a row behind its columns."""
    said = [
        f"{text} {row[field]}"
        for field, text in (
            ("cache_write_1h", "write 1h"),
            ("per_request", "request"),
            ("per_search", "search"),
            ("valid_from", "from"),
            ("valid_to", "to"),
        )
        if row[field] is not None
    ]
    return "; ".join(said).replace("; to", " to")


def _by_points(texts: Sequence[str | None]) -> list[str | None]:
    """Numbers with at least two decimals, padded so that their points are below each other."""
    split = [text.partition(".") if text else ("", "", "") for text in texts]
    decimals = max(max((len(fraction) for _, _, fraction in split), default=0), _CENTS)
    return [
        f"{whole}.{fraction.ljust(_CENTS, '0')}".ljust(len(whole) + 1 + decimals)
        if text
        else "-".ljust(decimals + 2)
        for text, (whole, _, fraction) in zip(texts, split, strict=True)
    ]


def _source(row: dict[str, Any]) -> str:
    return ", ".join(text for text in (row["source"], row["source_date"]) if text)


def _marks(rows: Iterable[dict[str, Any]]) -> dict[str, str]:
    """What stands in tables for each source."""
    return {source: f"[{at}]" for at, source in enumerate(sorted(set(map(_source, rows))), 1)}


def _legend(sources: Mapping[str, str]) -> Iterator[str]:
    yield from (f"{mark} {source}" for source, mark in sources.items())


def state_on(row: dict[str, Any], today: dt.date) -> str:
    """Whether a row holds: "past", "to come", "not offered any more" or "in force"."""
    day = today.isoformat()
    if row["valid_to"] is not None and row["valid_to"] < day:
        return "past"
    if row["valid_from"] is not None and row["valid_from"] > day:
        return "to come"
    return IN_FORCE if row["offered"] else "not offered any more"


def model_page(
    slug: str,
    facts: "ModelFacts | None",
    rows: Sequence[dict[str, Any]],
    unpriced: Sequence[tuple[str, str, str]],
    today: dt.date,
) -> Iterator[str]:
    """What is known of a model, all its prices, and who serves it without a price.

    Args:
        slug: the model's.
        facts: of the model; None for one that is in the settings only.
        rows: its rows, as `price_row` makes them.
        unpriced: provider, the provider's model id, and why there is no price.
        today: the UTC day on which rows hold or do not.
    """
    yield f"{slug}: {'not in the catalogue' if facts is None else facts.name}"
    if facts is not None:
        yield from _facts(facts)
    sources = _marks(rows)
    for state in (IN_FORCE, "to come", "not offered any more", "past"):
        group = [row for row in rows if state_on(row, today) == state]
        if group:
            yield ""
            yield from price_tables(state, group, sources)
    if not rows:
        yield ""
        yield "No price is known."
    if unpriced:
        yield ""
        yield "without a price"
        for provider, model_id, why in unpriced:
            yield f"  {provider} {model_id}: {why}"
    if sources:
        yield ""
        yield from _legend(sources)


def _facts(facts: "ModelFacts") -> Iterator[str]:
    yield f"  context     {facts.context_length:,} tokens"
    yield f"  reads       {', '.join(facts.modalities)}"
    yield f"  thinking    {facts.thinking or 'not known'}"
    if facts.default_output is not None:
        yield f"  output cap  {facts.default_output:,} tokens where a request names none"
    yield f"  licence     {facts.license or 'not known'}"
    yield f"  weights     {facts.hf_id or 'no Hugging Face id is known'}"
    yield f"  also named  {', '.join(facts.aliases) or '-'}"


def card_page(row: dict[str, Any], today: dt.date) -> Iterator[str]:
    """One rate card, whole."""

    def price(field: str, unit: str, missing: str) -> str:
        text = row[field]
        return missing if text is None else f"{text} {row['currency']} per {unit}"

    million = "million tokens"
    lines: tuple[tuple[str, Callable[[], str]], ...] = (
        ("model", lambda: row["model"]),
        ("provider", lambda: row["provider"]),
        ("model there", lambda: row["provider_model_id"]),
        ("tier", lambda: row["tier"]),
        ("variant", lambda: row["variant"] or "-"),
        ("input", lambda: price("input", million, "-")),
        ("cache read", lambda: price("cache_read", million, "not stated: as input")),
        ("cache write", lambda: price("cache_write_5m", million, "not stated: as input")),
        (
            "cache write 1h",
            lambda: price("cache_write_1h", million, "not stated: as input, or as a cache write"),
        ),
        ("output", lambda: price("output", million, "-")),
        ("request", lambda: price("per_request", "request", "nothing")),
        ("search", lambda: price("per_search", "search", "not stated: refused")),
        ("holds", lambda: f"{row['valid_from'] or '…'} to {row['valid_to'] or '…'}"),
        ("state", lambda: state_on(row, today)),
        ("source", lambda: _source(row)),
    )
    yield row["id"]
    width = max(len(name) for name, _ in lines)
    for name, text in lines:
        yield f"  {name.ljust(width)}  {text()}"

"""Prices of the file that pydantic's genai-prices publishes (MIT), `prices/new_data/v2/data.json`.

Numbers in USD per million tokens; a model may have several sets of prices, each from a day on, of which the
last that has begun holds (its package 0.2.3, read 2026-11-23).
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Any

from pricing.rates import RateCard, rate_card
from pricing.sources.rows import (
    Reading,
    Resolve,
    SourceRow,
    Unread,
    UnreadRow,
    amount,
    day_text,
    is_ours,
    json_of,
    mappings,
    picos,
    stated,
    tier_of,
    tokens,
)

SOURCE = "genai-prices"
_HOSTS = {"moonshotai": "moonshot", "aws": "bedrock"}
_FIELDS = {
    "input": ("input_mtok",),
    "output": ("output_mtok",),
    "cache_read": ("cache_read_mtok",),
    "cache_write_5m": ("cache_write_5m_mtok", "cache_write_mtok"),
    "cache_write_1h": ("cache_write_1h_mtok",),
}
_KNOWN = {name for names in _FIELDS.values() for name in names}


def read(data: bytes, day: dt.date, resolve: Resolve) -> Reading:
    """The rows of the file that hold on a day (UTC).

    Raises:
        PriceDataError: it is not such a file.
    """
    rows, unread = [], []
    for host in mappings(json_of(data, SOURCE), SOURCE, "the file"):
        slug = str(host.get("id", ""))
        provider = _HOSTS.get(slug, slug)
        models = host.get("models")
        for model in mappings([] if models is None else models, SOURCE, f"models of {slug}"):
            for name in dict.fromkeys(_names(model)):
                if not is_ours(name):
                    continue
                try:
                    row = SourceRow(
                        card=_card(model, provider, name, day, resolve),
                        context_length=tokens(model.get("context_window")),
                    )
                except Unread as error:
                    unread.append(UnreadRow(provider, name, str(error)))
                else:
                    rows.append(row)
    return Reading(source=SOURCE, rows=tuple(rows), unread=tuple(unread))


def _names(model: Mapping[str, Any]) -> Iterator[str]:
    """What the model is called at its host: the names that match as a whole, else its id."""
    match = model.get("match")
    clauses = match.get("or", [match]) if isinstance(match, dict) else []
    exact = [
        clause["equals"]
        for clause in (clauses if isinstance(clauses, list) else [])
        if isinstance(clause, dict) and isinstance(clause.get("equals"), str)
    ]
    yield from exact or [str(model.get("id", ""))]


def _card(
    model: Mapping[str, Any], provider: str, name: str, day: dt.date, resolve: Resolve
) -> RateCard:
    bare, tier = tier_of(name)
    slug = resolve(provider, bare)
    if slug is None:
        raise Unread("is no model that is known here")
    prices = _in_force(model.get("prices"), day)
    if others := sorted({field for field, price in prices.items() if price} - _KNOWN):
        raise Unread(f"has prices that are not known here: {', '.join(others)}")
    found: dict[str, int | None] = {}
    for field, names in _FIELDS.items():
        one = next((each for each in names if prices.get(each) is not None), names[0])
        found[field] = picos(amount(prices, one), one)
    fresh, output = found["input"], found["output"]
    if fresh is None or output is None:
        if tier != "free":
            raise Unread("has no price of input and output")
        fresh = output = 0
    return rate_card(
        provider=provider,
        provider_model_id=name,
        model=slug,
        currency="USD",
        input=fresh,
        output=output,
        cache_read=stated(found["cache_read"]),
        cache_write_5m=stated(found["cache_write_5m"]),
        cache_write_1h=stated(found["cache_write_1h"]),
        tier=tier,
        source=SOURCE,
        source_date=day_text(day),
    )


def _in_force(prices: Any, day: dt.date) -> Mapping[str, Any]:
    """The set of prices that holds on a day."""
    if isinstance(prices, dict):
        return prices
    found: Mapping[str, Any] | None = None
    for one in prices if isinstance(prices, list) else ():
        if not isinstance(one, dict) or not isinstance(one.get("prices"), dict):
            raise Unread("has prices in a form that is not known here")
        constraint = one.get("constraint")
        if constraint is None:
            found = one["prices"]
            continue
        start = constraint.get("start_date") if isinstance(constraint, dict) else None
        if not isinstance(start, str):
            raise Unread("has prices under conditions, which are not counted here")
        if found is None or start <= day_text(day):
            found = one["prices"]
    if found is None:
        raise Unread("has no prices")
    return found

"""Prices of OpenRouter's own list: `GET /api/v1/models`.

Strings in USD per token; `discount` is a share that is taken off; `overrides` are prices under conditions
(its OpenAPI document of 2026-08-22). The list has one price of a model, that of the endpoint it prefers
now: what a call costs, its reply says.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pricing.rates import rate_card
from pricing.sources.rows import (
    MILLION,
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

PROVIDER = "openrouter"
SOURCE = "OpenRouter model list"


def read(data: bytes, day: dt.date, resolve: Resolve) -> Reading:
    """The rows of a list of models, as it was on a day (UTC).

    Raises:
        PriceDataError: it is not such a list.
    """
    whole = json_of(data, SOURCE)
    listed = whole.get("data") if isinstance(whole, dict) else None
    rows, unread = [], []
    for row in mappings(listed, SOURCE, "data"):
        name = str(row.get("id", ""))
        if not is_ours(name):
            continue
        try:
            rows.append(_row(row, name, day, resolve))
        except Unread as error:
            unread.append(UnreadRow(PROVIDER, name, str(error)))
    return Reading(
        source=SOURCE, rows=tuple(rows), unread=tuple(unread), lists=frozenset({PROVIDER})
    )


def _row(row: Mapping[str, Any], name: str, day: dt.date, resolve: Resolve) -> SourceRow:
    bare, tier = tier_of(name)
    model = resolve(PROVIDER, bare)
    if model is None:
        raise Unread("is no model that is known here")
    pricing = row.get("pricing")
    if not isinstance(pricing, dict):
        raise Unread("has no pricing")
    if pricing.get("overrides"):
        raise Unread("has prices under conditions, which are not counted here")
    share = 1 - (amount(pricing, "discount") or Decimal(0))

    def price(field: str) -> int | None:
        per_token = amount(pricing, field)
        return picos(None if per_token is None else per_token * MILLION * share, field)

    fresh, output = price("prompt"), price("completion")
    if fresh is None or output is None:
        raise Unread("has no price of prompt and completion")
    thinking = price("internal_reasoning")
    if thinking and thinking != output:
        raise Unread("asks another price for reasoning than for the rest of the answer")
    if amount(pricing, "request"):
        raise Unread("has a price for each request, which is not taken over")
    top = row.get("top_provider")
    return SourceRow(
        card=rate_card(
            provider=PROVIDER,
            provider_model_id=name,
            model=model,
            currency="USD",
            input=fresh,
            output=output,
            cache_read=stated(price("input_cache_read")),
            cache_write_5m=stated(price("input_cache_write")),
            cache_write_1h=stated(price("input_cache_write_1h")),
            tier=tier,
            source=SOURCE,
            source_date=day_text(day),
        ),
        context_length=tokens(row.get("context_length")),
        max_output=tokens(top.get("max_completion_tokens")) if isinstance(top, dict) else None,
    )

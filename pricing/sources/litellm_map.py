"""Prices of litellm's map, `model_prices_and_context_window.json`: floats in USD per token.

A price of 0 is its word for "unknown" (1.106.2, 1.109.1), and what floats add in the last places is no
price: "8.000000000000001e-07" per token is 0.80 per million.
"""

import datetime as dt
from collections.abc import Mapping
from typing import Any

from pricing.errors import PriceDataError
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
    picos,
    stated,
    tokens,
)

SOURCE = "litellm price map"
# Where litellm calls a host otherwise than the catalogue.
_HOSTS = {
    "azure_ai": "azure",
    "bedrock_mantle": "bedrock",
    "fireworks_ai": "fireworks",
    "github_copilot": "github-copilot",
    "together_ai": "together",
    "vercel_ai_gateway": "vercel-ai-gateway",
    "vertex_ai": "vertex",
}


def read(data: bytes, day: dt.date, resolve: Resolve) -> Reading:
    """The rows of the map, as it was on a day (UTC).

    Raises:
        PriceDataError: it is not such a map.
    """
    whole = json_of(data, SOURCE)
    if not isinstance(whole, dict):
        raise PriceDataError(f"{SOURCE}: is not a mapping: its form is not the one known here")
    rows, unread = [], []
    for key, row in whole.items():
        if not is_ours(key) or not isinstance(row, dict):
            continue
        provider, name = _named(key, row)
        try:
            rows.append(_row(row, provider, name, day, resolve))
        except Unread as error:
            unread.append(UnreadRow(provider, name, str(error)))
    return Reading(source=SOURCE, rows=tuple(rows), unread=tuple(unread))


def _named(key: str, row: Mapping[str, Any]) -> tuple[str, str]:
    """What the catalogue calls the host, and the model there."""
    if key.startswith(("bedrock/", "bedrock_mantle/")):
        return "bedrock", key.partition("/")[2]
    host = str(row.get("litellm_provider", ""))
    if host.startswith("bedrock"):
        return "bedrock", key
    prefix, slash, name = key.partition("/")
    return (_HOSTS.get(prefix, prefix), name) if slash else (host, key)


def _row(
    row: Mapping[str, Any], provider: str, name: str, day: dt.date, resolve: Resolve
) -> SourceRow:
    model = resolve(provider, name)
    if model is None:
        raise Unread("is no model that is known here")

    def price(field: str) -> int | None:
        per_token = amount(row, field)
        return picos(None if per_token is None else per_token * MILLION, field, floats=True)

    fresh, output = price("input_cost_per_token"), price("output_cost_per_token")
    if not fresh or not output:
        raise Unread("has no price of input and output, or 0, which stands for unknown there")
    return SourceRow(
        card=rate_card(
            provider=provider,
            provider_model_id=name,
            model=model,
            currency="USD",
            input=fresh,
            output=output,
            cache_read=stated(price("cache_read_input_token_cost")),
            cache_write_5m=stated(price("cache_creation_input_token_cost")),
            cache_write_1h=stated(price("cache_creation_input_token_cost_above_1hr")),
            source=SOURCE,
            source_date=day_text(day),
        ),
        context_length=tokens(row.get("max_input_tokens")),
        max_output=tokens(row.get("max_output_tokens")),
    )

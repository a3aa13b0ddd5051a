"""Prices of Novita's own list: `GET /v3/openai/models`.

Numbers in 1/10,000 USD per million tokens: 3900 is $0.39 (two independent clients, read 2026-11). Newer
replies state the same prices once more, with that of cached tokens, under `pricing`.
"""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pricing.rates import rate_card
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
    tokens,
)

PROVIDER = "novita"
SOURCE = "Novita model list"
_UNIT = Decimal("0.0001")  # of a dollar per million tokens


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
    model = resolve(PROVIDER, name)
    if model is None:
        raise Unread("is no model that is known here")
    fresh = _price(row, "prompt", "input_token_price_per_m")
    output = _price(row, "completion", "output_token_price_per_m")
    if fresh is None or output is None:
        raise Unread("has no price of input and output")
    return SourceRow(
        card=rate_card(
            provider=PROVIDER,
            provider_model_id=name,
            model=model,
            currency="USD",
            input=fresh,
            output=output,
            cache_read=stated(_price(row, "input_cache_read", None)),
            source=SOURCE,
            source_date=day_text(day),
        ),
        context_length=tokens(row.get("context_size")),
        max_output=tokens(row.get("max_output_tokens")),
    )


def _price(row: Mapping[str, Any], field: str, older: str | None) -> int | None:
    """A price that may be stated twice, which must then be the same."""
    pricing = row.get("pricing")
    newer = pricing.get(field) if isinstance(pricing, dict) else None
    said = [amount(newer, "price_per_m")] if isinstance(newer, dict) else []
    if older is not None:
        said.append(amount(row, older))
    found = {price for price in said if price is not None}
    if len(found) > 1:
        raise Unread(f"states two prices of {field}: {' and '.join(map(str, sorted(found)))}")
    return picos(found.pop() * _UNIT, field) if found else None

"""Our quote beside that of genai-prices, for every row that both know."""

import datetime as dt
from decimal import Decimal

from genai_prices import Usage, calc_price

from pricing import Quantities
from tests.unit.pricing.comparison import FIELDS, MIXED, Compared, listed, rows

# Where the package calls a host otherwise than we do.
_HOSTS = {"moonshot": "moonshotai", "bedrock": "aws"}


def theirs(row: Compared, quantities: Quantities) -> Decimal | None:
    """What the package asks, in USD; None if it does not know the host, the model or a price for that."""
    card = row.card
    usage = Usage(
        input_tokens=quantities.input_total,
        cache_read_tokens=quantities.cache_read,
        cache_write_tokens=quantities.cache_write_5m,
        output_tokens=quantities.output,
    )
    noon = dt.datetime.combine(row.day, dt.time(12), dt.UTC)
    try:
        price = calc_price(
            usage,
            card.provider_model_id,
            provider_id=_HOSTS.get(card.provider, card.provider),
            genai_request_timestamp=noon,
        )
    except LookupError:
        return None
    return price.total_price


def test_every_difference_is_listed_with_its_reason_and_every_listed_one_is_there() -> None:
    known, found, compared = listed("genai-prices"), set(), 0
    for row in rows():
        for field, quantities in FIELDS.items():
            price = theirs(row, quantities)
            if price is None:
                break
            compared += 1
            if price != row.ours(quantities):
                found.add(row.differs(field, price))

    assert found - known.keys() == set()
    assert known.keys() - found == set()
    assert compared > 300


def test_a_call_that_mixes_all_kinds_costs_what_its_parts_cost() -> None:
    compared = 0
    for row in rows():
        parts = [(theirs(row, call), row.ours(call)) for call in FIELDS.values()]
        mixed = theirs(row, MIXED)
        if mixed is not None and all(price == ours for price, ours in parts):
            assert mixed == row.ours(MIXED), row
            compared += 1

    assert compared > 100

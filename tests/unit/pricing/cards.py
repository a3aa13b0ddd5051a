"""Rate cards and quantities for tests, made and drawn."""

from hypothesis import strategies as st

from pricing import Quantities, RateCard, rate_card

_PRICES = st.integers(min_value=0, max_value=100_000_000)
_STATED = st.none() | _PRICES
_TOKENS = st.integers(min_value=0, max_value=2_000_000)


def card(
    *,
    provider: str = "moonshot",
    provider_model_id: str = "kimi-k3",
    model: str = "moonshotai/kimi-k3",
    currency: str = "USD",
    input_price: int = 3_000_000,
    output_price: int = 15_000_000,
    cache_read: int | None = None,
    cache_write_5m: int | None = None,
    cache_write_1h: int | None = None,
    per_request: int = 0,
    per_search: int | None = None,
    tier: str = "standard",
    valid_from: str | None = None,
    valid_to: str | None = None,
    source: str = "test",
    source_date: str | None = "2026-11-22",
) -> RateCard:
    """A card with Moonshot's K3 prices of 2026-11-22, unless told otherwise."""
    return rate_card(
        provider=provider,
        provider_model_id=provider_model_id,
        model=model,
        currency=currency,
        input=input_price,
        output=output_price,
        cache_read=cache_read,
        cache_write_5m=cache_write_5m,
        cache_write_1h=cache_write_1h,
        per_request=per_request,
        per_search=per_search,
        tier=tier,
        valid_from=valid_from,
        valid_to=valid_to,
        source=source,
        source_date=source_date,
    )


@st.composite
def any_card(draw: st.DrawFn, *, searches: bool = True) -> RateCard:
    """Any prices at all, stated or not, also ones that no host would ask."""
    return card(
        input_price=draw(_PRICES),
        output_price=draw(_PRICES),
        cache_read=draw(_STATED),
        cache_write_5m=draw(_STATED),
        cache_write_1h=draw(_STATED),
        per_request=draw(_PRICES),
        per_search=draw(_PRICES if searches else _STATED),
    )


@st.composite
def any_quantities(draw: st.DrawFn) -> Quantities:
    """Any counts."""
    return Quantities(
        fresh_input=draw(_TOKENS),
        cache_read=draw(_TOKENS),
        cache_write_5m=draw(_TOKENS),
        cache_write_1h=draw(_TOKENS),
        output=draw(_TOKENS),
        requests=draw(st.integers(min_value=0, max_value=3)),
        images=draw(st.integers(min_value=0, max_value=3)),
        searches=draw(st.integers(min_value=0, max_value=3)),
    )

"""No call costs more than its ceiling."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing import Money, Quantities, RateCard, Unpriced, ceiling, ceiling_pico, total_pico
from tests.unit.pricing.cards import any_card, card


@settings(deadline=None)
@given(
    prices=any_card(),
    buckets=st.tuples(*[st.integers(min_value=0, max_value=300_000)] * 4),
    slack=st.integers(min_value=0, max_value=10),
    output=st.integers(min_value=0, max_value=200_000),
    unused_output=st.integers(min_value=0, max_value=200_000),
    requests=st.integers(min_value=0, max_value=1),
    searches=st.integers(min_value=0, max_value=2),
)
def test_however_the_prompt_falls_into_buckets_the_cost_is_within_the_ceiling(
    *,
    prices: RateCard,
    buckets: tuple[int, int, int, int],
    slack: int,
    output: int,
    unused_output: int,
    requests: int,
    searches: int,
) -> None:
    fresh, read, write_5m, write_1h = buckets
    used = Quantities(
        fresh_input=fresh,
        cache_read=read,
        cache_write_5m=write_5m,
        cache_write_1h=write_1h,
        output=output,
        requests=requests,
        searches=searches,
    )

    most = ceiling_pico(
        prices,
        prompt_tokens=sum(buckets) + slack,
        output_tokens=output + unused_output,
        searches=searches,
    )

    assert total_pico(used, prices) <= most


@settings(deadline=None)
@given(prices=any_card(), tokens=st.integers(min_value=0, max_value=10**6))
def test_the_ceiling_is_reached_when_every_token_falls_into_the_dearest_bucket(
    prices: RateCard, tokens: int
) -> None:
    worst = max(
        total_pico(Quantities(**{bucket: tokens}, output=7, requests=1), prices)
        for bucket in ("fresh_input", "cache_read", "cache_write_5m", "cache_write_1h")
    )

    assert ceiling_pico(prices, prompt_tokens=tokens, output_tokens=7) == worst


def test_k3_is_held_at_the_price_of_one_hour_cache_writes() -> None:
    k3 = card(cache_read=300_000, cache_write_5m=3_000_000, cache_write_1h=6_000_000)

    # 1,000 * 6.00 + 100 * 15.00 USD per million
    assert ceiling(k3, prompt_tokens=1000, output_tokens=100) == Money.parse("0.0075", "USD")


def test_requests_and_searches_are_in_the_ceiling() -> None:
    charged = card(per_request=10, per_search=1000)

    assert ceiling(charged, prompt_tokens=0, output_tokens=0).pico == 10
    assert ceiling(charged, prompt_tokens=0, output_tokens=0, requests=2, searches=3).pico == 3020


def test_a_search_without_a_price_is_refused_before_the_call() -> None:
    with pytest.raises(Unpriced, match="no price for searches"):
        ceiling(card(per_search=None), prompt_tokens=1, output_tokens=1, searches=1)


@pytest.mark.parametrize("count", ["prompt_tokens", "output_tokens", "requests", "searches"])
def test_a_count_below_zero_is_an_error_not_a_discount(count: str) -> None:
    counts = {"prompt_tokens": 1, "output_tokens": 1, count: -1}

    with pytest.raises(ValueError, match=f"{count}=-1"):
        ceiling(card(per_search=1), **counts)

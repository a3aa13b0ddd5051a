"""What quantities cost."""

import pytest
from hypothesis import given, settings

from pricing import Money, Quantities, QuoteLine, RateCard, Unpriced, quote, total_pico
from tests.unit.pricing.cards import any_card, any_quantities, card


def test_each_kind_is_a_line_at_its_own_price() -> None:
    k3 = card(
        cache_read=300_000,
        cache_write_5m=3_000_000,
        cache_write_1h=6_000_000,
        per_request=11,
        per_search=5_000_000_000,
    )
    quantities = Quantities(
        fresh_input=1000,
        cache_read=2000,
        cache_write_5m=300,
        cache_write_1h=40,
        output=500,
        requests=1,
        images=2,
        searches=3,
    )

    quoted = quote(quantities, k3)

    assert quoted.lines == (
        QuoteLine("fresh_input", 1000, 3_000_000, 3_000_000_000),
        QuoteLine("cache_read", 2000, 300_000, 600_000_000),
        QuoteLine("cache_write_5m", 300, 3_000_000, 900_000_000),
        QuoteLine("cache_write_1h", 40, 6_000_000, 240_000_000),
        QuoteLine("output", 500, 15_000_000, 7_500_000_000),
        QuoteLine("requests", 1, 11, 11),
        QuoteLine("searches", 3, 5_000_000_000, 15_000_000_000),
    )
    assert quoted.total == Money("USD", 27_240_000_011)
    assert quoted.total.decimal_string() == "0.027240000011"


def test_a_kind_without_a_count_has_no_line() -> None:
    assert quote(Quantities(), card()).lines == ()
    assert quote(Quantities(), card(currency="CNY")).total == Money.zero("CNY")


def test_moonshot_k3_with_a_cache_hit_costs_what_its_price_list_says() -> None:
    # 461 prompt tokens of which 256 cached, as seen in a reply of 2026-09-03, and 100 of output:
    # 205 * 3.00 + 256 * 0.30 + 100 * 15.00 USD per million.
    quantities = Quantities(fresh_input=205, cache_read=256, output=100, requests=1)

    assert quote(quantities, card(cache_read=300_000)).total.decimal_string() == "0.0021918"


@settings(deadline=None)
@given(any_quantities(), any_card())
def test_the_cheap_form_the_lines_and_the_total_agree(
    quantities: Quantities, prices: RateCard
) -> None:
    quoted = quote(quantities, prices)

    assert total_pico(quantities, prices) == quoted.total.pico
    assert sum(line.pico for line in quoted.lines) == quoted.total.pico
    assert all(line.pico == line.count * line.unit_pico for line in quoted.lines)
    assert {line.kind: line.count for line in quoted.lines} == {
        kind: getattr(quantities, kind)
        for kind in Quantities.__struct_fields__
        if kind != "images" and getattr(quantities, kind)
    }


def test_searches_without_a_price_are_refused_not_free() -> None:
    searched = Quantities(searches=1)

    with pytest.raises(Unpriced, match="no price for searches"):
        total_pico(searched, card(per_search=None))
    with pytest.raises(Unpriced, match="no price for searches"):
        quote(searched, card(per_search=None))

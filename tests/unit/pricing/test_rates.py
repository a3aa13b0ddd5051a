"""What a rate card says and how it is named."""

import re
from typing import Any

import pytest

from tests.unit.pricing.cards import card


def test_the_id_names_host_model_source_day_and_content() -> None:
    assert re.fullmatch(
        r"novita/moonshotai/kimi-k2\.6@2026-11-22#[0-9a-f]{8}",
        card(provider="novita", provider_model_id="moonshotai/kimi-k2.6").id,
    )


def test_the_id_is_the_same_in_every_process() -> None:
    assert card().id == "moonshot/kimi-k3@2026-11-22#d50a94df"


@pytest.mark.parametrize(
    "change",
    [
        {"model": "moonshotai/kimi-k2.6"},
        {"currency": "CNY"},
        {"input_price": 3_000_001},
        {"output_price": 15_000_001},
        {"cache_read": 3_000_000},
        {"cache_write_5m": 3_000_000},
        {"cache_write_1h": 3_000_000},
        {"per_request": 1},
        {"per_search": 0},
        {"tier": "batch"},
        {"valid_from": "2026-10-15"},
        {"source": "another"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_card_that_says_something_else_has_another_id(change: dict[str, Any]) -> None:
    assert card(**change).id != card().id


def test_the_id_outlives_the_end_of_the_interval() -> None:
    assert card(valid_to="2026-12-31").id == card().id


def test_the_currency_is_checked() -> None:
    with pytest.raises(ValueError, match="currency code"):
        card(currency="usd")


def test_cache_tokens_without_a_stated_price_cost_the_input_price() -> None:
    unstated = card(input_price=7)

    assert unstated.unit_cache_read == 7
    assert unstated.unit_cache_write_5m == 7
    assert unstated.unit_cache_write_1h == 7


def test_stated_cache_prices_are_taken_also_when_they_are_zero() -> None:
    stated = card(cache_read=0, cache_write_5m=0, cache_write_1h=0)

    assert stated.unit_cache_read == 0
    assert stated.unit_cache_write_5m == 0
    assert stated.unit_cache_write_1h == 0


@pytest.mark.parametrize(("five_minutes", "hour"), [(9, 9), (5, 7)])
def test_an_hour_without_a_price_costs_no_less_than_five_minutes_or_input(
    five_minutes: int, hour: int
) -> None:
    assert card(input_price=7, cache_write_5m=five_minutes).unit_cache_write_1h == hour


@pytest.mark.parametrize(
    ("valid_from", "valid_to", "day", "valid"),
    [
        (None, None, "1999-01-01", True),
        ("2026-10-15", None, "2026-10-14", False),
        ("2026-10-15", None, "2026-10-15", True),
        (None, "2026-10-14", "2026-10-14", True),
        (None, "2026-10-14", "2026-10-15", False),
        ("2026-10-19", "2026-11-02", "2026-10-25", True),
    ],
)
def test_both_ends_of_an_interval_belong_to_it(
    valid_from: str | None, valid_to: str | None, day: str, *, valid: bool
) -> None:
    assert card(valid_from=valid_from, valid_to=valid_to).valid_on(day) is valid

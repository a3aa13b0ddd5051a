"""Operators state the prices of their own endpoints, zero included."""

from typing import Any

import pytest

from pricing import PriceDataError, own_card


def _card_error(prices: dict[str, Any], currency: str = "USD") -> str:
    with pytest.raises(PriceDataError) as caught:
        own_card(provider="vllm", model="moonshotai/kimi-k2.6", prices=prices, currency=currency)
    return str(caught.value)


def test_prices_are_picos_per_token_request_and_search() -> None:
    card = own_card(
        provider="vllm",
        model="moonshotai/kimi-k2.6",
        prices={
            "input": "0.30",
            "output": "0.60",
            "cache_read": "0.030001",
            "cache_write_5m": "0.4",
            "cache_write_1h": "1",
            "per_request": "0.000000000001",
            "per_search": "0.005",
        },
    )

    assert (card.input, card.output) == (300_000, 600_000)
    assert (card.cache_read, card.cache_write_5m, card.cache_write_1h) == (
        30_001,
        400_000,
        1_000_000,
    )
    assert (card.per_request, card.per_search) == (1, 5_000_000_000)
    assert (card.provider, card.model, card.currency) == ("vllm", "moonshotai/kimi-k2.6", "USD")
    assert card.provider_model_id == "moonshotai/kimi-k2.6"
    assert (card.source, card.tier, card.valid_from, card.valid_to) == (
        "operator",
        "standard",
        None,
        None,
    )
    assert card.id.startswith("vllm/moonshotai/kimi-k2.6@own#")


def test_zero_can_be_stated() -> None:
    card = own_card(
        provider="vllm",
        model="moonshotai/kimi-k2.6",
        prices={"input": "0", "output": "0"},
        currency="CNY",
        provider_model_id="local",
    )

    assert (card.input, card.output, card.cache_read, card.per_search) == (0, 0, None, None)
    assert (card.currency, card.provider_model_id) == ("CNY", "local")


@pytest.mark.parametrize("missing", ["input", "output"])
def test_zero_is_never_a_default(missing: str) -> None:
    prices = {"input": "1", "output": "1"}
    del prices[missing]

    message = _card_error(prices)

    assert message == (
        f"prices of vllm 'moonshotai/kimi-k2.6': {missing} is missing; "
        f'write {missing}: "0" if it shall cost nothing'
    )


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("input", 0.3, "expected a decimal string such as '0.95', not float"),
        ("output", 1, "expected a decimal string such as '0.95', not int"),
        ("cache_read", None, "expected a decimal string such as '0.95', not NoneType"),
        ("input", "-1", "'-1' is below zero"),
        ("input", "0.0000001", "'0.0000001' has more than 6 decimals"),
        ("per_request", "0.0000000000001", "'0.0000000000001' has more than 12 decimals"),
        ("output", "free", "'free' is not a plain decimal number such as '0.95'"),
    ],
)
def test_a_bad_price_is_refused_with_its_field(field: str, value: Any, reason: str) -> None:
    message = _card_error({"input": "1", "output": "1", field: value})

    assert message == f"prices of vllm 'moonshotai/kimi-k2.6': {field}: {reason}"


def test_an_unknown_field_is_refused_rather_than_ignored() -> None:
    message = _card_error({"input": "1", "output": "1", "cached": "0.1"})

    assert "cached is not one of input, output, cache_read" in message


def test_a_bad_currency_is_refused() -> None:
    assert "'dollars' is not a currency code" in _card_error(
        {"input": "1", "output": "1"}, "dollars"
    )

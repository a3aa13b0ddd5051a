"""Amounts are exact, stay within their currency, and refuse what is not a plain decimal."""

from collections.abc import Callable
from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing import CurrencyMismatch, Money

_PICOS = st.integers(min_value=-(10**30), max_value=10**30)


@pytest.mark.parametrize(
    ("text", "pico"),
    [
        ("0", 0),
        ("0.00", 0),
        ("1", 10**12),
        ("0.95", 950_000_000_000),
        ("0.000000000001", 1),
        ("007.5", 7_500_000_000_000),
        ("123456789012345678901234567890.5", 123456789012345678901234567890_500_000_000_000),
    ],
)
def test_a_decimal_string_is_parsed_exactly(text: str, pico: int) -> None:
    assert Money.parse(text, "USD") == Money("USD", pico)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "Infinity",
        "1e3",
        "1E-6",
        "+1",
        " 1",
        "1 ",
        "1\n",
        "1,000",
        "1_000",
        ".5",
        "5.",
        "0x10",
        "٣",  # a digit to str.isdigit, but not plain notation
        "0.0000000000001",
        "-1",
        "1" * 5000,
    ],
)
def test_text_that_is_not_a_plain_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"plain decimal number|decimals|below zero"):
        Money.parse(text, "USD")


@pytest.mark.parametrize("value", [0.95, 1, None, Decimal("0.95"), b"0.95"])
def test_only_strings_are_parsed_and_floats_in_particular_are_not(value: Any) -> None:
    with pytest.raises(TypeError, match="decimal string"):
        Money.parse(value, "USD")


def test_an_amount_below_zero_needs_to_be_asked_for() -> None:
    assert Money.parse("-0.5", "USD", negative=True).pico == -500_000_000_000
    assert Money.parse("-0", "USD").pico == 0


@pytest.mark.parametrize("currency", ["", "usd", "US", "USDT", "US1"])
def test_a_currency_is_three_capital_letters(currency: str) -> None:
    with pytest.raises(ValueError, match="currency code"):
        Money.zero(currency)
    with pytest.raises(ValueError, match="currency code"):
        Money.parse("1", currency)


@pytest.mark.parametrize(
    ("pico", "text"),
    [
        (0, "0"),
        (1, "0.000000000001"),
        (950_000_000_000, "0.95"),
        (10**12, "1"),
        (10 * 10**12, "10"),
        (10**30, "1000000000000000000"),
        (-1_500_000_000_000, "-1.5"),
    ],
)
def test_an_amount_is_written_without_exponent_or_trailing_zeros(pico: int, text: str) -> None:
    assert Money("USD", pico).decimal_string() == text


def test_an_amount_prints_with_its_currency() -> None:
    assert str(Money("CNY", 20 * 10**12)) == "20 CNY"


@settings(deadline=None)
@given(_PICOS)
def test_writing_and_parsing_give_back_the_same_amount(pico: int) -> None:
    money = Money("USD", pico)

    assert Money.parse(money.decimal_string(), "USD", negative=True) == money


@settings(deadline=None)
@given(_PICOS)
def test_the_written_amount_is_the_exact_number(pico: int) -> None:
    with localcontext(prec=60):
        assert Decimal(Money("USD", pico).decimal_string()) == Decimal(pico).scaleb(-12)


@pytest.mark.parametrize(
    ("pico", "nano"), [(0, 0), (1, 1), (999, 1), (1000, 1), (1001, 2), (-1, 0), (-1000, -1)]
)
def test_nano_units_are_rounded_up(pico: int, nano: int) -> None:
    assert Money("USD", pico).nano_up() == nano


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=10**30))
def test_nano_units_are_never_below_the_amount_and_less_than_one_above_it(pico: int) -> None:
    over = Money("USD", pico).nano_up() * 1000 - pico

    assert 0 <= over < 1000


@settings(deadline=None)
@given(_PICOS, _PICOS)
def test_sums_and_differences_are_exact_at_any_size(left: int, right: int) -> None:
    a, b = Money("USD", left), Money("USD", right)

    assert (a + b).pico == left + right
    assert a + b - b == a
    assert (a < b, a <= b, a > b, a >= b) == (
        left < right,
        left <= right,
        left > right,
        left >= right,
    )


@pytest.mark.parametrize(
    "operation",
    [
        lambda a, b: a + b,
        lambda a, b: a - b,
        lambda a, b: a < b,
        lambda a, b: a <= b,
        lambda a, b: a > b,
        lambda a, b: a >= b,
    ],
    ids=["+", "-", "<", "<=", ">", ">="],
)
def test_two_currencies_never_mix(operation: Callable[[Any, Any], object]) -> None:
    with pytest.raises(CurrencyMismatch, match="USD and CNY do not mix"):
        operation(Money("USD", 1), Money("CNY", 1))
    with pytest.raises(TypeError):
        operation(Money("USD", 1), 1)


def test_equal_numbers_of_two_currencies_are_not_equal() -> None:
    assert Money.zero("USD") != Money.zero("CNY")
    assert len({Money.zero("USD"), Money.zero("USD"), Money.zero("CNY")}) == 2


def test_an_amount_cannot_be_changed() -> None:
    money = Money("USD", 1)

    with pytest.raises(AttributeError):
        money.pico = 2  # type: ignore[misc]  # what is tested

import re

import pytest

from gateway.accounts import budgets
from gateway.accounts.ids import new_id
from gateway.accounts.names import checked_name
from gateway.errors import InvalidRequest
from pricing import Money


def test_an_id_says_of_what_it_is_and_is_safe_in_urls() -> None:
    assert re.fullmatch(r"team_[0-9A-Za-z]{22}", new_id("team"))
    assert len({new_id("key") for _ in range(200)}) == 200


@pytest.mark.parametrize(
    ("written", "pico"),
    [
        ("5.00", 5 * 10**12),
        ("0", 0),
        ("0.000000000001", 1),
        ("9000000", 9_000_000 * 10**12),
    ],
)
def test_a_limit_is_exact(written: str, pico: int) -> None:
    assert budgets.limit(written, "monthly") == budgets.Limit(Money("USD", pico), "monthly")


@pytest.mark.parametrize(
    ("amount", "period", "currency", "param"),
    [
        ("-1", "total", "USD", "amount"),
        ("1e3", "total", "USD", "amount"),
        ("nan", "total", "USD", "amount"),
        ("0.0000000000001", "total", "USD", "amount"),
        ("9000000.01", "total", "USD", "amount"),
        ("1", "yearly", "USD", "period"),
        ("1", "total", "usd", "amount"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(
    amount: str, period: str, currency: str, param: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        budgets.limit(amount, period, currency)
    assert (caught.value.code, caught.value.param) == ("invalid_budget", param)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "\x1b[31mred", "x" * 121])
def test_a_name_that_cannot_be_shown_is_refused(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        checked_name(name, what="team")
    assert caught.value.code == "invalid_name"


def test_a_name_loses_the_blanks_around_it() -> None:
    assert checked_name("  Research Ünit ", what="team") == "Research Ünit"

"""What a provider says that an answer cost is believed to the pico, unless it cannot be."""

import pytest

from gateway.usage.reported import MOST, reported_pico
from pricing import Quantities, own_card

# At 1 and 2 dollars per million, 10 prompt and 5 output tokens are 20 microdollars.
CARD = own_card(provider="a", model="m", prices={"input": "1", "output": "2"}, currency="USD")
USED = Quantities(fresh_input=4, cache_read=6, output=5)


@pytest.mark.parametrize(
    ("stated", "pico"),
    [
        ("0.00002", 20_000_000),
        ("2e-5", 20_000_000),
        ("2.0E-05", 20_000_000),
        ("0.000019999999", 19_999_999),
        ("0.0000000000001", 1),  # never less than was stated
        ("0.00001999999999999999999999", 20_000_000),
        ("0.0002", 200_000_000),  # just MOST times the card
        (None, None),
        ("", None),
        ("free", None),
        ("NaN", None),
        ("Infinity", None),
        ("-0.00001", None),
        ("0", None),
        ("0.0", None),
        ("0.0002000001", None),
        ("1e999999999", None),
        ("9" * 300, None),
    ],
)
def test_a_stated_cost_is_exact_or_not_believed(stated: str | None, pico: int | None) -> None:
    assert reported_pico(stated, USED, CARD) == pico
    assert MOST * 20_000_000 == 200_000_000


def test_nothing_is_believed_of_an_answer_that_was_empty_or_has_no_price() -> None:
    assert reported_pico("0", Quantities(fresh_input=10), CARD) == 0
    free = own_card(provider="a", model="m", prices={"input": "0", "output": "0"}, currency="USD")
    assert reported_pico("0", USED, free) == 0

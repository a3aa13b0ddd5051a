"""Counts are disjoint, whole and never below zero."""

from typing import Any

import pytest

from pricing import Quantities

_COUNTS = (
    "fresh_input",
    "cache_read",
    "cache_write_5m",
    "cache_write_1h",
    "output",
    "requests",
    "images",
    "searches",
)


def test_everything_is_zero_unless_stated() -> None:
    quantities = Quantities()

    assert Quantities.__struct_fields__ == _COUNTS
    assert [getattr(quantities, name) for name in _COUNTS] == [0] * len(_COUNTS)
    assert Quantities.checked() == quantities


def test_the_input_total_is_the_sum_of_the_input_buckets() -> None:
    quantities = Quantities(
        fresh_input=1,
        cache_read=20,
        cache_write_5m=300,
        cache_write_1h=4000,
        output=50_000,
        requests=1,
        images=1,
        searches=1,
    )

    assert quantities.input_total == 4321


@pytest.mark.parametrize("name", _COUNTS)
def test_checked_keeps_each_count_in_its_own_field(name: str) -> None:
    assert Quantities.checked(**{name: 7}) == Quantities(**{name: 7})


@pytest.mark.parametrize("name", _COUNTS)
def test_a_count_below_zero_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is -1, below zero$"):
        Quantities.checked(**{name: -1})


@pytest.mark.parametrize("value", [1.0, "1", None, True])
def test_a_count_that_is_not_a_whole_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^output is .*, not a whole number$"):
        Quantities.checked(output=value)

"""What is checked of a price file: each fault with its line, its field and what to do."""

import json
import re
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing import Catalogue, PriceDataError, load_packaged
from pricing.faults import Fault
from pricing.file_checks import check_packaged, check_price_file
from pricing.plausible import Plausible
from pricing.sources.packaged import packaged_bytes, read

ROW = {
    "provider": "fireworks",
    "provider_model_id": "accounts/acme/deployments/kimi-k3",
    "model": "moonshotai/kimi-k3",
    "currency": "USD",
    "input": "3",
    "cache_read": "0.3",
    "output": "15",
    "source": "contract",
    "source_date": "2026-10-20",
}
OWN = ROW | {
    "provider": "own-gpus",
    "model": "moonshotai/kimi-k2.6",
    "input": "0.95",
    "output": "4",
}
MODEL = {
    "slug": "acme/kimi-legal",
    "name": "Kimi Legal",
    "context_length": 262_144,
    "modalities": ["text"],
}


@cache
def _packaged() -> tuple[Catalogue, Plausible]:
    catalogue = load_packaged()
    return catalogue, Plausible(catalogue.cards)


def checked(data: bytes, name: str = "own.yaml") -> tuple[Fault, ...]:
    catalogue, plausible = _packaged()
    return check_price_file(data, name, packaged=catalogue, plausible=plausible)


def told(*rows: dict[str, Any], **sections: Any) -> list[tuple[str, str, str]]:
    """Severity, field and all that is said of each fault in a file of these rows."""
    tree = {"schema": "tidegate-prices/1", **sections, "prices": rows}
    return [(one.severity, one.field, str(one)) for one in checked(json.dumps(tree).encode())]


def test_a_good_file_has_no_fault() -> None:
    assert told(ROW, OWN, models=[MODEL]) == []


@pytest.mark.parametrize(
    ("changes", "severity", "field", "said"),
    [
        ({"input": "0.000003"}, "error", "input", 'looks like a price per token .*: write "3"'),
        ({"output": "0.000015"}, "error", "output", 'looks like a price per token .*: write "15"'),
        ({"input": "3000000"}, "error", "input", 'looks like a price in millionths .*: write "3"'),
        ({"input": "0.003"}, "error", "input", 'looks like a price per 1,000 tokens .*write "3"'),
        ({"output": "1500"}, "error", "output", 'looks like a price in cents .*write "15"'),
        ({"output": "150"}, "warning", "output", "is 10 times what is usual: hosts of this model"),
        ({"input": "0.5"}, "warning", "input", "is 1/6 of what is usual: hosts of this model"),
        ({"output": "99999999"}, "error", "output", "is implausibly far above what is known"),
        ({"input": "-3"}, "error", "input", "'-3' is below zero"),
        ({"input": "0"}, "error", "input", "is 0: if it costs nothing, say so with `tier: free`"),
        ({"cache_read": "0"}, "error", "cache_read", "is 0: "),
        ({"input": "3.0000001"}, "error", "input", "has more than 6 decimals"),
        ({"input": "0.0000031"}, "error", "input", 'more than 6 decimals: .*, "3.1"'),
        ({"input": "3e0"}, "error", "input", "'3e0' is not a plain decimal number: write \"3\""),
        ({"input": "3,00"}, "error", "input", "'3,00' is not a plain decimal number"),
        ({"input": "$3"}, "error", "input", "is not a plain decimal number"),
        ({"input": "NaN"}, "error", "input", "is not a plain decimal number"),
        ({"input": "1e999999999"}, "error", "input", "is not a plain decimal number"),
        ({"input": 3}, "error", "input", '3 is not in quotes: write "3"'),
        ({"input": True}, "error", "input", "is boolean, not a price"),
        ({"input": None}, "error", "input", "is null, not a price"),
        ({"input": ["3"]}, "error", "input", "is a list, not a price"),
        ({"output": "2"}, "warning", "output", "is cheaper than input .2 below 3.: .*swapped"),
        ({"cache_read": "3.1"}, "error", "cache_read", "is dearer than input .3.1 above 3."),
        ({"per_search": "-1"}, "error", "per_search", "is below zero"),
        ({"per_request": "0.0000000000001"}, "error", "per_request", "more than 12 decimals"),
        ({"currency": "usd"}, "error", "currency", "'usd' is not a currency: write USD"),
        ({"currency": "DOL"}, "error", "currency", "'DOL' is not a currency"),
        ({"currency": 840}, "error", "currency", "'840' is not a currency"),
        ({"model": "kimi-k3"}, "error", "model", "not a canonical name: write moonshotai/kimi-k3"),
        ({"model": "moonshotai/kimi-k33"}, "error", "model", "did you mean moonshotai/kimi-k3"),
        ({"model": "acme/zzz"}, "error", "model", "not a known model: describe it under `models`"),
        ({"outputs": "15"}, "error", "outputs", "is no such field: did you mean output"),
        ({"tier": "gold"}, "error", "tier", "is not one of standard, batch, flex, priority, free"),
        ({"tier": "free"}, "error", "tier", "is free, and there are prices above 0"),
        ({"valid_from": "1.11.2026"}, "error", "valid_from", "is not a date: write a UTC day"),
        ({"valid_from": "2026-02-30"}, "error", "valid_from", "is not a date"),
        ({"valid_to": "20261-01-01"}, "error", "valid_to", "is not a date"),
        ({"source_date": "soon"}, "error", "source_date", "write a day, a month or a year"),
        ({"source": " "}, "error", "source", "is not text"),
        ({"provider": 302}, "error", "provider", "'302' is not text: put it in quotes"),
        ({"context_length": "262144"}, "error", "context_length", "is not a number of tokens"),
        ({"max_output": 0}, "error", "max_output", "is not a number of tokens"),
    ],
)
def test_a_fault_is_told_with_its_field_and_what_to_do(
    changes: dict[str, Any], severity: str, field: str, said: str
) -> None:
    found = told(ROW | changes)

    (fault,) = [one for one in found if one[1] == f"prices[0].{field}" and re.search(said, one[2])]
    assert fault[0] == severity
    assert "(fireworks accounts/acme" in fault[2] or field == "provider"


def test_valid_from_after_valid_to_is_told() -> None:
    found = told(ROW | {"valid_from": "2026-12-01", "valid_to": "2026-11-30"})

    ((severity, field, said),) = found
    assert (severity, field) == ("error", "prices[0].valid_to")
    assert "2026-11-30 is before valid_from 2026-12-01" in said


@pytest.mark.parametrize("field", ["input", "output", "provider", "model", "currency", "source"])
def test_a_required_field_that_is_missing_is_told(field: str) -> None:
    row = {name: value for name, value in ROW.items() if name != field}

    found = told(row)

    assert (("error", f"prices[0].{field}")) in [one[:2] for one in found]
    assert any("is missing" in said for _, _, said in found)


@pytest.mark.parametrize(
    ("first", "second", "overlap"),
    [
        ({}, {}, True),
        ({"valid_to": "2026-10-31"}, {"valid_from": "2026-11-01"}, False),
        ({"valid_to": "2026-11-01"}, {"valid_from": "2026-11-01"}, True),
        (
            {"valid_from": "2026-01-01", "valid_to": "2026-12-31"},
            {"valid_from": "2026-06-01"},
            True,
        ),
        ({"valid_from": "2026-11-01"}, {"valid_to": "2026-10-31"}, False),
        ({}, {"tier": "batch"}, False),
        ({}, {"provider_model_id": "other"}, False),
    ],
)
def test_two_prices_of_one_day_are_told_and_neighbours_are_not(
    first: dict[str, str], second: dict[str, str], *, overlap: bool
) -> None:
    found = told(ROW | first, ROW | second)

    assert bool(found) == overlap
    if overlap:
        assert re.search(
            r"holds on the same days as prices\[\d\] on line 1: end the older", found[0][2]
        )


def test_a_long_interval_overlaps_rows_that_are_not_its_neighbours() -> None:
    found = told(
        ROW | {"valid_from": "2026-01-01"},
        ROW | {"valid_from": "2026-02-01", "valid_to": "2026-02-02"},
        ROW | {"valid_from": "2026-03-01", "valid_to": "2026-03-02"},
    )

    assert [field for _, field, _ in found] == ["prices[1]", "prices[2]"]


def test_what_is_free_says_so_and_may() -> None:
    free = {"tier": "free", "input": "0", "output": "0", "cache_read": "0"}

    assert told(ROW | free) == []


def test_own_hardware_may_be_cheap_but_not_priced_per_token() -> None:
    assert told(OWN | {"input": "0.05", "cache_read": "0.005", "output": "0.2"}) == []
    ((severity, _, said),) = told(OWN | {"cache_read": "0.0003"})
    assert severity == "warning"
    assert "looks like a price per 1,000 tokens" in said
    ((severity, _, said),) = told(OWN | {"input": "0.000001"})
    assert severity == "error"
    assert "looks like a price per token" in said


def test_a_currency_without_known_prices_is_not_judged_and_that_is_said_once() -> None:
    row = ROW | {"currency": "EUR", "input": "0.000003", "cache_read": "0.000001"}

    found = told(row, row | {"tier": "batch"})

    ((severity, field, said),) = found
    assert (severity, field) == ("warning", "currency")
    assert "too few prices are known in EUR" in said


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"slug": "moonshotai/kimi-k3"}, "slug", "is a model already"),
        ({"aliases": ["kimi-k3"]}, "aliases", "'kimi-k3' already means moonshotai/kimi-k3"),
        ({"aliases": ["Moonshotai/Kimi-K3"]}, "aliases", "already means moonshotai/kimi-k3"),
        ({"hf_id": "moonshotai/Kimi-K3"}, "hf_id", "already means moonshotai/kimi-k3"),
        ({"aliases": [3]}, "aliases", "holds what is no text"),
        ({"modalities": ["smell"]}, "modalities", "'smell' is not known: write text, image, video"),
        ({"modalities": "text"}, "modalities", "not a list"),
        ({"context_length": -1}, "context_length", "is not a number of tokens"),
        ({"licence": "MIT"}, "licence", "is no such field: did you mean license"),
    ],
)
def test_faults_of_models_are_told(changes: dict[str, Any], field: str, said: str) -> None:
    found = told(ROW, models=[MODEL | changes])

    assert any(
        where == f"models[0].{field}" and re.search(said, text) for _, where, text in found
    ), found


def test_two_models_of_a_file_may_not_share_a_name() -> None:
    other = MODEL | {"slug": "acme/other", "aliases": ["legal"]}

    found = told(ROW, models=[MODEL | {"aliases": ["legal"]}, other])

    assert [(where, "acme/kimi-legal" in said) for _, where, said in found] == [
        ("models[1].aliases", True)
    ]


def test_a_model_of_the_file_can_be_priced_by_its_slug_only() -> None:
    models = [MODEL | {"aliases": ["legal"]}]

    assert told(OWN | {"model": "acme/kimi-legal"}, models=models) == []
    ((_, _, said),) = told(OWN | {"model": "legal"}, models=models)
    assert "write acme/kimi-legal" in said


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[]", 1, "is not a price file: begin it with `schema: "),
        ("", 1, "is not a price file"),
        ("prices: []", 1, "schema is missing"),
        ("schema: tidegate-prices/1", 1, "prices is missing"),
        ("schema: tidegate-prices/2\nprices: []", 1, "'tidegate-prices/2' is not known"),
        ("schema: tidegate-prices/1\nprices: {}", 2, "prices is a mapping, not a list"),
        ("schema: tidegate-prices/1\nprices:\n- 7", 3, "prices[0] is not a row"),
        (
            "schema: tidegate-prices/1\nunit: per token\nprices: []",
            2,
            "'per token' is another unit",
        ),
        ("schema: tidegate-prices/1\nprices: []\nprice: []", 3, "did you mean prices"),
        ("schema: tidegate-prices/1\nprices: []\nprices: []", 3, "is there more than once"),
        ("schema: tidegate-prices/1\nprices: [", 3, "is not valid YAML"),
    ],
)
def test_faults_of_the_whole_file_are_told_with_their_lines(
    text: str, line: int, said: str
) -> None:
    assert any(one.line == line and said in str(one) for one in checked(text.encode())), [
        str(one) for one in checked(text.encode())
    ]


def test_lines_are_those_of_the_field_and_in_order() -> None:
    text = json.dumps({"schema": "tidegate-prices/1", "prices": [ROW | {"input": "-1"}]}, indent=1)
    lines = text.replace('"15"', '"-2"').splitlines()

    found = checked("\n".join(lines).encode(), "own.json")

    assert [(one.line, one.field) for one in found] == [
        (
            1 + next(at for at, text in enumerate(lines) if f'"{field}"' in text),
            f"prices[0].{field}",
        )
        for field in ("input", "output")
    ]
    assert str(found[0]).startswith("own.json:9: error: prices[0].input (fireworks accounts/acme")


def test_a_second_price_per_search_and_a_bad_one_are_told() -> None:
    fee = {"provider": "acme", "unit": "search", "item": "web search", "currency": "USD"}
    fee |= {"price": "0.005", "source": "x", "source_date": "2026"}

    assert told(ROW, surcharges=[fee]) == []
    assert "is a second price per search" in told(ROW, surcharges=[fee, fee])[0][2]
    assert told(ROW, surcharges=[fee | {"price": "-1"}])[0][1] == "surcharges[0].price"
    assert told(ROW, surcharges=[fee | {"unit": "click"}])[0][1] == "surcharges[0].unit"


def test_the_packaged_prices_have_no_error_and_only_known_doubts() -> None:
    faults = check_packaged(_packaged()[1])

    assert [str(one) for one in faults if one.severity == "error"] == []
    odd = {one.subject.partition(" ")[0] for one in faults if one.subject}
    assert odd == {"abacus", "aihubmix", "nano-gpt", "synthetic", "vultr"}


@pytest.mark.parametrize(("field", "value"), [("input", "0.000003"), ("output", "15000000")])
def test_a_packaged_price_in_a_wrong_unit_does_not_set_the_bounds_it_is_judged_by(
    field: str, value: str
) -> None:
    tree = json.loads(packaged_bytes())
    tree["prices"][0][field] = value
    data = json.dumps(tree).encode()

    faults = check_price_file(data, "x.json", packaged=None, plausible=Plausible(read(data).cards))

    (error,) = [one for one in faults if one.severity == "error" and "looks like" in one.wrong]
    assert error.field == f"prices[0].{field}"


_PLANTED = [
    ("input", "0.00000095", "has more than 6 decimals"),
    ("output", "-4", "below zero"),
    ("input", "0", "is 0"),
    ("valid_from", "2027-01-01", "before valid_from"),
    ("currency", "dollar", "not a currency"),
    ("model", "moonshotai/kimi-k9", "not a known model"),
    ("surprise", "1", "no such field"),
    ("output", None, "is missing"),
]


@pytest.mark.parametrize(("field", "value", "said"), _PLANTED)
def test_what_the_gateway_would_refuse_to_load_the_check_finds(
    field: str, value: str | None, said: str
) -> None:
    tree = json.loads(packaged_bytes())
    row = next(one for one in tree["prices"] if "valid_to" in one)
    if value is None:
        del row[field]
    else:
        row[field] = value
    if field == "valid_from":
        row["valid_to"] = "2026-12-31"
    data = json.dumps(tree).encode()

    with pytest.raises(PriceDataError):
        read(data)
    faults = check_price_file(data, "x.json", packaged=None, plausible=_packaged()[1])
    assert any(said in one.wrong and one.severity == "error" for one in faults)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from([*ROW, "tier", "valid_from", "valid_to", "per_search"]), _VALUES
    )
)
def test_whatever_a_row_holds_the_check_tells_and_does_not_fall(row: dict[str, Any]) -> None:
    tree = {"schema": "tidegate-prices/1", "prices": [ROW, row], "models": [row]}

    for fault in checked(json.dumps(tree).encode()):
        assert fault.line >= 1
        assert "\n" not in str(fault)

"""The price file that comes with the package: its prices, and how strictly it is read."""

import json
import re
import time
from datetime import date
from functools import cache
from importlib import resources
from typing import Any

import pytest

from pricing import Catalogue, PriceDataError, Unpriced, load_packaged
from pricing.sources.packaged import read

_TODAY = date(2026, 11, 22)


@cache
def _packaged() -> Catalogue:
    return load_packaged()


# USD per million: input, output, cache read, cache write 5m, 1h; then context, most output, default.
# Moonshot's price list and Novita's model list as of 2026-11-22.
_MOONSHOT = {
    "kimi-k3.1-pro": ("2", "10", "0.2", "2", "4", 1_048_576, 1_048_576, 131_072),
    "kimi-k3.1-pro-highspeed": ("4", "20", "0.2", "4", "8", 1_048_576, 1_048_576, 131_072),
    "kimi-k3": ("3", "15", "0.3", "3", "6", 1_048_576, 1_048_576, 131_072),
    "kimi-k2.7-code": ("0.95", "4", "0.19", None, None, 262_144, 262_144, 32_768),
    "kimi-k2.7-code-highspeed": ("1.9", "8", "0.38", None, None, 262_144, 262_144, 32_768),
    "kimi-k2.6": ("0.95", "4", "0.16", None, None, 262_144, 262_144, 32_768),
}
_NOVITA = {
    "moonshotai/kimi-k3.1-pro": ("2", "10", "0.2", None, None, 1_048_576, 1_048_576, 131_072),
    "moonshotai/kimi-k3.1-pro-highspeed": (
        "4",
        "20",
        "0.2",
        None,
        None,
        1_048_576,
        1_048_576,
        131_072,
    ),
    "moonshotai/kimi-k3": ("3", "15", "0.3", None, None, 1_048_576, 1_048_576, 131_072),
    "moonshotai/kimi-k2.7-code": ("0.95", "4", "0.19", None, None, 262_144, 262_144, 32_768),
    "moonshotai/kimi-k2.6": ("0.8", "3.4", "0.16", None, None, 262_144, 262_144, 32_768),
    "moonshotai/kimi-k2.5": ("0.6", "3", "0.1", None, None, 262_144, 262_144, 32_768),
    "moonshotai/kimi-k2-thinking": ("0.6", "2.5", "0.15", None, None, 262_144, 100_352, 32_768),
    "moonshotai/kimi-k2-0905": ("0.6", "2.5", None, None, None, 262_144, 100_352, 32_768),
    "moonshotai/kimi-k2-instruct": ("0.57", "2.3", None, None, None, 131_072, 32_768, 32_768),
}
_LIVE = [("moonshot", *item) for item in _MOONSHOT.items()] + [
    ("novita", *item) for item in _NOVITA.items()
]
_SLUGS = {"moonshotai/kimi-k2-instruct": "moonshotai/kimi-k2-0711"}


def _pico(per_million: str | None) -> int | None:
    """Picos per token, by another way than the code's own."""
    if per_million is None:
        return None
    whole, _, fraction = per_million.partition(".")
    return int(whole) * 10**6 + int((fraction + "000000")[:6])


@pytest.mark.parametrize(("provider", "model_id", "expected"), _LIVE)
def test_a_live_model_has_its_exact_price_and_lengths(
    provider: str, model_id: str, expected: tuple[Any, ...]
) -> None:
    *prices, context, max_output, default_output = expected
    card = _packaged().card_for(provider, model_id, _TODAY)

    assert card.currency == "USD"
    assert [
        card.input,
        card.output,
        card.cache_read,
        card.cache_write_5m,
        card.cache_write_1h,
    ] == [_pico(price) for price in prices]
    assert card.per_request == 0
    (offer,) = [
        offer
        for offer in _packaged().offers(provider, _TODAY)
        if offer.provider_model_id == model_id
    ]
    assert offer.card is card
    assert (offer.context_length, offer.max_output, offer.default_output) == (
        context,
        max_output,
        default_output,
    )
    slug = _SLUGS.get(model_id, "moonshotai/" + model_id.removeprefix("moonshotai/"))
    assert offer.model == card.model == slug
    assert _packaged().resolve(model_id) == slug


@pytest.mark.parametrize(("provider", "live"), [("moonshot", _MOONSHOT), ("novita", _NOVITA)])
def test_nothing_but_the_live_models_is_offered(
    provider: str, live: dict[str, tuple[Any, ...]]
) -> None:
    offered = {offer.provider_model_id for offer in _packaged().offers(provider, _TODAY)}

    assert offered == set(live)


@pytest.mark.parametrize(
    ("model_id", "prices"),
    [("kimi-k2.6", ("0.57", "2.4", "0.1")), ("kimi-k2.7-code", ("0.57", "2.4", "0.114"))],
)
def test_moonshot_batch_prices_are_a_tier_of_their_own(
    model_id: str, prices: tuple[str, ...]
) -> None:
    card = _packaged().card_for("moonshot", model_id, _TODAY, "batch")

    assert [card.input, card.output, card.cache_read] == [_pico(price) for price in prices]


def test_moonshot_bills_k3_cache_writes_since_15_october_2026() -> None:
    before = _packaged().card_for("moonshot", "kimi-k3", date(2026, 10, 14))
    since = _packaged().card_for("moonshot", "kimi-k3", date(2026, 10, 15))

    assert (before.cache_write_5m, before.cache_write_1h) == (None, None)
    assert (before.unit_cache_write_5m, before.unit_cache_write_1h) == (3_000_000, 3_000_000)
    assert (since.cache_write_5m, since.cache_write_1h) == (3_000_000, 6_000_000)
    assert (before.input, before.cache_read, before.output) == (
        since.input,
        since.cache_read,
        since.output,
    )
    assert before.id != since.id


def test_moonshot_charges_half_a_cent_for_a_web_search_and_nobody_else_is_assumed_to() -> None:
    searching = {card.provider: card.per_search for card in _packaged().cards if card.per_search}

    assert searching == {"moonshot": 5_000_000_000}
    assert _packaged().card_for("moonshot", "kimi-k2.6", _TODAY).per_search == 5_000_000_000


@pytest.mark.parametrize(
    ("day", "prices"),
    [
        (date(2026, 10, 18), ("0.68", "3.41", "0.34")),
        (date(2026, 10, 19), ("0.65", "3.41", "0.15")),
        (date(2026, 11, 2), ("0.65", "3.41", "0.15")),
        (date(2026, 11, 3), ("0.95", "4", "0.16")),
        (_TODAY, ("0.95", "4", "0.16")),
    ],
)
def test_superseded_prices_are_kept_for_their_days(day: date, prices: tuple[str, ...]) -> None:
    card = _packaged().card_for("openrouter", "moonshotai/kimi-k2.6", day)

    assert [card.input, card.output, card.cache_read] == [_pico(price) for price in prices]


@pytest.mark.parametrize(
    ("model_id", "last_day", "first_without"),
    [
        ("kimi-k2.5", date(2026, 8, 31), date(2026, 9, 1)),
        ("kimi-k2-0905-preview", date(2026, 5, 25), date(2026, 5, 26)),
        ("moonshot-v1-128k", date(2026, 8, 31), date(2026, 9, 1)),
    ],
)
def test_a_retired_model_has_a_price_until_its_last_day(
    model_id: str, last_day: date, first_without: date
) -> None:
    assert _packaged().card_for("moonshot", model_id, last_day).input > 0
    with pytest.raises(Unpriced, match=f"to {last_day}"):
        _packaged().card_for("moonshot", model_id, first_without)


@pytest.mark.parametrize(
    ("provider", "model_id", "day", "why"),
    [
        ("openrouter", "moonshotai/kimi-k3", date(2026, 10, 25), "implausible"),
        ("openrouter", "~moonshotai/kimi-latest", _TODAY, "moves between models"),
        ("kimi-for-coding", "k2p6", _TODAY, "not a price per token"),
        ("moonshot-cn", "kimi-k2.6", _TODAY, "bills in CNY"),
        ("openrouter", "moonshotai/kimi-k2.6:free", _TODAY, "priced in tier free"),
    ],
)
def test_prices_that_cannot_be_trusted_are_not_used(
    provider: str, model_id: str, day: date, why: str
) -> None:
    with pytest.raises(Unpriced, match=why):
        _packaged().card_for(provider, model_id, day)


def test_nothing_is_free_but_what_is_called_free() -> None:
    free = {
        card.provider_model_id for card in _packaged().cards if not card.input or not card.output
    }

    assert free == {"moonshotai/kimi-k2.6:free"}


def test_the_china_platform_is_priced_in_yuan() -> None:
    card = _packaged().card_for("moonshot-cn", "kimi-k3", _TODAY)

    assert (card.currency, card.input, card.output) == ("CNY", 20_000_000, 100_000_000)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("kimi-k2.6", "moonshotai/kimi-k2.6"),
        ("moonshotai/Kimi-K2.6", "moonshotai/kimi-k2.6"),
        ("kimi-k2p6", "moonshotai/kimi-k2.6"),
        ("accounts/fireworks/models/kimi-k2p6", "moonshotai/kimi-k2.6"),
        ("kimi-k2", "moonshotai/kimi-k2-0711"),
        ("moonshotai/kimi-k2", "moonshotai/kimi-k2-0711"),
        ("kimi-k2-instruct", "moonshotai/kimi-k2-0711"),
        ("moonshotai/Kimi-K2-Instruct-0905", "moonshotai/kimi-k2-0905"),
        ("kimi-k2-0905-preview", "moonshotai/kimi-k2-0905"),
        ("kimi-k2-turbo-preview", "moonshotai/kimi-k2-turbo"),
        ("kimi-k3.1-pro-highspeed", "moonshotai/kimi-k3.1-pro-highspeed"),
        ("moonshotai/Kimi-Linear-48B-A3B-Instruct", "moonshotai/kimi-linear-48b-a3b-instruct"),
        ("moonshotai/kimi-k2.6:free", None),
        ("kimi-k3-us", None),
        ("kimi-latest", None),
        ("gpt-4o", None),
    ],
)
def test_names_of_kimi_models_are_understood(name: str, slug: str | None) -> None:
    assert _packaged().resolve(name) == slug


def test_every_moonshot_and_novita_id_means_the_model_that_its_card_names() -> None:
    for card in _packaged().cards:
        if card.provider in {"moonshot", "novita"}:
            assert _packaged().resolve(card.provider_model_id) == card.model


def test_model_facts_are_there() -> None:
    k3 = _packaged().model("moonshotai/kimi-k3")

    assert k3 is not None
    assert (k3.name, k3.context_length, k3.hf_id, k3.thinking, k3.default_output) == (
        "Kimi K3",
        1_048_576,
        "moonshotai/Kimi-K3",
        "always",
        131_072,
    )
    assert k3.modalities == ("text", "image", "video")
    assert k3.license is not None
    assert k3.license.startswith("Kimi K3 License")


def test_every_card_has_an_id_a_source_and_a_date_of_its_own() -> None:
    cards = _packaged().cards

    assert len({card.id for card in cards}) == len(cards) > 400
    assert all(card.source and card.source_date for card in cards)


def test_the_file_loads_within_50_milliseconds_of_processor_time() -> None:
    times = []
    for _ in range(3):
        start = time.process_time()
        load_packaged()
        times.append(time.process_time() - start)

    assert min(times) < 0.05


# From here on: how a bad file is refused.

_ROW = {
    "provider": "novita",
    "provider_model_id": "moonshotai/kimi-k3",
    "model": "moonshotai/kimi-k3",
    "tier": "standard",
    "currency": "USD",
    "input": "3",
    "output": "15",
    "status": "listed",
    "source": "a list",
    "source_date": "2026-11-22",
}
_MODEL = {
    "slug": "moonshotai/kimi-k3",
    "name": "Kimi K3",
    "context_length": 1_048_576,
    "modalities": ["text"],
}
_SURCHARGE = {
    "provider": "novita",
    "unit": "search",
    "item": "search",
    "currency": "USD",
    "price": "0.005",
    "source": "a list",
    "source_date": "2026-11-22",
}


def _file(**changes: Any) -> bytes:
    whole = {
        "about": "a test",
        "schema": "tidegate-prices/1",
        "generated": "2026-11-22",
        "unit": "per million",
        "notes": [],
        "models": [_MODEL],
        "surcharges": [],
        "unpriced": [],
        "prices": [_ROW],
        "conflicts": [],
    }
    return json.dumps(whole | changes).encode()


def test_a_good_row_is_read() -> None:
    card = read(_file()).card_for("novita", "moonshotai/kimi-k3", _TODAY)

    assert (card.input, card.output, card.source, card.source_date) == (
        3_000_000,
        15_000_000,
        "a list",
        "2026-11-22",
    )


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"input": 3}, "Expected `str`, got `int` - at `$.input`"),
        ({"output": None}, "Expected `str`, got `null` - at `$.output`"),
        ({"input": "0.0000001"}, "input: '0.0000001' has more than 6 decimals"),
        ({"cache_read": "-1"}, "cache_read: '-1' is below zero"),
        ({"cache_write_5m": "NaN"}, "cache_write_5m: 'NaN' is not a plain decimal number"),
        ({"cache_write_1h": "1e2"}, "cache_write_1h: '1e2' is not a plain decimal number"),
        ({"input": "0"}, "input: a price of 0 is for tier free only"),
        ({"output": "0"}, "output: a price of 0 is for tier free only"),
        ({"cache_read": "0.000000"}, "cache_read: a price of 0 is for tier free only"),
        ({"tier": "cheap"}, "Invalid enum value 'cheap' - at `$.tier`"),
        ({"currency": "EUR"}, "Invalid enum value 'EUR' - at `$.currency`"),
        ({"status": "gone"}, "Invalid enum value 'gone' - at `$.status`"),
        ({"context_length": 0}, "Expected `int` >= 1 - at `$.context_length`"),
        ({"max_output": 1.5}, "Expected `int | null`, got `float` - at `$.max_output`"),
        ({"valid_from": "2026-13-01"}, "at `$.valid_from`"),
        ({"valid_to": "soon"}, "at `$.valid_to`"),
        (
            {"valid_from": "2026-11-02", "valid_to": "2026-11-01"},
            "valid_to: 2026-11-01 is before valid_from 2026-11-02",
        ),
        ({"source": ""}, "at `$.source`"),
        ({"source_date": "yesterday"}, "at `$.source_date`"),
        ({"inputs": "3"}, "Object contains unknown field `inputs`"),
    ],
)
def test_a_bad_row_is_refused_with_its_place_its_name_and_its_field(
    change: dict[str, Any], complaint: str
) -> None:
    other = _ROW | {"provider": "moonshot"}

    with pytest.raises(PriceDataError) as caught:
        read(_file(prices=[other, _ROW | change]))

    assert str(caught.value).startswith("prices[1] (novita moonshotai/kimi-k3")
    assert complaint in str(caught.value)


@pytest.mark.parametrize("field", ["provider", "input", "output", "tier", "currency", "source"])
def test_a_row_without_a_required_field_is_refused(field: str) -> None:
    row = {name: value for name, value in _ROW.items() if name != field}

    with pytest.raises(PriceDataError, match=rf"prices\[0\].*missing required field `{field}`"):
        read(_file(prices=[row]))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prices": [7]}, "prices[0]: Expected `object`, got `int`"),
        ({"prices": [_ROW, _ROW]}, "is there twice"),
        ({"prices": [_ROW, _ROW | {"input": "4"}]}, "holds on the same days as"),
        ({"models": []}, "model moonshotai/kimi-k3 is not in the catalogue"),
        ({"models": [_MODEL | {"thinking": "often"}]}, "models[0] (moonshotai/kimi-k3): "),
        ({"models": [_MODEL | {"modalities": []}]}, "at `$.modalities`"),
        ({"surcharges": [_SURCHARGE | {"price": "-1"}]}, "surcharges[0] (novita): price: "),
        ({"surcharges": [_SURCHARGE, _SURCHARGE]}, "surcharges[1] (novita): unit: a second"),
        ({"surcharges": [_SURCHARGE | {"unit": "page"}]}, "surcharges[0] (novita): Invalid enum"),
        ({"unpriced": [{"provider": "novita"}]}, "unpriced[0] (novita): "),
        ({"schema": "tidegate-prices/2"}, "price file: schema is 'tidegate-prices/2'"),
        ({"more": 1}, "price file: Object contains unknown field `more`"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(PriceDataError, match=re.escape(complaint)):
        read(_file(**changes))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff"])
def test_what_is_no_price_file_is_refused(data: bytes) -> None:
    with pytest.raises(PriceDataError, match=r"^price file: "):
        read(data)


def test_a_surcharge_is_for_its_provider_and_currency_only() -> None:
    elsewhere = _ROW | {"provider": "moonshot"}
    yuan = _ROW | {"provider_model_id": "yuan", "currency": "CNY"}

    catalogue = read(_file(prices=[_ROW, elsewhere, yuan], surcharges=[_SURCHARGE]))

    assert [card.per_search for card in catalogue.cards] == [5_000_000_000, None, None]


def test_the_file_has_no_row_that_a_reader_would_not_see() -> None:
    raw = json.loads(resources.files("pricing").joinpath("data/kimi-prices.json").read_bytes())

    assert raw["generated"] == "2026-11-22"
    assert len(raw["prices"]) == len(_packaged().cards)
    assert len(raw["models"]) == len(_packaged().models())
    priced = {(row["provider"], row["provider_model_id"]) for row in raw["prices"]}
    surcharged = {row["provider"] for row in raw["surcharges"]}
    assert surcharged <= {provider for provider, _ in priced}

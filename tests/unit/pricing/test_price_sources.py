"""Other people's prices: their units, exactly, and what of them cannot be taken."""

import datetime as dt
import json
from typing import Any

import pytest

from pricing import PriceDataError, load_packaged
from pricing.sources import genai_prices, litellm_map, novita, openrouter
from pricing.sources.rows import Reading
from tests.unit.pricing.source_bodies import OTHERS

DAY = dt.date(2026, 11, 23)
CATALOGUE = load_packaged()
READERS = (openrouter, novita, litellm_map, genai_prices)


def resolve(provider: str, name: str) -> str | None:
    return CATALOGUE.resolve(name)


def of_openrouter(pricing: Any, name: str = "moonshotai/kimi-k2.6", **more: Any) -> Reading:
    other = {"id": OTHERS, "pricing": {"prompt": "0.000001"}}
    row = {"id": name, "pricing": pricing, **more}
    return openrouter.read(json.dumps({"data": [other, row]}).encode(), DAY, resolve)


def of_novita(**row: Any) -> Reading:
    return novita.read(
        json.dumps({"data": [{"id": "moonshotai/kimi-k2.6", **row}]}).encode(), DAY, resolve
    )


def of_litellm(
    text: str, key: str = "novita/moonshotai/kimi-k2.6", host: str = "novita"
) -> Reading:
    body = f'{{"sample_spec": {{}}, "{key}": {{"litellm_provider": "{host}", {text}}}}}'
    return litellm_map.read(body.encode(), DAY, resolve)


def of_genai(
    prices: str, match: str = '{"equals": "kimi-k3"}', host: str = "moonshotai"
) -> Reading:
    model = f'{{"id": "kimi-k3", "match": {match}, "context_window": 1048576, "prices": {prices}}}'
    return genai_prices.read(f'[{{"id": "{host}", "models": [{model}]}}]'.encode(), DAY, resolve)


def why(reading: Reading) -> str:
    assert reading.rows == ()
    (row,) = reading.unread
    return row.why


def test_openrouter_asks_dollars_per_token() -> None:
    pricing = {
        "prompt": "0.0000006712",
        "completion": "0.00000341",
        "input_cache_read": "1.5e-7",
        "request": "0",
        "web_search": "0.01",
    }
    reading = of_openrouter(
        pricing, context_length=262144, top_provider={"max_completion_tokens": 9}
    )

    (row,) = reading.rows
    assert (row.card.input, row.card.output, row.card.cache_read) == (671_200, 3_410_000, 150_000)
    assert (row.card.provider, row.card.provider_model_id) == ("openrouter", "moonshotai/kimi-k2.6")
    assert (row.card.model, row.card.tier, row.card.currency) == (
        "moonshotai/kimi-k2.6",
        "standard",
        "USD",
    )
    assert (row.context_length, row.max_output) == (262144, 9)
    assert row.card.source_date == "2026-11-23"
    assert reading.lists == {"openrouter"}


def test_openrouters_discount_is_taken_off() -> None:
    (row,) = of_openrouter({"prompt": "0.000001", "completion": "0.000004", "discount": 0.25}).rows

    assert (row.card.input, row.card.output) == (750_000, 3_000_000)


@pytest.mark.parametrize(("name", "tier"), [("kimi-k3:batch", "batch"), ("kimi-k2.6:free", "free")])
def test_openrouter_names_a_tier_in_the_model(name: str, tier: str) -> None:
    price = "0" if tier == "free" else "0.000001"
    (row,) = of_openrouter({"prompt": price, "completion": price}, f"moonshotai/{name}").rows

    assert row.card.tier == tier
    assert row.card.provider_model_id == f"moonshotai/{name}"
    assert row.card.model == f"moonshotai/{name.partition(':')[0]}"


@pytest.mark.parametrize(
    ("pricing", "said"),
    [
        (None, "has no pricing"),
        ({"prompt": "0.000001"}, "has no price of prompt and completion"),
        ({"prompt": "-1", "completion": "-1"}, "prompt is -1, below zero"),
        ({"prompt": "free", "completion": "1"}, "prompt is 'free', not a number"),
        ({"prompt": "NaN", "completion": "1"}, "prompt is 'NaN', not a number"),
        (
            {"prompt": "0.0000000000001", "completion": "0.000001"},
            "prompt is 0.0000001 per million, with more than six decimals",
        ),
        (
            {
                "prompt": "0.000001",
                "completion": "0.000001",
                "overrides": [{"min_prompt_tokens": 1}],
            },
            "has prices under conditions, which are not counted here",
        ),
        (
            {"prompt": "0.000001", "completion": "0.000001", "internal_reasoning": "0.000002"},
            "asks another price for reasoning than for the rest of the answer",
        ),
        (
            {"prompt": "0.000001", "completion": "0.000001", "request": "0.01"},
            "has a price for each request, which is not taken over",
        ),
    ],
)
def test_what_cannot_be_taken_is_told_with_its_reason(pricing: Any, said: str) -> None:
    assert why(of_openrouter(pricing)) == said


def test_a_model_of_the_family_that_is_not_known_is_told() -> None:
    reading = of_openrouter({"prompt": "1", "completion": "1"}, "moonshotai/kimi-k9")

    assert why(reading) == "is no model that is known here"


def test_novita_asks_ten_thousandths_of_a_dollar_per_million() -> None:
    (row,) = of_novita(
        input_token_price_per_m=8000,
        output_token_price_per_m=34000,
        context_size=262144,
        max_output_tokens=131072,
        pricing={"prompt": {"price_per_m": 8000}, "input_cache_read": {"price_per_m": 1600}},
    ).rows

    assert (row.card.input, row.card.output, row.card.cache_read) == (800_000, 3_400_000, 160_000)
    assert (row.context_length, row.max_output) == (262144, 131072)


def test_novitas_two_statements_of_a_price_must_agree() -> None:
    reading = of_novita(
        input_token_price_per_m=8000,
        output_token_price_per_m=34000,
        pricing={"prompt": {"price_per_m": 9500}},
    )

    assert why(reading) == "states two prices of prompt: 8000 and 9500"


def test_what_floats_add_to_litellms_prices_is_left_out() -> None:
    (row,) = of_litellm(
        '"input_cost_per_token": 8.000000000000001e-07, "output_cost_per_token": 3.4e-06,'
        ' "cache_read_input_token_cost": 1.0000000000000001e-07'
    ).rows

    assert (row.card.input, row.card.output, row.card.cache_read) == (800_000, 3_400_000, 100_000)


def test_more_digits_than_floats_add_are_no_price() -> None:
    reading = of_litellm('"input_cost_per_token": 8.000001234e-07, "output_cost_per_token": 3e-06')

    assert why(reading).startswith("input_cost_per_token is 0.8000001234 per million")


def test_a_zero_of_litellm_is_not_a_price() -> None:
    none = of_litellm('"input_cost_per_token": 0.0, "output_cost_per_token": 0.0')
    (row,) = of_litellm(
        '"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06,'
        ' "cache_read_input_token_cost": 0'
    ).rows

    assert why(none).endswith("0, which stands for unknown there")
    assert row.card.cache_read is None


@pytest.mark.parametrize(
    ("key", "host", "provider", "name"),
    [
        ("fireworks_ai/kimi-k2p5", "fireworks_ai", "fireworks", "kimi-k2p5"),
        ("bedrock/us-east-1/kimi-k3", "bedrock", "bedrock", "us-east-1/kimi-k3"),
        ("moonshotai.kimi-k2.5", "bedrock_converse", "bedrock", "moonshotai.kimi-k2.5"),
        ("moonshot/kimi-k3", "moonshot", "moonshot", "kimi-k3"),
    ],
)
def test_litellms_keys_name_host_and_model(key: str, host: str, provider: str, name: str) -> None:
    prices = '"input_cost_per_token": 1e-06, "output_cost_per_token": 1e-06'
    reading = litellm_map.read(
        f'{{"{key}": {{"litellm_provider": "{host}", {prices}}}}}'.encode(), DAY, lambda *_: "m"
    )

    (row,) = reading.rows
    assert (row.card.provider, row.card.provider_model_id) == (provider, name)


def test_genai_prices_asks_dollars_per_million() -> None:
    (row,) = of_genai(
        '{"input_mtok": 3, "output_mtok": 15, "cache_read_mtok": 0.3, "cache_write_mtok": 3,'
        ' "cache_write_1h_mtok": 6}'
    ).rows

    card = row.card
    assert (card.provider, card.provider_model_id) == ("moonshot", "kimi-k3")
    assert (card.input, card.output, card.cache_read) == (3_000_000, 15_000_000, 300_000)
    assert (card.cache_write_5m, card.cache_write_1h) == (3_000_000, 6_000_000)


@pytest.mark.parametrize(("start", "price"), [("2026-11-23", 2_000_000), ("2026-11-24", 3_000_000)])
def test_of_prices_with_days_the_one_of_today_is_read(start: str, price: int) -> None:
    (row,) = of_genai(
        '[{"prices": {"input_mtok": 3, "output_mtok": 15}},'
        f' {{"constraint": {{"start_date": "{start}"}}, "prices": {{"input_mtok": 2, "output_mtok": 9}}}}]'
    ).rows

    assert row.card.input == price


def test_prices_by_the_hour_or_the_length_are_not_counted() -> None:
    by_hour = '[{"constraint": {"start_time": "00:30:00Z"}, "prices": {"input_mtok": 3}}]'

    assert why(of_genai(by_hour)).startswith("has prices under conditions")
    assert "not a number" in why(
        of_genai('{"input_mtok": {"base": 1, "tiers": []}, "output_mtok": 1}')
    )
    assert "input_audio_mtok" in why(
        of_genai('{"input_mtok": 1, "output_mtok": 1, "input_audio_mtok": 1}')
    )


def test_each_name_that_matches_as_a_whole_is_a_row() -> None:
    reading = of_genai(
        '{"input_mtok": 3, "output_mtok": 15}',
        '{"or": [{"equals": "kimi-k3"}, {"ends_with": "/k3"}, {"equals": "moonshotai/kimi-k3"}]}',
    )

    assert [row.card.provider_model_id for row in reading.rows] == ["kimi-k3", "moonshotai/kimi-k3"]


NO_LISTS = [b"", b"<html>", b"null", b"3", b"[3", b"[" * 100_000, b"\xff\xfe"]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("body", NO_LISTS)
def test_what_is_not_such_a_list_is_refused(reader: Any, body: bytes) -> None:
    with pytest.raises(PriceDataError, match=r"JSON|form"):
        reader.read(body, DAY, resolve)

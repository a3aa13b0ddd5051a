"""What is asked of endpoints: acted on or refused by name, never ignored."""

from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.values import NO_PREFERENCES, MaxPrice, Preferences
from gateway.wire import anthropic_messages, openai_chat
from gateway.wire.preferences import REFUSED
from gateway.wire.request import ChatRequest
from tests.builders import anthropic, chat

ODD_PRICES: list[Any] = [-1, "-0.1", "a", "", "NaN", "1e999", True, [], {}, "9" * 40, "0x1"]
VALUES: list[Any] = [["a"], True, False, {}, "price"]


def read(**fields: Any) -> ChatRequest:
    return openai_chat.parse(chat(**fields), usage_always=False)


@pytest.mark.parametrize(
    ("fields", "meant"),
    [
        ({}, NO_PREFERENCES),
        ({"provider": {}}, NO_PREFERENCES),
        ({"provider": {"zdr": None, "order": None, "data_collection": None}}, NO_PREFERENCES),
        ({"provider": {"zdr": False}}, NO_PREFERENCES),
        ({"provider": {"data_collection": "allow"}}, NO_PREFERENCES),
        ({"provider": {"zdr": True}}, Preferences(zdr=True)),
        ({"provider": {"data_collection": "deny"}}, Preferences(no_training=True)),
        ({"provider": {"require_parameters": True}}, Preferences(require_parameters=True)),
        (
            {"provider": {"require_parameters": True, "zdr": True, "data_collection": "deny"}},
            Preferences(require_parameters=True, zdr=True, no_training=True),
        ),
        ({"provider": {"allow_fallbacks": True, "ignore": [], "only": None}}, NO_PREFERENCES),
        ({"provider": {"allow_fallbacks": None, "max_price": {}}}, NO_PREFERENCES),
        ({"provider": {"max_price": {"prompt": None, "image": None}}}, NO_PREFERENCES),
        ({"provider": {"allow_fallbacks": False}}, Preferences(fallbacks=False)),
        ({"provider": {"only": ["novita"]}}, Preferences(only=("novita",))),
        ({"provider": {"ignore": ["a", "b"]}}, Preferences(ignore=("a", "b"))),
        (
            {"provider": {"max_price": {"prompt": 0.6, "completion": "2.50", "request": "0.01"}}},
            Preferences(max_price=MaxPrice(600_000, 2_500_000, 10**10)),
        ),
        (
            {"provider": {"max_price": {"prompt": 3, "completion": 15}}},
            Preferences(max_price=MaxPrice(3_000_000, 15_000_000)),
        ),
        (
            {"provider": {"max_price": {"prompt": "0" * 19 + "3." + "0" * 40 + "e-5"}}},
            Preferences(max_price=MaxPrice(30)),
        ),
        ({"providerOptions": {"gateway": {"only": ["a"]}}}, Preferences(only=("a",))),
        (
            {"provider": {"only": ["a"]}, "providerOptions": {"gateway": {"only": None}}},
            Preferences(only=("a",)),
        ),
        ({"providerOptions": {}}, NO_PREFERENCES),
        ({"providerOptions": {"gateway": {}}}, NO_PREFERENCES),
        ({"providerOptions": {"gateway": {"order": None}}}, NO_PREFERENCES),
        ({"providerOptions": {"gateway": {"zeroDataRetention": True}}}, Preferences(zdr=True)),
        (
            {"providerOptions": {"gateway": {"disallowPromptTraining": True}}},
            Preferences(no_training=True),
        ),
        # one can only add to the other
        (
            {
                "provider": {"zdr": False},
                "providerOptions": {"gateway": {"zeroDataRetention": True}},
            },
            Preferences(zdr=True),
        ),
        (
            {
                "provider": {"zdr": True},
                "providerOptions": {"gateway": {"zeroDataRetention": False}},
            },
            Preferences(zdr=True),
        ),
    ],
)
def test_what_is_asked_is_read_in_both_dialects(fields: dict[str, Any], meant: Preferences) -> None:
    assert read(**fields).preferences == meant
    request = anthropic_messages.parse(anthropic(**fields))
    assert request.preferences == meant
    assert not request.fields.keys() & {"provider", "providerOptions"}


@pytest.mark.parametrize("field", ["provider", "providerOptions"])
def test_null_says_nothing(field: str) -> None:
    body = chat()[:-1] + b', "%b": null}' % field.encode()
    assert openai_chat.parse(body, usage_always=False).preferences is NO_PREFERENCES


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        *[
            ({"provider": {name: value}}, f"provider.{name}", "unsupported_parameter")
            for name in sorted(REFUSED)
            for value in VALUES
        ],
        ({"provider": {"experimental": {}}}, "provider.experimental", "unknown_parameter"),
        ({"provider": {"ZDR": True}}, "provider.ZDR", "unknown_parameter"),
        ({"provider": {"x" * 500: True}}, "provider." + "x" * 51, "unknown_parameter"),
        ({"provider": ["novita"]}, "provider", "invalid_type"),
        ({"provider": {"zdr": "true"}}, "provider.zdr", "invalid_type"),
        ({"provider": {"require_parameters": 1}}, "provider.require_parameters", "invalid_type"),
        ({"provider": {"data_collection": "maybe"}}, "provider.data_collection", "invalid_value"),
        ({"provider": {"data_collection": False}}, "provider.data_collection", "invalid_type"),
        (
            {"providerOptions": {"moonshot": {"a": 1}}},
            "providerOptions.moonshot",
            "unsupported_parameter",
        ),
        (
            {"providerOptions": {"gateway": {"order": ["a"]}}},
            "providerOptions.gateway.order",
            "unsupported_parameter",
        ),
        (
            {"provider": {"only": ["a"]}, "providerOptions": {"gateway": {"only": ["a"]}}},
            "providerOptions.gateway.only",
            "invalid_value",
        ),
        ({"provider": {"only": []}}, "provider.only", "invalid_value"),
        ({"provider": {"only": ["a"] * 101}}, "provider.only", "invalid_value"),
        ({"provider": {"only": "novita"}}, "provider.only", "invalid_type"),
        ({"provider": {"ignore": [1]}}, "provider.ignore", "invalid_type"),
        ({"provider": {"allow_fallbacks": "no"}}, "provider.allow_fallbacks", "invalid_type"),
        ({"provider": {"max_price": 3}}, "provider.max_price", "invalid_type"),
        *[
            (
                {"provider": {"max_price": {"prompt": odd}}},
                "provider.max_price.prompt",
                "invalid_value",
            )
            for odd in ODD_PRICES
        ],
        (
            {"provider": {"max_price": {"image": 1}}},
            "provider.max_price.image",
            "unsupported_parameter",
        ),
        ({"provider": {"max_price": {"x": 1}}}, "provider.max_price.x", "unknown_parameter"),
        (
            {"providerOptions": {"gateway": {"zeroDataRetention": 1}}},
            "providerOptions.gateway.zeroDataRetention",
            "invalid_type",
        ),
        ({"providerOptions": {"gateway": True}}, "providerOptions.gateway", "invalid_type"),
    ],
)
def test_what_is_not_acted_on_is_refused_by_name(
    fields: dict[str, Any], param: str, code: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read(**fields)
    error = caught.value
    assert (error.param, error.code, error.status) == (param, code, 400)
    assert f"'{param}'" in error.message


@pytest.mark.parametrize(
    ("written", "pico"),
    [
        ("0.6", 600_000),
        ('"0.6"', 600_000),
        ("6e-1", 600_000),
        ("6E+0", 6_000_000),
        ("0", 0),
        ("-0", None),
        ("0.000001", 1),
        ("0.0000019", 1),  # a card at 2 is dearer than this, one at 1 is not
        ("1e-99", 0),
        ("3e10", 3 * 10**16),
        ("0.1000000000000000055511151231257827", 100_000),  # as a float of 0.1 may be written
    ],
)
def test_prices_are_read_exactly_whichever_way_they_are_written(
    written: str, pico: int | None
) -> None:
    body = chat()[:-1] + b', "provider": {"max_price": {"completion": %b}}}' % written.encode()
    if pico is None:
        with pytest.raises(InvalidRequest, match="from 0 on"):
            openai_chat.parse(body, usage_always=False)
        return
    asked = openai_chat.parse(body, usage_always=False).preferences
    assert asked == Preferences(max_price=MaxPrice(completion=pico))

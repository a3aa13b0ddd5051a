"""An answer through litellm is the provider's: told whole, counted as the provider counted it."""

from typing import Any

import msgspec
import pytest

from backends.sandbox import count_prompt_tokens
from tests.litellm.anthropic_stand_in import TEXT, THINKING
from tests.litellm.desk import HOW, MODELS, TOOL, Desk

SILENT = {"novita", "openai"}  # their wire has no count of reasoning tokens


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def prompt_tokens(text: str) -> int:
    return count_prompt_tokens([{"role": "user", "content": text}])


def last_body(desk: Desk, name: str) -> dict[str, Any]:
    """What the provider was sent last."""
    found: dict[str, Any] = desk.servers[name].record.requests[-1].body
    return found


def test_streamed_collected_and_whole_answers_are_the_same(desk: Desk, name: str) -> None:
    first, *others = [desk.ask(name, "Hello, é 🌊!", how).answer for how in HOW]
    assert others == [first] * len(others)
    assert first.usage is not None


@pytest.mark.parametrize("how", HOW)
def test_tool_calls_arrive_whole(desk: Desk, name: str, how: str) -> None:
    ended = desk.ask(name, "Weather?", how, tools=[TOOL], tool_choice="auto")
    assert ended.error is None
    (call,) = ended.answer.tools
    assert call["name"] == "get_weather"
    assert call["id"]
    assert msgspec.json.decode(call["arguments"]).keys() == {"city"}
    assert ended.answer.content == ""
    assert ended.answer.finish == [("tool_calls", "tool_calls")]
    assert last_body(desk, name)["tools"] == [TOOL]


@pytest.mark.parametrize("how", HOW)
def test_tokens_from_the_cache_are_told(desk: Desk, name: str, how: str) -> None:
    text = f"{name} {how} " + "x" * 2000
    desk.ask(name, text, how)
    counted = desk.ask(name, text, how).answer.usage
    assert counted is not None
    assert counted.prompt == prompt_tokens(text)
    assert counted.cached == 256


@pytest.mark.parametrize("how", HOW)
def test_what_the_provider_did_not_count_is_not_made_up(desk: Desk, name: str, how: str) -> None:
    ended = desk.ask(name, "[[fault=no_usage]] How are you?", how)
    assert ended.error is None
    assert ended.answer.content
    assert ended.answer.usage is None


def test_the_fields_of_the_table_arrive_as_they_were_sent(desk: Desk) -> None:
    sent: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["END"],
        "presence_penalty": 0.1,
        "response_format": {"type": "json_object"},
    }
    ended = desk.ask("openai", **sent)
    assert ended.reply.dropped == ()
    body = last_body(desk, "openai")
    assert {name: body[name] for name in sent} == sent
    assert body["model"] == "moonshotai/kimi-k2.6"
    assert body["max_tokens"] == 10_000
    assert body["stream_options"] == {"include_usage": True}
    assert body.keys() == {*sent, "model", "max_tokens", "messages", "stream", "stream_options"}


def test_fields_of_no_table_are_left_out_and_told(desk: Desk) -> None:
    ended = desk.ask(
        "openai", api_base="http://127.0.0.1:1", mock_response="hi", fallbacks=["x"], num_retries=9
    )
    assert ended.error is None
    assert set(ended.reply.dropped) == {"api_base", "mock_response", "fallbacks", "num_retries"}


def test_what_litellm_knows_a_provider_not_to_have_is_left_out_before_it_is_asked(
    desk: Desk,
) -> None:
    unknown = desk.worker.unknown
    assert unknown["openai"] == frozenset()
    assert unknown["bedrock"] is not None
    assert {"seed", "logit_bias", "tool_choice"} <= unknown["bedrock"]
    assert "reasoning_effort" not in (unknown["effort"] or ())


@pytest.mark.parametrize("how", HOW)
def test_anthropics_counts_become_the_totals_that_prices_are_for(desk: Desk, how: str) -> None:
    ended = desk.ask("anthropic", "Hi", how, seed=3)
    assert ended.error is None
    assert ended.answer.content == TEXT
    assert ended.answer.reasoning == THINKING
    assert ended.answer.finish == [("stop", "stop")]
    assert ended.reply.dropped == ("seed",)
    counted = ended.answer.usage
    assert counted is not None
    assert (counted.prompt, counted.completion, counted.cached) == (22, 6, 5)
    assert (counted.cache_write, counted.cache_write_1h) == (4, 3)


def test_a_long_prompt_goes_through(desk: Desk) -> None:
    text = "y" * 900_000
    ended = desk.ask("openai", text, "whole")
    assert ended.error is None
    assert last_body(desk, "openai")["messages"] == [{"role": "user", "content": text}]

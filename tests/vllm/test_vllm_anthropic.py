"""Anthropic's own client, the gateway, and a real vLLM, which is asked in OpenAI's dialect."""

import itertools
from typing import Any

import anthropic
import pytest

from tests.vllm.stage_with_vllm import VllmStage

REASONING = "The user asks; I answer briefly"
ANSWER = "Hello from a tiny random Kimi model on CPU."
HELLO: Any = [{"role": "user", "content": "Hi"}]
WEATHER: Any = {
    "name": "get_weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}
MODELS = pytest.mark.parametrize("model", ["tests/latent", "tests/prefix", "tests/whole"])


def client(stage: VllmStage) -> anthropic.Anthropic:
    base = stage.base_url.removesuffix("/v1")
    return anthropic.Anthropic(base_url=base, api_key=stage.key, max_retries=0)


def ask(stage: VllmStage, model: str, **fields: Any) -> anthropic.types.Message:
    fields = {"max_tokens": 100, "messages": HELLO, **fields}
    with client(stage) as own:
        message: anthropic.types.Message = own.messages.create(model=model, **fields)
    return message


def stream(
    stage: VllmStage, model: str, **fields: Any
) -> tuple[list[str], anthropic.types.Message]:
    """The types of the events, repetitions left out, and the message that they make."""
    fields = {"max_tokens": 100, "messages": HELLO, **fields}
    with client(stage) as own, own.messages.stream(model=model, **fields) as events:
        kinds = [event.type for event in events]
        return [kind for kind, _ in itertools.groupby(kinds)], events.get_final_message()


def texts(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def thoughts(message: anthropic.types.Message) -> str:
    return "".join(block.thinking for block in message.content if block.type == "thinking")


def check_answer(message: anthropic.types.Message) -> None:
    assert (message.role, message.stop_reason) == ("assistant", "end_turn")
    assert (texts(message), thoughts(message)) == (ANSWER, REASONING)
    assert (message.usage.input_tokens, message.usage.output_tokens) == (12, 19)


@MODELS
def test_a_whole_answer(stage: VllmStage, model: str) -> None:
    check_answer(ask(stage, model, thinking={"type": "enabled", "budget_tokens": 1024}))


@MODELS
def test_a_streamed_answer(stage: VllmStage, model: str) -> None:
    kinds, message = stream(stage, model, thinking={"type": "enabled", "budget_tokens": 1024})
    check_answer(message)
    assert kinds[0] == "message_start"
    assert kinds[-1] == "message_stop"
    assert "content_block_delta" in kinds


@MODELS
@pytest.mark.parametrize("streamed", [False, True])
def test_kimis_tool_calls_are_tool_uses_and_their_results_answered(
    stage: VllmStage,
    model: str,
    streamed: bool,  # noqa: FBT001 - a parameter
) -> None:
    def said(messages: list[Any]) -> anthropic.types.Message:
        if streamed:
            return stream(stage, model, messages=messages, tools=[WEATHER])[1]
        return ask(stage, model, messages=messages, tools=[WEATHER])

    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    asked = said(messages)
    assert asked.stop_reason == "tool_use"
    (use,) = [block for block in asked.content if block.type == "tool_use"]
    assert (use.name, use.input) == ("get_weather", {"city": "Paris"})
    assert asked.usage.output_tokens == 16

    result = {"type": "tool_result", "tool_use_id": use.id, "content": "18 degrees"}
    messages.append({"role": "assistant", "content": [b.model_dump() for b in asked.content]})
    messages.append({"role": "user", "content": [result]})
    told = said(messages)
    assert (told.stop_reason, texts(told)) == ("end_turn", ANSWER)
    assert thoughts(told) == "Sunny, eighteen degrees in Paris!", "it did not see the result"


def test_the_output_cap_ends_the_answer(stage: VllmStage) -> None:
    message = ask(stage, "tests/latent", max_tokens=12)
    assert (message.stop_reason, texts(message)) == ("max_tokens", "Hello from a tiny")


def test_a_stop_sequence_ends_the_answer(stage: VllmStage) -> None:
    message = ask(stage, "tests/latent", stop_sequences=[" tiny"])
    assert texts(message) == "Hello from a"


def test_a_prompt_that_is_too_long_is_refused_with_vllms_reason(stage: VllmStage) -> None:
    long: Any = [{"role": "user", "content": "x " * 1200}]
    with pytest.raises(anthropic.BadRequestError) as refused:
        ask(stage, "tests/latent", messages=long)
    assert "maximum context length is 2048 tokens" in refused.value.message


def test_cached_tokens_are_told_apart_from_fresh_ones(stage: VllmStage) -> None:
    long: Any = [{"role": "user", "content": "An agent's system prompt. " * 30}]
    first, again = (ask(stage, "tests/prefix", messages=long).usage for _ in range(2))
    assert not first.cache_read_input_tokens
    assert again.cache_read_input_tokens
    totals = {
        usage.input_tokens
        + (usage.cache_read_input_tokens or 0)
        + (usage.cache_creation_input_tokens or 0)
        for usage in (first, again)
    }
    assert len(totals) == 1

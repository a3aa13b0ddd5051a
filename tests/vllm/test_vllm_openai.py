"""OpenAI's own client, the gateway, and a real vLLM with Kimi's parsers."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.vllm.stage_with_vllm import VllmStage

HELLO: Any = [{"role": "user", "content": "Hi"}]
REASONING = "The user asks; I answer briefly"
ANSWER = "Hello from a tiny random Kimi model on CPU."
TOKENS = 7 + 1 + 10 + 1  # reasoning, its end, the answer, the end
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
BOTH = pytest.mark.parametrize("model", ["tests/latent", "tests/prefix"])


def ask(stage: VllmStage, model: str = "tests/latent", **fields: Any) -> ChatCompletion:
    fields.setdefault("messages", HELLO)
    with stage.client() as client:
        answer: ChatCompletion = client.chat.completions.create(model=model, **fields)
    return answer


def stream(
    stage: VllmStage, model: str = "tests/latent", **fields: Any
) -> list[ChatCompletionChunk]:
    fields.setdefault("messages", HELLO)
    with (
        stage.client() as client,
        client.chat.completions.create(model=model, stream=True, **fields) as chunks,
    ):
        return list(chunks)


def said(chunks: list[ChatCompletionChunk], name: str = "content", index: int = 0) -> str:
    deltas = [c.delta for chunk in chunks for c in chunk.choices if c.index == index]
    return "".join(delta.model_dump().get(name) or "" for delta in deltas)


def ends(chunks: list[ChatCompletionChunk]) -> list[str]:
    return [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason]


@pytest.mark.parametrize("model", ["tests/latent", "tests/prefix", "tests/whole"])
def test_a_whole_answer_with_reasoning_under_both_names(stage: VllmStage, model: str) -> None:
    answer = ask(stage, model)
    assert answer.id.startswith("gen-")
    assert answer.model == model
    (choice,) = answer.choices
    assert (choice.finish_reason, choice.message.content) == ("stop", ANSWER)
    extra = choice.message.model_extra or {}
    assert extra["reasoning"] == extra["reasoning_content"] == REASONING
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (12, TOKENS)
    details = answer.usage.completion_tokens_details
    assert details is not None
    assert details.reasoning_tokens == 7


@BOTH
def test_a_streamed_answer_with_reasoning_under_both_names(stage: VllmStage, model: str) -> None:
    chunks = stream(stage, model, stream_options={"include_usage": True})
    assert said(chunks) == ANSWER
    assert said(chunks, "reasoning") == said(chunks, "reasoning_content") == REASONING
    assert ends(chunks) == ["stop"]
    assert len(chunks) >= 4, "it came in pieces"
    usage = chunks[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens) == (12, TOKENS)


def test_the_clients_own_accumulator_puts_the_stream_together(stage: VllmStage) -> None:
    with (
        stage.client() as client,
        client.chat.completions.stream(model="tests/latent", messages=HELLO) as events,
    ):
        final = events.get_final_completion()
    assert final.choices[0].message.content == ANSWER


@pytest.mark.parametrize("streamed", [False, True])
def test_thinking_is_switched_off_by_the_chat_template(stage: VllmStage, streamed: bool) -> None:  # noqa: FBT001 - a parameter
    off: Any = {"extra_body": {"chat_template_kwargs": {"thinking": False}}}
    if streamed:
        chunks = stream(stage, **off)
        assert (said(chunks), said(chunks, "reasoning")) == (ANSWER, "")
    else:
        message = ask(stage, **off).choices[0].message
        assert message.content == ANSWER
        assert not (message.model_extra or {}).get("reasoning")


@pytest.mark.parametrize("model", ["tests/latent", "tests/prefix", "tests/whole"])
def test_kimis_tool_calls_are_parsed_and_their_results_answered(
    stage: VllmStage, model: str
) -> None:
    messages: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    asked = ask(stage, model, messages=messages, tools=[WEATHER]).choices[0]
    assert asked.finish_reason == "tool_calls"
    assert (asked.message.model_extra or {})["reasoning"] == "A tool is needed"
    (call,) = asked.message.tool_calls or []
    assert call.type == "function"
    assert (call.id, call.function.name) == ("functions.get_weather:0", "get_weather")
    assert json.loads(call.function.arguments) == {"city": "Paris"}

    messages.append(asked.message.model_dump(exclude_none=True))
    messages.append({"role": "tool", "tool_call_id": call.id, "content": "18 degrees"})
    told = ask(stage, model, messages=messages, tools=[WEATHER]).choices[0]
    assert (told.finish_reason, told.message.content) == ("stop", ANSWER)
    seen = (told.message.model_extra or {})["reasoning"]
    assert seen == "Sunny, eighteen degrees in Paris!", "the model did not see the tool's result"


@BOTH
def test_the_parts_of_a_streamed_tool_call_are_one_call(stage: VllmStage, model: str) -> None:
    chunks = stream(stage, model, tools=[WEATHER], stream_options={"include_usage": True})
    parts = [p for chunk in chunks for c in chunk.choices for p in c.delta.tool_calls or []]
    assert {part.index for part in parts} == {0}
    assert [part.id for part in parts if part.id] == ["functions.get_weather:0"]
    functions = [part.function for part in parts if part.function]
    assert [f.name for f in functions if f.name] == ["get_weather"]
    assert json.loads("".join(f.arguments or "" for f in functions)) == {"city": "Paris"}
    assert said(chunks, "reasoning") == "A tool is needed"
    assert ends(chunks) == ["tool_calls"]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 16


@pytest.mark.parametrize("thinking", [True, False])
def test_an_answer_in_a_json_schema(stage: VllmStage, thinking: bool) -> None:  # noqa: FBT001 - a parameter
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    body = {"chat_template_kwargs": {"thinking": thinking}}
    whole = ask(stage, response_format=form, extra_body=body)
    assert json.loads(whole.choices[0].message.content or "") == {"city": "Paris"}
    chunks = stream(stage, response_format=form, extra_body=body)
    assert json.loads(said(chunks)) == {"city": "Paris"}
    assert said(chunks, "reasoning") == (REASONING if thinking else "")


@BOTH
def test_several_choices_are_kept_apart(stage: VllmStage, model: str) -> None:
    whole = ask(stage, model, n=2)
    assert [(c.index, c.message.content) for c in whole.choices] == [(0, ANSWER), (1, ANSWER)]
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 2 * TOKENS
    chunks = stream(stage, model, n=2)
    assert (said(chunks, index=0), said(chunks, index=1)) == (ANSWER, ANSWER)
    assert ends(chunks) == ["stop", "stop"]


@BOTH
def test_probabilities_of_tokens_come_through(stage: VllmStage, model: str) -> None:
    asked = {"logprobs": True, "top_logprobs": 2, "max_tokens": 3}
    scores = ask(stage, model, **asked).choices[0].logprobs
    assert scores is not None
    tokens = scores.content or []
    assert [one.token for one in tokens] == ["The", " user", " asks"]
    assert all(len(one.top_logprobs) == 2 for one in tokens)
    streamed = [
        one.token
        for chunk in stream(stage, model, **asked)
        for choice in chunk.choices
        if choice.logprobs is not None
        for one in choice.logprobs.content or []
    ]
    assert streamed == ["The", " user", " asks"]


def test_a_stop_word_ends_the_answer(stage: VllmStage) -> None:
    choice = ask(stage, stop=[" tiny"]).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("Hello from a", "stop")
    chunks = stream(stage, stop=[" tiny"])
    assert (said(chunks), ends(chunks)) == ("Hello from a", ["stop"])


@pytest.mark.parametrize("model", ["tests/latent", "tests/whole"])
def test_the_output_cap_ends_the_answer(stage: VllmStage, model: str) -> None:
    whole = ask(stage, model, max_tokens=12)
    assert whole.choices[0].finish_reason == "length"
    assert whole.choices[0].message.content == "Hello from a tiny"
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 12
    chunks = stream(stage, model, max_completion_tokens=12)
    assert (said(chunks), ends(chunks)) == ("Hello from a tiny", ["length"])


@pytest.mark.parametrize("streamed", [False, True])
def test_a_prompt_that_is_too_long_is_refused_with_vllms_reason(
    stage: VllmStage,
    streamed: bool,  # noqa: FBT001 - a parameter
) -> None:
    long: Any = [{"role": "user", "content": "x " * 1200}]
    with pytest.raises(openai.BadRequestError) as refused:
        ask(stage, messages=long, max_tokens=5, stream=streamed)
    assert refused.value.code == "context_length_exceeded"
    assert "maximum context length is 2048 tokens" in refused.value.message


def test_a_value_that_vllm_refuses_is_the_callers_to_change(stage: VllmStage) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        ask(stage, temperature=-1)
    assert refused.value.code == "request_refused"
    assert "temperature" in refused.value.message


async def test_many_callers_at_once_all_get_the_same_answer(stage: VllmStage) -> None:
    async with openai.AsyncOpenAI(base_url=stage.base_url, api_key=stage.key) as client:

        async def one() -> str:
            answer = await client.chat.completions.create(model="tests/prefix", messages=HELLO)
            return answer.choices[0].message.content or ""

        answers = await asyncio.gather(*(one() for _ in range(40)))
    assert set(answers) == {ANSWER}

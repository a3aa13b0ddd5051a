"""OpenAI's own Python client against the gateway: an address and a key, and nothing else changed."""

import json
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam

from tests.fakes.stage import K26, LINEAR, Stage

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello!"}]
ANSWER = (
    "This is Tidegate's sandbox of Novita AI, not a model. The last user message has 6 characters."
)
REASONING = "These words stand for reasoning."
WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city", "days"],
        },
    },
}


def test_a_whole_answer(stage: Stage) -> None:
    answer = stage.client().chat.completions.create(model=K26, messages=HELLO)
    assert answer.object == "chat.completion"
    assert answer.id.startswith("gen-")
    assert answer.model == K26
    (choice,) = answer.choices
    assert (choice.index, choice.finish_reason) == (0, "stop")
    assert (choice.message.role, choice.message.content) == ("assistant", ANSWER)
    extra = choice.message.model_extra or {}
    assert extra["reasoning"] == extra["reasoning_content"] == REASONING
    usage = answer.usage
    assert usage is not None
    assert usage.prompt_tokens == 2  # six bytes, four to a token
    assert usage.completion_tokens == 6 + len(ANSWER.split(" "))
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert (answer.model_extra or {})["provider"] == "novita"


@pytest.mark.parametrize("include_usage", [True, False, None])
def test_a_streamed_answer(stage: Stage, include_usage: bool | None) -> None:  # noqa: FBT001 - a parameter
    options: Any = (
        {} if include_usage is None else {"stream_options": {"include_usage": include_usage}}
    )
    with stage.client().chat.completions.create(
        model=K26, messages=HELLO, stream=True, **options
    ) as stream:
        chunks = list(stream)
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    deltas = [choice.delta for chunk in chunks for choice in chunk.choices]
    assert deltas[0].role == "assistant"
    assert "".join(delta.content or "" for delta in deltas) == ANSWER
    for name in ("reasoning", "reasoning_content"):
        assert "".join((delta.model_extra or {}).get(name, "") for delta in deltas) == REASONING
    ends = [c.finish_reason for chunk in chunks for c in chunk.choices if c.finish_reason]
    assert ends == ["stop"]
    usages = [chunk.usage for chunk in chunks if chunk.usage]
    if include_usage:
        (usage,) = usages
        assert not chunks[-1].choices
        assert (usage.prompt_tokens, usage.completion_tokens) == (2, 6 + len(ANSWER.split(" ")))
    else:
        assert usages == []


def test_openrouters_base_ends_every_stream_with_usage(stage: Stage) -> None:
    client = stage.client(base_url=stage.base_url.replace("/v1", "/api/v1"))
    chunks = list(client.chat.completions.create(model=K26, messages=HELLO, stream=True))
    assert chunks[-1].usage is not None
    assert (chunks[-1].usage.model_extra or {})["cost"] > 0
    assert client.chat.completions.create(model=K26, messages=HELLO).choices[0].message.content


def test_the_streaming_accumulator_agrees_with_the_whole_answer(stage: Stage) -> None:
    whole = stage.client().chat.completions.create(model=K26, messages=HELLO)
    with stage.client().chat.completions.stream(model=K26, messages=HELLO) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == whole.choices[0].message.content
    assert final.choices[0].finish_reason == whole.choices[0].finish_reason


def test_a_tool_is_called_and_its_result_answered(stage: Stage) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Weather?"}]
    client = stage.client()
    asked = client.chat.completions.create(model=K26, messages=messages, tools=[WEATHER])
    choice = asked.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content in {None, ""}
    (call,) = choice.message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "weather"
    assert set(json.loads(call.function.arguments)) == {"city", "days"}

    messages.append(choice.message.model_dump(exclude_none=True))  # type: ignore[arg-type] # as callers do it
    messages.append({"role": "tool", "tool_call_id": call.id, "content": '{"sky": "clear"}'})
    told = client.chat.completions.create(model=K26, messages=messages, tools=[WEATHER])
    assert told.choices[0].finish_reason == "stop"
    assert told.choices[0].message.content
    sent = stage.novita.requests[-1].body
    assert isinstance(sent, dict)
    # What the client sends back under both names is told under the one that this provider reads.
    user, assistant, tool = sent["messages"]
    returned = dict(messages[1])
    assert returned.pop("reasoning") == returned["reasoning_content"]
    assert [user, assistant, tool] == [messages[0], returned, messages[2]]


@pytest.mark.parametrize("model", [K26, LINEAR, "moonshotai/kimi-k3"])
def test_a_streamed_tool_call_is_the_same_as_a_whole_one(stage: Stage, model: str) -> None:
    client = stage.client()
    whole = client.chat.completions.create(model=model, messages=HELLO, tools=[WEATHER])
    (expected,) = whole.choices[0].message.tool_calls or []
    assert expected.type == "function"
    name, arguments, identities = "", "", set()
    chunks = list(
        client.chat.completions.create(model=model, messages=HELLO, tools=[WEATHER], stream=True)
    )
    for chunk in chunks:
        for choice in chunk.choices:
            for part in choice.delta.tool_calls or []:
                assert part.index == 0
                identities.add(part.id)
                if part.function is not None:
                    name += part.function.name or ""
                    arguments += part.function.arguments or ""
    assert (name, json.loads(arguments)) == ("weather", json.loads(expected.function.arguments))
    assert len(identities - {None}) == 1
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_an_answer_in_a_json_schema(stage: Stage) -> None:
    schema: dict[str, object] = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
        "required": ["name", "age"],
    }
    answer = stage.client().chat.completions.create(
        model=K26,
        messages=HELLO,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "person", "schema": schema, "strict": True},
        },
    )
    assert set(json.loads(answer.choices[0].message.content or "")) == {"name", "age"}


def test_thinking_can_be_switched_off(stage: Stage) -> None:
    answer = stage.client().chat.completions.create(
        model="moonshotai/kimi-k3.1-pro",
        messages=[{"role": "user", "content": "[[fault=error500,at=novita]] Hello!"}],
        extra_body={"thinking": {"type": "disabled"}},
    )
    assert "reasoning" not in (answer.choices[0].message.model_extra or {})


def test_the_output_cap_ends_the_answer(stage: Stage) -> None:
    answer = stage.client().chat.completions.create(model=K26, messages=HELLO, max_tokens=9)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 9


async def test_the_async_client(stage: Stage) -> None:
    async with openai.AsyncOpenAI(base_url=stage.base_url, api_key=stage.key) as client:
        answer = await client.chat.completions.create(model=K26, messages=HELLO)
        assert answer.choices[0].message.content == ANSWER
        stream = await client.chat.completions.create(model=K26, messages=HELLO, stream=True)
        text = [c.delta.content or "" async for chunk in stream for c in chunk.choices]
        assert "".join(text) == ANSWER


def test_the_list_of_models(stage: Stage) -> None:
    models = {model.id: model for model in stage.client().models.list()}
    assert {K26, LINEAR, "moonshotai/kimi-k3"} <= models.keys()
    extra = models[K26].model_extra or {}
    assert extra["pricing"]["prompt"] == "0.0000008"
    assert extra["context_length"] == 262_144
    assert extra["providers"] == ["moonshot", "novita"]


@pytest.mark.parametrize("name", ["kimi-k2.6", "kimi-k2p6", K26])
def test_a_model_is_known_by_its_other_names(stage: Stage, name: str) -> None:
    answer = stage.client().chat.completions.create(model=name, messages=HELLO)
    assert answer.model == K26


def create(client: openai.OpenAI, text: str = "Hello!", model: str = K26, **fields: Any) -> Any:
    return client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": text}], **fields
    )


def test_each_failure_has_the_class_that_openais_client_gives_it(stage: Stage) -> None:
    with pytest.raises(openai.AuthenticationError) as bad_key:
        create(stage.client(api_key="sk-proj-somebody-elses"))
    assert bad_key.value.code == "invalid_api_key"
    assert "OpenAI key" in bad_key.value.message

    with pytest.raises(openai.NotFoundError) as unknown:
        create(stage.client(), model="gpt-7")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert K26 in unknown.value.message

    with pytest.raises(openai.BadRequestError) as bad:
        create(stage.client(), max_tokens=-1)
    assert (bad.value.code, bad.value.param) == ("invalid_value", "max_tokens")

    with pytest.raises(openai.BadRequestError) as refused:
        create(stage.client(), "[[fault=error400]]", model="tests/error400-other")
    assert refused.value.code == "request_refused"

    with pytest.raises(openai.RateLimitError) as limited:
        create(
            stage.client(),
            "[[fault=error429_rate,retry_after=7]]",
            model="tests/error429_rate-other",
        )
    assert limited.value.code == "rate_limited"
    assert limited.value.response.headers["retry-after"] == "7"

    with pytest.raises(openai.InternalServerError) as failed:
        create(stage.client(), "[[fault=error500]]", model="tests/error500-other")
    assert failed.value.code == "upstream_fault"
    body: Any = failed.value.body
    assert [one["provider"] for one in body["metadata"]["attempts"]] == ["first", "second"]


def test_a_failure_in_mid_stream_is_raised_and_not_an_end(stage: Stage) -> None:
    text: list[str] = []
    tag = "[[fault=cut,after=8]]"
    chunks = create(stage.client(), tag, model="tests/cut-other", stream=True)
    with pytest.raises(openai.APIError) as broke:
        text.extend(c.delta.content or "" for chunk in chunks for c in chunk.choices)
    assert "".join(text) == "This is"
    assert broke.value.code == "connection_lost"
    assert "charged" in broke.value.message

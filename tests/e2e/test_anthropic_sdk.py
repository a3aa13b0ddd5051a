"""Anthropic's own Python client against the gateway: an address and a key, and nothing else changed."""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam

from tests.fakes.anthropic_events import message
from tests.fakes.stage import K26, LINEAR, Stage, chat

HELLO: list[MessageParam] = [{"role": "user", "content": "Hello!"}]
ANSWER = (
    "This is Tidegate's sandbox of Novita AI, not a model. The last user message has 6 characters."
)
REASONING = "These words stand for reasoning."
TOKENS = 6 + len(ANSWER.split(" "))
WEATHER: ToolParam = {
    "name": "weather",
    "description": "The weather of some days.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city", "days"],
    },
}
NATIVE = "functions.weather:0"


Connect = Callable[..., anthropic.Anthropic]


@pytest.fixture
def connect(stage: Stage) -> Iterator[Connect]:
    """Makes clients with an address and a key, and closes them."""
    with contextlib.ExitStack() as made:

        def new(**options: Any) -> anthropic.Anthropic:
            key = {} if "auth_token" in options else {"api_key": stage.key}
            base = stage.base_url.removesuffix("/v1")
            client = anthropic.Anthropic(**{"base_url": base, "max_retries": 0, **key, **options})
            return made.enter_context(client)

        yield new


def create(client: anthropic.Anthropic, text: str = "Hello!", **fields: Any) -> Any:
    given = {"model": K26, "max_tokens": 100, "messages": [{"role": "user", "content": text}]}
    return client.messages.create(**{**given, **fields})


def asked(**fields: Any) -> dict[str, Any]:
    """The body of a request, for callers who are no SDK."""
    return {"model": K26, "max_tokens": 100, "messages": HELLO, **fields}


def test_a_whole_answer(stage: Stage, connect: Connect) -> None:
    answer = create(connect())
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", K26)
    thought, said = answer.content
    assert (thought.type, thought.thinking) == ("thinking", REASONING)
    assert thought.signature
    assert (said.type, said.text) == ("text", ANSWER)
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (2, TOKENS)
    assert answer.provider == "novita"
    assert answer._request_id is not None
    seen = stage.generation(answer._request_id)
    assert stage.generation(answer.id) == seen  # by either id
    assert seen["total_cost"] == Decimal(str(answer.usage.cost)) > 0


@pytest.mark.parametrize("base", ["", "/api"])
def test_a_streamed_answer_is_the_whole_one(stage: Stage, connect: Connect, base: str) -> None:
    client = connect(base_url=stage.base_url.replace("/v1", base))
    whole = create(client)
    with client.messages.stream(model=K26, max_tokens=100, messages=HELLO) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
        assert stream.request_id
    assert text == ANSWER
    assert [b.type for b in final.content] == ["thinking", "text"]
    assert [b.model_dump(exclude={"signature"}) for b in final.content] == [
        b.model_dump(exclude={"signature"}) for b in whole.content
    ]
    assert final.stop_reason == whole.stop_reason
    for name in ("input_tokens", "output_tokens", "cache_read_input_tokens"):
        assert getattr(final.usage, name) == getattr(whole.usage, name)


def test_raw_events(stage: Stage, connect: Connect) -> None:
    kinds = [event.type for event in create(connect(), stream=True)]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert kinds.count("content_block_start") == 2


def test_a_stream_byte_for_byte_keeps_anthropics_order(stage: Stage) -> None:
    for more in ({}, {"tools": [WEATHER]}):
        answer = stage.ask(asked(stream=True, **more), path="/v1/messages")
        told = message(answer.body)
        assert told["usage"]["cost"] == float(stage.generation(answer.generation)["total_cost"])


def test_silence_is_filled_with_pings_that_the_client_passes_over(
    stage: Stage, connect: Connect
) -> None:
    slow = [{"role": "user", "content": "[[wait=350]] Hello!"}]
    answer = stage.ask(asked(stream=True, messages=slow), path="/v1/messages")
    assert answer.body.startswith(b'event: ping\ndata: {"type": "ping"}\n\n')
    events = list(create(connect(), "[[wait=350]] Hello!", stream=True))
    assert events[0].type == "message_start"


@pytest.mark.parametrize("model", [K26, LINEAR, "moonshotai/kimi-k3"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_answered(
    stage: Stage,
    connect: Connect,
    model: str,
    stream: bool,  # noqa: FBT001 - a parameter
) -> None:
    client = connect()
    fields: Any = {"model": model, "max_tokens": 100, "tools": [WEATHER]}

    def ask(messages: list[MessageParam]) -> Any:
        if not stream:
            return client.messages.create(messages=messages, **fields)
        with client.messages.stream(messages=messages, **fields) as events:
            return events.get_final_message()

    conversation: list[MessageParam] = [{"role": "user", "content": "Weather?"}]
    called = ask(conversation)
    assert called.stop_reason == "tool_use"
    call = called.content[-1]
    assert (call.type, call.name, set(call.input)) == ("tool_use", "weather", {"city", "days"})
    assert re.fullmatch(r"[a-zA-Z0-9_-]+", call.id)

    result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "clear"}
    conversation.append({"role": "assistant", "content": called.content})
    conversation.append({"role": "user", "content": [result]})
    told = ask(conversation)
    assert told.stop_reason == "end_turn"
    assert told.content[-1].type == "text"

    server = {K26: stage.novita, LINEAR: stage.vllm}.get(model, stage.moonshot)
    sent = server.requests[-1].body
    assert isinstance(sent, dict)
    assistant, tool = sent["messages"][1:]
    (made,) = assistant["tool_calls"]
    # The provider has its own id back, and the reasoning that led to the call under its own name for it.
    native = "weather_0" if model == "moonshotai/kimi-k3" else NATIVE
    assert made["id"] == tool["tool_call_id"] == native
    thought = {name: words for name, words in assistant.items() if name.startswith("reasoning")}
    if model == LINEAR:  # vLLM: versions differ in the name that they read
        assert thought == {"reasoning": REASONING, "reasoning_content": REASONING}
    else:
        assert thought == {"reasoning_content": REASONING}
    assert tool["content"] == "clear"


def test_instructions_and_images_reach_the_provider(stage: Stage, connect: Connect) -> None:
    pixel = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}
    blocks: Any = [{"type": "text", "text": "Look"}, {"type": "image", "source": pixel}]
    create(
        connect(),
        system="Be brief.",
        messages=[{"role": "user", "content": blocks}],
        extra_body={"top_k": 3},
    )
    sent = stage.novita.requests[-1].body
    assert isinstance(sent, dict)
    system, user = sent["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"][1]["image_url"]["url"] == "data:image/png;base64,iVBORw0KGgo="
    assert (sent["top_k"], sent["max_tokens"]) == (3, 100)


def test_an_answer_in_a_json_schema(stage: Stage, connect: Connect) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}},
        "required": ["name"],
        "additionalProperties": False,
    }
    answer = create(connect(), output_config={"format": {"type": "json_schema", "schema": schema}})
    assert set(json.loads(answer.content[-1].text)) == {"name"}


def test_thinking_can_be_switched_off(stage: Stage, connect: Connect) -> None:
    answer = create(
        connect(),
        "[[fault=error500,at=novita]] Hello!",
        model="moonshotai/kimi-k3.1-pro",
        thinking={"type": "disabled"},
    )
    assert [block.type for block in answer.content] == ["text"]


def test_the_output_cap_ends_the_answer(stage: Stage, connect: Connect) -> None:
    answer = create(connect(), max_tokens=9)
    assert (answer.stop_reason, answer.usage.output_tokens) == ("max_tokens", 9)


def test_cached_tokens_are_not_among_the_input(stage: Stage, connect: Connect) -> None:
    text = "The very same long beginning. " * 100  # 3000 bytes: 750 tokens, two blocks of 256
    client = connect()
    first, again = create(client, text).usage, create(client, text).usage
    assert (first.input_tokens, first.cache_read_input_tokens) == (750, 0)
    assert (again.input_tokens, again.cache_read_input_tokens) == (238, 512)
    assert again.cost < first.cost


async def test_the_async_client(stage: Stage) -> None:
    async with anthropic.AsyncAnthropic(
        base_url=stage.base_url.removesuffix("/v1"), api_key=stage.key
    ) as client:
        answer = await client.messages.create(model=K26, max_tokens=100, messages=HELLO)
        assert answer.content[-1].type == "text"
        async with client.messages.stream(model=K26, max_tokens=100, messages=HELLO) as stream:
            text = [piece async for piece in stream.text_stream]
        assert "".join(text) == ANSWER


def test_what_was_not_sent_is_said(stage: Stage) -> None:
    answer = stage.ask(
        asked(
            messages=[
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
                    ],
                }
            ],
            context_management={"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            thinking={"type": "enabled", "budget_tokens": 1024},
            metadata={"user_id": "u"},
        ),
        path="/v1/messages?beta=true",
        headers={"anthropic-version": "2023-06-01", "anthropic-beta": "context-management-2025"},
    )
    assert answer.status == 200
    assert answer.headers["x-tidegate-dropped"] == (
        "cache_control, context_management, thinking.budget_tokens"
    )


# Who asks


def test_the_key_comes_in_either_header(stage: Stage, connect: Connect) -> None:
    assert create(connect(auth_token=stage.key)).content
    # This version sends a bearer token either way; earlier ones, and Claude Code, `x-api-key`.
    assert create(connect(default_headers={"x-api-key": stage.key})).content
    other = {"x-api-key": stage.new_key()}
    with pytest.raises(anthropic.AuthenticationError) as two:
        create(connect(default_headers=other))
    assert "two different keys" in str(two.value.api_message)
    for path in ("/v1/models", "/api/v1/models"):
        assert stage.ask(path=path, key="", headers={"x-api-key": stage.key}).status == 200


# Errors


def test_each_failure_has_the_class_that_anthropics_client_gives_it(
    stage: Stage, connect: Connect
) -> None:
    client = connect()
    with pytest.raises(anthropic.AuthenticationError) as bad_key:
        create(connect(api_key="sk-ant-somebody-elses"))
    assert (bad_key.value.type, bad_key.value.error_code) == (
        "authentication_error",
        "invalid_api_key",
    )
    assert "Anthropic key" in str(bad_key.value.api_message)

    with pytest.raises(anthropic.NotFoundError) as unknown:
        create(client, model="claude-opus-9")
    assert unknown.value.error_code == "model_not_found"
    assert unknown.value.request_id is not None

    with pytest.raises(anthropic.BadRequestError) as bad:
        create(client, messages=[{"role": "user", "content": [{"type": "text", "text": 5}]}])
    assert bad.value.api_message == "messages.0.content.0.text: must be a string, not 5"

    with pytest.raises(anthropic.BadRequestError) as refused:
        create(client, "[[fault=error400]]", model="tests/error400-other")
    assert refused.value.error_code == "request_refused"

    with pytest.raises(anthropic.RateLimitError) as limited:
        create(client, "[[fault=error429_rate,retry_after=7]]", model="tests/error429_rate-other")
    assert (limited.value.type, limited.value.response.headers["retry-after"]) == (
        "rate_limit_error",
        "7",
    )
    with pytest.raises(anthropic.InternalServerError) as failed:
        create(client, "[[fault=error500]]", model="tests/error500-other")
    assert (failed.value.type, failed.value.status_code) == ("api_error", 502)

    with pytest.raises(anthropic.ServiceUnavailableError) as full:
        create(client, "[[fault=error429_overloaded]]", model="tests/error429_overloaded-other")
    assert full.value.type == "overloaded_error"

    with pytest.raises(anthropic.PaymentRequiredError) as poor:
        create(connect(api_key=stage.new_key("--budget", "0.0001")), max_tokens=4000)
    assert (poor.value.type, poor.value.error_code) == ("billing_error", "budget_exceeded")

    with pytest.raises(anthropic.RequestTooLargeError) as large:
        create(client, "x" * 1_000_001)
    assert large.value.error_code == "body_too_large"


def test_a_failure_in_mid_stream_is_raised_and_not_an_end(stage: Stage, connect: Connect) -> None:
    text: list[str] = []
    client = connect()
    with (
        pytest.raises(anthropic.APIStatusError) as broke,
        client.messages.stream(
            model="tests/cut-other",
            max_tokens=100,
            messages=[{"role": "user", "content": "[[fault=cut,after=8]]"}],
        ) as stream,
    ):
        text.extend(stream.text_stream)
    assert "".join(text) == "This is"
    assert (broke.value.type, broke.value.error_code) == ("api_error", "connection_lost")
    assert "charged" in str(broke.value.api_message)


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/messages", 405, "invalid_request_error"),
        ("POST", "/messages/count_tokens", 404, "not_found_error"),
        ("POST", "/messages/batches", 404, "not_found_error"),
    ],
)
def test_what_is_not_offered_is_refused_in_anthropics_form(
    stage: Stage, method: str, path: str, status: int, kind: str
) -> None:
    for base in ("/v1", "/api/v1"):
        answer = stage.ask({} if method == "POST" else None, path=base + path)
        assert (answer.status, answer.document["type"]) == (status, "error")
        assert answer.document["error"]["type"] == kind
        assert answer.document["request_id"] == answer.headers["request-id"]


def test_counting_tokens_ahead_is_refused_in_words(stage: Stage, connect: Connect) -> None:
    with pytest.raises(anthropic.NotFoundError) as refused:
        connect().messages.count_tokens(model=K26, messages=HELLO)
    assert "not counted ahead" in str(refused.value.api_message)


# Money


def entry(stage: Stage, identity: str) -> dict[str, Any]:
    """Generation and ledger entry, once they were shipped."""
    query = (
        "SELECT g.api, e.charge_pico, e.basis, e.fresh_input, e.output FROM generations g"
        " JOIN ledger_entries e ON e.generation_id = g.id WHERE g.id = :identity"
    )
    until = time.monotonic() + 10
    while time.monotonic() < until:
        if rows := stage.read(query, identity=identity):
            (row,) = rows
            return row
        time.sleep(0.02)
    raise AssertionError(f"{identity} never came to the ledger")


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_answer_costs_the_same_in_both_dialects(stage: Stage, stream: bool) -> None:  # noqa: FBT001 - a parameter
    openai = stage.ask(chat("Hello!", stream=stream, max_tokens=100))
    other = stage.ask(asked(stream=stream), path="/v1/messages")
    first, second = entry(stage, openai.generation), entry(stage, other.generation)
    assert (first["api"], second["api"]) == ("chat.completions", "messages")
    assert int(first["charge_pico"]) > 0
    assert {**first, "api": ""} == {**second, "api": ""}


async def test_a_caller_who_leaves_in_mid_stream_pays_what_it_got(stage: Stage) -> None:
    before = stage.novita.cancelled.count
    async with anthropic.AsyncAnthropic(
        base_url=stage.base_url.removesuffix("/v1"), api_key=stage.key
    ) as client:
        stream = await client.messages.create(
            model=K26,
            max_tokens=1000,
            messages=[{"role": "user", "content": "[[pace=20,n=500]] Hello!"}],
            stream=True,
        )
        identity = stream.response.headers["request-id"]
        deltas = 0
        async for event in stream:
            deltas += event.type == "content_block_delta"
            if deltas == 4:
                break
        await stream.close()
    await asyncio.to_thread(stage.loop.run, stage.novita.cancelled.wait(before + 1))
    row = await asyncio.to_thread(entry, stage, identity)
    assert (row["api"], row["basis"]) == ("messages", "estimated")
    assert 4 <= row["output"] < 60
    assert int(row["charge_pico"]) > 0


def test_records_and_metrics_say_which_dialect_it_was(stage: Stage, connect: Connect) -> None:
    name = 'tidegate_requests_total{api="messages",status="200",result="success"}'
    before = stage.metrics().get(name, 0)
    create(connect())
    assert stage.metrics()[name] == before + 1

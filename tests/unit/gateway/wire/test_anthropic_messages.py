"""The fields of a Messages request: what becomes of each, and what is refused in which words."""

import json
from typing import Any

import pytest
from msgspec import Raw

from gateway.errors import InvalidRequest
from gateway.wire.anthropic_messages import parse
from gateway.wire.request import ChatRequest
from tests.builders import MODEL, anthropic

WEATHER = {"name": "weather", "input_schema": {"type": "object", "properties": {}}}
PARAMETERS = {"parameters": {"type": "object", "properties": {}}}


def fields(request: ChatRequest) -> dict[str, Any]:
    """What goes on, without the messages."""
    return {
        name: json.loads(bytes(raw)) for name, raw in request.fields.items() if name != "messages"
    }


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parse(body)
    assert caught.value.status == 400
    return caught.value


def test_a_plain_request() -> None:
    body = anthropic()
    request = parse(body)
    assert (request.model, request.max_tokens, request.choices) == (MODEL, 20, 1)
    assert (request.stream, request.include_usage) == (False, True)
    assert request.dropped == ()
    assert list(request.fields) == ["messages"]
    assert json.loads(bytes(request.fields["messages"])) == [{"role": "user", "content": "Hello!"}]
    assert request.prompt_bytes == len(request.fields["messages"])
    assert parse(anthropic(stream=True)).stream


@pytest.mark.parametrize(
    ("theirs", "neutral"),
    [
        ({"temperature": 0.5}, {"temperature": 0.5}),
        ({"top_p": 1}, {"top_p": 1}),
        ({"top_k": 40}, {"top_k": 40}),
        ({"stop_sequences": ["\n\nHuman:", "ü"]}, {"stop": ["\n\nHuman:", "ü"]}),
        ({"stop_sequences": []}, {}),
        ({"metadata": {"user_id": "u-1", "more": 1}}, {"user": "u-1"}),
        ({"metadata": {}}, {}),
        ({"thinking": {"type": "disabled"}}, {}),  # the mode says it
        ({"provider": {"zdr": True}}, {}),
        ({"service_tier": "auto"}, {}),
        ({"service_tier": "standard_only"}, {}),
        ({"speed": "standard"}, {}),
        ({"inference_geo": "global"}, {}),
        ({"container": {}}, {}),
        ({"mcp_servers": []}, {}),
        ({"output_config": {"effort": "high"}}, {}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        (
            {"tools": [{**WEATHER, "description": "how it is", "strict": True}]},
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {
                            "name": "weather",
                            "description": "how it is",
                            **PARAMETERS,
                            "strict": True,
                        },
                    }
                ]
            },
        ),
        (
            {"tools": [{**WEATHER, "type": "custom"}], "tool_choice": None},
            {"tools": [{"type": "function", "function": {"name": "weather", **PARAMETERS}}]},
        ),
        ({"tools": []}, {}),
        # What Anthropic does not know goes on under its own name, for the endpoint's table to judge.
        ({"min_p": 0.1, "seed": 4}, {"min_p": 0.1, "seed": 4}),
        ({"chat_template_kwargs": {"a": [1]}}, {"chat_template_kwargs": {"a": [1]}}),
    ],
)
def test_fields_are_translated(theirs: dict[str, Any], neutral: dict[str, Any]) -> None:
    request = parse(anthropic(**theirs))
    assert fields(request) == neutral
    assert request.dropped == ()


@pytest.mark.parametrize(
    ("choice", "neutral"),
    [
        ({"type": "auto"}, {"tool_choice": "auto"}),
        ({"type": "any"}, {"tool_choice": "required"}),
        ({"type": "none"}, {"tool_choice": "none"}),
        (
            {"type": "tool", "name": "weather"},
            {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        ),
        (
            {"type": "auto", "disable_parallel_tool_use": True},
            {"tool_choice": "auto", "parallel_tool_calls": False},
        ),
        ({"type": "auto", "disable_parallel_tool_use": False}, {"tool_choice": "auto"}),
    ],
)
def test_a_tool_choice_is_translated(choice: dict[str, Any], neutral: dict[str, Any]) -> None:
    found = fields(parse(anthropic(tools=[WEATHER], tool_choice=choice)))
    assert {name: value for name, value in found.items() if name != "tools"} == neutral


@pytest.mark.parametrize(
    ("theirs", "dropped", "kept"),
    [
        ({"context_management": {"edits": [{"type": "x"}]}}, ["context_management"], {}),
        ({"cache_control": {"type": "ephemeral"}}, ["cache_control"], {}),
        ({"diagnostics": {"a": 1}, "betas": ["x"]}, ["betas", "diagnostics"], {}),
        ({"thinking": {"type": "between_tools"}}, ["thinking.type"], {}),
        ({"thinking": {"type": "enabled", "display": "x"}}, ["thinking.display"], {}),
        (
            {"thinking": {"type": "disabled"}, "output_config": {"effort": "high"}},
            ["output_config.effort"],
            {},
        ),
        (
            {"reasoning": {"effort": "low"}, "enable_thinking": True},
            ["enable_thinking", "reasoning"],
            {},
        ),
        # Names of OpenAI's dialect that would change the answer or its price do not slip through.
        ({"n": 4}, ["n"], {}),
        ({"stop": ["a"], "max_completion_tokens": 9}, ["max_completion_tokens", "stop"], {}),
        ({"logprobs": True, "top_logprobs": 3}, ["logprobs", "top_logprobs"], {}),
    ],
)
def test_what_is_left_out_is_said(
    theirs: dict[str, Any], dropped: list[str], kept: dict[str, Any]
) -> None:
    request = parse(anthropic(**theirs))
    assert sorted(request.dropped) == dropped
    assert fields(request) == kept
    assert request.choices == 1


def test_what_is_left_out_of_a_tool_is_said() -> None:
    more = {
        "cache_control": {"type": "ephemeral"},
        "input_examples": [{}],
        "defer_loading": True,
        "allowed_callers": ["direct"],
        "eager_input_streaming": False,
    }
    request = parse(anthropic(tools=[WEATHER | more]))
    assert sorted(request.dropped) == [
        "cache_control",
        "tools.allowed_callers",
        "tools.defer_loading",
        "tools.eager_input_streaming",
        "tools.input_examples",
    ]
    assert fields(request)["tools"][0]["function"].keys() == {"name", "parameters"}


@pytest.mark.parametrize(
    ("theirs", "param", "code", "words"),
    [
        ({"model": 5}, "model", "invalid_type", "a string"),
        ({"max_tokens": None}, "max_tokens", "missing_field", "max_tokens: Field required"),
        ({"max_tokens": "5"}, "max_tokens", "invalid_type", "Expected 'int | null', got 'str'"),
        ({"max_tokens": 0}, "max_tokens", "invalid_value", "at least 1"),
        ({"messages": None}, "messages", "missing_field", "at least one message"),
        ({"messages": []}, "messages", "invalid_value", "at least one message"),
        ({"messages": {}}, "messages", "invalid_type", "a list of messages"),
        ({"stream": 1}, "stream", "invalid_type", "stream: "),
        ({"temperature": "hot"}, "temperature", "invalid_type", "temperature: "),
        ({"stop_sequences": ["a", 1]}, "stop_sequences.1", "invalid_type", "'str'"),
        ({"metadata": {"user_id": 5}}, "metadata.user_id", "invalid_type", "'int'"),
        ({"metadata": 5}, "metadata", "invalid_type", "metadata: "),
        ({"service_tier": "priority"}, "service_tier", "unsupported_parameter", "'priority'"),
        ({"speed": "fast"}, "speed", "unsupported_parameter", "'standard'"),
        ({"inference_geo": "us"}, "inference_geo", "unsupported_parameter", "'us'"),
        ({"container": {"id": "c"}}, "container", "unsupported_parameter", "remove it"),
        ({"mcp_servers": [{}]}, "mcp_servers", "unsupported_parameter", "remove it"),
        ({"provider": {"order": ["a"]}}, "provider.order", "unsupported_parameter", "remove it"),
        ({"models": ["a"]}, "models", "unsupported_parameter", "remove 'models'"),
        ({"fallbacks": [{}]}, "fallbacks", "unsupported_parameter", "remove it"),
        ({"thinking": {"type": "often"}}, "thinking.type", "invalid_value", "'often'"),
        ({"thinking": {}}, "thinking", "invalid_type", "required field 'type'"),
        ({"thinking": True}, "thinking", "invalid_type", "got 'bool'"),
        ({"output_config": {"effort": 3}}, "output_config.effort", "invalid_type", "got 'int'"),
        (
            {"output_config": {"format": {"type": "grammar"}}},
            "output_config.format",
            "invalid_value",
            "'json_schema'",
        ),
        ({"tool_choice": {"type": "auto"}}, "tool_choice", "invalid_value", "with 'tools'"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "some"}},
            "tool_choice.type",
            "invalid_value",
            "'some'",
        ),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "tool"}},
            "tool_choice.name",
            "missing_field",
            "Field required",
        ),
        ({"tools": "x"}, "tools", "invalid_type", "got 'str'"),
        ({"tools": [WEATHER, 5]}, "tools.1", "invalid_type", "got 'int'"),
        ({"tools": [{"name": "a"}]}, "tools.0.input_schema", "missing_field", "Field required"),
        (
            {"tools": [{"name": "a", "input_schema": []}]},
            "tools.0.input_schema",
            "invalid_type",
            "an object",
        ),
        ({"tools": [{"input_schema": {}}]}, "tools.0.name", "missing_field", "Field required"),
        ({"tools": [{**WEATHER, "name": 5}]}, "tools.0.name", "invalid_type", "not 5"),
        (
            {"tools": [WEATHER, {"type": "web_search_20250305", "name": "web_search"}]},
            "tools.1.type",
            "unsupported_parameter",
            "'web_search_20250305' is defined or run by Anthropic",
        ),
        (
            {"output_config": {"format": {"type": "json_schema"}}},
            "output_config.format.schema",
            "missing_field",
            "Field required",
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": 5}}},
            "output_config.format.schema",
            "invalid_type",
            "must be an object",
        ),
        ({"tools": [{**WEATHER, "name": "a.b"}]}, "tools.0.name", "invalid_value", "1 to 128"),
        ({"tools": [{**WEATHER, "name": ""}]}, "tools.0.name", "invalid_value", "1 to 128"),
        ({"tools": [{**WEATHER, "name": "n" * 129}]}, "tools.0.name", "invalid_value", "1 to 128"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "tool", "name": "weather\n"}},
            "tool_choice.name",
            "invalid_value",
            "digits, '_' and '-'",
        ),
        ({"tools": [{**WEATHER, "description": 1}]}, "tools.0.description", "invalid_type", "1"),
    ],
)
def test_a_refusal_names_the_place(
    theirs: dict[str, Any], param: str, code: str, words: str
) -> None:
    error = refusal(anthropic(**theirs))
    assert (error.param, error.code) == (param, code)
    assert words in error.message
    assert error.message.startswith((f"{param}: ", "'model'", "'messages'", "'max_tokens'")) or (
        code == "unsupported_parameter"
    )


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"a":}', b'{"a":' + b"[" * 5000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert refusal(body).code == "invalid_json"


def test_a_name_that_is_not_utf8_is_refused() -> None:
    assert refusal(b'{"\xff":1}').code == "invalid_utf8"
    tool = b'{"name":"a","type":"\xff","input_schema":{}}'
    broken = anthropic()[:-1] + b',"tools":[' + tool + b"]}"
    assert refusal(broken).code == "invalid_utf8"


def test_tools_count_twice_towards_the_prompt() -> None:
    request = parse(anthropic(tools=[WEATHER]))
    sizes = {name: len(raw) for name, raw in request.fields.items()}
    assert request.prompt_bytes == sizes["messages"] + 2 * sizes["tools"]


def test_numbers_pass_as_they_were_written() -> None:
    body = anthropic().replace(b'"max_tokens"', b'"temperature": 0.10000000000000001, "max_tokens"')
    assert bytes(parse(body).fields["temperature"]) == b"0.10000000000000001"
    assert isinstance(parse(body).fields["temperature"], Raw)


@pytest.mark.parametrize("space", [0, 1, 70, 100_000])
def test_a_list_of_nothing_but_white_space_is_empty(space: int) -> None:
    empty = b"[" + b" \n\t\r"[:space] * (space // 4 + 1) + b"]"
    body = anthropic().replace(b'[{"role": "user", "content": "Hello!"}]', empty)
    assert (refusal(body).param, refusal(body).code) == ("messages", "invalid_value")


@pytest.mark.parametrize("place", [0, 65_535, 65_536, 200_000])
def test_a_body_that_is_not_utf8_is_refused_wherever_that_is(place: int) -> None:
    text = bytearray("é".encode() * 150_000)
    body = anthropic(system="S").replace(b'"S"', b'"' + bytes(text) + b'"')
    for lead in (b"", b" "):  # so that in one of the two a letter lies across each border of chunks
        assert bytes(text) in bytes(parse(lead + body).fields["messages"])
    start = body.index(text) + place
    error = refusal(body[:start] + b"\xff" + body[start:])
    assert error.code == "invalid_utf8"
    assert f"at byte {start}" in error.message or f"at byte {start - 1}" in error.message
    assert refusal(anthropic()[:-1] + b"\xc3").code == "invalid_utf8"

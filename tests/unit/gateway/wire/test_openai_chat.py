"""Bytes to a request: what is read, and what is refused with which code and field."""

import json
from typing import Any

import pytest

from gateway.errors import InvalidRequest
from gateway.wire.openai_chat import parse
from gateway.wire.request import ChatRequest
from tests.builders import MODEL, chat

MESSAGES = '"messages":[{"role":"user","content":"Hi"}]'


def read(body: bytes | str) -> ChatRequest:
    return parse(body.encode() if isinstance(body, str) else body, usage_always=False)


def refusal(body: bytes | str) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(body)
    return caught.value


def test_a_plain_request_has_the_defaults() -> None:
    body = chat()
    request = read(body)
    assert (request.model, request.stream, request.include_usage) == (MODEL, False, False)
    assert (request.max_tokens, request.choices) == (None, 1)
    assert request.prompt_bytes == len(body)
    assert set(request.fields) == {"model", "messages"}


def test_message_content_stays_the_callers_own_bytes() -> None:
    raw = '[ {"role":"user", "content":"\\u00fc \\ud83d\\ude00\\n"} ]'
    request = read(f'{{"model":"m","messages":{raw}}}')
    assert bytes(request.fields["messages"]) == raw.encode()


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ({"stream": True}, "stream", True),
        ({"stream": False}, "stream", False),
        ({"max_tokens": 7}, "max_tokens", 7),
        ({"max_completion_tokens": 8}, "max_tokens", 8),
        ({"max_completion_tokens": 8, "max_tokens": 7}, "max_tokens", 8),
        ({"n": 16}, "choices", 16),
        ({"stream_options": {"include_usage": True}}, "include_usage", True),
        ({"stream_options": {"include_usage": False}}, "include_usage", False),
        ({"stream_options": {}}, "include_usage", False),
        ({"stream_options": {"further": 1}}, "include_usage", False),
        ({"usage": {"include": True}}, "include_usage", True),
        ({"service_tier": "auto"}, "choices", 1),
        ({"service_tier": "default"}, "choices", 1),
        ({"provider": {}}, "choices", 1),
        ({"models": []}, "choices", 1),
        ({"preset": ""}, "choices", 1),
        ({"unheard_of": {"a": 1}}, "choices", 1),
    ],
)
def test_good_fields_are_read(fields: dict[str, Any], name: str, value: object) -> None:
    assert getattr(read(chat(**fields)), name) == value


@pytest.mark.parametrize(
    "field",
    [
        "stream",
        "stream_options",
        "usage",
        "max_tokens",
        "max_completion_tokens",
        "n",
        "service_tier",
        "provider",
        "models",
        "functions",
    ],
)
def test_null_means_not_sent(field: str) -> None:
    request = read(f'{{"model":"m",{MESSAGES},"{field}":null}}')
    assert (request.stream, request.max_tokens, request.choices) == (False, None, 1)


def test_under_openrouters_contract_usage_always_comes() -> None:
    assert parse(chat(stream=True), usage_always=True).include_usage


def test_tools_count_twice_as_templates_render_them_larger() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    body = chat(tools=tools)
    assert read(body).prompt_bytes == len(body) + len(json.dumps(tools))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"text"',
        b"{'model': 'm'}",
        b'{"model":"m",}',
        b'{"model":"m"} trailing',
        b'{"messages":[{"role":"user","content":"\x01"}]}'.replace(b"]}", b"}"),
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
    ids=range(10),
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    error = refusal(body)
    assert (error.code, error.param, error.status) == ("invalid_json", None, 400)
    assert len(error.message) < 300


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (f'{{"model":null,{MESSAGES}}}', "invalid_type", "model"),
        (f'{{"model":5,{MESSAGES}}}', "invalid_type", "model"),
        (f'{{"model":"",{MESSAGES}}}', "invalid_value", "model"),
        (f'{{"model":"{"m" * 257}",{MESSAGES}}}', "invalid_value", "model"),
        (f'{{"model":"a\\nb",{MESSAGES}}}', "invalid_value", "model"),
        ('{"model":"m"}', "missing_field", "messages"),
        ('{"model":"m","messages":null}', "invalid_type", "messages"),
        ('{"model":"m","messages":"Hi"}', "invalid_type", "messages"),
        ('{"model":"m","messages":{"role":"user"}}', "invalid_type", "messages"),
        ('{"model":"m","messages":[]}', "invalid_value", "messages"),
        ('{"model":"m","messages":[' + " \n\r\t" * 20 + "]}", "invalid_value", "messages"),
        ('{"model":"m","messages":[ \n ]}', "invalid_value", "messages"),
    ],
)
def test_model_and_messages_are_required(body: str, code: str, param: str) -> None:
    error = refusal(body)
    assert (error.code, error.param) == (code, param)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("stream", '"true"', "invalid_type"),
        ("stream", "1", "invalid_type"),
        ("stream_options", "true", "invalid_type"),
        ("stream_options", '{"include_usage":"yes"}', "invalid_type"),
        ("usage", '"include"', "invalid_type"),
        ("max_tokens", '"10"', "invalid_type"),
        ("max_tokens", "1.5", "invalid_type"),
        ("max_tokens", "true", "invalid_type"),
        ("max_tokens", "0", "invalid_value"),
        ("max_tokens", "-1", "invalid_value"),
        ("max_tokens", "100000001", "invalid_value"),
        ("max_tokens", "1" + "0" * 30, "invalid_value"),
        ("max_completion_tokens", "0", "invalid_value"),
        ("n", "0", "invalid_value"),
        ("n", "17", "invalid_value"),
        ("n", "[]", "invalid_type"),
        ("service_tier", '"flex"', "unsupported_parameter"),
        ("service_tier", "5", "invalid_type"),
        ("provider", "true", "invalid_type"),
        ("models", '["a/b"]', "unsupported_parameter"),
        ("route", '"fallback"', "unsupported_parameter"),
        ("plugins", '[{"id":"web"}]', "unsupported_parameter"),
        ("transforms", '["middle-out"]', "unsupported_parameter"),
        ("preset", "1", "invalid_type"),
        ("web_search_options", '{"a":1}', "unsupported_parameter"),
        ("audio", '{"voice":"x"}', "unsupported_parameter"),
        ("functions", '[{"name":"f"}]', "unsupported_parameter"),
        ("function_call", '"auto"', "unsupported_parameter"),
        ("tools", '"all"', "invalid_type"),
        (
            "tools",
            '[{"type":"builtin_function","function":{"name":"$code_runner"}}]',
            "unsupported_parameter",
        ),
    ],
)
def test_a_bad_field_is_named(field: str, value: str, code: str) -> None:
    error = refusal(f'{{"model":"m",{MESSAGES},"{field}":{value}}}')
    assert (error.code, error.param, error.status) == (code, field, 400)
    assert f"'{field}'" in error.message or "service tier" in error.message


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b'{"model":"\xff","messages":[{}]}', "model"),
        (b'{"\xff":1,"model":"m","messages":[{}]}', None),
    ],
)
def test_text_that_is_read_must_be_utf_8(body: bytes, param: str | None) -> None:
    error = refusal(body)
    assert (error.code, error.param) == ("invalid_utf8", param)


def test_a_refusal_never_quotes_a_prompt() -> None:
    error = refusal('{"model":"m","messages":"my secret prompt"}')
    assert "secret" not in error.message
    error = refusal(f'{{"model":["my secret"],{MESSAGES}}}')
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("part", "refers"),
    [
        ({"type": "text", "text": "https://example.com/"}, False),
        ({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}, True),
        ({"type": "image_url", "image_url": {"url": "ms://file-1"}}, True),
        ({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, True),
        ({"type": "video_url", "video_url": {"url": "ms://file-2"}}, True),
        ({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, True),
    ],
)
def test_media_are_seen(part: dict[str, Any], refers: bool) -> None:  # noqa: FBT001 - a column
    assert read(chat(messages=[{"role": "user", "content": [part]}])).refers_to_media is refers

"""Requests that cannot be served: each is told what to change, and none is ever a 500."""

import gzip
import json
from typing import Any

import pytest

from tests.fakes.stage import K26, Stage, chat

GOOD = json.dumps(chat()).encode()


def body(**fields: Any) -> bytes:
    return json.dumps(chat(**fields)).encode()


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in chat().items() if key != name}).encode()


def raw(name: str, value: bytes) -> bytes:
    """A good body with one more field, byte for byte."""
    return GOOD[:-1] + b', "%b": %b}' % (name.encode(), value)


def deep(bracket: bytes, closing: bytes, depth: int = 100_000) -> bytes:
    return bracket * depth + closing * depth


# What is sent, and the status, code and parameter of the refusal, and a word of what to do.
TABLE: dict[str, tuple[bytes, int, str, str | None, str]] = {
    "empty body": (b"", 400, "invalid_json", None, "JSON"),
    "not JSON": (b"hello", 400, "invalid_json", None, "not valid JSON"),
    "cut JSON": (GOOD[:-1], 400, "invalid_json", None, "not valid JSON"),
    "two documents": (GOOD + GOOD, 400, "invalid_json", None, "not valid JSON"),
    "trailing comma": (GOOD[:-1] + b",}", 400, "invalid_json", None, "not valid JSON"),
    "a list": (b"[" + GOOD + b"]", 400, "invalid_json", None, "must be a JSON object"),
    "a string": (b'"hello"', 400, "invalid_json", None, "must be a JSON object"),
    "null": (b"null", 400, "invalid_json", None, "must be a JSON object"),
    "UTF-16": (GOOD.decode().encode("utf-16"), 400, "invalid_json", None, "not valid JSON"),
    "byte order mark": (b"\xef\xbb\xbf" + GOOD, 400, "invalid_json", None, "not valid JSON"),
    "no model": (without("model"), 400, "missing_field", "model", "/v1/models"),
    "model null": (body(model=None), 400, "invalid_type", "model", "must be a string"),
    "model number": (body(model=5), 400, "invalid_type", "model", "must be a string"),
    "model object": (body(model={}), 400, "invalid_type", "model", "must be a string"),
    "model empty": (body(model=""), 400, "invalid_value", "model", "1 to 256"),
    "model long": (body(model="m" * 300), 400, "invalid_value", "model", "1 to 256"),
    "model unprintable": (body(model="a\nb"), 400, "invalid_value", "model", "printable"),
    "model unknown": (body(model="openai/gpt-7"), 404, "model_not_found", "model", "/v1/models"),
    "model not UTF-8": (b'{"model":"\xff","messages":[1]}', 400, "invalid_utf8", "model", "UTF-8"),
    "field name not UTF-8": (b'{"\xff":1,' + GOOD[1:], 400, "invalid_utf8", None, "UTF-8"),
    "no messages": (without("messages"), 400, "missing_field", "messages", "at least one"),
    "messages null": (
        body()[:-1] + b', "messages": null}',
        400,
        "invalid_type",
        "messages",
        "list",
    ),
    "messages string": (
        body()[:-1] + b', "messages": "hi"}',
        400,
        "invalid_type",
        "messages",
        "list",
    ),
    "messages empty": (
        body()[:-1] + b', "messages": [ ]}',
        400,
        "invalid_value",
        "messages",
        "one",
    ),
    "stream word": (body(stream="yes"), 400, "invalid_type", "stream", "true or false"),
    "stream number": (body(stream=1), 400, "invalid_type", "stream", "true or false"),
    "stream_options": (body(stream_options=[]), 400, "invalid_type", "stream_options", "an object"),
    "include_usage": (
        body(stream_options={"include_usage": "yes"}),
        400,
        "invalid_type",
        "stream_options",
        "object",
    ),
    "usage": (body(usage="yes"), 400, "invalid_type", "usage", "an object"),
    "max_tokens negative": (body(max_tokens=-5), 400, "invalid_value", "max_tokens", "at least 1"),
    "max_tokens zero": (body(max_tokens=0), 400, "invalid_value", "max_tokens", "at least 1"),
    "max_tokens huge": (body(max_tokens=10**9), 400, "invalid_value", "max_tokens", "at most"),
    "max_tokens part": (body(max_tokens=1.5), 400, "invalid_type", "max_tokens", "whole number"),
    "max_tokens string": (body(max_tokens="5"), 400, "invalid_type", "max_tokens", "whole number"),
    "max_tokens true": (body(max_tokens=True), 400, "invalid_type", "max_tokens", "whole number"),
    "max_tokens beyond 64 bits": (
        raw("max_tokens", b"9" * 400),
        400,
        "invalid_value",
        "max_tokens",
        "at most",
    ),
    "max_tokens of 10,000 digits": (
        raw("max_tokens", b"9" * 10_000),
        400,
        "invalid_type",
        "max_tokens",
        "whole number",
    ),
    "max_tokens exponent": (
        raw("max_tokens", b"1e999"),
        400,
        "invalid_type",
        "max_tokens",
        "whole number",
    ),
    "max_completion_tokens": (
        body(max_completion_tokens=-1),
        400,
        "invalid_value",
        "max_completion_tokens",
        "at least 1",
    ),
    "n zero": (body(n=0), 400, "invalid_value", "n", "between 1 and 16"),
    "n huge": (body(n=10**30), 400, "invalid_value", "n", "between 1 and 16"),
    "n many": (body(n=17), 400, "invalid_value", "n", "between 1 and 16"),
    "n string": (body(n="1"), 400, "invalid_type", "n", "whole number"),
    "service_tier": (
        body(service_tier="flex"),
        400,
        "unsupported_parameter",
        "service_tier",
        "auto",
    ),
    "service_tier type": (body(service_tier=1), 400, "invalid_type", "service_tier", "a string"),
    "provider": (
        body(provider={"order": ["x"]}),
        400,
        "unsupported_parameter",
        "provider.order",
        "remove",
    ),
    "models": (body(models=[K26]), 400, "unsupported_parameter", "models", "one 'model'"),
    "route": (body(route="fallback"), 400, "unsupported_parameter", "route", "remove"),
    "plugins": (body(plugins=[{"id": "web"}]), 400, "unsupported_parameter", "plugins", "remove"),
    "transforms": (body(transforms=["x"]), 400, "unsupported_parameter", "transforms", "remove"),
    "functions": (body(functions=[{}]), 400, "unsupported_parameter", "functions", "'tools'"),
    "audio": (body(audio={"voice": "x"}), 400, "unsupported_parameter", "audio", "remove"),
    "deep brackets": (deep(b"[", b"]"), 400, "invalid_json", None, ""),
    "deep objects": (deep(b'{"a":', b"}"), 400, "invalid_json", None, ""),
    "deep content": (
        raw("metadata", deep(b"[", b"]")),
        400,
        "invalid_json",
        None,
        "",
    ),
    "deep and unclosed": (raw("tools", b"[" * 100_000), 400, "invalid_json", None, ""),
    "escape that is none": (raw("user", b'"\\x"'), 400, "invalid_json", None, "not valid JSON"),
    "NaN": (raw("temperature", b"NaN"), 400, "invalid_json", None, "not valid JSON"),
}


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/v1/chat/completions"])
def test_a_bad_request_is_told_what_to_change(stage: Stage, name: str, path: str) -> None:
    sent, status, code, param, word = TABLE[name]
    answer = stage.ask(sent, path=path)
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-generation-id"] == answer.headers["x-request-id"]
    error = answer.document["error"]
    assert (error["code"], error["param"]) == (code, param), error
    assert error["type"] in {"invalid_request_error", "not_found_error"}
    assert word in error["message"], error
    assert len(error["message"]) < 2000


def test_a_duplicate_name_cannot_hide_another(stage: Stage) -> None:
    """What was checked is what is sent on: of two, the last one counts, here and upstream."""
    answer = stage.ask(raw("max_tokens", b"-1"))
    assert answer.status == 400
    twice = b'{"max_tokens": -1, "max_tokens": 9, ' + GOOD[1:]
    assert stage.ask(twice).document["choices"][0]["finish_reason"] == "length"
    sent = stage.novita.requests[-1].body
    assert isinstance(sent, dict)
    assert sent["max_tokens"] == 9
    hidden = GOOD[:-1] + b', "mod\\u0065l": "openai/gpt-7"}'
    assert stage.ask(hidden).status == 404


def test_what_the_gateway_does_not_read_is_the_callers_own(stage: Stage) -> None:
    """Null, empty and unknown fields do no harm; those that go nowhere are named."""
    answer = stage.ask(
        chat(max_tokens=None, n=None, stream=None, provider=None, models=[], wishes={"a": 1})
    )
    assert answer.status == 200
    assert answer.headers["x-tidegate-dropped"] == "wishes"


KEYS = {
    "": (401, "missing_api_key", "no API key was sent"),
    "Bearer": (401, "missing_api_key", "no key after"),
    "Basic dXNlcjpwYXNz": (401, "invalid_api_key", "not of the form"),
    "Bearer sk-or-v1-0123456789abcdef": (401, "invalid_api_key", "OpenRouter key"),
    "Bearer $TIDEGATE_KEY": (401, "invalid_api_key", "placeholder"),
    "Bearer sk-tg-" + "0" * 46: (401, "invalid_api_key", "mistyped"),
    "Bearer sk-tg-short": (401, "invalid_api_key", "was cut"),
}


@pytest.mark.parametrize("header", KEYS)
def test_a_wrong_key_is_told_apart_from_a_missing_one(stage: Stage, header: str) -> None:
    status, code, word = KEYS[header]
    sent = {"Authorization": header} if header else {}
    for ask in (
        {"body": GOOD},
        {"path": "/v1/models"},
        {"path": "/v1/generation?id=gen-x"},
    ):
        answer = stage.ask(key="", headers=sent, **ask)
        assert (answer.status, answer.document["error"]["code"]) == (status, code)
        assert word in answer.document["error"]["message"]
        assert header[10:] not in answer.body.decode() or not header[10:]


@pytest.mark.parametrize(
    ("path", "asked", "word"),
    [
        ("/chat/completions", {"body": b"hello"}, "invalid_request"),
        ("/chat/completions", {"body": body(model="openai/gpt-7")}, "not_found"),
        ("/chat/completions", {"body": GOOD, "key": "nonsense"}, "authentication"),
        ("/chat/completions", {"body": chat("x" * 1_000_001)}, "payload_too_large"),
        ("/models", {"key": "nonsense"}, "authentication"),
        ("/generation?id=gen-x", {}, "not_found"),
        ("/nothing", {}, "not_found"),
    ],
)
def test_under_openrouters_base_every_error_has_its_word(
    stage: Stage, path: str, asked: dict[str, Any], word: str
) -> None:
    told = stage.ask(path="/api/v1" + path, **asked)
    assert told.document["error"]["metadata"]["error_type"] == word
    plain = stage.ask(path="/v1" + path, **asked)
    assert "error_type" not in plain.document["error"].get("metadata", {})
    assert plain.status == told.status


def test_a_key_of_another_installation_is_refused(stage: Stage) -> None:
    from gateway.auth.keys import new_key  # noqa: PLC0415 - only here

    answer = stage.ask(GOOD, key=new_key())
    assert (answer.status, answer.document["error"]["code"]) == (401, "invalid_api_key")


def test_a_body_over_the_limit_is_refused(stage: Stage) -> None:
    answer = stage.ask(chat("x" * 1_000_001))
    assert (answer.status, answer.document["error"]["code"]) == (413, "body_too_large")
    assert "max_body_bytes" in answer.document["error"]["message"]


def test_a_compressed_body_is_refused(stage: Stage) -> None:
    answer = stage.ask(gzip.compress(GOOD), headers={"Content-Encoding": "gzip"})
    assert (answer.status, answer.document["error"]["code"]) == (415, "invalid_content_encoding")
    assert stage.ask(GOOD, headers={"Content-Encoding": "identity"}).status == 200


def test_content_that_is_not_utf8_is_the_providers_to_refuse(stage: Stage) -> None:
    sent = b'{"model": "%b", "messages": [{"role": "user", "content": "\xff"}]}' % K26.encode()
    answer = stage.ask(sent)
    assert 400 <= answer.status < 500, answer.body


def test_a_prompt_that_no_endpoint_can_hold_is_refused_with_the_reason(stage: Stage) -> None:
    answer = stage.ask(chat("x" * 200_000, model="moonshotai/kimi-linear-48b-a3b-instruct"))
    error = answer.document["error"]
    assert (answer.status, error["code"]) == (404, "no_endpoint")
    assert error["metadata"]["excluded"] == [{"endpoint": "gpu/linear", "reason": "context_length"}]


@pytest.mark.parametrize(
    ("method_path", "status", "code"),
    [
        ("/v1/nothing", 404, "no_route"),
        ("/", 404, "no_route"),
        ("/v1/chat/completions", 405, "method_not_allowed"),
        ("/v1/%ff%00", 404, "no_route"),
    ],
)
def test_a_wrong_address_is_told_in_the_same_shape(
    stage: Stage, method_path: str, status: int, code: str
) -> None:
    answer = stage.ask(path=method_path)
    assert (answer.status, answer.document["error"]["code"]) == (status, code)
    assert answer.document["error"]["message"]


def test_a_post_to_a_read_only_address_is_told_in_the_same_shape(stage: Stage) -> None:
    answer = stage.ask(GOOD, path="/v1/models")
    assert (answer.status, answer.document["error"]["code"]) == (405, "method_not_allowed")

"""The vLLM stand-in speaks the wire measured on vLLM 0.32 in 2026-11."""

from typing import Any

import pytest

from backends.sandbox import SandboxServer, Vllm
from tests.contract.sandbox.caller import TOOL, chat, chat_body, chat_path, request


async def test_reasoning_has_its_own_name_and_no_key_is_needed(vllm: SandboxServer) -> None:
    reply = await request(vllm, "POST", chat_path(vllm), chat_body(vllm), key=None)
    assert reply.status == 200
    message = reply.json["choices"][0]["message"]
    assert message["reasoning"] == "These words stand for reasoning."
    assert "reasoning_content" not in message
    assert list(reply.json["usage"]) == [
        "prompt_tokens",
        "total_tokens",
        "completion_tokens",
        "prompt_tokens_details",
        "completion_tokens_details",
    ]
    off = await chat(vllm, chat_template_kwargs={"thinking": False})
    assert off.json["choices"][0]["message"]["reasoning"] is None


async def test_a_stream_has_usage_only_if_asked(vllm: SandboxServer) -> None:
    plain = await chat(vllm, "[[think=1,n=1]]", stream=True)
    assert plain.deltas == [
        {"role": "assistant", "content": ""},
        {"reasoning": "These"},
        {"content": "This"},
        {},
    ]
    assert all("usage" not in chunk for chunk in plain.chunks)
    asked = await chat(vllm, stream=True, stream_options={"include_usage": True})
    assert asked.chunks[-1]["choices"] == []
    assert asked.chunks[-1]["usage"]["completion_tokens_details"] == {"reasoning_tokens": 6}
    assert "prompt_tokens_details" not in asked.chunks[-1]["usage"]


async def test_at_the_length_limit_the_reason_stands_beside_the_last_piece(
    vllm: SandboxServer,
) -> None:
    reply = await chat(vllm, stream=True, max_tokens=8)
    last = reply.chunks[-1]["choices"][0]
    assert last["finish_reason"] == "length"
    assert last["delta"] == {"content": " is"}


async def test_a_streamed_tool_call_opens_with_its_first_arguments(vllm: SandboxServer) -> None:
    reply = await chat(vllm, stream=True, tools=[TOOL])
    fragments = [d["tool_calls"][0] for d in reply.deltas if "tool_calls" in d]
    assert list(fragments[0]) == ["id", "type", "index", "function"]
    assert fragments[0]["function"] == {"name": "get_weather", "arguments": '{"city":'}
    assert "".join(f["function"]["arguments"] for f in fragments) == '{"city":"Paris"}'


async def test_a_whole_tool_call_has_null_content_unless_required(vllm: SandboxServer) -> None:
    auto = await chat(vllm, tools=[TOOL])
    assert auto.json["choices"][0]["message"]["content"] is None
    required = await chat(vllm, tools=[TOOL], tool_choice="required")
    assert required.json["choices"][0]["message"]["content"] == ""


async def test_the_callers_request_id_becomes_the_replys(vllm: SandboxServer) -> None:
    own = {"X-Request-Id": "abc123"}
    reply = await request(vllm, "POST", chat_path(vllm), chat_body(vllm), headers=own)
    assert reply.json["id"] == "chatcmpl-abc123"


async def test_an_alias_is_answered_under_the_first_name() -> None:
    async with SandboxServer(Vllm(models=["first", "second"])) as server:
        reply = await chat(server, model="second")
        assert reply.json["model"] == "first"
        listed = await request(server, "GET", "/v1/models")
        assert [row["id"] for row in listed.json["data"]] == ["first", "second"]


@pytest.mark.parametrize(
    ("fields", "status", "kind", "param"),
    [
        ({"model": "nope"}, 404, "NotFoundError", "model"),
        ({"max_tokens": 0}, 400, "BadRequestError", "max_tokens"),
        ({"max_tokens": 5000}, 400, "BadRequestError", "max_tokens"),
        ({"cache_salt": ""}, 400, "BadRequestError", "cache_salt"),
        ({"cache_salt": 7}, 400, "BadRequestError", "cache_salt"),
        ({"messages": None}, 400, "Bad Request", "body.messages"),
        (
            {"messages": [{"role": "user", "content": "x" * 8192}]},
            400,
            "BadRequestError",
            "input_tokens",
        ),
    ],
)
async def test_refusals_name_the_parameter_and_have_a_numeric_code(
    fields: dict[str, Any], status: int, kind: str, param: str
) -> None:
    async with SandboxServer(Vllm(context=2048)) as server:
        reply = await chat(server, **fields)
    assert reply.status == status
    error = reply.json["error"]
    assert (error["type"], error["param"], error["code"]) == (kind, param, status)


async def test_a_salt_divides_the_prompt_cache() -> None:
    async with SandboxServer(Vllm(cache_details=True)) as server:
        cached = []
        for salt in ("a", "b", "a", None, None):
            reply = await chat(server, "x" * 4000, cache_salt=salt)
            details = reply.json["usage"]["prompt_tokens_details"]
            cached.append(details["cached_tokens"] > 0)
    assert cached == [False, False, True, False, True]


async def test_a_full_queue_is_503_without_retry_after(vllm: SandboxServer) -> None:
    reply = await chat(vllm, "[[fault=error429_overloaded]]")
    assert reply.status == 503
    assert "retry-after" not in reply.headers


async def test_a_dead_engine_is_an_error_event_and_an_end_mark(vllm: SandboxServer) -> None:
    reply = await chat(vllm, "[[fault=error_event,after=1]]", stream=True)
    assert reply.status == 200
    assert reply.chunks[-1]["error"]["type"] == "InternalServerError"
    assert reply.data[-1] == b"[DONE]"


async def test_health_is_empty_and_a_wrong_key_is_a_bare_string() -> None:
    async with SandboxServer("vllm", keys={"good"}) as server:
        health = await request(server, "GET", "/health", key=None)
        assert (health.status, health.body) == (200, b"")
        refused = await request(server, "GET", "/v1/models", key="bad")
        assert (refused.status, refused.json) == (401, {"error": "Unauthorized"})

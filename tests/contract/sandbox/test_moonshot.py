"""The Moonshot stand-in speaks the wire that recordings of 2026-09-03 show."""

from typing import Any

import pytest

from backends.sandbox import Moonshot, SandboxServer, count_prompt_tokens
from tests.contract.sandbox.caller import TOOL, chat, chat_body, chat_path, request

USAGE = {"include_usage": True}
LONG = "a long prompt " * 100  # 1400 bytes: 350 tokens


def error(reply: Any) -> tuple[int, str, str]:
    detail = reply.json["error"]
    assert list(detail) == ["message", "type"]
    return reply.status, detail["type"], detail["message"]


async def test_a_whole_reply_has_the_recorded_fields_in_order(moonshot: SandboxServer) -> None:
    reply = await chat(moonshot)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json; charset=utf-8"
    assert reply.headers["msh-request-id"]
    assert list(reply.json) == ["id", "object", "created", "model", "choices", "usage"]
    (choice,) = reply.json["choices"]
    assert list(choice) == ["index", "message", "finish_reason"]
    assert list(choice["message"]) == ["role", "content", "reasoning_content"]
    assert reply.json["id"].startswith("chatcmpl-")
    assert len(reply.json["id"]) == len("chatcmpl-6a996b39a6c67ea270476bab")
    assert reply.json["usage"] == {
        "prompt_tokens": 2,
        "completion_tokens": 22 + 1,
        "total_tokens": 25,
        "completion_tokens_details": {"reasoning_tokens": 6},
    }


async def test_a_stream_shows_role_thinking_its_end_content_and_usage_twice(
    moonshot: SandboxServer,
) -> None:
    reply = await chat(moonshot, "[[think=2,n=2]]", stream=True, stream_options=USAGE)
    assert reply.headers["content-type"] == "text/event-stream"
    assert reply.deltas == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "These"},
        {"reasoning_content": " words"},
        {"reasoning_content": ""},
        {"content": "This"},
        {"content": " is"},
        {},
    ]
    *ordinary, finish, bill = reply.chunks
    assert all("usage" not in chunk for chunk in ordinary)
    assert all("usage" not in chunk["choices"][0] for chunk in ordinary)
    assert list(finish["choices"][0]) == ["index", "delta", "finish_reason", "usage"]
    assert finish["choices"][0]["usage"] == bill["usage"]
    assert bill["usage"]["completion_tokens"] == 4
    assert bill["choices"] == []
    assert "system_fingerprint" in finish
    assert "system_fingerprint" not in bill
    assert reply.data[-1] == b"[DONE]"


async def test_without_include_usage_only_the_finish_chunk_has_it(moonshot: SandboxServer) -> None:
    reply = await chat(moonshot, stream=True)
    assert reply.chunks[-1]["choices"][0]["usage"]["prompt_tokens"] == 2
    assert all(chunk["choices"] for chunk in reply.chunks)


async def test_a_streamed_tool_call_opens_with_id_and_goes_on_with_arguments(
    moonshot: SandboxServer,
) -> None:
    reply = await chat(moonshot, stream=True, tools=[TOOL])
    fragments = [d["tool_calls"][0] for d in reply.deltas if "tool_calls" in d]
    assert fragments[0] == {
        "index": 0,
        "id": "get_weather_0",
        "type": "function",
        "function": {"name": "get_weather", "arguments": ""},
    }
    assert all(set(f) == {"index", "function"} for f in fragments[1:])
    assert "".join(f["function"]["arguments"] for f in fragments) == '{"city":"Paris"}'
    assert reply.chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_whole_tool_call_has_an_index_and_k2_ids_have_kimis_form(
    moonshot: SandboxServer,
) -> None:
    reply = await chat(moonshot, tools=[TOOL])
    (call,) = reply.json["choices"][0]["message"]["tool_calls"]
    assert list(call) == ["index", "id", "type", "function"]
    reply = await chat(moonshot, tools=[TOOL], model="kimi-k2.6")
    (call,) = reply.json["choices"][0]["message"]["tool_calls"]
    assert call["id"] == "functions.get_weather:0"


async def test_a_repeated_long_prefix_is_reported_in_both_places(moonshot: SandboxServer) -> None:
    first = (await chat(moonshot, LONG)).json["usage"]
    second = (await chat(moonshot, LONG + "more")).json["usage"]
    assert "cached_tokens" not in first
    assert "prompt_tokens_details" not in first
    assert second["cached_tokens"] == 256
    assert second["prompt_tokens_details"] == {"cached_tokens": 256}
    expected = count_prompt_tokens([{"role": "user", "content": LONG + "more"}])
    assert second["prompt_tokens"] == expected == 351
    other = chat_body(moonshot, LONG)
    reply = await request(moonshot, "POST", chat_path(moonshot), other, key="sk-other")
    assert "cached_tokens" not in reply.json["usage"]


async def test_thinking_can_be_switched_off(moonshot: SandboxServer) -> None:
    off = {"type": "disabled"}
    k3 = (await chat(moonshot, thinking=off)).json
    assert "reasoning_content" not in k3["choices"][0]["message"]
    assert "completion_tokens_details" not in k3["usage"]
    k2 = (await chat(moonshot, thinking=off, model="kimi-k2.6", temperature=0.6)).json
    assert k2["choices"][0]["message"]["reasoning_content"] == ""


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": 0.5}, "invalid temperature: only 1 is allowed for this model"),
        ({"n": 2}, "invalid n: only 1 is allowed for this model"),
        ({"top_p": 1}, "invalid top_p: only 0.95 is allowed for this model"),
        (
            {"model": "kimi-k2.6", "tools": [TOOL], "tool_choice": "required"},
            "tool_choice 'required' is incompatible with thinking enabled",
        ),
        (
            {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice 'specified' is incompatible with thinking enabled",
        ),
        (
            {"model": "kimi-k2.6", "messages": [{"role": "user", "content": "x" * 4 * 262_145}]},
            "Invalid request: Your request exceeded model token limit: 262144 (requested: 262145)",
        ),
    ],
)
async def test_what_moonshot_refuses_is_refused_in_its_words(
    moonshot: SandboxServer, fields: dict[str, Any], message: str
) -> None:
    reply = await chat(moonshot, **fields)
    assert error(reply) == (400, "invalid_request_error", message)


async def test_k3_takes_the_fixed_values_and_a_required_tool(moonshot: SandboxServer) -> None:
    fixed: dict[str, Any] = {"temperature": 1.0, "top_p": 0.95, "n": 1, "presence_penalty": 0}
    reply = await chat(moonshot, tools=[TOOL], tool_choice="required", **fixed)
    assert reply.json["choices"][0]["finish_reason"] == "tool_calls"


async def test_a_key_is_needed(moonshot: SandboxServer) -> None:
    body, path = chat_body(moonshot), chat_path(moonshot)
    none = await request(moonshot, "POST", path, body, key=None)
    assert error(none) == (401, "incorrect_api_key_error", "Incorrect API key provided")
    async with SandboxServer("moonshot", keys={"sk-good"}) as server:
        wrong = await request(server, "POST", path, body, key="sk-bad")
        assert error(wrong) == (401, "invalid_authentication_error", "Invalid Authentication")
        assert (await request(server, "POST", path, body, key="sk-good")).status == 200
        assert (await request(server, "GET", "/v1/models", key="sk-bad")).status == 401


@pytest.mark.parametrize("model", ["kimi-nonexistent", "kimi-k2-0905-preview"])
async def test_an_unknown_or_retired_model_is_not_found(
    moonshot: SandboxServer, model: str
) -> None:
    message = f"Not found the model {model} or Permission denied"
    reply = await chat(moonshot, model=model)
    assert error(reply) == (404, "resource_not_found_error", message)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("error400", 400, "invalid_request_error"),
        ("error400_filter", 400, "content_filter"),
        ("error401", 401, "invalid_authentication_error"),
        ("error403", 403, "permission_denied_error"),
        ("error404", 404, "resource_not_found_error"),
        ("error429_rate", 429, "rate_limit_reached_error"),
        ("error429_overloaded", 429, "engine_overloaded_error"),
        ("error429_quota", 429, "exceeded_current_quota_error"),
        ("error500", 500, "server_error"),
        ("error503", 503, "server_unavailable"),
    ],
)
async def test_each_error_fault_has_moonshots_status_and_type(
    moonshot: SandboxServer, fault: str, status: int, kind: str
) -> None:
    reply = await chat(moonshot, f"[[fault={fault}]]")
    assert error(reply)[:2] == (status, kind)
    assert ("retry-after" in reply.headers) == (fault == "error429_overloaded")


async def test_a_gateway_timeout_is_a_page_of_html(moonshot: SandboxServer) -> None:
    reply = await chat(moonshot, "[[fault=html504]]")
    assert reply.status == 504
    assert reply.headers["content-type"] == "text/html"
    assert reply.body.startswith(b"<html>")


async def test_the_model_list_has_moonshots_shape(moonshot: SandboxServer) -> None:
    reply = await request(moonshot, "GET", "/v1/models")
    assert list(reply.json) == ["object", "data"]
    rows = {row["id"]: row for row in reply.json["data"]}
    assert rows["kimi-k3"]["context_length"] == 1_048_576
    assert rows["kimi-k3"]["think_efforts"]["valid_efforts"] == ["low", "high", "max"]
    assert list(rows["kimi-k2.6"])[-2:] == ["supports_reasoning", "context_length"]
    assert "permission" in rows["kimi-k2.6"]


async def test_the_balance_is_shown_and_at_zero_inference_is_refused() -> None:
    async with SandboxServer(Moonshot(balance=49.58894)) as server:
        reply = await request(server, "GET", "/v1/users/me/balance")
        assert reply.json == {
            "code": 0,
            "data": {
                "available_balance": 49.58894,
                "voucher_balance": 46.58893,
                "cash_balance": 3.00001,
            },
            "scode": "0x0",
            "status": True,
        }
    async with SandboxServer(Moonshot(balance=0)) as server:
        assert error(await chat(server))[:2] == (429, "exceeded_current_quota_error")


async def test_tokens_can_be_estimated(moonshot: SandboxServer) -> None:
    path = "/v1/tokenizers/estimate-token-count"
    reply = await request(moonshot, "POST", path, chat_body(moonshot, "x" * 320))
    assert reply.json == {"data": {"total_tokens": 80}}

"""The OpenRouter stand-in speaks the wire that its documents of 2026-08 and 2026-10 show."""

from typing import Any

import pytest

from backends.sandbox import OpenRouter, SandboxServer
from backends.sandbox.openrouter import Account
from tests.contract.sandbox.caller import TOOL, Reply, chat, request


def error(reply: Reply) -> tuple[int, str]:
    detail = reply.json["error"]
    if "availability" in detail:
        assert detail["http_status"] == reply.status
        return reply.status, detail["error_type"]
    assert detail["code"] == reply.status
    return reply.status, detail["metadata"]["error_type"]


async def test_a_whole_reply_names_its_host_and_its_cost(openrouter: SandboxServer) -> None:
    reply = await chat(openrouter)
    assert reply.headers["x-generation-id"] == reply.json["id"]
    assert reply.json["id"].startswith("gen-")
    assert reply.json["provider"] == "Moonshot AI"
    assert reply.json["system_fingerprint"] is None
    (choice,) = reply.json["choices"]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "stop")
    message = choice["message"]
    assert message["reasoning"] == "These words stand for reasoning."
    assert message["reasoning_details"] == [
        {
            "type": "reasoning.text",
            "text": message["reasoning"],
            "format": "unknown",
            "index": 0,
        }
    ]
    usage = reply.json["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (2, 22)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 6
    assert usage["cost"] == pytest.approx((2 * 0.95 + 22 * 4) / 1e6)
    details = usage["cost_details"]
    parts = (
        details["upstream_inference_prompt_cost"] + details["upstream_inference_completions_cost"]
    )
    assert parts == pytest.approx(usage["cost"])


async def test_a_stream_has_comments_reasoning_in_two_forms_and_usage_unasked(
    openrouter: SandboxServer,
) -> None:
    reply = await chat(openrouter, "[[think=2,n=2]]", stream=True)
    assert reply.body.startswith(b": OPENROUTER PROCESSING\n\n")
    assert all(chunk["provider"] == "Moonshot AI" for chunk in reply.chunks)
    thought = [delta for delta in reply.deltas if "reasoning" in delta]
    assert [delta["reasoning"] for delta in thought] == ["These", " words"]
    assert [delta["reasoning_details"][0]["text"] for delta in thought] == ["These", " words"]
    *_, finish, bill = reply.chunks
    assert finish["choices"][0]["native_finish_reason"] == "stop"
    assert bill["choices"] == []
    assert bill["usage"]["cost"] > 0
    assert reply.data[-1] == b"[DONE]"


async def test_an_error_after_the_first_token_ends_the_stream_without_its_mark(
    openrouter: SandboxServer,
) -> None:
    reply = await chat(openrouter, "[[fault=error_event,after=2]]", stream=True)
    *_, last = reply.chunks
    assert last["error"]["code"] == 502
    assert last["choices"][0]["finish_reason"] == "error"
    assert reply.data[-1] != b"[DONE]"
    whole = await chat(openrouter, "[[fault=finish_error,after=2]]")
    (choice,) = whole.json["choices"]
    assert choice["finish_reason"] == "error"
    assert choice["error"]["metadata"]["error_type"] == "provider_unavailable"


async def test_reasoning_can_be_left_out_and_is_counted_all_the_same(
    openrouter: SandboxServer,
) -> None:
    for fields in ({"reasoning": {"exclude": True}}, {"include_reasoning": False}):
        reply = await chat(openrouter, **fields)
        assert reply.json["choices"][0]["message"]["reasoning"] is None
        assert reply.json["usage"]["completion_tokens_details"]["reasoning_tokens"] == 6


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning": {"effort": "none"}},
        {"reasoning": {"enabled": False}},
        {"reasoning_effort": "none"},
    ],
)
async def test_reasoning_can_be_switched_off_but_where_it_is_mandatory(
    openrouter: SandboxServer, fields: dict[str, Any]
) -> None:
    reply = await chat(openrouter, **fields)
    assert reply.json["usage"]["completion_tokens_details"]["reasoning_tokens"] == 0
    mandatory = await chat(openrouter, model="moonshotai/kimi-k2-thinking", **fields)
    if "enabled" not in str(fields):
        assert error(mandatory) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("wishes", "host"),
    [
        ({}, "Moonshot AI"),
        ({"order": ["novita"]}, "Novita"),
        ({"only": ["fireworks"]}, "Fireworks"),
        ({"ignore": ["moonshotai"]}, "Novita"),
        ({"zdr": True}, "Fireworks"),
        ({"zdr": False}, "Moonshot AI"),
        ({"data_collection": "deny"}, "Novita"),
        ({"data_collection": "deny", "max_price": {"prompt": 1, "completion": "4"}}, "Novita"),
        ({"order": ["novita"], "allow_fallbacks": False}, "Novita"),
        ({"only": ["novita/fp8"]}, "Novita"),
    ],
)
async def test_the_provider_object_chooses_the_host(
    openrouter: SandboxServer, wishes: dict[str, Any], host: str
) -> None:
    reply = await chat(openrouter, provider=wishes)
    assert reply.json["provider"] == host
    assert openrouter.requests[-1].body["provider"] == wishes


@pytest.mark.parametrize(
    ("wishes", "code", "excluded"),
    [
        (
            {"only": ["novita"], "zdr": True},
            "privacy_restricted",
            ["allowed_providers", "data_policy:zdr"],
        ),
        ({"max_price": {"prompt": "0.1"}}, "constraint_filtered", ["max_price"]),
        ({"only": ["nobody"]}, "constraint_filtered", ["allowed_providers"]),
    ],
)
async def test_where_no_host_is_left_the_reasons_are_told(
    openrouter: SandboxServer, wishes: dict[str, Any], code: str, excluded: list[str]
) -> None:
    reply = await chat(openrouter, provider=wishes)
    assert error(reply) == (404, "not_found")
    told = reply.json["error"]["availability"]
    assert told["code"] == code
    assert set(told["excluded_by"]) == set(excluded)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        ("error400", 400, "invalid_request"),
        ("error400_context", 400, "context_length_exceeded"),
        ("error400_filter", 400, "content_policy_violation"),
        ("error401", 401, "authentication"),
        ("error402", 402, "payment_required"),
        ("error403", 403, "permission_denied"),
        ("error403_quota", 403, "permission_denied"),
        ("error403_moderation", 403, "permission_denied"),
        ("error404", 404, "not_found"),
        ("error429_rate", 429, "rate_limit_exceeded"),
        ("error429_overloaded", 429, "rate_limit_exceeded"),
        ("error429_quota", 402, "payment_required"),
        ("error500", 500, "server"),
        ("error503", 503, "provider_overloaded"),
    ],
)
async def test_each_error_fault_has_openrouters_status_and_type(
    openrouter: SandboxServer, fault: str, status: int, kind: str
) -> None:
    reply = await chat(openrouter, f"[[fault={fault}]]")
    assert error(reply) == (status, kind)
    assert ("retry-after" in reply.headers) == (fault == "error429_overloaded")
    assert ("x-ratelimit-limit" in reply.headers) == (fault == "error429_rate")


async def test_a_name_that_is_no_model_is_a_bad_request(openrouter: SandboxServer) -> None:
    reply = await chat(openrouter, model="moonshotai/kimi-k9")
    assert error(reply) == (400, "invalid_request")
    assert (await chat(openrouter, model="moonshotai/kimi-k2.6:nitro")).status == 200


async def test_without_credits_nothing_is_answered() -> None:
    async with SandboxServer(OpenRouter(Account(credits="1", usage="1"))) as server:
        assert error(await chat(server)) == (402, "payment_required")


async def test_key_credits_models_and_zdr_endpoints_are_listed(openrouter: SandboxServer) -> None:
    async def got(path: str, key: str | None = "sk-or") -> Any:
        reply = await request(openrouter, "GET", f"/api/v1{path}", key=key)
        assert reply.status == 200, path
        return reply.json["data"]

    key = await got("/key")
    assert (key["limit"], key["limit_remaining"], key["usage"]) == (None, None, 1.5)
    assert await got("/credits") == {"total_credits": 25.0, "total_usage": 1.5}
    models = await got("/models", None)
    assert {"moonshotai/kimi-k3", "moonshotai/kimi-k2.6"} <= {model["id"] for model in models}
    assert {row["tag"] for row in await got("/endpoints/zdr")} == {"fireworks"}
    endpoints = await got("/models/moonshotai/kimi-k2.6/endpoints", None)
    assert [row["tag"] for row in endpoints["endpoints"]] == [
        "moonshotai/int4",
        "novita/fp8",
        "fireworks",
    ]
    assert endpoints["endpoints"][0]["pricing"]["prompt"] == "0.00000095"
    for path in ("/key", "/credits", "/endpoints/zdr"):
        refused = await request(openrouter, "GET", f"/api/v1{path}", key=None)
        assert error(refused) == (401, "authentication")


async def test_a_tool_call_comes_beside_null_content(openrouter: SandboxServer) -> None:
    reply = await chat(openrouter, tools=[TOOL])
    (choice,) = reply.json["choices"]
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"city":"Paris"}'
    stream = await chat(openrouter, tools=[TOOL], stream=True)
    assert stream.chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"

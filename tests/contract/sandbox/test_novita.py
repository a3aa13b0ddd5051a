"""The Novita stand-in speaks the wire that a recording of 2026-08-12 shows."""

import pytest

from backends.sandbox import Novita, SandboxServer
from tests.contract.sandbox.caller import TOOL, chat, chat_body, request


async def test_a_stream_has_novitas_marks_and_usage_unasked(novita: SandboxServer) -> None:
    reply = await chat(novita, "[[think=1,n=1]]", stream=True)
    assert reply.deltas == [
        {"role": "assistant"},
        {"reasoning_content": "These"},
        {"content": "This"},
        {},
    ]
    assert all(set(chunk["sla_metrics"]) == {"ttft_ms", "ts_us"} for chunk in reply.chunks)
    assert all(chunk["system_fingerprint"] == "" for chunk in reply.chunks)
    assert len(bytes.fromhex(reply.chunks[0]["id"])) == 16
    bill = reply.chunks[-1]
    assert bill["choices"] == []
    assert bill["usage"] == {
        "prompt_tokens": 4,
        "completion_tokens": 2,
        "total_tokens": 6,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    }
    assert reply.data[-1] == b"[DONE]"


async def test_a_whole_reply_has_null_details_and_kimis_tool_ids(novita: SandboxServer) -> None:
    reply = await chat(novita, tools=[TOOL])
    assert reply.json["usage"]["completion_tokens_details"] is None
    (call,) = reply.json["choices"][0]["message"]["tool_calls"]
    assert call["id"] == "functions.get_weather:0"


async def test_a_model_that_does_not_reason_shows_no_reasoning(novita: SandboxServer) -> None:
    reply = await chat(novita, model="moonshotai/kimi-k2-0905", temperature=0.3)
    assert list(reply.json["choices"][0]["message"]) == ["role", "content"]


@pytest.mark.parametrize("base", ["/openai/v1", "/v3/openai"])
async def test_both_base_paths_serve(novita: SandboxServer, base: str) -> None:
    reply = await request(novita, "POST", f"{base}/chat/completions", chat_body(novita))
    assert reply.status == 200
    assert (await request(novita, "GET", f"{base}/models")).status == 200


async def test_the_model_list_has_novitas_shape_and_price_unit(novita: SandboxServer) -> None:
    reply = await request(novita, "GET", "/openai/v1/models")
    assert list(reply.json) == ["data"]
    row = next(one for one in reply.json["data"] if one["id"] == "moonshotai/kimi-k2.6")
    assert row["input_token_price_per_m"] == 8000  # USD 0.80
    assert row["output_token_price_per_m"] == 34_000
    assert row["pricing"]["input_cache_read"] == {"price_per_m": 1600}
    assert row["context_size"] == 262_144
    one = await request(novita, "GET", "/openai/v1/models/moonshotai/kimi-k2.6")
    assert one.json == row


@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("error400", 400, "INVALID_REQUEST_BODY"),
        ("error401", 401, "INVALID_API_KEY"),
        ("error404", 404, "MODEL_NOT_FOUND"),
        ("error429_rate", 429, "RATE_LIMIT_EXCEEDED"),
        ("error429_quota", 403, "NOT_ENOUGH_BALANCE"),
        ("error500", 500, "INTERNAL_SERVER_ERROR"),
    ],
)
async def test_errors_have_the_companys_form_or_openais(
    novita: SandboxServer, fault: str, status: int, reason: str
) -> None:
    reply = await chat(novita, f"[[fault={fault}]]")
    assert list(reply.json) == ["code", "reason", "message", "metadata"]
    assert (reply.status, reply.json["code"], reply.json["reason"]) == (status, status, reason)
    async with SandboxServer(Novita(error_form="openai")) as other:
        reply = await chat(other, f"[[fault={fault}]]")
        assert reply.status == status
        assert list(reply.json["error"]) == ["message", "type", "code"]


async def test_a_model_that_is_not_served_is_not_found(novita: SandboxServer) -> None:
    reply = await chat(novita, model="kimi-k3")
    assert (reply.status, reply.json["reason"]) == (404, "MODEL_NOT_FOUND")


async def test_no_key_is_refused(novita: SandboxServer) -> None:
    reply = await request(novita, "GET", "/openai/v1/models", key=None)
    assert reply.status == 401

"""A gateway behind a gateway: spoken to as an aggregator, billed by what it says, and never in a circle."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from backends.sandbox import SandboxServer
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.wire import Answer, connect, post

MODEL = "moonshotai/kimi-k2.6"
BODY: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "Hello!"}]}
ROW = {
    "provider": "next",
    "model": MODEL,
    "serves": MODEL,
    "local": True,
    # Dearer than the sandbox's own price, so that a charge tells which of the two it was made by.
    "price": {"input": "2", "output": "8"},
    "context_length": 200_000,
    "max_output": 1000,
}


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


async def ask(gateway: GatewayProcess, key: str, more: str = "", **fields: Any) -> Answer:
    async with connect(gateway.port) as wire:
        head = f"Authorization: Bearer {key}\r\n{more}"
        body = json.dumps(BODY | fields).encode()
        await wire.send(post("/api/v1/chat/completions", body, more=head))
        return await wire.answer()


@contextlib.asynccontextmanager
async def serving(
    folder: Path, settings: dict[str, Any]
) -> AsyncIterator[tuple[GatewayProcess, str]]:
    folder.mkdir()  # noqa: ASYNC240 - one folder, before anything is served
    async with GatewayProcess(folder, settings) as gateway:
        key = await gateway.first_key()
        await gateway.start()
        yield gateway, key


async def test_the_gateway_behind_says_what_it_cost_and_is_told_the_mode(tmp_path: Path) -> None:
    async with SandboxServer("moonshot", keys={"sk-1"}) as sandbox:
        near = {
            "kind": "moonshot",
            "base_url": sandbox.base_url,
            "api_key": "sk-1",
            "sandbox": True,
        }
        async with serving(tmp_path / "behind", {"providers": [near]}) as (behind, inner_key):
            row = ROW | {
                "id": "next/kimi",
                "kind": "openai_compat",
                "thinking_switch": "reasoning",
                "cost_basis": "provider_reported",
                "base_url": f"http://127.0.0.1:{behind.port}/api/v1",
                "api_key": inner_key,
            }
            async with serving(tmp_path / "before", {"endpoints": [row]}) as (before, key):
                off: dict[str, Any] = {"reasoning": {"enabled": False}}
                whole = await ask(before, key, **off)
                stream = await ask(before, key, stream=True, **off)
        assert [whole.status, stream.status] == [200, 200], whole.body + stream.body
        for received in sandbox.requests:
            assert received.body["thinking"] == {"type": "disabled"}
            # What is at an address of the operator's own may be a gateway too: both are named.
            assert received.headers["x-tidegate-via"].count(",") == 1
    events = [line[6:] for line in stream.body.decode().split("\n") if line.startswith("data: {")]
    stated = [json.loads(whole.body)["usage"]]
    stated += [usage for event in events if (usage := json.loads(event).get("usage"))]
    for usage in stated:
        # What Moonshot takes for these tokens, not what this row's card says.
        tokens = usage["prompt_tokens"] * 0.95 + usage["completion_tokens"] * 4
        assert usage["cost"] == pytest.approx(tokens / 10**6)
    assert len(stated) == len(sandbox.requests) == 2


AGREED = {"trains": False, "retains": False, "source": "agreement 17", "date": "2026-10-01"}
HUB = {**ROW, "id": "hub/kimi", "provider": "hub", "kind": "openrouter"}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class Chain:
    """A gateway that is behind another, which takes it for an aggregator.

    Attributes:
        sandbox: Moonshot's stand-in, behind both.
    """

    def __init__(self, before: GatewayProcess, key: str, sandbox: SandboxServer) -> None:
        self.sandbox = sandbox
        self._before = before
        self._key = key

    async def ask(self, more: str = "", **fields: Any) -> Answer:
        return await ask(self._before, self._key, more, **fields)


@contextlib.asynccontextmanager
async def chained(folder: Path, **row: Any) -> AsyncIterator[Chain]:
    """A caller's gateway with just this endpoint, `kind: openrouter`, and all that is behind it."""
    async with SandboxServer("moonshot", keys={"sk-1"}) as sandbox:
        near = {
            "kind": "moonshot",
            "base_url": sandbox.base_url,
            "api_key": "sk-1",
            "sandbox": True,
        }
        async with serving(folder / "behind", {"providers": [near]}) as (behind, inner_key):
            address = f"http://127.0.0.1:{behind.port}/api/v1"
            hub = HUB | {"base_url": address, "api_key": inner_key} | row
            async with serving(folder / "before", {"endpoints": [hub]}) as (before, key):
                yield Chain(before, key, sandbox)


def chunks_of(answer: Answer) -> list[Any]:
    lines = answer.body.decode().split("\n")
    return [
        json.loads(line[6:], parse_float=Decimal) for line in lines if line.startswith("data: {")
    ]


def moonshots_price(usage: Any) -> Decimal:
    """What Moonshot takes for these tokens (0.95 and 4 dollars a million, 0.16 from the cache)."""
    cached = int(usage["prompt_tokens_details"]["cached_tokens"])
    fresh = int(usage["prompt_tokens"]) - cached
    dollars = fresh * Decimal("0.95") + cached * Decimal("0.16")
    return (dollars + int(usage["completion_tokens"]) * 4) / 10**6


async def test_a_gateway_is_an_aggregator_to_another_with_all_that_it_tells(
    tmp_path: Path,
) -> None:
    async with chained(tmp_path, only=["moonshot"]) as chain:
        whole = await chain.ask()
        stream = await chain.ask(stream=True)
        resting = await chain.ask(reasoning={"enabled": False})
        called = await chain.ask(tools=[WEATHER])
        assert [a.status for a in (whole, stream, resting, called)] == [200] * 4, whole.body
        answer = json.loads(whole.body, parse_float=Decimal)
        message = answer["choices"][0]["message"]
        assert answer["provider"] == "hub"
        assert message["content"]
        assert message["reasoning"]
        chunks = chunks_of(stream)
        deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
        for name in ("content", "reasoning"):
            assert "".join(delta.get(name) or "" for delta in deltas) == message[name]
        assert not json.loads(resting.body)["choices"][0]["message"].get("reasoning")
        (call,) = json.loads(called.body)["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == "weather"
        assert set(json.loads(call["function"]["arguments"])) == {"city"}
        history = [
            *BODY["messages"],
            json.loads(called.body)["choices"][0]["message"],
            {"role": "tool", "tool_call_id": call["id"], "content": "clear"},
        ]
        told = await chain.ask(messages=history, tools=[WEATHER])
        assert json.loads(told.body)["choices"][0]["finish_reason"] == "stop", told.body
        sent = [received.body for received in chain.sandbox.requests]
    # What the one behind paid Moonshot, to the last digit, and not what this row's card says.
    usages = [answer["usage"], next(c["usage"] for c in chunks if c.get("usage"))]
    usages += [json.loads(a.body, parse_float=Decimal)["usage"] for a in (resting, called, told)]
    assert [usage["cost"] for usage in usages] == [moonshots_price(usage) for usage in usages]
    assert usages[0]["completion_tokens_details"]["reasoning_tokens"] > 0
    assert sent[2]["thinking"] == {"type": "disabled"}
    assert all("provider" not in body and "usage" not in body for body in sent)
    (past,) = sent[4]["messages"][1]["tool_calls"]
    assert past["id"] == sent[4]["messages"][2]["tool_call_id"]


async def test_the_gateway_behind_keeps_a_prompt_from_whoever_retains_it(tmp_path: Path) -> None:
    # The one before believes in an agreement that the one behind knows nothing of.
    believed = {**AGREED, "hosts": {"moonshot": AGREED}}
    async with chained(tmp_path, only=["moonshot"], data_policy=believed) as chain:
        for wish in ({"zdr": True}, {"data_collection": "deny"}):
            refused = await chain.ask(provider=wish)
            assert (refused.status, chain.sandbox.received.count) == (502, 0), refused.body
            (attempt,) = refused.error["metadata"]["attempts"]
            assert attempt["status"] == 404
        assert (await chain.ask()).status == 200


async def test_the_gateway_behind_asks_nobody_who_is_dearer_than_the_hold(tmp_path: Path) -> None:
    cheap = {"input": "0.94", "output": "4"}
    async with chained(tmp_path, price=cheap) as chain:
        refused = await chain.ask()
        assert (refused.status, chain.sandbox.received.count) == (502, 0), refused.body
        (attempt,) = refused.error["metadata"]["attempts"]
        assert attempt["status"] == 404


async def test_a_caller_names_its_provider_and_price_at_the_first_gateway(tmp_path: Path) -> None:
    async with chained(tmp_path) as chain:
        for wish, reason, field in (
            ({"max_price": {"prompt": 1.99}}, "max_price", "provider.max_price"),
            ({"only": ["moonshot"]}, "allowed_providers", "provider.only"),
            ({"ignore": ["hub"]}, "ignored_providers", "provider.ignore"),
        ):
            refused = await chain.ask(provider=wish)
            assert refused.status == 404
            assert refused.error["metadata"]["excluded"] == [
                {"endpoint": "hub/kimi", "reason": reason}
            ]
            told = refused.error["availability"]
            assert (told["code"], told["excluded_by"]) == ("constraint_filtered", [reason])
            assert told["constraint"]["field"] == field
        assert chain.sandbox.received.count == 0
        just = {"only": ["hub"], "max_price": {"prompt": "2", "completion": 8}}
        fits = await chain.ask(provider={**just, "allow_fallbacks": False})
        assert fits.status == 200
        long = "X-Tidegate-Via: a,b,c,d,e,f,g\r\n"
        looped = await chain.ask(long)  # one more is too many, which the one behind says
        assert looped.status == 502, looped.body
        (attempt,) = looped.error["metadata"]["attempts"]
        assert (attempt["status"], attempt["code"]) == (508, "upstream_fault")
        assert chain.sandbox.received.count == 1


@pytest.mark.parametrize("kind", ["openai_compat", "vllm", "moonshot"])
async def test_a_gateway_that_leads_to_itself_refuses_and_charges_nothing(
    tmp_path: Path, kind: str
) -> None:
    port = free_port()
    folder = tmp_path / "circle"
    folder.mkdir()
    server = {"port": port}
    row = ROW | {
        "id": "me/kimi",
        "kind": kind,
        "base_url": f"http://127.0.0.1:{port}/v1",
        "api_key": "sk-later",
    }
    async with GatewayProcess(folder, {"endpoints": [row], "server": server}) as gateway:
        key = await gateway.first_key()
        gateway.configure({"endpoints": [row | {"api_key": key}], "server": server})
        await gateway.start()
        async with asyncio.timeout(20):
            answer = await ask(gateway, key)
        assert answer.status >= 500
        (attempt,) = answer.error["metadata"]["attempts"]
        assert attempt["status"] == 508, "it was refused as soon as it came back"
        assert "cost" not in answer.error
        long = "X-Tidegate-Via: a,b,c,d,e,f,g,h\r\n"
        refused = await ask(gateway, key, long)
        assert (refused.status, refused.error["code"]) == (508, "loop_detected")

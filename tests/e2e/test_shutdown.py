"""SIGTERM: what runs is answered, what takes too long is told, and the process ends with status 0."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backends.sandbox import SandboxServer
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.stage import chat
from tests.fakes.wire import Wire, connect, post


@pytest.fixture
async def upstream() -> AsyncIterator[SandboxServer]:
    async with SandboxServer("novita") as server:
        yield server


def settings(upstream: SandboxServer, **server: Any) -> dict[str, Any]:
    provider = {
        "kind": "novita",
        "base_url": upstream.base_url,
        "api_key": "sandbox",
        "sandbox": True,
    }
    return {"providers": [provider], "server": server}


async def send(wire: Wire, key: str, text: str, *, stream: bool) -> None:
    body = json.dumps(chat(text, stream=stream)).encode()
    more = f"Authorization: Bearer {key}\r\n"
    await wire.send(post("/v1/chat/completions", body, more=more))


async def test_a_stop_lets_running_requests_finish_and_ends_with_status_0(
    tmp_path: Path, upstream: SandboxServer
) -> None:
    async with GatewayProcess(tmp_path, settings(upstream)) as gateway:
        key = await gateway.first_key()
        await gateway.start()
        async with (
            connect(gateway.port) as idle,
            connect(gateway.port) as whole,
            connect(gateway.port) as stream,
        ):
            await send(idle, key, "first", stream=False)
            assert (await idle.answer()).status == 200
            await send(whole, key, "[[wait=400]]", stream=False)
            await send(stream, key, "[[pace=10]]", stream=True)
            await upstream.received.wait(3)
            gateway.terminate()
            assert await idle.closed() == b""  # nothing runs on it: closed at once
            answered = await whole.answer()
            streamed = await stream.answer()
            assert answered.status == streamed.status == 200
            assert json.loads(answered.body)["choices"][0]["finish_reason"] == "stop"
            assert streamed.body.endswith(b"data: [DONE]\n\n")
            assert await whole.closed() == await stream.closed() == b""
        assert await gateway.ended() == 0
        assert not [line for line in gateway.log if "Traceback" in line]


async def test_what_takes_too_long_is_told_when_the_time_to_drain_is_over(
    tmp_path: Path, upstream: SandboxServer
) -> None:
    async with GatewayProcess(tmp_path, settings(upstream, drain_timeout=0.3)) as gateway:
        key = await gateway.first_key()
        await gateway.start()
        async with connect(gateway.port) as whole, connect(gateway.port) as stream:
            await send(whole, key, "[[wait=60000]]", stream=False)
            await send(stream, key, "[[pace=50,n=5000]]", stream=True)
            await upstream.received.wait(2)
            status, headers = await stream.head()
            assert status == 200
            gateway.terminate()
            answer = await whole.answer()
            assert answer.status == 503
            assert answer.error["code"] == "shutting_down"
            assert answer.headers["retry-after"] == "1"
            rest = b""
            async with asyncio.timeout(10):
                while part := await stream.chunk():
                    rest += part
            assert b"[DONE]" not in rest
            last = json.loads(rest.strip().rpartition(b"data: ")[2])
            assert last["error"]["code"] == "shutting_down"
        assert await gateway.ended() == 0
        assert not [line for line in gateway.log if "Traceback" in line]

        # What had been sent was charged, and the books are whole at the next start.
        await gateway.start()
        async with connect(gateway.port) as wire:
            query = f"/v1/generation?id={headers['x-generation-id']}"
            await wire.send(
                f"GET {query} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
            )
            seen = json.loads((await wire.answer()).body)["data"]
        assert seen["result"] == "aborted"
        assert seen["total_cost"] > 0
        assert await gateway.stop() == 0


async def test_load_balancers_are_told_before_a_connection_is_refused(
    tmp_path: Path, upstream: SandboxServer
) -> None:
    async with GatewayProcess(tmp_path, settings(upstream, drain_delay=1.0)) as gateway:
        key = await gateway.first_key()
        await gateway.start()
        async with connect(gateway.port) as wire:
            await wire.send(b"GET /readyz HTTP/1.1\r\nHost: g\r\n\r\n")
            assert (await wire.answer()).status == 200
            gateway.terminate()
            while True:
                await wire.send(b"GET /readyz HTTP/1.1\r\nHost: g\r\n\r\n")
                ready = await wire.answer()
                if ready.status != 200:
                    break
            assert (ready.status, ready.body) == (503, b"the gateway is shutting down\n")
        async with connect(gateway.port) as late:  # and is still served
            await send(late, key, "late", stream=False)
            assert (await late.answer()).status == 200
        assert await gateway.ended() == 0

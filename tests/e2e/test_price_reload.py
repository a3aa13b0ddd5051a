"""Prices that were changed hold after SIGHUP; a wrong price file is refused, and changes nothing."""

import asyncio
import json
import os
import signal
from decimal import Decimal
from pathlib import Path
from typing import Any

from backends.sandbox import SandboxServer
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.stage import chat
from tests.fakes.wire import connect, post

MODEL = "moonshotai/kimi-k2.6"


def price_file(folder: Path, price: str) -> Path:
    path = folder / "own.json"
    row = {
        "provider": "novita",
        "provider_model_id": MODEL,
        "model": MODEL,
        "currency": "USD",
        "input": price,
        "output": price,
        "source": "contract",
        "source_date": "2026-11-23",
    }
    path.write_text(json.dumps({"schema": "tidegate-prices/1", "prices": [row]}))
    return path


def settings(upstream: SandboxServer, file: Path) -> dict[str, Any]:
    provider = {
        "kind": "novita",
        "base_url": upstream.base_url,
        "api_key": "sandbox",
        "sandbox": True,
    }
    return {"providers": [provider], "prices": {"file": str(file)}}


async def price(gateway: GatewayProcess, key: str) -> Decimal:
    """What a token costs, by the usage of an answer."""
    body = json.dumps(chat("Hello!", model=MODEL)).encode()
    async with connect(gateway.port) as wire:
        await wire.send(
            post("/api/v1/chat/completions", body, more=f"Authorization: Bearer {key}\r\n")
        )
        answer = await wire.answer()
    assert answer.status == 200
    usage = json.loads(answer.body, parse_float=Decimal)["usage"]
    return Decimal(usage["cost"]) * 10**6 / Decimal(usage["total_tokens"])


async def hang_up(gateway: GatewayProcess, wanted: str) -> None:
    seen = len(gateway.log)
    os.kill(gateway.pid, signal.SIGHUP)
    async with asyncio.timeout(30):
        while not any(wanted in line for line in gateway.log[seen:]):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)


async def test_a_price_holds_after_a_reload_and_a_wrong_one_leaves_the_last(tmp_path: Path) -> None:
    own = price_file(tmp_path, "2")
    async with (
        SandboxServer("novita") as upstream,
        GatewayProcess(tmp_path, settings(upstream, own)) as gateway,
    ):
        key = await gateway.first_key()
        await gateway.start()
        assert await price(gateway, key) == 2

        price_file(tmp_path, "2.5")
        assert await price(gateway, key) == 2
        await hang_up(gateway, "the settings are taken")
        assert await price(gateway, key) == Decimal("2.5")

        price_file(tmp_path, "0.0000025")
        await hang_up(gateway, "are still served")
        assert await price(gateway, key) == Decimal("2.5")
        assert any("own.json:1: error: prices[0].input" in line for line in gateway.log)


async def test_a_gateway_does_not_start_with_a_wrong_price_file(tmp_path: Path) -> None:
    own = price_file(tmp_path, "-2")
    async with (
        SandboxServer("novita") as upstream,
        GatewayProcess(tmp_path, settings(upstream, own)) as gateway,
    ):
        await gateway.begin()
        assert await gateway.ended() == 2
        assert not gateway.listening
        assert any("prices.file" in line and "below zero" in line for line in gateway.log)

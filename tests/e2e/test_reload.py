"""SIGHUP: good settings hold from the next request on, of bad ones nothing is taken."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backends.sandbox import SandboxServer
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.stage import chat
from tests.fakes.wire import Answer, connect, post

MODEL = "moonshotai/kimi-k2.6"


@pytest.fixture
async def first() -> AsyncIterator[SandboxServer]:
    async with SandboxServer("novita") as server:
        yield server


@pytest.fixture
async def second() -> AsyncIterator[SandboxServer]:
    async with SandboxServer("novita") as server:
        yield server


def settings(upstream: SandboxServer, **more: Any) -> dict[str, Any]:
    provider = {
        "kind": "novita",
        "base_url": upstream.base_url,
        "api_key": "sandbox",
        "sandbox": True,
    }
    return {"providers": [provider], **more}


async def hang_up(gateway: GatewayProcess, tree: dict[str, Any], wanted: str) -> list[str]:
    """Have it read these settings; the lines of log since, once one has `wanted`."""
    seen = len(gateway.log)
    gateway.configure(tree)
    os.kill(gateway.pid, signal.SIGHUP)
    async with asyncio.timeout(30):
        while not any(wanted in line for line in gateway.log[seen:]):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.02)
    return gateway.log[seen:]


async def ask(gateway: GatewayProcess, key: str, text: str = "Hello!") -> Answer:
    body = json.dumps(chat(text, model=MODEL)).encode()
    async with connect(gateway.port) as wire:
        more = f"Authorization: Bearer {key}\r\n"
        await wire.send(post("/v1/chat/completions", body, more=more))
        return await wire.answer()


async def metrics(gateway: GatewayProcess) -> str:
    async with connect(gateway.port) as wire:
        await wire.send(b"GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n")
        return (await wire.answer()).body.decode()


async def test_new_requests_go_by_the_new_settings_and_running_ones_end_by_the_old(
    tmp_path: Path, first: SandboxServer, second: SandboxServer, form: str
) -> None:
    # To take settings in several processes takes longer: each loads them.
    wait = "[[wait=1500]]" if form == "one" else "[[wait=8000]]"
    async with GatewayProcess(tmp_path, settings(first)) as gateway:
        key = await gateway.first_key()
        await gateway.start()
        running = asyncio.create_task(ask(gateway, key, wait))
        await first.received.wait(1)
        await hang_up(gateway, settings(second), "the settings are taken")
        assert not running.done()
        assert (await ask(gateway, key)).status == 200
        await second.received.wait(1)
        assert (await running).status == 200
        assert await gateway.stop() == 0
        assert not [line for line in gateway.log if "Traceback" in line]


async def test_bad_settings_are_told_line_by_line_and_the_last_good_ones_serve(
    tmp_path: Path, first: SandboxServer, second: SandboxServer
) -> None:
    async with GatewayProcess(tmp_path, settings(first)) as gateway:
        key = await gateway.first_key()
        await gateway.start()
        bad = settings(second, request={"max_attempts": 0}, jornal={})
        lines = await hang_up(gateway, bad, "reload: refused")
        assert any("request.max_attempts" in line for line in lines)
        assert any("jornal: there is no such setting" in line for line in lines)
        assert "tidegate_config_reload_failed 1" in await metrics(gateway)
        assert (await ask(gateway, key)).status == 200
        await first.received.wait(1)
        await hang_up(gateway, settings(first), "the settings are taken")
        assert "tidegate_config_reload_failed 0" in await metrics(gateway)
        assert await gateway.stop() == 0


async def test_what_needs_a_restart_is_named_and_the_rest_is_taken(
    tmp_path: Path, first: SandboxServer, second: SandboxServer
) -> None:
    async with GatewayProcess(tmp_path, settings(first)) as gateway:
        key = await gateway.first_key()
        await gateway.start()
        tree = settings(second, server={"host": "127.0.0.2"}, journal={"sync": "always"})
        lines = await hang_up(gateway, tree, "the settings are taken")
        (named,) = [line for line in lines if "takes a restart" in line]
        assert "journal.sync, server.host changed" in named
        assert (await ask(gateway, key)).status == 200
        await second.received.wait(1)
        assert await gateway.stop() == 0

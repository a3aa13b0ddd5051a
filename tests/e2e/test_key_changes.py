"""What is changed by command is seen by a gateway that runs: at once over Redis, by polling otherwise."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.builders import OWN_ENDPOINT
from tests.fakes import forms
from tests.fakes.gateway_process import GatewayProcess
from tests.servers.redis_server import RedisServer

AN_HOUR = 3600
NEVER_READ_AGAIN = {"max_age": AN_HOUR, "max_staleness": AN_HOUR}


async def _status(gateway: GatewayProcess, key: str) -> tuple[int, str | None]:
    """What a request with this key is answered, and the code of the error."""
    reader, writer = await asyncio.open_connection(gateway.host, gateway.port)
    head = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
    writer.write(f"{head}connection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    head_, _, body = answer.partition(b"\r\n\r\n")
    status = int(head_.split()[1])
    return status, None if status == 200 else json.loads(body)["error"]["code"]


@asynccontextmanager
async def _served(folder: Path, **settings: Any) -> AsyncIterator[tuple[GatewayProcess, str]]:
    rows = [{**OWN_ENDPOINT, "api_key": "sk-own"}]
    # One process over SQLite in whichever form the others run: what is tried is who tells it.
    async with GatewayProcess(folder, {"endpoints": rows, **settings}, form=forms.ONE) as gateway:
        key = await gateway.first_key()
        await gateway.start()
        assert await _status(gateway, key) == (200, None)
        yield gateway, key


async def _until(gateway: GatewayProcess, key: str, code: str | None, within: float) -> float:
    """Seconds until requests with the key are answered with this code."""
    began = time.monotonic()
    while (await _status(gateway, key))[1] != code:
        assert time.monotonic() < began + within, f"not {code} within {within} s"
    return time.monotonic() - began


CHANGES: Mapping[str, tuple[Callable[[str], list[str]], str]] = {
    "key": (lambda key_id: ["keys", "disable", key_id], "key_disabled"),
    "team": (lambda _: ["teams", "disable", "default"], "team_disabled"),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_over_redis_a_key_is_refused_within_a_second(
    tmp_path: Path, redis_server: RedisServer, what: str
) -> None:
    told = {
        "state": {"url": redis_server.url},
        "auth": {**NEVER_READ_AGAIN, "poll_interval": AN_HOUR},
    }
    async with _served(tmp_path, **told) as (gateway, key):
        (row,) = json.loads(await gateway.administer("keys", "list", "--json"))
        words, code = CHANGES[what]
        # Announced before the command ends, so all of a second is left to whoever hears it.
        await gateway.administer(*words(row["id"]))
        await _until(gateway, key, code, within=1.0)


@pytest.mark.parametrize("what", CHANGES)
async def test_without_redis_it_is_refused_by_polling(tmp_path: Path, what: str) -> None:
    told = {"auth": {**NEVER_READ_AGAIN, "poll_interval": 0.5}}
    async with _served(tmp_path, **told) as (gateway, key):
        (row,) = json.loads(await gateway.administer("keys", "list", "--json"))
        words, code = CHANGES[what]
        await gateway.administer(*words(row["id"]))
        await _until(gateway, key, code, within=5.0)


async def test_both_secrets_of_a_rotated_key_are_taken_until_the_next(tmp_path: Path) -> None:
    told = {"auth": {**NEVER_READ_AGAIN, "poll_interval": 0.2}}
    async with _served(tmp_path, **told) as (gateway, first):
        (row,) = json.loads(await gateway.administer("keys", "list", "--json"))
        second = await gateway.administer("keys", "rotate", row["id"])
        assert await _status(gateway, second) == (200, None)
        assert await _status(gateway, first) == (200, None)
        third = await gateway.administer("keys", "rotate", row["id"], "--overlap", "0")
        assert await _status(gateway, third) == (200, None)
        for ended in (first, second):
            await _until(gateway, ended, "invalid_api_key", within=5.0)

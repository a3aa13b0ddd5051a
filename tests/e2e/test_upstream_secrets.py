"""Keys of providers stay inside, and callers have no say in where requests go."""

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends import Secret
from backends.sandbox import Moonshot, SandboxServer
from tests.fakes.gateway_process import GatewayProcess
from tests.fakes.raw_server import Peer, serve
from tests.fakes.stage import K26, Stage, chat
from tests.fakes.wire import Answer, connect, post

Script = Callable[[Peer], Awaitable[None]]

BAD, GOOD, OTHER = "sk-bad-7f3a91c2", "sk-good-55e0b7d4", "sk-other-c81d02aa"
PAIRS = [
    ("base_url", "{url}"),
    ("api_base", "{url}"),
    ("api_url", "{url}"),
    ("endpoint", "{url}"),
    ("upstream", "{url}"),
    ("azure_endpoint", "{url}"),
    ("custom_host", "{url}"),
    ("proxy", "{url}"),
    ("callback_url", "{url}"),
    ("api_key", OTHER),
    ("custom_llm_provider", "openai"),
    ("model_list", [{"litellm_params": {"api_base": "{url}"}}]),
    ("litellm_params", {"api_base": "{url}", "api_key": OTHER}),
    ("extra_body", {"base_url": "{url}"}),
    ("extra_headers", {"x-base-url": "{url}"}),
    ("router_settings", {"base_url": "{url}"}),
    ("config", {"targets": [{"custom_host": "{url}"}]}),
]
HEADERS = [
    "x-base-url",
    "x-api-base",
    "x-upstream-url",
    "x-target-url",
    "x-forwarded-host",
    "x-original-url",
    "x-rewrite-url",
    "x-portkey-custom-host",
    "x-portkey-config",
    "helicone-target-url",
    "helicone-openai-api-base",
    "x-litellm-api-base",
    "x-tidegate-base-url",
    "x-tidegate-upstream",
    "forwarded",
    "destination",
]


class Trap:
    """Where callers would like their requests to go: a port that takes connections."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def was_met(self) -> bool:
        """Whether anybody connected since this was asked last."""
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._listener.close()


@pytest.fixture(scope="module")
def trap() -> Iterator[Trap]:
    made = Trap()
    yield made
    made.close()


def filled(value: Any, url: str) -> Any:
    return json.loads(json.dumps(value).replace("{url}", url))


@pytest.mark.parametrize(("field", "value"), PAIRS, ids=[field for field, _ in PAIRS])
def test_no_field_of_a_body_chooses_the_upstream(
    stage: Stage, trap: Trap, field: str, value: object
) -> None:
    plain = stage.ask(chat())
    answer = stage.ask(chat(**{field: filled(value, trap.url)}))
    assert (answer.status, answer.headers["x-tidegate-provider"]) == (
        plain.status,
        plain.headers["x-tidegate-provider"],
    )
    assert not trap.was_met()


@pytest.mark.parametrize("header", HEADERS)
def test_no_header_chooses_the_upstream(stage: Stage, trap: Trap, header: str) -> None:
    plain = stage.ask(chat())
    answer = stage.ask(chat(), headers={header: trap.url})
    assert answer.status == 200
    assert answer.headers["x-tidegate-provider"] == plain.headers["x-tidegate-provider"]
    assert not trap.was_met()


def row(name: str, base_url: str, *keys: str, **fields: Any) -> dict[str, Any]:
    """A provider as settings have it."""
    known = {"kind": "moonshot", "models": [K26], "local": True}
    return {**known, "name": name, "base_url": base_url, "api_keys": [*keys], **fields}


@contextlib.asynccontextmanager
async def gateway(
    folder: Path, *providers: dict[str, Any], **sections: Any
) -> AsyncIterator[tuple[GatewayProcess, str]]:
    """A gateway before stand-ins, and a key for it."""
    async with GatewayProcess(folder, {"providers": [*providers], **sections}) as process:
        key = await process.first_key()
        await process.start()
        yield process, key


async def ask(process: GatewayProcess, key: str, **fields: Any) -> Answer:
    async with connect(process.port) as wire:
        more = f"Authorization: Bearer {key}\r\n"
        return await wire.ask(
            post("/v1/chat/completions", json.dumps(chat(**fields)).encode(), more=more)
        )


async def get(process: GatewayProcess, key: str, path: str) -> Answer:
    async with connect(process.port) as wire:
        head = f"GET {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {key}\r\n\r\n"
        return await wire.ask(head.encode())


async def test_a_refused_key_is_replaced_by_the_next_within_one_attempt(tmp_path: Path) -> None:
    async with SandboxServer("moonshot", keys={GOOD}) as server:
        provider = row("moonshot", server.base_url, BAD, GOOD)
        async with gateway(tmp_path, provider) as (process, key):
            processes = set()
            for _ in range(3):
                answer = await ask(process, key)
                assert answer.status == 200, answer.body
                assert "x-tidegate-attempts" not in answer.headers
                generation = answer.headers["x-generation-id"]
                processes.add(generation[-8:])  # the end of each id is that of its process
            seen = json.loads((await get(process, key, f"/v1/generation?id={generation}")).body)
            assert len(seen["data"]["provider_responses"]) == 1
            used = server.record.received.count - 3
            assert used == len(processes), "each process used the refused key once"
            told = [line for line in process.log if Secret(BAD).fingerprint in line]
            assert len(told) == len(processes)
            assert f"going on with key {Secret(GOOD).fingerprint}" in told[0]


async def test_an_account_without_money_is_passed_over_before_a_request_finds_out(
    tmp_path: Path,
) -> None:
    def told(process: GatewayProcess) -> int:
        return sum("has 0.0 USD left" in line for line in process.log)

    empty, rich = Moonshot(balance=0.0), Moonshot()
    async with SandboxServer(empty) as first, SandboxServer(rich) as second:
        providers = row("first", first.base_url, GOOD), row("second", second.base_url, GOOD)
        upstream = {"balance_interval": 0.05}
        async with gateway(tmp_path, *providers, upstream=upstream) as (process, key):
            metrics = b""
            async with asyncio.timeout(10):
                while b'"first"' not in metrics:
                    metrics = (await get(process, key, "/metrics")).body
            assert b'tidegate_account_balance{account="first",currency="USD"} 0\n' in metrics
            async with asyncio.timeout(10):
                while told(process) < max(1, len(process.workers)):  # noqa: ASYNC110 - each asks for itself
                    await asyncio.sleep(0.02)
            answer = await ask(process, key)
            assert answer.headers["x-tidegate-provider"] == "second"
            assert first.record.received.count == 0
            empty.balance = 10.0
            async with asyncio.timeout(10):
                while not first.record.received.count:
                    await ask(process, key)
            assert told(process) == max(1, len(process.workers))


REPLIES = [
    *("400 Bad Request", "401 Unauthorized", "402 Payment Required", "403 Forbidden"),
    *("404 Not Found", "413 Too Large", "422 Unprocessable", "429 Too Many Requests"),
    *("500 Internal Server Error", "503 Service Unavailable", "200 OK", "302 Found"),
]


def telling(status: str, form: str) -> Script:
    """A provider that repeats the credential that it was sent, wherever it can."""

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            said = request.header("authorization") or ""
            if form == "word":
                said = said.removeprefix("Bearer ")
            error = json.dumps({"error": {"message": said, "type": said, "code": said}})
            kind, body = {
                "json": ("application/json", error),
                "word": ("application/json", error),
                "text": ("text/plain", said),
                "event": ("text/event-stream", f"data: {error}\n\n"),
                "comment": ("text/event-stream", f": {said}\n\ndata: {said}\n\n"),
            }[form]
            more = f"Content-Type: {kind}\r\nX-Said: {said}\r\nRetry-After: {said}\r\n"
            more += f"Location: http://127.0.0.1:9/{said}\r\n"
            await peer.reply(body.encode(), status=status, more=more.encode())

    return script


FORMS = ("json", "word", "text", "event", "comment")


async def test_a_key_is_nowhere_to_be_found_after_its_provider_repeated_it(tmp_path: Path) -> None:
    ways = list(itertools.product(FORMS, REPLIES))
    async with contextlib.AsyncExitStack() as stack:
        endpoints = []
        for at, (form, status) in enumerate(ways):
            server = await stack.enter_async_context(serve(telling(status, form)))
            one = {
                "id": f"e{at}",
                "provider": f"p{at}",
                "kind": "moonshot",
                "base_url": f"http://{server.origin.authority}/v1",
                "local": True,
                "api_keys": [BAD, OTHER],
                "model": "m",
                "serves": f"tests/m{at}",
                "price": {"input": "1", "output": "2"},
                "context_length": 10_000,
                "max_output": 100,
                "timeouts": {"first_byte": 2.0, "idle": 2.0},
            }
            endpoints.append(one)
        seen: list[bytes] = []
        settings = {"endpoints": endpoints, "upstream": {"balance_interval": 0.2}}
        async with GatewayProcess(tmp_path, settings) as process:
            key = await process.first_key()
            await process.start()
            for at in range(len(ways)):
                for stream in (False, True):
                    answer = await ask(process, key, model=f"tests/m{at}", stream=stream)
                    seen += [answer.body, repr(answer.headers).encode()]
                    generation = answer.headers["x-generation-id"]
                    seen.append((await get(process, key, f"/v1/generation?id={generation}")).body)
            seen.append((await get(process, key, "/metrics")).body)
            await process.stop()
            seen.append("\n".join(process.log).encode())
        assert process.log, "a gateway says something of upstreams that fail"
    seen += [path.read_bytes() for path in process.data.rglob("*") if path.is_file()]
    assert len(seen) > 3 * 2 * len(ways)
    for secret in (BAD, OTHER):
        assert not [one for one in seen if secret.encode() in one]

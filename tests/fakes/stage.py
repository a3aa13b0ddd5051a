"""The whole play: stand-ins of providers, a gateway process before them, and the keys of its callers.

The stand-ins live on an event loop in a thread of their own, so that blocking clients can be tested.
"""

import asyncio
import contextlib
import http.client
import json
import threading
from collections.abc import Coroutine, Mapping
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import openai
from click.testing import CliRunner
from msgspec import Struct
from typing_extensions import override

from backends.sandbox import FaultName, SandboxServer
from gateway.cli import main
from tests.fakes.gateway_process import GatewayProcess

Result = TypeVar("Result")
K26 = "moonshotai/kimi-k2.6"
LINEAR = "moonshotai/kimi-linear-48b-a3b-instruct"
TEAM = "acme"


class LoopThread:
    """An event loop that runs beside the test."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result], within: float = 60.0) -> Result:
        """Run there, and wait for the result here."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(within)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Response(Struct, frozen=True):
    """An answer with its headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The body, with numbers that have a point as exact decimals."""
        return json.loads(self.body, parse_float=Decimal)

    @property
    def generation(self) -> str:
        return self.headers["x-generation-id"]

    @property
    def events(self) -> list[Any]:
        """The payloads of a stream; `[DONE]` as that string."""
        payloads = [
            block.removeprefix(b"data: ")
            for block in self.body.split(b"\n\n")
            if block.startswith(b"data: ")
        ]
        return [
            "[DONE]" if one == b"[DONE]" else json.loads(one, parse_float=Decimal)
            for one in payloads
        ]


class GatewayStage:
    """A gateway process and the callers before it; what stands behind it, a subclass says.

    Attributes:
        key: of team `acme`, without a budget.
    """

    def __init__(self, folder: Path) -> None:
        self.loop = LoopThread()
        self.key = ""
        self._folder = folder
        self._up = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._up.callback(self.loop.close)
        self._begin()
        self.gateway = GatewayProcess(self._folder, self._settings())
        self.loop.run(self.gateway.__aenter__())
        self._up.callback(lambda: self.loop.run(self.gateway.__aexit__(None, None, None)))
        self.loop.run(self.gateway.start())
        self.administer("teams", "create", TEAM)
        self.key = self.loop.run(self.gateway.administer("keys", "create", "--team", TEAM))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._up.close()

    def _begin(self) -> None:
        """Start what the settings point at; `self._up` ends it."""

    def _settings(self) -> dict[str, Any]:
        raise NotImplementedError

    # administration

    def administer(self, *words: str) -> str:
        """Run an administrative verb; gives its stdout."""
        done = CliRunner().invoke(main, [*words, "--config", str(self.gateway.config)])
        assert done.exit_code == 0, done.stderr
        return done.stdout.strip()

    def new_key(self, *options: str, team: str = TEAM) -> str:
        return self.administer("keys", "create", "--team", team, *options)

    # callers

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}/v1"

    def client(self, **options: Any) -> openai.OpenAI:
        """OpenAI's own client, given an address and a key; closed with the stage at the latest."""
        given = {"base_url": self.base_url, "api_key": self.key, "max_retries": 0, **options}
        client = openai.OpenAI(**given)
        self._up.callback(client.close)
        return client

    def ask(
        self,
        body: bytes | Mapping[str, Any] | None = None,
        *,
        path: str = "/v1/chat/completions",
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """POST `body`, or GET without one. An empty `key` sends none."""
        raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        sent = dict(headers or {})
        key = self.key if key is None else key
        if key:
            sent.setdefault("Authorization", f"Bearer {key}")
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.port, timeout=30)
        try:
            connection.request("GET" if raw is None else "POST", path, raw, sent)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, found, answer.read())
        finally:
            connection.close()

    def generation(self, identity: str, *, key: str | None = None) -> Any:
        """What GET /v1/generation says."""
        answer = self.ask(path=f"/v1/generation?id={identity}", key=key)
        assert answer.status == 200, answer.body
        return answer.document["data"]

    def metrics(self) -> dict[str, float]:
        """Samples by name and labels, as they stand in the text."""
        text = self.ask(path="/metrics", key="").body.decode()
        pairs = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, _, value in pairs}

    def read(self, query: str, **values: object) -> list[dict[str, Any]]:
        """Rows of the gateway's database, read from outside; `:name` stands for a value."""
        return self.gateway.read(query, **values)


class Stage(GatewayStage):
    """Moonshot, Novita and vLLM, and a gateway on all three.

    Attributes:
        moonshot, novita, vllm: the stand-ins.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.moonshot = SandboxServer("moonshot")
        self.novita = SandboxServer("novita")
        self.vllm = SandboxServer("vllm")

    @override
    def _begin(self) -> None:
        for server in (self.moonshot, self.novita, self.vllm):
            self.loop.run(server.start())
            self._up.callback(self._close, server)

    def _close(self, server: SandboxServer) -> None:
        self.loop.run(server.aclose())

    @override
    def _settings(self) -> dict[str, Any]:
        known = [
            {"kind": kind, "base_url": server.base_url, "api_key": "sandbox", "local": True}
            for kind, server in (("moonshot", self.moonshot), ("novita", self.novita))
        ]
        own = {
            "id": "gpu/linear",
            "provider": "gpu",
            "kind": "vllm",
            "base_url": self.vllm.base_url,
            "model": "tiny-kimi",
            "serves": LINEAR,
            "price": {"input": "0.3", "output": "0.6"},
            "context_length": 8192,
            "max_output": 4096,
        }
        first: dict[str, Any] = {
            "provider": "first",
            "kind": "novita",
            "server": self.novita,
            "model": K26,
            "price": ("1", "2"),
        }
        second: dict[str, Any] = {
            "provider": "second",
            "kind": "moonshot",
            "server": self.moonshot,
            "model": "kimi-k2.6",
            "price": ("3", "6"),
        }
        pairs = [
            endpoint
            for fault in FaultName
            for name in (fault, f"{fault}-stream", f"{fault}-other")
            for endpoint in (
                _endpoint(name, **first),
                _endpoint(name, **second),
            )
        ]
        return {
            "server": {"max_body_bytes": 1_000_000},
            "request": {"keep_alive_interval": 0.1},
            "auth": {"max_age": 0.3},
            "providers": known,
            "endpoints": [own, *pairs],
        }


def _endpoint(
    name: str,
    *,
    provider: str,
    kind: str,
    server: SandboxServer,
    model: str,
    price: tuple[str, str],
) -> dict[str, Any]:
    """One of two endpoints of a model of one test: failures elsewhere do not set it aside."""
    return {
        "id": f"{provider}/{name}",
        "provider": provider,
        "kind": kind,
        "base_url": server.base_url,
        "local": True,
        "api_key": "sandbox",
        "model": model,
        "serves": f"tests/{name}",
        "price": {"input": price[0], "output": price[1]},
        "context_length": 262_144,
        "max_output": 4096,
        "timeouts": {"connect": 2.0, "first_byte": 0.8, "idle": 0.8},
    }


def chat(text: str = "Hello!", *, model: str = K26, **fields: Any) -> dict[str, Any]:
    """The body of a chat request with one message."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **fields}

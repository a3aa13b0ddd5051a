"""Two real vLLM servers, a gateway before them, and its callers."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from typing_extensions import override

from tests.fakes.stage import GatewayStage, Response
from tests.vllm.vllm_server import CONTEXT, NAME, VllmServer

VLLM_KEY = "sk-own-vllm-0123456789abcdef"  # what the server of `latent` wants
WRONG_KEY = "sk-own-vllm-fedcba9876543210"
# With it the tiny model never comes to an end by itself.
ENDLESS: dict[str, Any] = {"chat_template_kwargs": {"endless": True}}
SEATS, QUEUE = 2, 2  # requests that `latent` works on at a time, and that may wait meanwhile

LATENT = {"input": "1", "output": "2"}
PREFIX = {"input": "3", "output": "6", "cache_read": "0.3"}


class VllmStage(GatewayStage):
    """The two servers differ in what a Kimi model needs on a CPU and what a prefix cache needs.

    Attributes:
        latent: with multi-head latent attention, which on a CPU means no prefix cache; wants a key; its
            queue is short.
        prefix: with plain attention and a prefix cache, in blocks of 128 tokens.
    """

    def __init__(self, folder: Path, environment: Path) -> None:
        super().__init__(folder)
        self._environment = environment

    @override
    def _begin(self) -> None:
        self.latent = VllmServer(
            self._environment,
            self._folder,
            "latent",
            [
                *("--api-key", VLLM_KEY, "--max-num-seqs", str(SEATS)),
                # Whatever its name says, it counts those being worked on too (0.32, read 2026-11-22).
                *("--max-num-queued-reqs", str(SEATS + QUEUE)),
            ],
        )
        self._up.callback(self.latent.stop)
        self.prefix = VllmServer(
            self._environment,
            self._folder,
            "prefix",
            ["--max-num-seqs", "4"],
            {"VLLM_MLA_DISABLE": "1"},
        )
        self._up.callback(self.prefix.stop)

    def _closed_port(self) -> int:
        """A port that refuses connections: it is bound, and nobody listens."""
        held = socket.socket()
        self._up.callback(held.close)
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port

    def ready(self) -> None:
        """Return once both servers answer."""
        self.latent.ready()
        self.prefix.ready()

    @override
    def _settings(self) -> dict[str, Any]:
        latent = {"base_url": self.latent.base_url, "api_key": VLLM_KEY, "price": LATENT}
        prefix = {"base_url": self.prefix.base_url, "price": PREFIX}
        nobody = {"base_url": f"http://127.0.0.1:{self._closed_port()}/v1", "price": LATENT}
        endpoints = [
            _endpoint("latent", "latent", latent),
            _endpoint("prefix", "prefix", prefix),
            _endpoint("shared", "prefix", prefix, cache_isolation="none"),
            _endpoint("whole", "latent", latent, native_non_stream=True),
            _endpoint("wrong-key", "latent", {**latent, "api_key": WRONG_KEY}),
            _endpoint("no-key", "latent", {"base_url": self.latent.base_url, "price": LATENT}),
            _endpoint("locked", "latent", {**latent, "api_key": WRONG_KEY}),
            _endpoint("locked", "prefix", prefix),
            _endpoint("nobody", "down", nobody),
            _endpoint("nobody", "prefix", prefix),
        ]
        # Two endpoints of one model, the cheaper one first; for each test its own, so that what fails in
        # one is not set aside in another. A vLLM that dies can also just fall silent.
        soon = {"timeouts": {"first_byte": 10.0, "idle": 5.0}}
        endpoints.append(_endpoint("stopped", "prefix", prefix, **soon))
        for name, more in {"full": {}, "killed": soon, "waiting": soon, "after": soon}.items():
            endpoints.append(_endpoint(name, "latent", latent, **more))
            endpoints.append(_endpoint(name, "prefix", prefix))
        return {"endpoints": endpoints}

    def send(self, body: dict[str, Any], *, key: str | None = None, name: str = "") -> "Pending":
        """Send a chat request, without waiting for anything; `name` goes into x-request-id."""
        return Pending(self.gateway.port, body, key or self.key, name)

    def settled(self, generation: str, within: float = 10.0) -> Any:
        """The record of a generation, once there is one: a caller who left is not told when."""
        deadline = time.monotonic() + within
        while (answer := self.ask(path=f"/v1/generation?id={generation}")).status == 404:
            assert time.monotonic() < deadline, f"{generation} was never settled"
            time.sleep(0.01)
        return answer.document["data"]

    def named(self, name: str, within: float = 10.0) -> str:
        """The id of the generation with this x-request-id, once it is in the ledger."""
        deadline = time.monotonic() + within
        while True:
            query = "SELECT id FROM generations WHERE request_id = :name"
            if rows := self.read(query, name=name):
                return str(rows[0]["id"])
            assert time.monotonic() < deadline, f"{name} never came to the ledger"
            time.sleep(0.02)


class Pending:
    """A request that was sent, and the answer as far as the caller has read it.

    Attributes:
        seen: the events of a stream that were read.
    """

    def __init__(self, port: int, body: dict[str, Any], key: str, name: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        if name:
            headers["X-Request-Id"] = name
        self._connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        self._answer: http.client.HTTPResponse | None = None
        self.seen: list[Any] = []

    @property
    def answer(self) -> http.client.HTTPResponse:
        """The head of the answer, waited for."""
        if self._answer is None:
            self._answer = self._connection.getresponse()
        return self._answer

    @property
    def generation(self) -> str:
        return self.answer.headers["x-generation-id"]

    def events(self) -> Iterator[Any]:
        """The payloads of a stream as they come; `[DONE]` as that string."""
        while line := self.answer.readline():
            if line.startswith(b"data: "):
                payload = line.removeprefix(b"data: ").strip()
                self.seen.append("[DONE]" if payload == b"[DONE]" else json.loads(payload))
                yield self.seen[-1]

    def pieces(self) -> Iterator[str]:
        """The text of each piece, reasoning or content, of the first choice, until an error or the end.

        On a busy machine vLLM puts several tokens into one.
        """
        for event in self.events():
            if event == "[DONE]" or "error" in event:
                return
            for choice in event["choices"][:1]:
                if text := choice["delta"].get("reasoning") or choice["delta"].get("content"):
                    yield text

    def read(self) -> Response:
        """The whole answer."""
        found = {name.lower(): value for name, value in self.answer.getheaders()}
        return Response(self.answer.status, found, self.answer.read())

    def leave(self) -> None:
        """Close the connection, wherever the answer is."""
        if self._answer is not None:
            self._answer.close()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave()


def _endpoint(name: str, provider: str, where: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": f"{provider}/{name}",
        "provider": provider,
        "kind": "vllm",
        "model": NAME,
        "serves": f"tests/{name}",
        "context_length": CONTEXT,
        "max_output": CONTEXT,
        **where,
        **more,
    }

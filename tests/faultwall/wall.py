"""A gateway in this process with a stand-in behind each adapter, and one more that never fails.

Kinds are in two groups, each with a wall of its own: `litellm` needs an environment that has it, and a
worker process, which takes seconds to start. The worker is real; its provider is a stand-in.

Callers speak HTTP to it and it speaks HTTP to them; what is looked at besides are its breaker, its
metrics, its log and its ledger in SQLite.
"""

import asyncio
import gc
import http.client
import json
import logging
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pytest
import uvicorn
from msgspec import Struct
from typing_extensions import override

from backends.litellm import LitellmBackend, LitellmWorker
from backends.rotation import RotatingBackend
from backends.sandbox import Fault, Moonshot, Novita, OpenRouter, SandboxServer, Vercel, Vllm
from backends.sandbox.dialect import Dialect
from gateway import app
from gateway.api.edge import EdgeProtocol
from gateway.jobs.shipper import Shipper
from gateway.settings import check
from gateway.usage import queries
from gateway.values import Outcome
from tests.fakes.stage import LoopThread, Response
from tests.faultwall.expectations import HOWS, How

if TYPE_CHECKING:
    from gateway.services import Services

# Seconds that the gateway waits for a first token, and between bytes.
PATIENCE = 10.0
HASTE = 0.3
LITELLM_HASTE = 0.6  # its first piece takes longer
PRICE = {"input": "2", "output": "8", "cache_read": "0.5"}
SECOND_PRICE = {"input": "3", "output": "9"}
CAP = 4096  # tokens of output
PROMPT = "What is the weather like?"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class Column(Struct, frozen=True):
    """One adapter and the stand-in that it is tried on.

    Attributes:
        dialect: what the stand-in speaks.
        model: what the endpoint calls it.
        reports_cost: whether what the reply says it cost is what is charged.
        group: the group of tests that it is tried in.
    """

    dialect: Callable[[], Dialect]
    model: str
    reports_cost: bool = False
    group: str = "main"


COLUMNS: Mapping[str, Column] = {
    "moonshot": Column(Moonshot, "kimi-k2.6"),
    "moonshot_cn": Column(Moonshot, "kimi-k2.6"),
    "openrouter": Column(OpenRouter, "moonshotai/kimi-k2.6", reports_cost=True),
    "vercel": Column(Vercel, "moonshotai/kimi-k2.6", reports_cost=True),
    "novita": Column(Novita, "moonshotai/kimi-k2.6"),
    "openai_compat": Column(partial(Novita, "openai"), "moonshotai/kimi-k2.6"),
    "vllm": Column(Vllm, "tiny-kimi"),
    # litellm's provider for any host of OpenAI's dialect, by OpenAI's own SDK: nothing that it knows of one
    # provider stands between it and a fault.
    "litellm": Column(partial(Novita, "openai"), "openai/moonshotai/kimi-k2.6", group="litellm"),
}


def columns_of(group: str) -> Mapping[str, Column]:
    """The columns that are tried in a group of tests."""
    return {kind: column for kind, column in COLUMNS.items() if column.group == group}


class Spot(Struct, frozen=True):
    """What a cell asks: a kind of endpoint, for a sort of caller, on one of three sorts of ground.

    `ground` is `sound`, `hurried` (of which the gateway expects haste) or `closed` (nobody listens).
    """

    kind: str
    how: How
    ground: str

    def model(self, *, alone: bool) -> str:
        """What a caller asks for."""
        return f"{'alone' if alone else 'pair'}/{self._name}"

    def endpoint(self, place: str) -> str:
        """The id of an endpoint: `first` and `second` of a pair, or the one that is `alone`."""
        return f"{place}/{self._name}"

    @property
    def _name(self) -> str:
        return f"{self.kind}-{self.how}-{self.ground}"


def spots_of(group: str) -> list[Spot]:
    """All of a group."""
    grounds = ("sound", "hurried", "closed")
    return [
        Spot(kind, how, ground) for kind in columns_of(group) for how in HOWS for ground in grounds
    ]


def _endpoint(place: str, spot: Spot, base_url: str, **more: Any) -> dict[str, Any]:
    haste = LITELLM_HASTE if spot.kind == "litellm" else HASTE
    patience = haste if spot.ground == "hurried" else PATIENCE
    return {
        "id": spot.endpoint(place),
        "provider": f"{place}-{spot.kind}",
        "base_url": base_url,
        "local": True,
        "api_key": "sandbox",
        "serves": spot.model(alone=place == "alone"),
        "max_output": CAP,
        "native_non_stream": spot.how == "native",
        "timeouts": {"connect": 5.0, "first_byte": patience, "idle": patience},
        **more,
    }


class Wall:
    """The whole play. Its parts live on a loop in a thread of their own.

    Args:
        folder: for the gateway's data.
        group: whose columns are behind it.
        litellm: an interpreter that has litellm, where one of them needs it.
    """

    def __init__(self, folder: Path, group: str = "main", litellm: Path | None = None) -> None:
        self.loop = LoopThread()
        self.servers = {
            kind: SandboxServer(column.dialect()) for kind, column in columns_of(group).items()
        }
        self._spots = spots_of(group)
        self._litellm = {} if litellm is None else {"python": str(litellm)}
        self.second = SandboxServer(Novita("openai"))
        self.log: list[logging.LogRecord] = []
        self._folder = folder
        self._lines: set[str] = set()  # of the metrics' text, as far as it was read
        self._samples: dict[str, float] = {}
        self._stack = AsyncExitStack()

    def __enter__(self) -> Self:
        watch = _Watch(self.log)
        logging.getLogger().addHandler(watch)
        self._stack.callback(logging.getLogger().removeHandler, watch)
        self.loop.run(self._start())
        if self._litellm:
            self.loop.run(self.worker.ready(), within=120)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.loop.run(self._stack.aclose())
        self.loop.close()

    async def _start(self) -> None:
        # A port that is taken, so that nobody else gets it, and at which nobody listens.
        self._closed = self._stack.enter_context(socket.socket())
        self._closed.bind(("127.0.0.1", 0))
        for server in (*self.servers.values(), self.second):
            await self._stack.enter_async_context(server)
        settings = check(
            {
                "data": self._folder,
                "request": {"keep_alive_interval": 60},
                "server": {"port": 0},
                "litellm": self._litellm,
                "endpoints": [row for spot in self._spots for row in self._rows(spot)],
            }
        )
        await app.prepare(settings)
        first = await app.first_account(settings.data, with_key=True)
        self.key = first.key_plaintext
        listener = app.bind(settings.server)
        self.port: int = listener.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            # What ended is to be in the database before the next look at it, not in half a second.
            patch.setattr("gateway.app.worker.Shipper", partial(Shipper, interval=0.01))
            await self._serve(app.build(settings), listener)

    async def _serve(self, application: Any, listener: socket.socket) -> None:
        thresholds = gc.get_threshold()
        config = uvicorn.Config(
            application, http=EdgeProtocol, ws="none", lifespan="on", log_config=None
        )
        config.load()
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        assert server.started
        self.services: Services = next(
            iter(server.lifespan.state["edge"].routes.values())
        )._services

        async def stop() -> None:
            for listening in server.servers:
                listening.close()
            for connection in list(server.server_state.connections):
                connection.transport.abort()
            await server.lifespan.shutdown()
            gc.unfreeze()  # the gateway had taken the process for its own
            gc.set_threshold(*thresholds)

        self._stack.push_async_callback(stop)

    def _rows(self, spot: Spot) -> list[dict[str, Any]]:
        column = COLUMNS[spot.kind]
        own: dict[str, Any] = {"kind": spot.kind, "model": column.model, "price": PRICE}
        other = {"kind": "openai_compat", "model": "moonshotai/kimi-k2.6", "price": SECOND_PRICE}
        server = self.servers[spot.kind]
        where = server.base_url
        if spot.ground == "closed":
            where = where.replace(f":{server.port}/", f":{self._closed.getsockname()[1]}/")
        return [
            _endpoint("alone", spot, where, **own, context_length=131_072),
            _endpoint("first", spot, where, **own, context_length=131_072),
            _endpoint("second", spot, self.second.base_url, **other, context_length=262_144),
        ]

    @property
    def worker(self) -> LitellmWorker:
        """The litellm worker."""
        rotating = self.services.backends["litellm"]
        assert isinstance(rotating, RotatingBackend)
        adapter = rotating._inner
        assert isinstance(adapter, LitellmBackend)
        return adapter._worker

    # one cell

    def strike(self, kind: str, fault: Fault) -> None:
        """From now on `fault` strikes each request to the stand-in of `kind`."""

        async def switch() -> None:
            self.servers[kind].faults.add(fault)

        self.loop.run(switch())

    def heal(self, kind: str) -> None:
        """All is well again, and forgotten."""

        async def switch() -> None:
            self.servers[kind].faults.clear()
            breaker = self.services.breaker
            for memory in (breaker._records, breaker._accounts, breaker._empty):
                memory.clear()

        self.loop.run(switch())

    def ask(self, body: bytes) -> Response:
        """What a caller gets."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            headers = {"Authorization": f"Bearer {self.key}"}
            connection.request("POST", "/v1/chat/completions", body, headers)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Response(answer.status, found, answer.read())
        finally:
            connection.close()

    def moved(self) -> list[tuple[str, dict[str, str], float]]:
        """Counters that moved since this was last asked: name, labels, by how much."""

        async def text() -> str:
            return self.services.metrics.render()

        moved = []
        for line in self.loop.run(text()).splitlines():
            if line in self._lines or line.startswith("#"):
                continue
            self._lines.add(line)
            sample, _, value = line.rpartition(" ")
            change = float(value) - self._samples.get(sample, 0.0)
            self._samples[sample] = float(value)
            name, _, labels = sample.rstrip("}").partition("{")
            if name.endswith("_total"):
                pairs = [pair.split("=", 1) for pair in labels.split(",")]
                moved.append((name, {key: json.loads(text) for key, text in pairs}, change))
        return moved

    def ledger(self, generation: str) -> Outcome:
        """What the database has of a request, as soon as it has it."""

        async def look() -> Outcome:
            async with asyncio.timeout(10):
                while True:
                    found = await queries.generation(self.services.database, generation)
                    if found is not None:
                        return found
                    await asyncio.sleep(0.002)

        return self.loop.run(look())


class _Watch(logging.Handler):
    """Keeps what is worse than a warning."""

    def __init__(self, kept: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self._kept = kept

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(record)


def body_of(model: str, how: How, *, tools: bool) -> bytes:
    """The request of a cell."""
    whole: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": PROMPT}]}
    if how == "stream":
        whole |= {"stream": True, "stream_options": {"include_usage": True}}
    if tools:
        whole["tools"] = [TOOL]
    return json.dumps(whole).encode()

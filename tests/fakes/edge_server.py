"""The inference edge under uvicorn, with handlers that do as a test says."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from gateway.api.edge import Edge, EdgeProtocol
from gateway.api.routes import application
from gateway.clock import SystemClock
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.ids import IdSource
from gateway.settings import ServerSettings
from gateway.wire.errors import error_body, error_header_lines

_TEXT = b"content-type: text/plain\r\n"
PIECE = b"x" * 65_536
LARGE = 48 * 1024 * 1024


class EdgeServer:
    """Routes: /echo, /slow, /stream, /flood, /unread, /silent (native) and GET /plain, /gated (ASGI).

    Attributes:
        gate: what /slow, /stream and /gated wait for.
        reached: set once a handler has begun.
        cancelled: set once a native handler was cancelled.
        flooded: bytes that /flood has written.
        served: bodies that /echo got, in order.
    """

    def __init__(self, limits: ServerSettings) -> None:
        self.limits = limits
        self.port = 0
        self.gate = asyncio.Event()
        self.reached = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.flooded = 0
        self.served: list[bytes] = []
        self.uvicorn: uvicorn.Server | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    # native

    async def echo(self, exchange: Exchange) -> None:
        self.reached.set()
        try:
            exchange.head.header(b"authorization")
            body = bytes(await exchange.body())
        except GatewayError as error:
            self._refuse(exchange, error)
            return
        self.served.append(body)
        exchange.start(200, _TEXT, len(body))
        exchange.finish(body)

    async def slow(self, exchange: Exchange) -> None:
        body = bytes(await exchange.body())
        await self._wait()
        exchange.start(200, _TEXT, len(body))
        exchange.finish(body)

    async def stream(self, exchange: Exchange) -> None:
        await exchange.body()
        exchange.start(200, _TEXT, None)
        exchange.write(b"one")
        await self._wait()
        exchange.write(b"two")
        exchange.finish()

    async def flood(self, exchange: Exchange) -> None:
        """Write without end to a caller who may not read."""
        await exchange.body()
        exchange.start(200, _TEXT, None)
        self.reached.set()
        try:
            while True:
                exchange.write(PIECE)
                self.flooded += len(PIECE)
                await exchange.drain()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def unread(self, exchange: Exchange) -> None:
        """Refuse without having asked for the body."""
        self._refuse(exchange, GatewayError("no", status=401))

    async def large(self, exchange: Exchange) -> None:
        """A whole answer in one write, too large for the kernel to take it off our hands."""
        await exchange.body()
        exchange.start(200, _TEXT, LARGE)
        exchange.finish(b"x" * LARGE)

    async def early(self, exchange: Exchange) -> None:
        """The same without having asked for the body."""
        exchange.start(200, _TEXT, LARGE)
        exchange.finish(b"x" * LARGE)
        self.reached.set()

    def _refuse(self, exchange: Exchange, error: GatewayError) -> None:
        body = error_body(error)
        exchange.start(error.status, error_header_lines(error), len(body))
        exchange.finish(body)

    async def _wait(self) -> None:
        self.reached.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    # ASGI

    async def plain(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.url.query or "plain")

    async def gated(self, _: Request) -> PlainTextResponse:
        self.reached.set()
        await self.gate.wait()
        return PlainTextResponse("gated")


@contextlib.asynccontextmanager
async def serve(**limits: Any) -> AsyncIterator[EdgeServer]:
    """Serve on a free port. `limits` are `ServerSettings`."""
    server = EdgeServer(ServerSettings(**limits))
    native = ("echo", "slow", "stream", "flood", "unread", "large", "early")
    routes = {f"/{name}".encode(): getattr(server, name) for name in native}
    edge = Edge(routes, server.limits, IdSource(SystemClock()), server.tasks)
    app = application(
        [Route("/plain", server.plain), Route("/gated", server.gated)], IdSource(SystemClock())
    )

    @contextlib.asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[dict[str, Any]]:
        yield {"edge": edge}

    app.router.lifespan_context = lifespan
    config = uvicorn.Config(
        app,
        http=EdgeProtocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=server.limits.keep_alive,  # type: ignore[arg-type] # it takes fractions too
    )
    config.load()
    running = server.uvicorn = uvicorn.Server(config)
    running.lifespan = config.lifespan_class(config)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server.port = listener.getsockname()[1]
    # Its main loop is left out: it only ticks, and each test would wait for a tick.
    await running.startup(sockets=[listener])
    try:
        yield server
    finally:
        for listening in running.servers:
            listening.close()
        for connection in list(running.server_state.connections):
            connection.transport.abort()
        tasks = list(running.server_state.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await running.lifespan.shutdown()

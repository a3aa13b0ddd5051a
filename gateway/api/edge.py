"""The inference edge: callers' connections, on uvicorn's own port and event loop.

A subclass of uvicorn's HTTP protocol that serves the inference routes itself, without ASGI between:
each such request becomes a `NativeExchange` and a task that runs the flow. Every other route goes to the
ASGI application as before. It adds what the stock protocol lacks: limits on the size and time of a
request's head, a time limit on uploads and on callers who do not read, and errors in OpenAI's shape.

The hooks are private to uvicorn, so its minor version is pinned, and `tests/contract/test_edge.py`
holds what this module relies on. See `docs/decisions/0007-inference-edge.md`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import httptools
from msgspec import Struct
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from gateway.api.exchange import NativeExchange, NativeHead, too_large
from gateway.errors import (
    CallerGone,
    GatewayError,
    HeadersTooLarge,
    InvalidRequest,
    RequestTimeout,
    Unavailable,
)
from gateway.ids import IdSource
from gateway.settings import ServerSettings
from gateway.values import Exchange
from gateway.wire.errors import error_body, error_headers

_LINGER = 2.0  # seconds for which the rest of a refused upload is read and thrown away


class Edge(Struct, frozen=True):
    """What every connection needs: handed to the protocol through the lifespan's state."""

    routes: Mapping[bytes, Callable[[Exchange], Awaitable[None]]]  # path of a POST to its handler
    limits: ServerSettings
    ids: IdSource
    tasks: set[asyncio.Task[None]]  # requests under way


class EdgeProtocol(HttpToolsProtocol):
    """One connection of a caller."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.edge: Edge = app_state["edge"]
        self.limits = self.edge.limits
        self.http_10 = False
        self._in_head = True
        self._head_size = 0
        self._due = 0.0  # loop time by which the caller must have sent something; 0: nothing due
        self._due_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    # Transport

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._expect_bytes(self.limits.head_timeout)

    @override
    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        if self._in_head:
            self._head_size += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # no upgrade is offered: the request was answered as plain HTTP
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(
                cause
                if isinstance(cause, GatewayError)
                else InvalidRequest(f"not a valid HTTP request: {error}", code="invalid_http")
            )
            return
        limits = self.limits
        if self._in_head:
            if self._head_size > limits.max_head_bytes:
                self._refuse(_head_too_large(limits))
            elif self._due == 0.0 and self._head_size:
                self._expect_bytes(limits.head_timeout)
        else:  # the rest of a body is to come
            self._expect_bytes(limits.body_timeout)

    @override
    def eof_received(self) -> None:
        self._due = 0.0

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._due_timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        self._due_timer = self._write_timer = None
        for exchange in self._exchanges():
            exchange.disconnected = True
            exchange.refuse_body(CallerGone("the caller left"))
            if exchange.task is not None:
                exchange.task.cancel()

    def _exchanges(self) -> list[NativeExchange]:
        """Native requests of this connection that are not answered yet."""
        cycles = [self.cycle, self._running, *(queued for queued, _ in self.pipeline)]
        unique = {id(c): c for c in cycles if isinstance(c, NativeExchange)}
        return [exchange for exchange in unique.values() if not exchange.response_complete]

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(
                self.limits.write_timeout, self.transport.abort
            )

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # Time limits on what the caller sends: one timer that is re-armed when it fires, not per read

    def _expect_bytes(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
        if self._due_timer is None:
            self._due_timer = self.loop.call_later(seconds, self._check_due)

    def _check_due(self) -> None:
        self._due_timer = None
        if self._due == 0.0 or self.transport.is_closing():
            return
        left = self._due - self.loop.time()
        if left > 0:
            self._due_timer = self.loop.call_later(left, self._check_due)
            return
        self._due = 0.0
        if self._in_head:
            if self._head_size:
                self._refuse(
                    RequestTimeout(
                        "the request's headers did not arrive within"
                        f" {self.limits.head_timeout:g} s"
                    )
                )
            else:
                self.transport.close()
            return
        cycle = self.cycle
        if isinstance(cycle, NativeExchange) and not cycle.response_complete:
            cycle.keep_alive = False
            cycle.refuse_body(
                RequestTimeout(
                    "the request's body stopped arriving: nothing came for"
                    f" {self.limits.body_timeout:g} s"
                )
            )
        else:
            self.transport.close()

    # Parser

    @override
    def on_message_begin(self) -> None:
        # The base class builds an ASGI scope here; native routes need none.
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    @override
    def on_headers_complete(self) -> None:
        if self._head_size > self.limits.max_head_bytes and _size(self) > (
            self.limits.max_head_bytes
        ):
            raise _head_too_large(self.limits)
        self._in_head = False
        self._due = 0.0
        handler = None
        if self.parser.get_method() == b"POST":
            handler = self.edge.routes.get(self.url.partition(b"?")[0])
        if handler is None:
            url, headers = self.url, self.headers
            super().on_message_begin()
            self.url = url
            self.headers.extend(headers)
            super().on_headers_complete()
            return
        self.http_10 = self.parser.get_http_version() == "1.0"
        earlier = self.cycle
        exchange = NativeExchange(
            self,
            NativeHead(self.url.partition(b"?")[0], self.headers),
            keep_alive=not self.http_10 and self.parser.should_keep_alive(),
            expect=self.expect_100_continue,
        )
        self._check_length(exchange)
        # The base class knows cycles by what it touches of them: see NativeExchange.
        self.cycle = cast("RequestResponseCycle", exchange)
        app = cast("Any", handler)
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def _check_length(self, exchange: NativeExchange) -> None:
        length = exchange.head.first(b"content-length")
        limits = self.limits
        if length is not None and int(length) > limits.max_body_bytes:
            exchange.refuse_body(too_large(limits))
        elif len(self.connections) > limits.max_connections:
            exchange.refuse_body(
                Unavailable(
                    "too many connections to this gateway at the moment; try again soon",
                    code="too_many_connections",
                    retry_after=1.0,
                )
            )

    _running: NativeExchange | None = None

    @override
    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if not isinstance(cycle, NativeExchange):
            self._running = None
            super()._start_asgi_task(cycle, app)
            return
        self._running = cycle
        # In `tasks`, so that a graceful shutdown waits for it.
        task = self.loop.create_task(app(cycle))
        cycle.task = task
        for running in (self.tasks, self.edge.tasks):
            running.add(task)
            task.add_done_callback(running.discard)

    @override
    def on_body(self, body: bytes) -> None:
        if isinstance(self.cycle, NativeExchange):
            self.cycle.feed(body)
        else:
            super().on_body(body)

    @override
    def on_message_complete(self) -> None:
        self._in_head = True
        self._head_size = 0
        self._due = 0.0
        cycle = self.cycle
        if not isinstance(cycle, NativeExchange):
            super().on_message_complete()
            return
        cycle.feed_end()
        if cycle.response_complete and not cycle.keep_alive:
            self.transport.close()

    def finished(self, exchange: NativeExchange) -> None:
        """An answer is complete."""
        self._running = None
        if not exchange.keep_alive:
            if exchange.body_complete:
                self.transport.close()
            else:
                # Closing now would reset the connection under the answer: let the upload run out.
                self.flow.resume_reading()
                self.loop.call_later(_LINGER, self.transport.close)
            self.server_state.total_requests += 1
            return
        self.on_response_complete()

    # Errors below HTTP semantics

    def _refuse(self, error: GatewayError) -> None:
        """Answer what is not a request, and close."""
        if self.transport.is_closing():
            return
        if self._exchanges():
            self.transport.close()  # an answer to an earlier request is under way: cannot mix
            return
        identity = self.edge.ids.generation().encode()
        body = error_body(error)
        parts = [STATUS_LINE[error.status]]
        for name, value in (
            *self.server_state.default_headers,
            *error_headers(error),
            (b"x-generation-id", identity),
            (b"x-request-id", identity),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ):
            parts += (name, b": ", value, b"\r\n")
        self.transport.write(b"".join((*parts, b"\r\n", body)))
        self.transport.close()


def _size(protocol: HttpToolsProtocol) -> int:
    return len(protocol.url) + sum(len(name) + len(value) + 4 for name, value in protocol.headers)


def _head_too_large(limits: ServerSettings) -> HeadersTooLarge:
    return HeadersTooLarge(f"the request's headers are larger than {limits.max_head_bytes} bytes")

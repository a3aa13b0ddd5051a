"""The inference edge: callers' connections, on uvicorn's own port and event loop.

A subclass of uvicorn's HTTP protocol that serves the inference routes itself, without ASGI between:
each such request becomes a `NativeExchange` and a task that runs the flow. Every other route goes to the
ASGI application as before. It adds limits on size and time, and errors in OpenAI's shape.

The hooks are private to uvicorn, so its minor version is pinned; `tests/contract/edge` holds what is relied
on. See `docs/decisions/0007-inference-edge.md`.
"""

import asyncio
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

import httptools
from msgspec import Struct
from typing_extensions import override
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from gateway.api.deadline import Deadline
from gateway.api.exchange import NativeExchange, too_large, too_many
from gateway.api.head import NativeHead, head_size, head_too_large, origin_form, refusal
from gateway.errors import (
    CallerGone,
    GatewayError,
    InvalidRequest,
    RequestTimeout,
)
from gateway.exchange import Exchange
from gateway.ids import IdSource
from gateway.settings import ServerSettings

_LINGER = 2.0  # seconds for which the rest of a refused upload is read and thrown away


Handler = Callable[[Exchange], Coroutine[Any, Any, None]]


class Edge(Struct):
    """What every connection needs, in the lifespan's state. A reload changes `routes` and `limits`."""

    # Path of a POST to its handler.
    routes: MutableMapping[bytes, Handler]
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
        self.defaults: list[tuple[bytes, bytes]] = []
        self.default_lines = b""
        self._in_head = True
        self._head_size = 0
        self._begun = False  # the parser is in a head
        self._overhead = 0  # bytes since the last of a body: sizes of chunks, trailers
        self._deadline = Deadline(self.loop, self._overdue)  # for what the caller must send
        self._write_timer: asyncio.TimerHandle | None = None
        self._unread = 0  # bytes that waited for the caller at the last look
        self._upgrading = False  # the head being read offers an upgrade
        self._refused = False  # whatever still comes is thrown away
        # `cycle`, the request that is being read, if it is on a native route.
        self._native: NativeExchange | None = None
        self._running: NativeExchange | None = None  # that is being answered

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn has it
        super().connection_made(transport)
        self._deadline.expect(self.limits.head_timeout)

    @override
    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if self._in_head:
            if self._head_size == 0:
                self._deadline.due = 0.0  # it had been for a request to begin
            self._head_size += len(data)
        else:
            self._overhead += len(data)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._stay(data[upgrade.args[0] :])
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
            if self._head_size == 0:
                if not self._begun:
                    return  # as nearly always: all of a request came, and nothing of another
                self._head_size = 1  # it came with the end of the request before
            if self._head_size > limits.max_head_bytes:
                self._refuse(head_too_large(limits))
            elif self._deadline.due == 0.0:
                self._deadline.expect(limits.head_timeout)
        elif self._overhead > limits.max_head_bytes:
            self._refuse(head_too_large(limits))
        else:  # the rest of a body is to come
            self._deadline.expect(limits.body_timeout)

    def _stay(self, rest: bytes) -> None:
        """Pass over an offer to leave HTTP/1.1, as Java's client makes with every first request.

        The parser takes it as accepted and reads no further: so the head is read again without it.
        """
        version = self.parser.get_http_version().encode()
        head = [b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)]
        head += [b"%b: %b\r\n" % pair for pair in self.headers if pair[0] != b"upgrade"]
        self._upgrading = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as the base class
        self.parser.feed_data(b"".join((*head, b"\r\n", rest)))

    @override
    def eof_received(self) -> None:
        self._deadline.due = 0.0

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._deadline.close()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        for exchange in self._exchanges():
            exchange.disconnected = True
            exchange.refuse_body(CallerGone("the caller left"))
            if exchange.task is not None:
                exchange.task.cancel()

    def _exchanges(self) -> list[NativeExchange]:
        """Native requests of this connection that are not answered yet."""
        cycles: list[object] = [self.cycle, self._running]
        cycles += [queued for queued, _ in self.pipeline]
        unique = {id(c): c for c in cycles if isinstance(c, NativeExchange)}
        return [exchange for exchange in unique.values() if not exchange.response_complete]

    @override
    def pause_writing(self) -> None:
        super().pause_writing()
        if self._write_timer is None:
            self._unread = self.transport.get_write_buffer_size()
            self._write_timer = self.loop.call_later(self.limits.write_timeout, self._check_reading)

    def _check_reading(self) -> None:
        left = self.transport.get_write_buffer_size()
        if left >= self._unread:
            self.transport.abort()
            return
        self._unread = left  # slow, but it reads
        self._write_timer = self.loop.call_later(self.limits.write_timeout, self._check_reading)

    @override
    def resume_writing(self) -> None:
        super().resume_writing()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    # Time limits on what the caller sends: one timer that is re-armed when it fires, not per read. The
    # base class makes a timer for each pause between two requests; here that is a due time as well.

    @override
    def _unset_keepalive_if_required(self) -> None:
        pass

    @override
    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.read_paused and len(self.pipeline) <= 1:
            self.flow.resume_reading()  # else each answer would let in many more requests
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._in_head and self._head_size == 0:
            self._deadline.expect(self.timeout_keep_alive)

    def _overdue(self) -> None:
        if self.transport.is_closing():
            return
        if self.flow.read_paused or (self._in_head and self._answering()):
            # Held back by ourselves; or a stray byte, for which no answer under way is cut.
            self._deadline.expect(self.limits.head_timeout)
            return
        self._deadline.due = 0.0
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
        exchange = self._native
        if exchange is not None and not exchange.response_complete:
            exchange.keep_alive = False
            exchange.refuse_body(
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
        self.headers = []
        self._begun = True

    @override
    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:  # trailers are for nobody here
            self.headers.append((name.lower(), value))

    @override
    def on_headers_complete(self) -> None:
        limits = self.limits
        most = limits.max_head_bytes
        if self._head_size > most and head_size(self.url, self.headers) > most:
            raise head_too_large(limits)
        method = self.parser.get_method()
        if method == b"CONNECT":
            raise InvalidRequest("CONNECT is for proxies; this is none", code="invalid_http")
        if self.parser.should_upgrade():
            self._upgrading = True
            return
        self._in_head = self._begun = False
        self._overhead = 0
        earlier: RequestResponseCycle | None = self.cycle
        if earlier is not None and earlier.response_complete and not earlier.keep_alive:
            self._refused = True  # `connection: close` was said
            return
        self._deadline.due = 0.0
        url, routes = self.url, self.edge.routes
        handler = routes.get(url) if method == b"POST" else None
        if handler is None:
            if not url.startswith(b"/"):
                url = self.url = origin_form(url)
            path = url.partition(b"?")[0]
            handler = routes.get(path) if method == b"POST" else None
            if handler is None:
                self._leave_to_asgi()
                return
        self.http_10 = http_10 = self.parser.get_http_version() == "1.0"
        head = NativeHead(self.headers)
        expected = head.first(b"expect")
        exchange = NativeExchange(
            self,
            head,
            keep_alive=not http_10 and self.parser.should_keep_alive(),
            expect=expected is not None and expected.lower() == b"100-continue",
        )
        length = head.first(b"content-length")
        if length is not None and int(length) > limits.max_body_bytes:
            exchange.refuse_body(too_large(limits))
        elif len(self.connections) > limits.max_connections:
            exchange.refuse_body(too_many())
        # The base class knows cycles by what it touches of them: see NativeExchange.
        cycle: Any = exchange
        self.cycle = cycle
        self._native = exchange
        if earlier is None or earlier.response_complete:
            self._start(exchange, handler)
        else:
            app: Any = handler
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, app))

    def _leave_to_asgi(self) -> None:
        """Have the base class read the head as if it had been there from the beginning."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url = url
        for name, value in headers:
            super().on_header(name, value)
        super().on_headers_complete()
        self._native = None

    @override
    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        if isinstance(cycle, NativeExchange):
            self._start(cycle, app)
        else:
            self._running = None
            super()._start_asgi_task(cycle, app)

    def _start(self, exchange: NativeExchange, handler: Handler) -> None:
        self._running = exchange
        # In `tasks`, so that a graceful shutdown waits for it.
        task = exchange.task = self.loop.create_task(handler(exchange))
        ours, served = self.edge.tasks, self.tasks
        ours.add(task)
        task.add_done_callback(ours.discard)
        served.add(task)
        task.add_done_callback(served.discard)

    @override
    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        exchange = self._native
        if exchange is None:
            super().on_body(body)
        else:
            exchange.feed(body)

    @override
    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._in_head = True
        self._head_size = 0
        self._deadline.due = 0.0
        exchange = self._native
        if exchange is None:
            super().on_message_complete()
            return
        exchange.feed_end()
        if exchange.response_complete and not exchange.keep_alive:
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
        exchange = self._native
        reading = exchange is not None and not exchange.body_complete
        if exchange is not None and reading and not exchange.response_complete:
            exchange.keep_alive = False
            exchange.refuse_body(error)  # its own handler tells the caller
            return
        if reading or self._answering():
            self.transport.close()  # an answer was given, or another is under way: cannot mix
            return
        identity = self.edge.ids.generation().encode()
        self.transport.write(refusal(error, identity, self.server_state.default_headers))
        # Closing at once would reset the connection under the answer if more is on its way.
        self._refused = True
        self.transport.write_eof()
        self.loop.call_later(_LINGER, self.transport.close)

    def _answering(self) -> bool:
        """Whether a request of this connection is not answered yet."""
        newest: RequestResponseCycle | None = self.cycle
        return newest is not None and not newest.response_complete

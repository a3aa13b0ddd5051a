"""One request on a native route, as the flow sees it: an `Exchange` on a connection of the edge."""

import asyncio
from typing import Protocol

from typing_extensions import override
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from gateway.api.head import NativeHead, header_lines
from gateway.errors import BodyTooLarge, CallerGone, GatewayError, Unavailable
from gateway.exchange import Exchange
from gateway.settings import ServerSettings


class Connection(Protocol):
    """What an exchange needs of the connection that it came by."""

    transport: asyncio.Transport
    flow: FlowControl
    server_state: ServerState
    limits: ServerSettings
    http_10: bool
    defaults: list[tuple[bytes, bytes]]  # headers of every answer, as last seen
    default_lines: bytes  # the same as lines

    def finished(self, exchange: "NativeExchange") -> None:
        """The answer is complete."""


class _NoEvent:
    """Stands where the base class has an event for its ASGI cycle."""

    def set(self) -> None:
        """Nobody waits for it here."""


_NO_EVENT = _NoEvent()


class NativeExchange(Exchange):
    """One request on a native route. Takes the place of uvicorn's request cycle."""

    __slots__ = (
        "_body",
        "_chunked",
        "_error",
        "_expect_continue",
        "_head_bytes",
        "_protocol",
        "_size",
        "_waiter",
        "body_complete",
        "disconnected",
        "head",
        "keep_alive",
        "message_event",
        "response_complete",
        "task",
    )

    def __init__(
        self, protocol: Connection, head: NativeHead, *, keep_alive: bool, expect: bool
    ) -> None:
        self.head = head
        # What the base class touches.
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False
        self.message_event = _NO_EVENT

        self.task: asyncio.Task[None] | None = None
        self.body_complete = False
        self._protocol = protocol
        self._expect_continue = expect
        self._body: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: GatewayError | None = None
        self._head_bytes: bytes | None = None
        self._chunked = True

    # From the protocol

    def refuse_body(self, error: GatewayError) -> None:
        """The body cannot be had."""
        if self._error is None:
            self._error = error
        self._wake()

    def feed(self, data: bytes) -> None:
        """A piece of the body has come."""
        self._size += len(data)
        if self._error is not None or self.response_complete:
            return
        if self._size > self._protocol.limits.max_body_bytes:
            self._body.clear()
            self.refuse_body(too_large(self._protocol.limits))
        else:
            self._body.append(data)

    def feed_end(self) -> None:
        """The body is there in full."""
        self.body_complete = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # From the flow

    @override
    async def body(self) -> bytes:
        if not self.body_complete and self._error is None:
            if self._expect_continue:
                self._expect_continue = False
                self._protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._error is not None:
            raise self._error
        parts, self._body = self._body, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    @property
    @override
    def gone(self) -> bool:
        return self.disconnected

    @property
    @override
    def congested(self) -> bool:
        return self._protocol.flow.write_paused

    @override
    def start(self, status: int, headers: bytes, length: int | None) -> None:
        protocol = self._protocol
        defaults = protocol.server_state.default_headers  # a new list each second, for the date
        if defaults is not protocol.defaults:
            protocol.defaults, protocol.default_lines = defaults, header_lines(defaults)
        self._chunked = False
        framing = b""
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        elif protocol.http_10:
            self.keep_alive = False  # the end of the connection is the end of the answer
        else:
            self._chunked = True
            framing = b"transfer-encoding: chunked\r\n"
        if not self.body_complete:
            self.keep_alive = False  # whatever of the upload still comes is thrown away
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        self._head_bytes = STATUS_LINE[status] + protocol.default_lines + headers + framing + end

    @override
    def write(self, data: bytes) -> None:
        if self.disconnected or not data:
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._head_bytes is not None:
            data, self._head_bytes = self._head_bytes + data, None
        self._protocol.transport.write(data)

    @override
    async def drain(self) -> None:
        await self._protocol.flow.drain()
        if self.disconnected:
            raise CallerGone("the caller left")

    @override
    def finish(self, data: bytes = b"") -> None:
        if self.response_complete:
            return
        self.response_complete = True
        if self.disconnected:
            return
        if self._chunked:
            data = b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data) if data else b"0\r\n\r\n"
        if self._head_bytes is not None:
            data, self._head_bytes = self._head_bytes + data, None
        if data:
            self._protocol.transport.write(data)
        self._protocol.finished(self)


def too_large(limits: ServerSettings) -> BodyTooLarge:
    """The refusal of a body that is over the limit."""
    return BodyTooLarge(
        f"the request's body is larger than {limits.max_body_bytes} bytes; send less, or have"
        " 'server.max_body_bytes' raised"
    )


def too_many() -> Unavailable:
    """The refusal of a request while there are more connections than there may be."""
    return Unavailable(
        "too many connections to this gateway at the moment; try again soon",
        code="too_many_connections",
        retry_after=1.0,
    )

"""The sandbox's side of an HTTP/1.1 connection: parses requests, performs the steps of replies."""

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import httptools
from msgspec import Struct
from typing_extensions import override

from backends.sandbox.script import Break, Hang, Send, Step, Wait

_NO_LINGER = struct.pack("ii", 1, 0)  # close() then sends RST instead of FIN
_BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Request(Struct, frozen=True):
    """One request; header names in lower case, the path without its query."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    keep_alive: bool


class Service(Protocol):
    """Who answers."""

    def admits(self, method: str, path: str) -> bool:
        """Whether to read on after a request's head; if not, the connection is reset."""

    async def answer(self, request: Request, connection: "Connection") -> None:
        """Answer by `connection.perform`. Cancelled if the caller leaves."""

    def opened(self, connection: "Connection") -> None:
        """A connection is there."""

    def closed(self, connection: "Connection") -> None:
        """A connection is gone."""


class Connection(asyncio.Protocol):
    """One caller. Requests that come while one is being answered wait for their turn."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._waiting: deque[Request] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._lost = asyncio.Event()
        self._over = False  # we have ended the connection
        self.departed = False  # the caller left of its own accord

    @property
    def idle(self) -> bool:
        """Whether nothing is being answered."""
        return self._task is None

    # what asyncio calls

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._transport.set_write_buffer_limits(
            high=0
        )  # so `_send` ends when the kernel has it all
        self._service.opened(self)

    @override
    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._transport is not None and not self._over:
                self._transport.write(_BAD_REQUEST)
                self._break(reset=False)

    @override
    def eof_received(self) -> bool:
        # a caller who closes its side no longer reads: waiting for its buffer to drain would hang
        if not self.idle and self._transport is not None:
            self._transport.abort()
        return False

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.departed = not self._over
        self._transport = None
        self._lost.set()
        self._writable.set()
        if self._task is not None:
            self._task.cancel()
        self._service.closed(self)

    @override
    def pause_writing(self) -> None:
        self._writable.clear()

    @override
    def resume_writing(self) -> None:
        self._writable.set()

    # what the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        self._url, self._headers, self._body = b"", {}, []

    def on_url(self, url: bytes) -> None:
        """Some of the request's target."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is complete."""
        if self._transport is None or self._over:
            return
        method = self._parser.get_method().decode("latin-1")
        if not self._service.admits(method, self._path()):
            self._break(reset=True)
        elif self._headers.get("expect", "").lower() == "100-continue":
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """Some of the body."""
        self._body.append(body)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._over:
            return
        request = Request(
            self._parser.get_method().decode("latin-1"),
            self._path(),
            self._headers,
            b"".join(self._body),
            self._parser.should_keep_alive(),
        )
        self._body = []
        self._waiting.append(request)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    def _path(self) -> str:
        return self._url.partition(b"?")[0].decode("latin-1")

    # answering

    async def _run(self) -> None:
        try:
            while self._waiting and not self._over:
                request = self._waiting.popleft()
                await self._service.answer(request, self)
                if not request.keep_alive:
                    self._break(reset=False)
        except ConnectionError:
            pass  # the caller is gone, and the record says so
        except Exception:
            self._break(reset=True)  # a fault of the sandbox itself: never leave the caller waiting
            raise
        finally:
            self._task = None

    async def perform(self, steps: Sequence[Step]) -> bool:
        """Do what `steps` say. False if they broke the connection off.

        Raises:
            ConnectionError: the caller is gone.
        """
        for step in steps:
            if isinstance(step, Send):
                await self._send(step.data)
            elif isinstance(step, Wait):
                await asyncio.sleep(step.seconds)
            elif isinstance(step, Hang):
                await asyncio.get_running_loop().create_future()
            elif isinstance(step, Break):
                self._break(reset=step.reset)
                return False
        return True

    async def _send(self, data: bytes) -> None:
        if self._transport is None or self._over:
            raise ConnectionResetError("the connection is gone")
        self._transport.write(data)
        await self._writable.wait()

    def drop(self) -> None:
        """Close in an orderly way."""
        self._break(reset=False)

    async def end(self) -> None:
        """Break off whatever is under way; returns when the connection is gone."""
        task = self._task
        self._break(reset=True)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._lost.wait()

    def _break(self, *, reset: bool) -> None:
        self._over = True
        if self._transport is None:
            return
        if not reset:
            self._transport.close()
            return
        # the loop's own socket object may not let options be set; they belong to the socket, not to it
        with socket.socket(
            fileno=os.dup(self._transport.get_extra_info("socket").fileno())
        ) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._transport.abort()

"""A caller that speaks HTTP byte by byte, so that a test can say exactly what is sent and when."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

from msgspec import Struct


class Answer(Struct, frozen=True):
    """One answer as it came. Header names in lower case; the body without its chunking."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def error(self) -> Any:
        """The error object of OpenAI's contract."""
        return json.loads(self.body)["error"]


class Wire:
    """The caller's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Status and headers of the next answer."""
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        pairs = [line.split(": ", 1) for line in lines]
        assert len({name for name, _ in pairs}) == len(pairs), f"a header is there twice: {lines}"
        return int(first.split(" ")[1]), dict(pairs)

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; empty at its end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = await self.reader.readexactly(size + 2)
        return data[:-2]

    async def answer(self) -> Answer:
        """The next answer in full."""
        status, headers = await self.head()
        if headers.get("transfer-encoding") == "chunked":
            parts = []
            while part := await self.chunk():
                parts.append(part)
            body = b"".join(parts)
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return Answer(status, headers, body)

    async def ask(self, data: bytes) -> Answer:
        await self.send(data)
        return await self.answer()

    async def closed(self) -> bytes:
        """Wait until the server ends the connection; returns what it still sent."""
        try:
            return await self.reader.read()
        except ConnectionError:
            return b""

    def reset(self) -> None:
        """Leave with RST."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.writer.transport.abort()


@contextlib.asynccontextmanager
async def connect(port: int, *, receive_buffer: int | None = None) -> AsyncIterator[Wire]:
    """Connect to a port of the loopback.

    Args:
        port: where.
        receive_buffer: size of the kernel's buffer, for a caller whose not reading is felt early.
    """
    with socket.socket() as sock:
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        limit = 65_536 if receive_buffer is None else 1024
        reader, writer = await asyncio.open_connection(sock=sock.dup(), limit=limit)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def post(path: str, body: bytes = b"", *, more: str = "", version: str = "1.1") -> bytes:
    """A POST with a Content-Length; `more` is further header lines, each with its CRLF."""
    return (
        f"POST {path} HTTP/{version}\r\nHost: gateway\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    ).encode() + body

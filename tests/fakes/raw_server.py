"""A server that does exactly what a test's script says, byte by byte."""

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from socket import SO_LINGER, SO_RCVBUF, SOL_SOCKET, socket

from msgspec import Struct

from backends.values import Origin


class Request(Struct, frozen=True):
    """A request as it came: the head with its empty line, and the body."""

    head: bytes
    body: bytes

    def header(self, name: str) -> str | None:
        for line in self.head.decode().split("\r\n")[1:]:
            key, _, value = line.partition(": ")
            if key.lower() == name:
                return value
        return None


class Peer:
    """The server's end of one connection. `gone` is set when the client's end was closed."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.gone = asyncio.Event()

    async def request(self) -> Request:
        """Read one request with a Content-Length, or without a body.

        Raises:
            asyncio.IncompleteReadError: the client left.
        """
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = int(Request(head, b"").header("content-length") or 0)
        return Request(head, await self.reader.readexactly(length))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(
        self, body: bytes = b"ok", *, status: str = "200 OK", more: bytes = b""
    ) -> None:
        """Answer with a Content-Length; `more` is further header lines."""
        await self.send(
            b"HTTP/1.1 %b\r\nContent-Length: %d\r\n%b\r\n" % (status.encode(), len(body), more)
            + body
        )

    async def until_gone(self) -> None:
        """Read on until the client's end is closed."""
        try:
            while await self.reader.read(65_536):
                pass
        except ConnectionError:
            pass
        self.gone.set()

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, linger)
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


class RawServer:
    """What a test can see of the server: where it is, and its connections in order of arrival."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.peers: list[Peer] = []
        self.arrived = asyncio.Condition()

    async def peer(self, number: int) -> Peer:
        """The connection of that number, from 0, once it is there."""
        async with self.arrived:
            await self.arrived.wait_for(lambda: len(self.peers) > number)
        return self.peers[number]


@asynccontextmanager
async def serve(
    script: Script, *, tls: ssl.SSLContext | None = None, receive_buffer: int | None = None
) -> AsyncIterator[RawServer]:
    """Run `script` for every connection to a server of its own on the loopback.

    A script that returns leaves its connection open until the test ends. A client that leaves ends the
    script; any other exception in it fails the test.

    Args:
        script: what to do with a connection.
        tls: speak TLS with this.
        receive_buffer: size of the kernel's buffer, to make a server that does not read felt early.
    """
    listener = socket()
    if receive_buffer is not None:
        listener.setsockopt(SOL_SOCKET, SO_RCVBUF, receive_buffer)
    listener.bind(("127.0.0.1", 0))
    tasks: list[asyncio.Task[None]] = []

    async def run(peer: Peer) -> None:
        async with server.arrived:
            server.peers.append(peer)
            server.arrived.notify_all()
        try:
            await script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            peer.gone.set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.append(asyncio.get_running_loop().create_task(run(Peer(reader, writer))))

    listening = await asyncio.start_server(connected, sock=listener, ssl=tls)
    scheme = "https" if tls else "http"
    server = RawServer(Origin(scheme, "127.0.0.1", listener.getsockname()[1], local=True))
    try:
        yield server
    finally:
        listening.close()
        for peer in server.peers:
            peer.writer.transport.abort()
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(
            *(peer.writer.wait_closed() for peer in server.peers), return_exceptions=True
        )
    for result in results:
        if isinstance(result, Exception):
            raise result

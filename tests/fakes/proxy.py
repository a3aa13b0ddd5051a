"""A CONNECT proxy that leads every tunnel to one place, and what it was asked."""

import asyncio
import contextlib

from backends.values import Origin
from tests.fakes.raw_server import Peer, Request

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class TunnelScript:
    """A script for `raw_server.serve`: whatever name is asked for, the way leads to `target`.

    Attributes:
        asked: the heads of the CONNECT requests, in order.
    """

    def __init__(self, target: Origin, *, answer: bytes = ESTABLISHED) -> None:
        self.asked: list[Request] = []
        self._target = target
        self._answer = answer

    async def __call__(self, peer: Peer) -> None:
        self.asked.append(await peer.request())
        reader, writer = await asyncio.open_connection(self._target.host, self._target.port)
        try:
            await peer.send(self._answer)
            async with asyncio.TaskGroup() as both:
                both.create_task(_pump(peer.reader, writer))
                both.create_task(_pump(reader, peer.writer))
        finally:
            writer.transport.abort()
            peer.gone.set()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()

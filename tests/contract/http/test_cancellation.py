"""Whoever stops waiting leaves nothing behind."""

import asyncio

import pytest

from backends.errors import ConnectionLost
from backends.http import OriginStats
from backends.values import Origin
from tests.contract.http.clients import Ask
from tests.fakes.raw_server import Peer, serve

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


async def stalled(peer: Peer) -> None:
    request = await peer.request()
    if request.body == b"stream":
        await peer.send(STREAM + b"1\r\na\r\n")
    await peer.until_gone()


def nothing_left(ask: Ask, origin: Origin) -> bool:
    return ask.client.stats()[origin] == OriginStats(open=0, idle=0, waiting=0)


async def test_cancelled_request_closes_its_connection_at_once(ask: Ask) -> None:
    async with serve(stalled) as server:
        task = asyncio.create_task(ask(server.origin))
        peer = await server.peer(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert nothing_left(ask, server.origin)
        await peer.gone.wait()


@pytest.mark.parametrize("read", ["chunk", "read_all"])
async def test_cancelled_read_closes_its_connection_at_once(ask: Ask, read: str) -> None:
    async with serve(stalled) as server:
        response = await ask(server.origin, [b"stream"])
        if read == "chunk":
            assert await response.chunk() == b"a"
        task: asyncio.Task[bytes] = asyncio.create_task(getattr(response, read)())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert nothing_left(ask, server.origin)
        await server.peers[0].gone.wait()


async def test_cancelled_upload_closes_its_connection_at_once(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.until_gone()

    async with serve(script, receive_buffer=4096) as server:
        task = asyncio.create_task(ask(server.origin, [bytes(16_777_216)]))
        peer = await server.peer(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert nothing_left(ask, server.origin)
        await peer.gone.wait()


async def test_cancelled_opening_frees_its_slot(ask: Ask) -> None:
    async with serve(stalled) as server:
        origin = Origin(
            "https", "127.0.0.1", server.origin.port, local=True
        )  # the handshake never ends
        task = asyncio.create_task(ask(origin))
        await server.peer(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert nothing_left(ask, origin)


async def test_cancelled_request_lets_the_next_in_line_go(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        if request.body == b"stay":
            await peer.until_gone()
        await peer.reply()

    async with serve(script) as server:
        first = asyncio.create_task(ask(server.origin, [b"stay"], max_connections=1))
        await server.peer(0)
        second = asyncio.create_task(ask.read(server.origin, max_connections=1))
        await asyncio.sleep(0)
        first.cancel()
        assert await second == b"ok"
        assert first.cancelled()


async def test_abort_closes_the_connection_and_wakes_the_reader(ask: Ask) -> None:
    async with serve(stalled) as server:
        response = await ask(server.origin, [b"stream"])
        assert await response.chunk() == b"a"
        task = asyncio.create_task(response.chunk())
        await asyncio.sleep(0)
        response.abort()
        response.abort()
        with pytest.raises(ConnectionLost):
            await task
        assert nothing_left(ask, server.origin)
        await server.peers[0].gone.wait()


async def test_aborted_reply_can_no_longer_be_read(ask: Ask) -> None:
    async with serve(stalled) as server:
        response = await ask(server.origin, [b"stream"])
        response.abort()
        with pytest.raises(ConnectionLost):
            await response.chunk()
        with pytest.raises(ConnectionLost):
            await response.read_all()

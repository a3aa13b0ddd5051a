"""Neither side is made to hold more than it can take."""

import asyncio

import pytest

from backends.errors import BadReply, ConnectionLost, UpstreamTimeout
from backends.http import ClientLimits
from backends.values import Deadlines
from tests.contract.http.clients import Ask, Clients
from tests.fakes.raw_server import Peer, serve

LARGE = bytes(range(256)) * 65_536  # 16 MB: more than the kernel's buffers take in


async def test_large_body_arrives_whole_in_pieces(ask: Ask) -> None:
    bodies = []

    async def script(peer: Peer) -> None:
        while True:
            bodies.append((await peer.request()).body)
            await peer.reply()

    view = memoryview(LARGE)
    async with serve(script) as server:
        for _ in range(2):
            response = await ask(server.origin, [b"<", view[:5_000_000], view[5_000_000:], b">"])
            assert await response.read_all() == b"ok"
        assert len(server.peers) == 1
    assert bodies == [b"<" + LARGE + b">"] * 2


async def test_upstream_that_does_not_read_is_bounded_by_the_write_deadline(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as write-only
        await asyncio.Event().wait()

    async with serve(script, receive_buffer=4096) as server:
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, [LARGE], deadlines=Deadlines(idle=0.1))
        assert (caught.value.phase, caught.value.seconds) == ("write", 0.1)
        assert ask.client.stats()[server.origin].open == 0
        async with asyncio.timeout(5):
            await ask.client.aclose()  # nothing waits for the rest to be written


async def test_upstream_that_reads_slowly_is_waited_for(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        head = await peer.reader.readuntil(b"\r\n\r\n")
        assert b"Content-Length: %d\r\n" % len(LARGE) in head
        left = len(LARGE)
        while left:
            left -= len(await peer.reader.readexactly(min(left, 1_048_576)))
            await asyncio.sleep(0.03)
        await peer.reply()

    async with serve(script, receive_buffer=65_536) as server:
        response = await ask(server.origin, [LARGE], deadlines=Deadlines(idle=0.3))
        assert await response.read_all() == b"ok"


async def test_first_byte_counts_from_the_end_of_the_upload(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await asyncio.sleep(0.2)
        await peer.request()
        await peer.reply()

    async with serve(script, receive_buffer=65_536) as server:
        response = await ask(server.origin, [LARGE], deadlines=Deadlines(first_byte=0.15))
        assert await response.read_all() == b"ok"


async def test_silence_after_the_upload_is_bounded_by_first_byte(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.until_gone()

    async with serve(script, receive_buffer=65_536) as server:
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, [LARGE], deadlines=Deadlines(first_byte=0.1))
        assert (caught.value.phase, caught.value.seconds) == ("first_byte", 0.1)


async def test_early_refusal_of_an_upload_is_read_and_its_connection_closed(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as write-only
        await peer.reply(b"too large", status="413 Content Too Large")
        await asyncio.Event().wait()

    async with serve(script, receive_buffer=4096) as server:
        response = await ask(server.origin, [LARGE])
        assert response.status == 413
        assert await response.read_all() == b"too large"
        assert ask.client.stats()[server.origin].open == 0


async def test_upload_that_is_cut_was_not_sent_in_full(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.reset()

    async with serve(script, receive_buffer=4096) as server:
        with pytest.raises(ConnectionLost) as caught:
            await ask(server.origin, [LARGE])
        assert not caught.value.sent_in_full
        assert (
            len(server.peers) == 1
        )  # a new connection: nothing suggests that another would do better


async def test_socket_is_not_read_while_the_reader_lags(clients: Clients) -> None:
    sent = 0
    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        nonlocal sent
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LARGE))
        for start in range(0, len(LARGE), 65_536):
            sent = start
            try:
                async with asyncio.timeout(0.2):
                    await peer.send(LARGE[start : start + 65_536])
            except TimeoutError:
                stuck.set()
                await peer.writer.drain()

    ask = clients.new(ClientLimits(high_water=100_000))
    async with serve(script) as server:
        response = await ask(server.origin, deadlines=Deadlines(idle=0.1))
        await stuck.wait()  # for longer than the idle deadline: the silence is ours
        assert sent < len(LARGE) - 1_000_000
        assert response.size < 500_000
        data = b""
        while piece := await response.chunk():
            data += piece
        assert data == LARGE
        assert ask.client.stats()[server.origin].idle == 1


async def test_read_all_is_not_held_up_by_the_high_water_mark(clients: Clients) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.reply(LARGE)

    ask = clients.new(ClientLimits(high_water=1000))
    async with serve(script) as server:
        assert await ask.read(server.origin) == LARGE
        response = await ask(server.origin)
        await asyncio.sleep(0.05)  # long enough to be paused
        assert await response.read_all() == LARGE
        assert len(server.peers) == 1


async def test_body_over_the_limit_closes_the_connection_early(clients: Clients) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await peer.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")

    ask = clients.new(ClientLimits(max_body_bytes=1_000_000))
    async with serve(script) as server:
        with pytest.raises(BadReply):
            await ask.read(server.origin)
        await server.peers[0].gone.wait()

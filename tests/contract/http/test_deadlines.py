"""Every phase of an exchange is bounded, and says so by name."""

import asyncio
from collections.abc import Callable

import pytest

from backends.errors import UpstreamTimeout
from backends.http import Response
from backends.values import Deadlines, Origin
from tests.contract.http.clients import Ask
from tests.fakes.raw_server import Peer, Script, serve

STREAM = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def stall(start: bytes) -> Script:
    """Send `start` in answer to a request, then nothing."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        await peer.until_gone()

    return script


async def drained(response: Response) -> None:
    while await response.chunk():
        pass


async def test_silence_before_the_reply_is_bounded_by_first_byte(ask: Ask) -> None:
    async with serve(stall(b"")) as server:
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, deadlines=Deadlines(first_byte=0.05))
        assert (caught.value.phase, caught.value.seconds) == ("first_byte", 0.05)
        await server.peers[0].gone.wait()
        assert ask.client.stats()[server.origin].open == 0


async def test_first_byte_may_come_later_than_the_idle_deadline_allows(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.15)
        await peer.reply()

    async with serve(script) as server:
        response = await ask(server.origin, deadlines=Deadlines(idle=0.05))
        assert await response.read_all() == b"ok"


async def test_interim_reply_does_not_end_the_wait_for_the_first_byte(ask: Ask) -> None:
    async with serve(stall(b"HTTP/1.1 100 Continue\r\n\r\n")) as server:
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, deadlines=Deadlines(first_byte=0.05))
        assert caught.value.phase == "first_byte"


async def test_silence_within_the_head_is_bounded_by_idle(ask: Ask) -> None:
    async with serve(stall(b"HTTP/1.1 200 OK\r\nX: ")) as server:
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, deadlines=Deadlines(idle=0.05))
        assert (caught.value.phase, caught.value.seconds) == ("idle", 0.05)


async def test_idle_holds_also_where_the_first_byte_was_waited_for_longer(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await asyncio.sleep(0.15)
        await peer.send(b"HTTP/1.1 200 OK\r\nX: ")
        await peer.until_gone()

    async with serve(script) as server:
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, deadlines=Deadlines(idle=0.1))
        assert caught.value.phase == "idle"


@pytest.mark.parametrize("read", [drained, Response.read_all])
async def test_silence_within_the_body_is_bounded_by_idle(
    ask: Ask, read: Callable[[Response], asyncio.Future[None]]
) -> None:
    async with serve(stall(STREAM + b"1\r\na\r\n")) as server:
        response = await ask(server.origin, deadlines=Deadlines(idle=0.05))
        with pytest.raises(UpstreamTimeout) as caught:
            await read(response)
        assert (caught.value.phase, caught.value.seconds) == ("idle", 0.05)
        await server.peers[0].gone.wait()
        assert ask.client.stats()[server.origin].open == 0


async def test_steady_body_outlasts_the_idle_deadline(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        for _ in range(10):
            await asyncio.sleep(0.03)
            await peer.send(b"1\r\na\r\n")
        await peer.send(b"0\r\n\r\n")

    async with serve(script) as server:
        response = await ask(server.origin, deadlines=Deadlines(idle=0.2))
        assert await response.read_all() == b"a" * 10


async def test_steady_body_is_bounded_by_the_total_deadline(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM)
        while not peer.writer.is_closing():
            await peer.send(b"1\r\na\r\n")
            await asyncio.sleep(0.01)

    async with serve(script) as server:
        response = await ask(server.origin, timeout=0.15)
        with pytest.raises(UpstreamTimeout) as caught:
            await drained(response)
        assert (caught.value.phase, caught.value.seconds) == ("total", 0.15)


async def test_total_deadline_also_holds_before_the_head(ask: Ask) -> None:
    async with serve(stall(b"")) as server:
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, timeout=0.05)
        assert caught.value.phase == "total"
        with pytest.raises(UpstreamTimeout):
            await ask(server.origin, timeout=0)
        assert len(server.peers) == 1


async def test_what_came_before_a_deadline_is_delivered_first(ask: Ask) -> None:
    async with serve(stall(STREAM + b"1\r\na\r\n")) as server:
        response = await ask(server.origin, deadlines=Deadlines(idle=0.05))
        await server.peers[0].gone.wait()
        assert await response.chunk() == b"a"
        with pytest.raises(UpstreamTimeout):
            await response.chunk()


async def test_deadlines_of_an_earlier_request_do_not_outlive_it(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.reply()
        await peer.request()
        await asyncio.sleep(0.15)
        await peer.reply()

    async with serve(script) as server:
        first = await ask(server.origin, deadlines=Deadlines(first_byte=0.05, idle=0.05))
        await first.read_all()
        assert await ask.read(server.origin) == b"ok"
        assert len(server.peers) == 1


async def test_shorter_deadlines_hold_on_a_connection_whose_timer_runs_longer(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.reply()
        await peer.request()
        await peer.until_gone()

    async with serve(script) as server:
        await ask.read(server.origin)
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, deadlines=Deadlines(first_byte=0.05))
        assert caught.value.phase == "first_byte"
        assert len(server.peers) == 1


async def test_handshake_that_never_ends_is_bounded_by_connect(ask: Ask) -> None:
    async def mute(peer: Peer) -> None:
        await peer.until_gone()

    async with serve(mute) as server:
        origin = Origin("https", "127.0.0.1", server.origin.port, local=True)
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(origin, deadlines=Deadlines(connect=0.05))
        assert (caught.value.phase, caught.value.seconds) == ("connect", 0.05)
        assert ask.client.stats()[origin].open == 0
        await server.peers[0].gone.wait()


@pytest.mark.parametrize(
    ("start", "drop"),
    [(b"HTTP/1.1 200 OK\r\nX: ", b"x"), (b"HTTP/1.1 103 Early Hints\r\nX: ", b"x")],
    ids=["head", "interim head"],
)
async def test_head_that_trickles_is_bounded_by_first_byte(
    ask: Ask, start: bytes, drop: bytes
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        while not peer.writer.is_closing():
            await peer.send(drop)
            await asyncio.sleep(0.01)

    async with serve(script) as server:
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, deadlines=Deadlines(first_byte=0.15, idle=5))
        assert (caught.value.phase, caught.value.seconds) == ("first_byte", 0.15)
        assert ask.client.stats()[server.origin].open == 0


async def test_head_that_trickles_is_bounded_by_the_total_deadline(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nX: ")
        while not peer.writer.is_closing():
            await peer.send(b"x")
            await asyncio.sleep(0.01)

    async with serve(script) as server:
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, timeout=0.15)
        assert caught.value.phase == "total"


async def test_reply_that_comes_byte_by_byte_is_read(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            for byte in STREAM + b"3\r\nabc\r\n1;x=y\r\nd\r\n0\r\nX-T: 1\r\n\r\n":
                await peer.send(bytes([byte]))
                await asyncio.sleep(0)

    async with serve(script) as server:
        for _ in range(2):
            assert await ask.read(server.origin) == b"abcd"
        assert len(server.peers) == 1

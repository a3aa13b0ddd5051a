"""A request is sent twice only where that is safe, and then once more at most."""

import asyncio

import pytest

from backends.errors import ConnectionLost
from backends.http import OriginStats
from backends.values import Deadlines
from tests.contract.http.clients import Ask
from tests.fakes.raw_server import Peer, Script, serve

LARGE = bytes(16_777_216)


def closing_at(number: int, *, stale: int = 1, start: bytes = b"") -> Script:
    """The first `stale` connections end at their request of that number, after `start` of a reply."""
    left = stale

    async def script(peer: Peer) -> None:
        nonlocal left
        left -= 1
        for _ in range(number - 1 if left >= 0 else 1000):
            await peer.request()
            await peer.reply()
        await peer.reader.readuntil(b"\r\n\r\n")
        if start:
            await peer.send(start)
        peer.close()

    return script


async def test_safe_request_is_sent_again_when_a_reused_connection_dies(ask: Ask) -> None:
    async with serve(closing_at(2)) as server:
        await ask.read(server.origin)
        response = await ask(server.origin, resend_safe=True)
        assert await response.read_all() == b"ok"
        assert len(server.peers) == 2
        assert ask.client.stats()[server.origin].open == 1


async def test_request_that_was_out_in_full_is_not_sent_again(ask: Ask) -> None:
    async with serve(closing_at(2)) as server:
        await ask.read(server.origin)
        with pytest.raises(ConnectionLost) as caught:
            await ask(server.origin)
        assert caught.value.sent_in_full
        assert len(server.peers) == 1


async def test_request_that_was_not_out_in_full_is_sent_again(ask: Ask) -> None:
    async with serve(closing_at(2), receive_buffer=4096) as server:
        await ask.read(server.origin)
        response = await ask(server.origin, [LARGE])
        assert await response.read_all() == b"ok"
        assert len(server.peers) == 2


async def test_nothing_is_sent_again_on_a_new_connection(ask: Ask) -> None:
    async with serve(closing_at(1)) as server:
        with pytest.raises(ConnectionLost):
            await ask(server.origin, resend_safe=True)
        assert len(server.peers) == 1


async def test_nothing_is_sent_again_once_a_byte_of_the_reply_came(ask: Ask) -> None:
    async with serve(closing_at(2, start=b"H")) as server:
        await ask.read(server.origin)
        with pytest.raises(ConnectionLost):
            await ask(server.origin, resend_safe=True)
        assert len(server.peers) == 1


async def test_second_sending_is_the_last(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        if server.peers.index(peer) == 0:
            await peer.request()
            await peer.reply()
        await peer.request()
        peer.close()

    async with serve(script) as server:
        await ask.read(server.origin)
        with pytest.raises(ConnectionLost):
            await ask(server.origin, resend_safe=True)
        assert len(server.peers) == 2


async def test_second_sending_takes_no_connection_that_another_request_has_used(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.body == b"end" and server.peers.index(peer) == 0:
                peer.close()
                return
            await peer.reply(b"%d" % server.peers.index(peer))

    async with serve(script) as server:
        await ask.read(server.origin, max_connections=1)
        request = ask(server.origin, [b"end"], max_connections=1, resend_safe=True)
        first = asyncio.create_task(request)
        await asyncio.sleep(0)  # let it take the connection, so that the second one must wait
        second = asyncio.create_task(ask.read(server.origin, max_connections=1))
        assert await second == b"1"
        assert await (await first).read_all() == b"2"


async def test_second_sending_makes_room_for_its_connection(ask: Ask) -> None:
    both = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.request()
            if request.body == b"end" and server.peers.index(peer) < 2:
                peer.close()
                return
            await both.wait()
            await peer.reply()

    async with serve(script) as server:
        reads = [asyncio.create_task(ask.read(server.origin)) for _ in range(2)]
        await server.peer(1)
        both.set()
        await asyncio.gather(*reads)
        response = await ask(
            server.origin,
            [b"end"],
            deadlines=Deadlines(connect=1),  # well before the unused connection would be too old
            max_connections=1,
            resend_safe=True,
        )
        assert await response.read_all() == b"ok"
        assert len(server.peers) == 3
        assert ask.client.stats()[server.origin] == OriginStats(open=1, idle=1, waiting=0)

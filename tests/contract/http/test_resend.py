"""A request is sent twice only where that is safe, and then once more at most."""

import pytest

from backends.errors import ConnectionLost
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


async def test_second_sending_uses_a_new_connection_also_where_others_are_unused(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        number = server.peers.index(peer)
        await peer.request()
        await peer.reply()
        request = await peer.request()
        if number < 2:
            assert request.body == b"x"
            peer.close()
        else:
            await peer.reply()

    async with serve(script) as server:
        held = [await ask(server.origin, method=b"HEAD") for _ in range(1)]
        assert held[0].status == 200
        await ask.read(server.origin)
        response = await ask(server.origin, [b"x"], resend_safe=True, max_connections=2)
        assert await response.read_all() == b"ok"

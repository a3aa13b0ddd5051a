"""An answer that comes before the upload has ended counts, however the upstream then leaves."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from backends.errors import ConnectionLost
from backends.http import OriginStats
from backends.values import Origin
from tests.contract.http.clients import Ask
from tests.fakes.raw_server import Peer, Script, serve

LARGE = bytes(16_777_216)
Serve = Callable[[Script], AbstractAsyncContextManager[Origin]]


@pytest.fixture(params=["plain", "tls"])
def serving(request: pytest.FixtureRequest, localhost: ssl.SSLContext) -> Serve:
    tls = localhost if request.param == "tls" else None

    @asynccontextmanager
    async def started(script: Script) -> AsyncIterator[Origin]:
        async with serve(script, tls=tls, receive_buffer=4096) as server:
            yield Origin("https" if tls else "http", "localhost", server.origin.port, local=True)

    return started


@pytest.mark.parametrize("status", ["413 Content Too Large", "401 Unauthorized", "200 OK"])
@pytest.mark.parametrize("end", ["close", "finish", "stay"])
async def test_answer_to_a_head_is_returned(
    trusting: Ask, serving: Serve, status: str, end: str
) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as write-only
        await peer.reply(b"early", status=status)
        if end == "close":
            peer.close()  # with much unread: on Linux that is a RST, after what was sent
        elif end == "finish" and peer.writer.can_write_eof():
            peer.writer.write_eof()
        await asyncio.Event().wait()

    async with serving(script) as origin:
        for _ in range(5):
            response = await trusting(origin, [LARGE])
            assert response.status == int(status[:3])
            assert await response.read_all() == b"early"
            stats = trusting.client.stats()[origin]
            assert stats == OriginStats(open=0, idle=0, waiting=0)  # half a request is on it


async def test_answer_without_a_length_ends_with_the_connection(
    trusting: Ask, serving: Serve
) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        await peer.send(b"HTTP/1.1 401 Unauthorized\r\n\r\nno")
        while await peer.reader.read(1_048_576):
            if peer.writer.can_write_eof():
                peer.writer.write_eof()
                break
            peer.close()

    async with serving(script) as origin:
        response = await trusting(origin, [LARGE])
        assert (response.status, await response.read_all()) == (401, b"no")


async def test_end_in_the_middle_of_the_upload_without_an_answer_is_a_loss(
    trusting: Ask, serving: Serve
) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.close()

    async with serving(script) as origin:
        with pytest.raises(ConnectionLost) as caught:
            await trusting(origin, [LARGE])
        assert not caught.value.sent_in_full
        assert trusting.client.stats()[origin].open == 0

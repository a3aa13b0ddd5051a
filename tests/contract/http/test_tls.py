"""TLS verifies whom it speaks to, and changes nothing else."""

import asyncio
import ssl

import pytest

from backends.errors import BackendError, ConnectFailed, ConnectionLost, UpstreamTimeout
from backends.http import OriginStats
from backends.http_tls import TlsFault
from backends.values import Deadlines, Origin
from tests.contract.http.certificates import Authority
from tests.contract.http.clients import Ask, Clients
from tests.fakes.raw_server import Peer, Request, serve

LARGE = bytes(range(256)) * 65_536


def named(origin: Origin) -> Origin:
    return Origin("https", "localhost", origin.port, local=True)


async def obliging(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.reply()


async def test_connection_is_verified_and_used_again(
    trusting: Ask, localhost: ssl.SSLContext
) -> None:
    async with serve(obliging, tls=localhost) as server:
        for _ in range(3):
            assert await trusting.read(named(server.origin)) == b"ok"
        assert len(server.peers) == 1


async def test_server_is_told_the_name_and_the_host(trusting: Ask, authority: Authority) -> None:
    seen: list[Request] = []
    names: list[str | None] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.reply()

    context = authority.server("DNS:localhost")
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    async with serve(script, tls=context) as server:
        await trusting.read(named(server.origin))
        assert names == ["localhost"]
        assert seen[0].header("host") == f"localhost:{server.origin.port}"


async def test_certificate_may_name_an_address(trusting: Ask, authority: Authority) -> None:
    async with serve(obliging, tls=authority.server("IP:127.0.0.1")) as server:
        assert await trusting.read(server.origin) == b"ok"


async def test_certificate_of_another_host_is_refused(trusting: Ask, authority: Authority) -> None:
    async with serve(obliging, tls=authority.server("DNS:other.example")) as server:
        origin = named(server.origin)
        with pytest.raises(ConnectFailed, match="certificate"):
            await trusting(origin)
        assert trusting.client.stats()[origin] == OriginStats(open=0, idle=0, waiting=0)


async def test_certificate_of_an_unknown_authority_is_refused(
    ask: Ask, localhost: ssl.SSLContext
) -> None:
    async with serve(obliging, tls=localhost) as server:
        with pytest.raises(ConnectFailed, match="certificate"):
            await ask(named(server.origin))


async def test_server_that_does_not_speak_tls_is_connect_failed(trusting: Ask) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with serve(script) as server:
        with pytest.raises(ConnectFailed):
            await trusting(named(server.origin))


async def test_missing_authority_file_is_found_at_once(clients: Clients) -> None:
    with pytest.raises(TlsFault, match="ca_file: there is no file no/such/file"):
        clients.new(ca_file="no/such/file.pem")


async def test_large_bodies_arrive_whole_both_ways(
    trusting: Ask, localhost: ssl.SSLContext
) -> None:
    bodies = []

    async def script(peer: Peer) -> None:
        while True:
            bodies.append((await peer.request()).body)
            await peer.reply(LARGE)

    async with serve(script, tls=localhost) as server:
        response = await trusting(named(server.origin), [b"<", memoryview(LARGE), b">"])
        assert await response.read_all() == LARGE
        response = await trusting(named(server.origin), [b"<", memoryview(LARGE), b">"])
        data = b""
        while piece := await response.chunk():
            data += piece
        assert data == LARGE
        assert len(server.peers) == 1
    assert bodies == [b"<" + LARGE + b">"] * 2


async def test_upstream_that_does_not_read_is_bounded_by_the_write_deadline(
    trusting: Ask, localhost: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]  # typed as write-only
        await asyncio.Event().wait()

    async with serve(script, tls=localhost, receive_buffer=4096) as server:
        origin = named(server.origin)
        with pytest.raises(UpstreamTimeout) as caught:
            await trusting(origin, [LARGE], deadlines=Deadlines(idle=0.2))
        assert caught.value.phase == "write"
        assert trusting.client.stats()[origin].open == 0


async def test_upload_that_is_cut_was_not_sent_in_full(
    trusting: Ask, localhost: ssl.SSLContext
) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readuntil(b"\r\n\r\n")
        peer.reset()

    async with serve(script, tls=localhost, receive_buffer=4096) as server:
        with pytest.raises(ConnectionLost) as caught:
            await trusting(named(server.origin), [LARGE])
        assert not caught.value.sent_in_full


async def test_cut_body_fails(trusting: Ask, localhost: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        peer.close()

    async with serve(script, tls=localhost) as server:
        response = await trusting(named(server.origin))
        assert await response.chunk() == b"abc"
        with pytest.raises(BackendError):
            await response.chunk()


async def test_cancelled_read_closes_at_once(trusting: Ask, localhost: ssl.SSLContext) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await peer.until_gone()

    async with serve(script, tls=localhost) as server:
        origin = named(server.origin)
        response = await trusting(origin)
        task = asyncio.create_task(response.chunk())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert trusting.client.stats()[origin].open == 0
        await server.peers[0].gone.wait()

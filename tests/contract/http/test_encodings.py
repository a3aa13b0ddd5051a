"""Bodies that come compressed although identity was asked for are read all the same, within bounds."""

import asyncio
import gzip
import zlib
from collections.abc import Awaitable, Callable

import pytest

from backends.errors import BadReply, ConnectionLost
from backends.http import ClientLimits, OriginStats, Response
from tests.contract.http.clients import Ask, Clients
from tests.fakes.raw_server import Peer, Script, serve

TEXT = b"".join(b'data: {"n":%d}\n\n' % number for number in range(5000))
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nTransfer-Encoding: chunked\r\n\r\n"


def bare(data: bytes) -> bytes:
    """What some servers send as deflate: RFC 1951 without the wrapper of RFC 1950."""
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


CODINGS: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "gzip": (b"gzip", gzip.compress),
    "x-gzip": (b"X-GZip", gzip.compress),
    "members": (b"gzip", lambda data: gzip.compress(data[:9]) + gzip.compress(data[9:])),
    "deflate": (b"deflate", zlib.compress),
    "bare": (b"deflate", bare),
}
coded = pytest.mark.parametrize("name", CODINGS)


def with_length(coding: bytes, body: bytes, *, more: bytes = b"") -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n%b\r\n"
        % (coding, len(body), more)
        + body
    )


def answer(*pieces: bytes, close: bool = False) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            for piece in pieces:
                await peer.send(piece)
            if close:
                peer.close()
                return

    return script


async def drained(response: Response) -> None:
    while await response.chunk():
        pass


async def streamed(ask: Ask, script: Script) -> bytes:
    data = b""
    async with serve(script) as server:
        response = await ask(server.origin)
        while piece := await response.chunk():
            data += piece
    return data


@coded
async def test_whole_body_is_decoded_and_its_connection_kept(ask: Ask, name: str) -> None:
    coding, compress = CODINGS[name]
    async with serve(answer(with_length(coding, compress(TEXT)))) as server:
        for _ in range(2):
            assert await ask.read(server.origin) == TEXT
        assert len(server.peers) == 1


@coded
async def test_body_that_ends_with_the_connection_is_decoded(ask: Ask, name: str) -> None:
    coding, compress = CODINGS[name]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n\r\n" % coding
    assert await streamed(ask, answer(head + compress(TEXT), close=True)) == TEXT


@coded
async def test_body_in_chunks_of_one_byte_is_decoded(ask: Ask, name: str) -> None:
    coding, compress = CODINGS[name]
    chunks = b"".join(b"1\r\n%b\r\n" % bytes([byte]) for byte in compress(TEXT[:3000]))
    script = answer(CHUNKED % coding, chunks, b"0\r\n\r\n")
    assert await streamed(ask, script) == TEXT[:3000]


async def test_events_are_delivered_as_they_are_flushed(ask: Ask) -> None:
    compressor = zlib.compressobj(wbits=31)
    read = asyncio.Event()

    def flushed(data: bytes) -> bytes:
        packed = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
        return b"%x\r\n%b\r\n" % (len(packed), packed)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED % b"gzip" + flushed(b"data: 1\n\n"))
        for number in (b"2", b"3"):
            await read.wait()
            read.clear()
            await peer.send(flushed(b"data: %b\n\n" % number))
        end = compressor.flush()
        await peer.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end))

    async with serve(script) as server:
        response = await ask(server.origin)
        for number in (b"1", b"2", b"3"):
            assert await response.chunk() == b"data: %b\n\n" % number
            read.set()
        assert await response.chunk() == b""
        assert ask.client.stats()[server.origin].idle == 1


async def test_a_sink_gets_the_decoded_body(ask: Ask) -> None:
    begun, poured = asyncio.Event(), asyncio.Event()
    got: list[bytes] = []
    packed = gzip.compress(TEXT[:9]) + gzip.compress(TEXT[9:])
    split = len(gzip.compress(TEXT[:9]))

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(with_length(b"gzip", packed)[: -len(packed)])
        await begun.wait()
        await peer.send(packed[:split])
        await poured.wait()
        await peer.send(packed[split:])

    def sink(data: bytes) -> bool:
        got.append(data)
        poured.set()
        return True

    async with serve(script) as server:
        response = await ask(server.origin)
        response.sink = sink
        begun.set()
        last = await response.chunk()  # what comes with the end is left to the reader
        assert got[0] == TEXT[:9]
        assert b"".join((*got, last)) == TEXT


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"compress", b"gzip, br", b"gzip, gzip"])
async def test_unknown_coding_is_refused_by_name(ask: Ask, coding: bytes) -> None:
    async with serve(answer(with_length(coding, b"ab"))) as server:
        with pytest.raises(BadReply, match=coding.decode()) as caught:
            await ask(server.origin)
        assert caught.value.status == 200
        assert ask.client.stats()[server.origin].open == 0


async def test_two_headers_that_name_a_coding_are_refused(ask: Ask) -> None:
    reply = with_length(b"gzip", b"", more=b"Content-Encoding: gzip\r\n")
    async with serve(answer(reply)) as server:
        with pytest.raises(BadReply, match="more than once"):
            await ask(server.origin)


async def test_identity_by_name_is_taken_as_it_is(ask: Ask) -> None:
    async with serve(answer(with_length(b"Identity", b"ab"))) as server:
        assert await ask.read(server.origin) == b"ab"


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 304 Not Modified\r\nContent-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["304", "empty"],
)
async def test_coding_of_no_body_at_all_is_no_fault(ask: Ask, reply: bytes) -> None:
    async with serve(answer(reply)) as server:
        for _ in range(2):
            assert await ask.read(server.origin) == b""
        assert len(server.peers) == 1


async def test_reply_to_head_may_name_any_coding(ask: Ask) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 9\r\n\r\n"
    async with serve(answer(reply)) as server:
        assert (await ask(server.origin, method=b"HEAD")).status == 200


@coded
@pytest.mark.parametrize("cut", [1, 5, 12])
async def test_body_that_ends_before_its_end_fails(ask: Ask, name: str, cut: int) -> None:
    coding, compress = CODINGS[name]
    packed = compress(TEXT)[:-cut]
    async with serve(answer(with_length(coding, packed))) as server:
        response = await ask(server.origin)
        with pytest.raises(BadReply, match="cut short"):
            await response.read_all()
        assert ask.client.stats()[server.origin].open == 0


@coded
async def test_connection_that_ends_in_the_middle_of_a_body_is_lost(ask: Ask, name: str) -> None:
    coding, compress = CODINGS[name]
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\n\r\n" % coding
    async with serve(answer(head + compress(TEXT)[:-1], close=True)) as server:
        response = await ask(server.origin)
        with pytest.raises(ConnectionLost):
            await response.read_all()


@coded
async def test_corrupt_body_fails_after_what_came_before(ask: Ask, name: str) -> None:
    coding, compress = CODINGS[name]
    read = asyncio.Event()
    packed = compress(TEXT)

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(with_length(coding, packed)[: -len(packed) // 2])
        await read.wait()
        await peer.send(b"\xff" * (len(packed) // 2 + 1))

    async with serve(script) as server:
        response = await ask(server.origin)
        data = await response.chunk()
        assert data
        assert TEXT.startswith(data)
        read.set()
        with pytest.raises(BadReply):
            await drained(response)
        assert ask.client.stats()[server.origin].open == 0


async def test_what_is_no_gzip_is_a_bad_reply(ask: Ask) -> None:
    async with serve(answer(with_length(b"gzip", b'{"id":"plain"}'))) as server:
        response = await ask(server.origin)
        with pytest.raises(BadReply, match="corrupt gzip") as caught:
            await response.read_all()
        assert caught.value.status == 200


@pytest.mark.parametrize("name", ["deflate", "bare"])
async def test_bytes_after_the_end_of_a_deflate_body_are_corrupt(ask: Ask, name: str) -> None:
    coding, compress = CODINGS[name]
    async with serve(answer(with_length(coding, compress(TEXT) + b"more"))) as server:
        response = await ask(server.origin)
        with pytest.raises(BadReply, match="after the end"):
            await response.read_all()


@coded
@pytest.mark.parametrize("read", [drained, Response.read_all])
async def test_bomb_is_cut_off_at_the_body_limit(
    clients: Clients, name: str, read: Callable[[Response], Awaitable[object]]
) -> None:
    coding, compress = CODINGS[name]
    bomb = with_length(coding, compress(bytes(50_000_000)))
    ask = clients.new(ClientLimits(max_body_bytes=1_000_000))
    async with serve(answer(bomb)) as server:
        response = await ask(server.origin)
        with pytest.raises(BadReply, match="over 1000000 bytes"):
            await read(response)
        assert response.size <= 1_000_000
        assert ask.client.stats()[server.origin] == OriginStats(open=0, idle=0, waiting=0)


@pytest.mark.parametrize(("size", "fits"), [(1000, True), (1001, False)])
async def test_limit_is_that_of_the_decoded_body(
    clients: Clients, size: int, *, fits: bool
) -> None:
    ask = clients.new(ClientLimits(max_body_bytes=1000))
    async with serve(answer(with_length(b"gzip", gzip.compress(bytes(size))))) as server:
        response = await ask(server.origin)
        if fits:
            assert await response.read_all() == bytes(size)
        else:
            with pytest.raises(BadReply, match="over 1000 bytes"):
                await response.read_all()


async def test_long_stream_may_pass_the_limit_in_all_while_it_is_read(clients: Clients) -> None:
    packed = gzip.compress(bytes(300_000))
    ask = clients.new(ClientLimits(max_body_bytes=400_000))
    seen = 0
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED % b"gzip")
        for _ in range(5):
            await peer.send(b"%x\r\n%b\r\n" % (len(packed), packed))
            await read.wait()
            read.clear()
        await peer.send(b"0\r\n\r\n")

    async with serve(script) as server:
        response = await ask(server.origin)
        while piece := await response.chunk():
            seen += len(piece)
            if seen % 300_000 == 0:
                read.set()
    assert seen == 1_500_000


async def test_endless_empty_members_are_a_bad_reply(clients: Clients) -> None:
    empty = gzip.compress(b"")

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED % b"gzip")
        while True:
            await peer.send(b"%x\r\n%b\r\n" % (len(empty), empty))

    ask = clients.new(ClientLimits(max_head_bytes=4096))
    async with serve(script) as server:
        response = await ask(server.origin)
        with pytest.raises(BadReply, match="framing"):
            await response.read_all()

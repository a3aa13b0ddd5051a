"""How replies are framed, and what is refused."""

import asyncio

import pytest

from backends.errors import BadReply, ConnectionLost
from backends.http import ClientLimits, Response
from tests.contract.http.clients import Ask, Clients
from tests.fakes.raw_server import Peer, Request, Script, serve

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def answer(data: bytes, *, close: bool = False) -> Script:
    """Answer every request with the same bytes."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(data)
            if close:
                peer.close()
                return

    return script


async def pieces(response: Response) -> bytes:
    data = b""
    while piece := await response.chunk():
        data += piece
    return data


async def test_request_has_host_length_and_the_callers_headers(ask: Ask) -> None:
    seen: list[Request] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.reply()

    async with serve(script) as server:
        await (await ask(server.origin, [b'{"a":', memoryview(b"x1}")[1:]])).read_all()
    assert seen[0].head == (
        b"POST /v1/x?y=1 HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: 7\r\n"
        b"Accept-Encoding: identity\r\n\r\n" % server.origin.port
    )
    assert seen[0].body == b'{"a":1}'


@pytest.mark.parametrize(
    ("method", "length"), [(b"POST", "0"), (b"PUT", "0"), (b"GET", None), (b"DELETE", None)]
)
async def test_empty_body_is_announced_where_one_is_expected(
    ask: Ask, method: bytes, length: str | None
) -> None:
    seen: list[Request] = []

    async def script(peer: Peer) -> None:
        seen.append(await peer.request())
        await peer.reply()

    async with serve(script) as server:
        await ask(server.origin, method=method)
    assert seen[0].header("content-length") == length


async def test_header_names_are_lower_case_and_repeated_ones_are_kept(ask: Ask) -> None:
    reply = b"HTTP/1.1 418 Teapot\r\nX-A: 1\r\nx-a: Two\r\nContent-Length: 0\r\n\r\n"
    async with serve(answer(reply)) as server:
        response = await ask(server.origin)
        assert response.status == 418
        assert response.headers == [(b"x-a", b"1"), (b"x-a", b"Two"), (b"content-length", b"0")]
        assert response.header(b"x-a") == b"1"
        assert response.header(b"x-b") is None
        assert await response.chunk() == b""
        assert await response.chunk() == b""


async def test_chunked_body_ends_at_its_last_chunk_and_trailers_are_ignored(ask: Ask) -> None:
    reply = CHUNKED + b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n"
    async with serve(answer(reply)) as server:
        for _ in range(2):
            response = await ask(server.origin)
            assert await pieces(response) == b"abcde"
            assert response.header(b"x-trailer") is None
        assert len(server.peers) == 1


async def test_body_without_a_length_ends_with_the_connection(ask: Ask) -> None:
    async with serve(answer(b"HTTP/1.1 200 OK\r\n\r\nabc", close=True)) as server:
        assert await pieces(await ask(server.origin)) == b"abc"
        assert await (await ask(server.origin)).read_all() == b"abc"
        assert len(server.peers) == 2


async def test_interim_replies_are_skipped(ask: Ask) -> None:
    reply = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    )
    async with serve(answer(reply)) as server:
        for _ in range(2):
            response = await ask(server.origin)
            assert response.status == 200
            assert response.headers == [(b"content-length", b"2")]
            assert await response.read_all() == b"ok"
        assert len(server.peers) == 1


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
async def test_replies_that_cannot_have_a_body_end_with_their_head(ask: Ask, status: bytes) -> None:
    async with serve(answer(b"HTTP/1.1 %b\r\nETag: x\r\n\r\n" % status)) as server:
        for _ in range(2):
            assert await (await ask(server.origin)).read_all() == b""
        assert len(server.peers) == 1


@pytest.mark.parametrize("length", [b"0", b"5"])
async def test_reply_to_head_has_no_body_whatever_its_length_says(ask: Ask, length: bytes) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %b\r\n\r\n" % length
    async with serve(answer(reply)) as server:
        for _ in range(3):
            response = await ask(server.origin, method=b"HEAD")
            assert response.header(b"content-length") == length
            assert await response.read_all() == b""
        assert len(server.peers) == 1


async def test_chunk_returns_what_has_arrived_without_waiting_for_more(ask: Ask) -> None:
    taken = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"1\r\na\r\n1\r\nb\r\n")
        await taken.wait()
        await peer.send(b"1\r\nc\r\n0\r\n\r\n")

    async with serve(script) as server:
        response = await ask(server.origin)
        assert await response.chunk() == b"ab"
        taken.set()
        assert await pieces(response) == b"c"


@pytest.mark.parametrize(
    ("start", "read"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", b"abc"),
        (CHUNKED + b"3\r\nabc\r\n", b"abc"),
        (CHUNKED + b"9\r\nabc", b"abc"),
        (CHUNKED + b"3\r\nabc\r\n0\r\n", b"abc"),
    ],
)
async def test_cut_body_is_delivered_and_then_fails(ask: Ask, start: bytes, read: bytes) -> None:
    async with serve(answer(start, close=True)) as server:
        response = await ask(server.origin)
        data = b""
        while len(data) < len(read):
            data += await response.chunk()
        assert data == read
        with pytest.raises(ConnectionLost):
            await response.chunk()
        with pytest.raises(ConnectionLost):
            await response.chunk()
        with pytest.raises(ConnectionLost):
            await (await ask(server.origin)).read_all()


async def test_reset_in_a_body_without_a_length_is_a_cut(ask: Ask) -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nabc")
        await read.wait()
        peer.reset()

    async with serve(script) as server:
        response = await ask(server.origin)
        assert await response.chunk() == b"abc"
        read.set()
        with pytest.raises(ConnectionLost):
            await response.chunk()


async def test_end_before_any_byte_of_a_reply_is_a_lost_connection(ask: Ask) -> None:
    async with serve(answer(b"", close=True)) as server:
        with pytest.raises(ConnectionLost) as caught:
            await ask(server.origin)
        assert caught.value.sent_in_full


@pytest.mark.parametrize(
    "reply",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_a_bad_reply(ask: Ask, reply: bytes) -> None:
    async with serve(answer(reply)) as server:
        with pytest.raises(BadReply):
            await ask(server.origin)


async def test_broken_chunk_framing_is_a_bad_reply_after_what_came_before(ask: Ask) -> None:
    read = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"3\r\nabc\r\n")
        await read.wait()
        await peer.send(b"zz\r\n")

    async with serve(script) as server:
        response = await ask(server.origin)
        assert await response.chunk() == b"abc"
        read.set()
        with pytest.raises(BadReply) as caught:
            await response.chunk()
        assert caught.value.status == 200


@pytest.mark.parametrize("ended", [True, False])
async def test_head_over_the_limit_is_a_bad_reply(clients: Clients, *, ended: bool) -> None:
    end = b"\r\nContent-Length: 2\r\n\r\nok" if ended else b""
    reply = b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000 + end
    ask = clients.new(ClientLimits(max_head_bytes=4096))
    async with serve(answer(reply)) as server:
        with pytest.raises(BadReply, match="head over 4096 bytes"):
            await ask(server.origin)


async def test_endless_interim_replies_are_over_the_head_limit(clients: Clients) -> None:
    reply = b"HTTP/1.1 100 Continue\r\n\r\n" * 400
    ask = clients.new(ClientLimits(max_head_bytes=4096))
    async with serve(answer(reply)) as server:
        with pytest.raises(BadReply, match="head over 4096 bytes"):
            await ask(server.origin)


async def test_large_body_in_the_same_read_is_no_part_of_the_head(clients: Clients) -> None:
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + b"x" * 20_000
    ask = clients.new(ClientLimits(max_head_bytes=4096))
    async with serve(answer(reply)) as server:
        assert await (await ask(server.origin)).read_all() == b"x" * 20_000


async def test_endless_trailers_are_a_bad_reply(clients: Clients) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(CHUNKED + b"1\r\na\r\n0\r\n")
        while True:
            await peer.send(b"X-T: " + b"x" * 1000 + b"\r\n")

    ask = clients.new(ClientLimits(max_head_bytes=4096))
    async with serve(script) as server:
        with pytest.raises(BadReply, match="framing"):
            await pieces(await ask(server.origin))


@pytest.mark.parametrize("size", [1000, 1001, 300_000])
@pytest.mark.parametrize("framed", ["length", "chunks"])
async def test_read_all_takes_up_to_its_limit(clients: Clients, size: int, framed: str) -> None:
    if framed == "length":
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    else:
        reply = CHUNKED + b"1\r\nx\r\n" * size + b"0\r\n\r\n"
    ask = clients.new(ClientLimits(max_body_bytes=1000))
    async with serve(answer(reply)) as server:
        response = await ask(server.origin)
        if size > 1000:
            with pytest.raises(BadReply, match="over 1000 bytes"):
                await response.read_all()
        else:
            assert await response.read_all() == b"x" * size


async def test_read_all_joins_what_came_before_and_while_it_waited(ask: Ask) -> None:
    waiting = asyncio.Event()
    body = bytes(range(256)) * 4096

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body[:1000])
        await waiting.wait()
        await peer.send(body[1000:])

    async with serve(script) as server:
        response = await ask(server.origin)
        asyncio.get_running_loop().call_soon(waiting.set)
        assert await response.read_all() == body


async def test_reply_does_not_print_its_body(ask: Ask) -> None:
    async with serve(answer(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")) as server:
        assert repr(await ask(server.origin)) == "<Response 200>"

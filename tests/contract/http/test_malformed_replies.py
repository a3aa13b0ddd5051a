"""What is not quite HTTP/1.1 is refused, bounded and told; what is merely unusual is read."""

import pytest

from backends.errors import BackendError, BadReply, ConnectionLost
from backends.http import ClientLimits, OriginStats, Response
from tests.contract.http.clients import Ask, Clients
from tests.fakes.raw_server import Peer, Script, serve

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EMPTY = b"Content-Length: 0\r\n\r\n"


def answer(data: bytes, *, close: bool = False) -> Script:
    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(data)
            if close:
                peer.close()
                return

    return script


def flood(start: bytes, more: bytes) -> Script:
    """Send `start`, and then `more` for as long as the client listens."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(start)
        while True:
            await peer.send(more)

    return script


async def drained(response: Response) -> None:
    while await response.chunk():
        pass


@pytest.mark.parametrize(
    "reply",
    [
        OK + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        OK + b"Content-Length: 3, 3\r\n\r\nabc",
        OK + b"Content-Length: +3\r\n\r\nabc",
        OK + b"Content-Length: -3\r\n\r\nabc",
        OK + b"Content-Length: 0x3\r\n\r\nabc",
        OK + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
        OK + b"Content-Length:\r\n\r\nabc",
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: chunked, identity\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        OK + b"Transfer-Encoding: gzip\r\n\r\nabc",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        OK + b"X: a\r\n folded\r\n" + EMPTY,
        OK + b" X: a\r\n" + EMPTY,
        OK + b"X : a\r\n" + EMPTY,
        OK + b"X: a\0b\r\n" + EMPTY,
        OK + b"X\0: a\r\n" + EMPTY,
        OK + b"X: a\n" + EMPTY,
        OK + b"X: a\rY: b\r\n" + EMPTY,
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 20 OK\r\n" + EMPTY,
        b"HTTP/1.1 0200 OK\r\n" + EMPTY,
        b"HTTP/1.1 099 OK\r\n" + EMPTY + OK + EMPTY,
        b"HTTP/0.9 200 OK\r\n\r\nabc",
        b"HTTP/1.2 200 OK\r\n" + EMPTY,
        b"HTTP/2.0 200 OK\r\n" + EMPTY,
        b"http/1.1 200 OK\r\n" + EMPTY,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\0" * 64,
        b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + OK + EMPTY,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\nabc",
    ],
)
async def test_ambiguous_or_malformed_head_is_a_bad_reply(ask: Ask, reply: bytes) -> None:
    async with serve(answer(reply)) as server:
        with pytest.raises(BadReply):
            await ask(server.origin)
        assert ask.client.stats()[server.origin] == OriginStats(open=0, idle=0, waiting=0)


@pytest.mark.parametrize(
    "body",
    [
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"-3\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b"FFFFFFFFFFFFFFFFF\r\nabc",
        b'3;a\0b="x\r\nabc\r\n',
        b"3\r\nabc\r\n0\r\nX: a\n\r\n",
    ],
)
async def test_malformed_chunk_is_a_bad_reply(ask: Ask, body: bytes) -> None:
    async with serve(answer(CHUNKED + body)) as server:
        with pytest.raises(BadReply):
            await (await ask(server.origin)).read_all()
        assert ask.client.stats()[server.origin].open == 0


@pytest.mark.parametrize(
    ("reply", "status", "body"),
    [
        (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, b"ok"),
        (b"HTTP/1.1 999 ?\r\nContent-Length: 2\r\n\r\nok", 999, b"ok"),
        (b"HTTP/1.1 200 \xc3\xa9\r\nContent-Length: 2\r\nX: \xff\r\n\r\nok", 200, b"ok"),
        (b"\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok"),
        (OK + b"Transfer-Encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok"),
        (CHUNKED + b'02;a=b;c="d;e"\r\nok\r\n000\r\nX-Trailer: 1\r\n\r\n', 200, b"ok"),
        (
            b"HTTP/1.1 100 Continue\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"HTTP/1.1 103 Early Hints\r\nLink: a\r\nLink: b\r\n\r\n"
            + OK
            + b"Content-Length: 2\r\n\r\nok",
            200,
            b"ok",
        ),
    ],
)
async def test_unusual_reply_is_read_and_its_connection_kept(
    ask: Ask, reply: bytes, status: int, body: bytes
) -> None:
    async with serve(answer(reply)) as server:
        for _ in range(2):
            response = await ask(server.origin)
            assert (response.status, await response.read_all()) == (status, body)
        assert len(server.peers) == 1


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("more", [b"", b"Connection: close\r\n"])
async def test_body_without_a_length_ends_with_the_connection(
    ask: Ask, version: bytes, more: bytes
) -> None:
    reply = b"HTTP/%b 200 OK\r\n%b\r\nabc" % (version, more)
    async with serve(answer(reply, close=True)) as server:
        assert await ask.read(server.origin) == b"abc"


async def test_http_1_0_connection_is_kept_only_where_it_says_so(ask: Ask) -> None:
    reply = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok"
    async with serve(answer(reply)) as server:
        for _ in range(2):
            assert await ask.read(server.origin) == b"ok"
        assert len(server.peers) == 1


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello",
        CHUNKED + b"0\r\n\r\n0\r\n\r\n",
        OK + EMPTY + b"\0",
        OK + EMPTY + OK + EMPTY,
    ],
)
async def test_connection_with_more_than_its_reply_is_not_used_again(
    ask: Ask, reply: bytes
) -> None:
    async with serve(answer(reply)) as server:
        for number in range(2):
            assert await ask.read(server.origin) == b""
            assert ask.client.stats()[server.origin].open == 0
            assert len(server.peers) == number + 1


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"HTTP/1.1 200 ", b"O" * 512),
        (OK + b"X: ", b"x" * 512),
        (OK, b"X: a\r\n" * 100),
        (OK, b"x" * 512),
        (b"\r\n", b"\r\n" * 256),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 20),
    ],
    ids=["status line", "header value", "header count", "header name", "empty lines", "interim"],
)
async def test_endless_head_is_cut_at_the_limit(
    clients: Clients, start: bytes, more: bytes
) -> None:
    ask = clients.new(ClientLimits(max_head_bytes=4096))
    async with serve(flood(start, more)) as server:
        with pytest.raises(BadReply, match="head over 4096 bytes"):
            await ask(server.origin)
        await server.peers[0].gone.wait()


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"", b"0" * 512),
        (b"3;", b"a" * 512),
        (b'3;a="', b"b" * 512),
        (b"0\r\n", b"X: a\r\n" * 100),
        (b"0\r\nX: ", b"x" * 512),
    ],
    ids=["chunk size", "extension name", "extension value", "trailer count", "trailer value"],
)
async def test_endless_framing_is_cut_at_the_limit(
    clients: Clients, start: bytes, more: bytes
) -> None:
    ask = clients.new(ClientLimits(max_head_bytes=4096))
    async with serve(flood(CHUNKED + b"1\r\na\r\n" + start, more)) as server:
        response = await ask(server.origin)
        with pytest.raises(BadReply, match="framing"):
            await drained(response)
        await server.peers[0].gone.wait()


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"H",
        CHUNKED + b"5",
        CHUNKED + b"5\r\n",
        CHUNKED + b"0\r\nX: ",
    ],
)
async def test_end_of_the_connection_within_the_reply_is_a_loss(ask: Ask, reply: bytes) -> None:
    async with serve(answer(reply, close=True)) as server:
        with pytest.raises(BackendError) as caught:
            await (await ask(server.origin)).read_all()
        assert isinstance(caught.value, ConnectionLost)
        assert ask.client.stats()[server.origin] == OriginStats(open=0, idle=0, waiting=0)

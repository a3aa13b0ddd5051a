"""What the edge refuses before any handler sees it: limits of size and time, and what is not HTTP."""

import asyncio

import pytest

from tests.fakes import edge_server
from tests.fakes.wire import Answer, connect, post


def assert_refusal(answer: Answer, status: int, code: str) -> None:
    """One of the gateway's own errors, in the shape of OpenAI's."""
    assert answer.status == status, answer
    assert answer.headers["content-type"] == "application/json"
    error = answer.error
    assert set(error) >= {"message", "type", "param", "code"}
    assert (error["code"], error["type"]) == (code, "invalid_request_error")
    assert error["message"]


def assert_identified(answer: Answer) -> None:
    identity = answer.headers["x-generation-id"]
    assert identity.startswith("gen-")
    assert answer.headers["x-request-id"] == identity
    assert answer.headers["connection"] == "close"


_BOTH = "Transfer-Encoding: chunked\r\n"
MALFORMED = {
    "not HTTP": b"hello there\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "length and chunks": post("/echo", b"0\r\n\r\n", more=_BOTH),
    "two lengths": b"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "negative length": b"POST /echo HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "length that overflows": b"POST /echo HTTP/1.1\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
    "length in hexadecimal": b"POST /echo HTTP/1.1\r\nContent-Length: 0x1\r\n\r\na",
    "space before the colon": b"POST /echo HTTP/1.1\r\nContent-Length : 1\r\n\r\na",
    "bare line feeds": b"POST /echo HTTP/1.1\nContent-Length: 1\n\na",
    "folded header": b"POST /echo HTTP/1.1\r\nX: a\r\n b: c\r\n\r\n",
    "null in a header": b"POST /echo HTTP/1.1\r\nX: a\0b\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "tunnel": b"CONNECT api.example:443 HTTP/1.1\r\nHost: api.example:443\r\n\r\n",
    "address that is none": b"GET http://[ HTTP/1.1\r\nHost: gateway\r\n\r\n",
    "path outside ASCII": "GET /plàin HTTP/1.1\r\nHost: gateway\r\n\r\n".encode(),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_malformed_http_is_answered_400_in_openais_shape(name: str) -> None:
    async with edge_server.serve() as server, connect(server.port) as wire:
        async with asyncio.timeout(5):
            answer = await wire.ask(MALFORMED[name])
            assert_refusal(answer, 400, "invalid_http")
            assert_identified(answer)
            assert await wire.closed() == b""
        assert server.served == []


@pytest.mark.parametrize("coding", [b"chunked", b"gzip"])
async def test_a_body_whose_framing_makes_no_sense_is_answered_400(coding: bytes) -> None:
    async with edge_server.serve() as server, connect(server.port) as wire:
        head = b"POST /echo HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: %b\r\n\r\n" % coding
        answer = await wire.ask(head + b"2\r\nab\r\nzz\r\nmore rubbish\r\n\r\n")
        assert_refusal(answer, 400, "invalid_http")
        assert answer.headers["connection"] == "close"
        assert server.served == []


async def test_a_request_smuggled_behind_a_conflict_of_lengths_is_never_served() -> None:
    smuggled = post("/echo", b"smuggled")
    async with edge_server.serve() as server, connect(server.port) as wire:
        answer = await wire.ask(post("/echo", b"0\r\n\r\n" + smuggled, more=_BOTH))
        assert_refusal(answer, 400, "invalid_http")
        assert await wire.closed() == b""
        assert server.served == []


async def test_rubbish_behind_a_request_under_way_does_not_mix_with_its_answer() -> None:
    async with edge_server.serve() as server:
        async with connect(server.port) as wire:
            await wire.send(post("/stream"))
            assert (await wire.head())[0] == 200
            await wire.send(b"rubbish\r\n\r\n")
            rest = await wire.closed()
            assert b"HTTP/1.1" not in rest
            assert not rest.endswith(b"0\r\n\r\n")  # cut, and seen to be cut
        async with connect(server.port) as wire:
            await wire.send(b"GET /gated HTTP/1.1\r\nHost: gateway\r\n\r\n")
            await asyncio.wait_for(server.reached.wait(), 5)
            await wire.send(b"rubbish\r\n\r\n")
            assert b"HTTP/1.1 400" not in await wire.closed()


async def test_two_authorization_headers_are_refused() -> None:
    twice = "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"
    async with edge_server.serve() as server, connect(server.port) as wire:
        answer = await wire.ask(post("/echo", b"{}", more=twice))
        assert_refusal(answer, 400, "duplicate_header")
        assert "authorization" in answer.error["message"]


async def test_a_head_over_the_limit_is_answered_431() -> None:
    async with edge_server.serve(max_head_bytes=1000) as server:
        for filler in (600, 1000, 100_000):
            async with connect(server.port) as wire:
                answer = await wire.ask(post("/echo", b"x", more=f"X-Filler: {'f' * filler}\r\n"))
                if filler == 600:
                    assert answer.status == 200
                    continue
                assert_refusal(answer, 431, "headers_too_large")
                assert "1000 bytes" in answer.error["message"]
                assert_identified(answer)
                assert await wire.closed() == b""


async def test_a_body_in_the_same_packet_does_not_count_as_head() -> None:
    async with edge_server.serve(max_head_bytes=1000) as server, connect(server.port) as wire:
        body = b"x" * 5000
        assert (await wire.ask(post("/echo", body))).body == body
        assert (await wire.ask(post("/echo", body) + post("/echo", b"y"))).body == body
        assert (await wire.answer()).body == b"y"


async def test_a_head_of_3_mb_that_never_ends_is_answered_431() -> None:
    async with edge_server.serve() as server, connect(server.port) as wire:
        await wire.send(b"POST /echo HTTP/1.1\r\nX-Endless: ")
        sending = asyncio.create_task(wire.send(b"e" * 3_000_000))
        async with asyncio.timeout(5):
            answer = await wire.answer()
            await asyncio.wait([sending])
        assert_refusal(answer, 431, "headers_too_large")
        assert_identified(answer)
        if not sending.cancelled():
            sending.exception()  # a reset is no fault of the caller's


async def test_a_head_that_drips_is_answered_408_at_its_time() -> None:
    async with edge_server.serve(head_timeout=0.2) as server, connect(server.port) as wire:
        loop = asyncio.get_running_loop()
        started = loop.time()

        async def drip() -> None:
            await wire.send(b"POST /echo HTTP/1.1\r\nX-Slow: ")
            while True:  # each byte in time: it is the whole head that has a limit
                await wire.send(b"s")
                await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(5):
            answer = await wire.answer()
        dripping.cancel()
        await asyncio.wait([dripping])
        assert 0.15 < loop.time() - started < 3.0
        assert_refusal(answer, 408, "request_timeout")
        assert_identified(answer)


async def test_a_later_head_has_the_same_limit_of_time() -> None:
    async with edge_server.serve(head_timeout=0.3) as server, connect(server.port) as wire:
        assert (await wire.ask(post("/echo", b"x"))).status == 200
        await asyncio.sleep(0.5)  # idle for longer than a head may take: nothing is due yet
        await wire.send(b"POST /echo HTTP/1.1\r\n")
        async with asyncio.timeout(5):
            assert_refusal(await wire.answer(), 408, "request_timeout")
            assert await wire.closed() == b""


async def test_a_connection_that_sends_nothing_is_closed() -> None:
    async with edge_server.serve(head_timeout=0.1) as server, connect(server.port) as wire:
        async with asyncio.timeout(5):
            assert await wire.closed() == b""


async def test_a_body_over_the_limit_is_refused_before_its_upload() -> None:
    async with edge_server.serve(max_body_bytes=1000) as server, connect(server.port) as wire:
        answer = await wire.ask(b"POST /echo HTTP/1.1\r\nHost: g\r\nContent-Length: 1001\r\n\r\n")
        assert_refusal(answer, 413, "body_too_large")
        assert "1000 bytes" in answer.error["message"]
        assert answer.headers["connection"] == "close"


async def test_a_large_upload_that_is_refused_still_reads_why() -> None:
    body = b"x" * 4_000_000
    async with edge_server.serve(max_body_bytes=1000) as server, connect(server.port) as wire:
        sending = asyncio.create_task(wire.send(post("/echo", body)))
        async with asyncio.timeout(5):
            assert_refusal(await wire.answer(), 413, "body_too_large")
            await sending  # not reset under the caller's hands
            assert await wire.closed() == b""


async def test_a_chunked_body_over_the_limit_is_refused() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with edge_server.serve(max_body_bytes=1000) as server:
        async with connect(server.port) as wire:
            whole = head + b"3e8\r\n" + b"x" * 1000 + b"\r\n0\r\n\r\n"
            assert len((await wire.ask(whole)).body) == 1000
        async with connect(server.port) as wire:
            answer = await wire.ask(head + (b"1f5\r\n" + b"x" * 501 + b"\r\n") * 2)
            assert_refusal(answer, 413, "body_too_large")
            assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_stops_arriving_is_answered_408(chunked: bool) -> None:  # noqa: FBT001 - a parameter
    async with edge_server.serve(body_timeout=0.1) as server, connect(server.port) as wire:
        if chunked:
            start = b"POST /echo HTTP/1.1\r\nHost: g\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
        else:
            start = post("/echo", b"abcde")[:-3]
        async with asyncio.timeout(5):
            answer = await wire.ask(start)
        assert_refusal(answer, 408, "request_timeout")
        assert answer.headers["connection"] == "close"


async def test_a_body_that_goes_on_arriving_has_no_limit_of_time() -> None:
    async with edge_server.serve(body_timeout=0.4) as server, connect(server.port) as wire:
        await wire.send(post("/echo", b"abcdef")[:-6])
        for byte in b"abcdef":
            await asyncio.sleep(0.1)
            await wire.send(bytes([byte]))
        assert (await wire.answer()).body == b"abcdef"


async def test_connections_over_their_number_are_answered_503() -> None:
    async with edge_server.serve(max_connections=1) as server, connect(server.port) as first:
        assert (await first.ask(post("/echo", b"1"))).status == 200
        async with connect(server.port) as second:
            answer = await second.ask(post("/echo", b"2"))
            assert answer.status == 503
            assert answer.error["code"] == "too_many_connections"
            assert answer.headers["retry-after"] == "1"
        assert (await first.ask(post("/echo", b"3"))).status == 200
        async with connect(server.port) as third:
            assert (await third.ask(b"GET /plain HTTP/1.1\r\nHost: g\r\n\r\n")).status == 200

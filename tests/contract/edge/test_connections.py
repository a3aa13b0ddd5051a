"""Connections of callers to the edge: order, framing and keep-alive, over real sockets."""

import asyncio

import pytest

from tests.fakes import edge_server
from tests.fakes.edge_server import LARGE
from tests.fakes.wire import connect, post


async def test_a_connection_serves_one_request_after_the_other() -> None:
    async with edge_server.serve() as server, connect(server.port) as wire:
        for body in (b"first", b"second", b""):
            answer = await wire.ask(post("/echo", body))
            assert (answer.status, answer.body) == (200, body)
            assert "connection" not in answer.headers


async def test_native_and_asgi_requests_share_a_connection() -> None:
    async with edge_server.serve() as server, connect(server.port) as wire:
        get = b"GET /plain?%d HTTP/1.1\r\nHost: gateway\r\n\r\n"
        assert (await wire.ask(post("/echo", b"a"))).body == b"a"
        assert (await wire.ask(get % 1)).body == b"1"
        assert (await wire.ask(post("/echo", b"b"))).body == b"b"
        assert (await wire.ask(post("/plain", b"c"))).status == 405
        assert (await wire.ask(get % 2)).body == b"2"


async def test_pipelined_requests_are_answered_in_their_order() -> None:
    get = b"GET /plain?%d HTTP/1.1\r\nHost: gateway\r\n\r\n"
    async with edge_server.serve() as server, connect(server.port) as wire:
        await wire.send(
            post("/slow", b"0") + get % 1 + post("/echo", b"2") + get % 3 + post("/echo", b"4")
        )
        await server.reached.wait()
        server.gate.set()
        assert [(await wire.answer()).body for _ in range(5)] == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_native_request_waits_for_the_asgi_request_before_it() -> None:
    async with edge_server.serve() as server, connect(server.port) as wire:
        await wire.send(b"GET /gated HTTP/1.1\r\nHost: gateway\r\n\r\n" + post("/echo", b"after"))
        await server.reached.wait()
        assert server.served == []
        server.gate.set()
        assert (await wire.answer()).body == b"gated"
        assert (await wire.answer()).body == b"after"


async def test_a_pipelined_upload_that_waits_its_turn_is_not_timed_out() -> None:
    body = b"z" * 300_000
    async with edge_server.serve(body_timeout=0.1) as server, connect(server.port) as wire:
        await wire.send(post("/slow", b"first"))
        await server.reached.wait()
        sending = asyncio.create_task(wire.send(post("/echo", body)))
        await asyncio.sleep(0.3)  # thrice the limit: the server itself holds the upload back
        server.gate.set()
        assert (await wire.answer()).body == b"first"
        answer = await wire.answer()
        await sending
        assert (answer.status, answer.body) == (200, body)


async def test_a_body_may_come_in_chunks_and_bytes() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with edge_server.serve() as server, connect(server.port) as wire:
        assert (await wire.ask(head + b"3\r\nabc\r\n4;x=1\r\ndefg\r\n0\r\n\r\n")).body == b"abcdefg"
        for byte in head + b"2\r\nhi\r\n0\r\nTrailer: x\r\n\r\n":
            await wire.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await wire.answer()).body == b"hi"


async def test_a_caller_who_asks_is_told_to_go_on_with_its_upload() -> None:
    async with edge_server.serve() as server, connect(server.port) as wire:
        head = (
            b"POST /echo HTTP/1.1\r\nHost: g\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n"
        )
        await wire.send(head)
        assert await wire.reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await wire.ask(b"ok")).body == b"ok"


async def test_a_caller_who_asks_is_spared_an_upload_that_is_refused_anyway() -> None:
    async with edge_server.serve() as server, connect(server.port) as wire:
        answer = await wire.ask(
            b"POST /unread HTTP/1.1\r\nHost: g\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"
        )
        assert answer.status == 401
        assert answer.headers["connection"] == "close"


async def test_http_1_0_gets_an_unchunked_answer_and_the_end() -> None:
    async with edge_server.serve() as server:
        server.gate.set()
        for path, body in (("/echo", b"old"), ("/stream", b"onetwo")):
            async with connect(server.port) as wire:
                answer = await wire.ask(post(path, b"old", version="1.0"))
                assert (answer.status, answer.body) == (200, body)
                assert answer.headers["connection"] == "close"
                assert "transfer-encoding" not in answer.headers
                assert await wire.closed() == b""


@pytest.mark.parametrize("path", ["/echo", "/stream"])
async def test_connection_close_is_kept_to(path: str) -> None:
    async with edge_server.serve() as server, connect(server.port) as wire:
        server.gate.set()
        answer = await wire.ask(post(path, b"last", more="Connection: close\r\n"))
        assert answer.status == 200
        assert answer.headers["connection"] == "close"
        assert await wire.closed() == b""


async def test_an_offer_to_upgrade_is_passed_over_and_the_connection_goes_on() -> None:
    """What Java's HttpClient sends with its first request to any plain-text address."""
    more = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\n"
    async with edge_server.serve() as server, connect(server.port) as wire:
        for body in (b"first", b"second"):
            answer = await wire.ask(post("/echo", body, more=more))
            assert (answer.status, answer.body) == (200, body)
        assert (await wire.ask(post("/echo", b"third"))).body == b"third"


async def test_an_empty_line_between_requests_is_passed_over() -> None:
    async with edge_server.serve(head_timeout=1.0) as server, connect(server.port) as wire:
        await wire.send(post("/slow", b"first"))
        await server.reached.wait()
        await wire.send(b"\r\n")
        await asyncio.sleep(1.3)  # longer than a head may take: none has begun
        server.gate.set()
        assert (await wire.answer()).body == b"first"
        assert (await wire.ask(post("/echo", b"second"))).body == b"second"


async def test_an_idle_connection_is_closed_after_its_time() -> None:
    async with edge_server.serve(keep_alive=0.1) as server, connect(server.port) as wire:
        assert (await wire.ask(post("/echo", b"x"))).status == 200
        async with asyncio.timeout(5):
            assert await wire.closed() == b""


async def test_an_answer_is_not_idleness() -> None:
    async with edge_server.serve(keep_alive=0.3) as server, connect(server.port) as wire:
        assert (await wire.ask(post("/echo", b"x"))).status == 200
        await wire.send(post("/slow", b"y"))
        await server.reached.wait()
        await asyncio.sleep(0.5)
        server.gate.set()
        assert (await wire.answer()).body == b"y"


async def test_a_caller_gone_while_its_request_runs_cancels_it_at_once() -> None:
    async with edge_server.serve() as server:
        for leave in ("reset", "close"):
            server.reached.clear()
            server.cancelled.clear()
            async with connect(server.port) as wire:
                await wire.send(post("/slow", b"x"))
                await server.reached.wait()
                (running,) = server.tasks
                if leave == "reset":
                    wire.reset()
                else:
                    wire.writer.close()
                async with asyncio.timeout(2):
                    await server.cancelled.wait()
                    await asyncio.wait([running])
                assert running.cancelled()


async def test_a_caller_gone_in_its_upload_leaves_nothing_behind() -> None:
    async with edge_server.serve() as server:
        async with connect(server.port) as wire:
            await wire.send(post("/echo", b"x" * 1000)[:-1])
            async with asyncio.timeout(2):
                await server.reached.wait()
            (running,) = server.tasks
        async with asyncio.timeout(2):
            await asyncio.wait([running])
        assert server.served == []
        assert not server.tasks


async def test_a_caller_who_reads_nothing_is_dropped_and_its_request_cancelled() -> None:
    async with (
        edge_server.serve(write_timeout=0.2) as server,
        connect(server.port, receive_buffer=4096) as wire,
    ):
        await wire.send(post("/flood"))
        async with asyncio.timeout(5):
            await server.cancelled.wait()
        # Held back by the caller, not piled up in memory: what two kernels and one buffer hold.
        assert server.flooded < 16 * 1024 * 1024


async def test_a_caller_who_reads_slowly_gets_everything() -> None:
    async with (
        edge_server.serve(write_timeout=0.5) as server,
        connect(server.port, receive_buffer=65_536) as wire,
    ):
        await wire.send(post("/large"))
        status, headers = await wire.head()
        left = int(headers["content-length"])
        assert (status, left) == (200, LARGE)
        started = asyncio.get_running_loop().time()
        while left:
            data = await wire.reader.read(65_536)
            assert data, "cut off although it read"
            left -= len(data)
            await asyncio.sleep(0.002)
        assert asyncio.get_running_loop().time() - started > 2 * 0.5

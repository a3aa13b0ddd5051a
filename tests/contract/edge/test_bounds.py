"""What one connection may make the edge hold, and how long it may keep it waiting."""

import asyncio

from gateway.api.edge import EdgeProtocol
from tests.fakes import edge_server
from tests.fakes.wire import connect, post


async def test_a_flood_of_pipelined_requests_is_held_back() -> None:
    one = post("/echo", b"")
    async with edge_server.serve() as server, connect(server.port) as wire:
        await wire.send(post("/slow", b"0"))
        await server.reached.wait()
        flood = asyncio.create_task(wire.send(one * 100_000))
        server.gate.set()
        for _ in range(500):
            await wire.answer()
        assert server.uvicorn is not None
        (connection,) = server.uvicorn.server_state.connections
        assert isinstance(connection, EdgeProtocol)
        # What one read brought may wait; the rest stays with the caller.
        assert len(connection.pipeline) <= 256 * 1024 // len(one)
        flood.cancel()


async def test_trailers_are_not_kept() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with edge_server.serve() as server, connect(server.port) as wire:
        trailers = b"authorization: Bearer other\r\n" * 20
        answer = await wire.ask(head + b"2\r\nhi\r\n0\r\n" + trailers + b"\r\n")
        assert (answer.status, answer.body) == (200, b"hi")


async def test_endless_trailers_are_refused() -> None:
    head = b"POST /echo HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with edge_server.serve() as server, connect(server.port) as wire:
        await wire.send(head + b"2\r\nhi\r\n0\r\nx: ")
        for _ in range(40):  # far more than comes in one read
            await wire.send(b"v" * 16_384)
        assert (await wire.answer()).status == 431
        assert server.served == []


async def test_connect_is_refused() -> None:
    for target in (b"gateway:443", b"/echo"):
        async with edge_server.serve() as server, connect(server.port) as wire:
            head = b"CONNECT %b HTTP/1.1\r\nHost: gateway\r\ncontent-length: 2\r\n\r\nhi" % target
            assert (await wire.ask(head)).error["code"] == "invalid_http"
            assert server.served == []


async def test_half_a_head_behind_a_request_has_the_time_of_a_head() -> None:
    limits = {"head_timeout": 0.2, "keep_alive": 60.0}
    async with edge_server.serve(**limits) as server, connect(server.port) as wire:
        await wire.send(post("/echo", b"x") + b"POST /echo HTTP/1.1\r\nHost")
        assert (await wire.answer()).body == b"x"
        async with asyncio.timeout(10):
            assert (await wire.answer()).status == 408


async def test_nothing_is_served_behind_an_answer_that_closes() -> None:
    async with edge_server.serve() as server, connect(server.port) as wire:
        await wire.send(b"POST /early HTTP/1.1\r\nHost: a\r\ncontent-length: 5\r\n\r\nx")
        await server.reached.wait()
        await wire.send(b"xxxx" + post("/echo", b"hi"))
        answer = await wire.answer()
        assert answer.headers["connection"] == "close"
        assert await wire.closed() == b""
        assert server.served == []

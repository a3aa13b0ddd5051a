"""Which connection a request gets, and what becomes of it afterwards."""

import asyncio

import pytest

from backends.errors import ConnectFailed, ConnectionLost, UpstreamTimeout
from backends.http import ClientLimits, OriginStats
from backends.http_connection import Connection
from backends.http_pool import Pool
from backends.values import Deadlines, Origin
from tests.contract.http.clients import Ask, Clients, becomes_true
from tests.fakes.raw_server import Peer, serve


async def obliging(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.reply()


class Gate:
    """A script that answers a request only when told to; the answer is the request's own body."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[bytes] = asyncio.Queue()
        self.open = asyncio.Semaphore(0)

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            self.asked.put_nowait(request.body)
            await self.open.acquire()
            await peer.reply(request.body)


async def test_connection_is_used_again(ask: Ask) -> None:
    async with serve(obliging) as server:
        for _ in range(5):
            assert await ask.read(server.origin) == b"ok"
        assert len(server.peers) == 1
        assert ask.client.stats() == {server.origin: OriginStats(open=1, idle=1, waiting=0)}


async def test_connection_is_free_as_soon_as_the_body_has_arrived(ask: Ask) -> None:
    async with serve(obliging) as server:
        unread = await ask(server.origin)
        assert await ask.read(server.origin) == b"ok"
        assert len(server.peers) == 1
        unread.abort()  # harmless: it ended
        assert await unread.chunk() == b"ok"
        assert await unread.chunk() == b""
        assert await ask.read(server.origin) == b"ok"
        assert len(server.peers) == 1


@pytest.mark.parametrize("last", [0, 1])
async def test_connection_used_last_is_taken_first(ask: Ask, last: int) -> None:
    opened = [asyncio.Event(), asyncio.Event()]

    async def script(peer: Peer) -> None:
        number = server.peers.index(peer)
        while True:
            await peer.request()
            await opened[number].wait()
            await peer.reply(b"%d" % number)

    async with serve(script) as server:
        tasks = []
        for number in range(2):
            tasks.append(asyncio.create_task(ask.read(server.origin)))
            await server.peer(number)
        for number in (1 - last, last):
            opened[number].set()
            assert await tasks[number] == b"%d" % number
        assert await ask.read(server.origin) == b"%d" % last


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!!",
    ],
    ids=["close", "HTTP/1.0", "half a reply", "junk"],
)
async def test_connection_is_closed_after_such_a_reply(ask: Ask, reply: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply)
        await peer.until_gone()

    async with serve(script) as server:
        for number in range(2):
            assert await ask.read(server.origin) == b"ok"
            assert ask.client.stats()[server.origin] == OriginStats(open=0, idle=0, waiting=0)
            await (await server.peer(number)).gone.wait()


@pytest.mark.parametrize("event", ["end", "reset", "bytes"])
async def test_unused_connection_is_dropped_when_the_upstream_does(ask: Ask, event: str) -> None:
    hang_up = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.reply()
        await hang_up.wait()
        if event == "end":
            peer.close()
        elif event == "reset":
            peer.reset()
        else:
            await peer.send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")

    async with serve(script) as server:
        await ask.read(server.origin)
        hang_up.set()
        await becomes_true(lambda: not ask.client.stats()[server.origin].idle)
        assert ask.client.stats()[server.origin].open == 0
        assert await ask.read(server.origin) == b"ok"
        assert len(server.peers) == 2


async def test_connection_unused_for_too_long_is_not_used_again(clients: Clients) -> None:
    ask = clients.new(ClientLimits(idle_seconds=4))
    async with serve(obliging) as server:
        await ask.read(server.origin)
        clients.skipped += 3.5
        await ask.read(server.origin)
        assert len(server.peers) == 1
        clients.skipped += 4.5
        await ask.read(server.origin)
        assert len(server.peers) == 2
        assert ask.client.stats()[server.origin].open == 1


async def test_unused_connections_are_closed_and_their_origin_is_forgotten(
    clients: Clients,
) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.reply()
        await peer.until_gone()

    ask = clients.new(ClientLimits(idle_seconds=0.05))
    async with serve(script) as server:
        await ask.read(server.origin)
        await server.peers[0].gone.wait()
        await becomes_true(lambda: not ask.client.stats())


async def test_requests_over_the_limit_wait_their_turn(ask: Ask) -> None:
    gate = Gate()
    async with serve(gate) as server:
        tasks = []
        for number in range(6):
            body = [b"%d" % number]
            tasks.append(asyncio.create_task(ask(server.origin, body, max_connections=2)))
            await asyncio.sleep(0)  # let it take its place in the line
        served = [await gate.asked.get(), await gate.asked.get()]
        assert ask.client.stats()[server.origin] == OriginStats(open=2, idle=0, waiting=4)
        for _ in range(4):
            gate.open.release()
            served.append(await gate.asked.get())
        gate.open.release()
        gate.open.release()
        for number, task in enumerate(tasks):
            assert await (await task).read_all() == b"%d" % number
        assert sorted(served[:2]) == [b"0", b"1"]
        assert served[2:] == [b"2", b"3", b"4", b"5"]
        assert len(server.peers) == 2
        assert ask.client.stats()[server.origin] == OriginStats(open=2, idle=2, waiting=0)


async def test_slot_of_a_failed_exchange_goes_to_the_next_in_line(ask: Ask) -> None:
    cut = asyncio.Event()

    async def script(peer: Peer) -> None:
        request = await peer.request()
        if request.body == b"0":
            await cut.wait()
            peer.close()
        else:
            await peer.reply()

    async with serve(script) as server:
        first = asyncio.create_task(ask(server.origin, [b"0"], max_connections=1))
        await server.peer(0)
        second = asyncio.create_task(ask(server.origin, [b"1"], max_connections=1))
        cut.set()
        with pytest.raises(ConnectionLost):
            await first
        assert await (await second).read_all() == b"ok"
        assert ask.client.stats()[server.origin].open == 1


async def test_wait_for_a_connection_is_bounded_by_the_connect_deadline(ask: Ask) -> None:
    gate = Gate()
    async with serve(gate) as server:
        first = asyncio.create_task(ask(server.origin, max_connections=1))
        await gate.asked.get()
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, deadlines=Deadlines(connect=0.05), max_connections=1)
        assert (caught.value.phase, caught.value.seconds) == ("pool", 0.05)
        assert ask.client.stats()[server.origin].waiting == 0
        gate.open.release()
        await first


async def test_wait_for_a_connection_is_bounded_by_the_total_deadline(ask: Ask) -> None:
    gate = Gate()
    async with serve(gate) as server:
        first = asyncio.create_task(ask(server.origin, max_connections=1))
        await gate.asked.get()
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(server.origin, timeout=0.05, max_connections=1)
        assert (caught.value.phase, caught.value.seconds) == ("total", 0.05)
        gate.open.release()
        await first


async def test_full_queue_refuses_at_once(clients: Clients) -> None:
    gate = Gate()
    ask = clients.new(ClientLimits(max_waiting=1))
    async with serve(gate) as server:
        first = asyncio.create_task(ask(server.origin, max_connections=1))
        await gate.asked.get()
        second = asyncio.create_task(ask(server.origin, max_connections=1))
        await asyncio.sleep(0)
        with pytest.raises(ConnectFailed, match="wait for"):
            await ask(server.origin, max_connections=1)
        gate.open.release()
        gate.open.release()
        await first
        await second


async def test_raised_limit_also_helps_who_waits_already(ask: Ask) -> None:
    gate = Gate()
    async with serve(gate) as server:
        tasks = [asyncio.create_task(ask(server.origin, max_connections=1)) for _ in range(2)]
        await gate.asked.get()
        tasks.append(asyncio.create_task(ask(server.origin, max_connections=3)))
        await gate.asked.get()
        await gate.asked.get()
        for _ in tasks:
            gate.open.release()
        await asyncio.gather(*tasks)


async def test_lowered_limit_closes_connections_as_they_come_back(ask: Ask) -> None:
    gate = Gate()
    async with serve(gate) as server:
        tasks = [asyncio.create_task(ask(server.origin)) for _ in range(3)]
        for _ in tasks:
            await gate.asked.get()
        tasks.append(asyncio.create_task(ask(server.origin, max_connections=1)))
        for _ in tasks:
            gate.open.release()
        await asyncio.gather(*tasks)
        assert ask.client.stats()[server.origin] == OriginStats(open=1, idle=1, waiting=0)


async def test_cancelled_wait_leaves_the_line(ask: Ask) -> None:
    gate = Gate()
    async with serve(gate) as server:
        first = asyncio.create_task(ask(server.origin, max_connections=1))
        await gate.asked.get()
        second = asyncio.create_task(ask(server.origin, max_connections=1))
        third = asyncio.create_task(ask(server.origin, [b"3"], max_connections=1))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        gate.open.release()
        await first
        assert await gate.asked.get() == b"3"
        gate.open.release()
        await third


async def test_slot_granted_to_a_cancelled_wait_goes_to_the_next(ask: Ask) -> None:
    async def script(peer: Peer) -> None:
        request = await peer.request()
        if request.body == b"1":
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
            await peer.until_gone()
        await peer.reply(request.body)

    async with serve(script) as server:
        first = await ask(server.origin, [b"1"], max_connections=1)
        second = asyncio.create_task(ask(server.origin, [b"2"], max_connections=1))
        third = asyncio.create_task(ask(server.origin, [b"3"], max_connections=1))
        await asyncio.sleep(0)
        first.abort()  # this grants the slot to the second
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await (await third).read_all() == b"3"
        assert ask.client.stats()[server.origin] == OriginStats(open=1, idle=1, waiting=0)


@pytest.mark.parametrize("others", [0, 1])
async def test_connection_granted_to_a_cancelled_wait_goes_to_the_next(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    gate = Gate()
    release = Pool.release

    def release_and_cancel(pool: Pool, connection: Connection, now: float) -> None:
        release(pool, connection, now)
        second.cancel()

    async with serve(gate) as server:
        first = asyncio.create_task(ask(server.origin, max_connections=1))
        await gate.asked.get()
        second = asyncio.create_task(ask(server.origin, max_connections=1))
        third = [asyncio.create_task(ask(server.origin, max_connections=1)) for _ in range(others)]
        await asyncio.sleep(0)
        monkeypatch.setattr(Pool, "release", release_and_cancel)
        gate.open.release()
        gate.open.release()
        await first
        with pytest.raises(asyncio.CancelledError):
            await second
        await asyncio.gather(*third)
        assert ask.client.stats()[server.origin] == OriginStats(open=1, idle=1, waiting=0)
        assert len(server.peers) == 1


async def test_refused_connection_is_connect_failed_and_frees_its_slot(ask: Ask) -> None:
    async with serve(obliging) as server:
        origin = server.origin
    for _ in range(3):
        with pytest.raises(ConnectFailed):
            await ask(origin, max_connections=1)
    assert ask.client.stats()[origin].open == 0


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64 + ".invalid", "bücher.invalid"])
async def test_unknown_name_is_connect_failed(ask: Ask, host: str) -> None:
    with pytest.raises(ConnectFailed):
        await ask(Origin("http", host, 80))


async def test_closing_the_client_ends_everything(clients: Clients) -> None:
    ask = clients.new()
    gate = Gate()
    async with serve(gate) as server:
        active = asyncio.create_task(ask(server.origin, max_connections=1))
        await gate.asked.get()
        waiting = asyncio.create_task(ask(server.origin, max_connections=1))
        await asyncio.sleep(0)
        await ask.client.aclose()
        for task in (active, waiting):
            with pytest.raises(ConnectFailed):
                await task
        with pytest.raises(ConnectFailed):
            await ask(server.origin)
        assert ask.client.stats()[server.origin] == OriginStats(open=0, idle=0, waiting=0)
        await ask.client.aclose()

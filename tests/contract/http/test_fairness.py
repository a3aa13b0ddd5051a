"""Those who wait for a connection take turns by tenant, and the line is bounded."""

import asyncio

import pytest

from backends.errors import Blame, LineFull, UpstreamTimeout
from backends.http import ClientLimits, OriginStats
from backends.values import Deadlines
from tests.contract.http.clients import Ask, Clients
from tests.fakes.raw_server import Peer, RawServer, serve


class Turnstile:
    """A script that lets one request through at a time; `served` has their bodies in order."""

    def __init__(self) -> None:
        self.served: asyncio.Queue[bytes] = asyncio.Queue()
        self.permits = asyncio.Semaphore(0)

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            self.served.put_nowait(request.body)
            await self.permits.acquire()
            await peer.reply()

    async def order(self, count: int) -> list[bytes]:
        """The next requests that come through, each let go before the next is awaited."""
        found = []
        for _ in range(count):
            found.append(await self.served.get())
            self.permits.release()
        return found


async def queued(
    ask: Ask, server: RawServer, tenant: str, *bodies: str, deadlines: Deadlines | None = None
) -> list[asyncio.Task[None]]:
    """Requests of one tenant, each in line before the next one asks."""

    async def read(body: str) -> None:
        response = await ask(
            server.origin,
            [body.encode()],
            tenant=tenant,
            max_connections=1,
            deadlines=deadlines or Deadlines(),
        )
        await response.read_all()

    tasks = []
    for body in bodies:
        tasks.append(asyncio.create_task(read(body)))
        await asyncio.sleep(0)
    return tasks


async def test_a_tenant_with_a_hundred_in_line_does_not_keep_another_out(ask: Ask) -> None:
    gate = Turnstile()
    async with serve(gate) as server:
        tasks = await queued(ask, server, "a", *(f"a{number}" for number in range(100)))
        tasks += await queued(ask, server, "b", "b0", "b1")
        tasks += await queued(ask, server, "c", "c0")
        order = await gate.order(103)
        await asyncio.gather(*tasks)
    # a0 came while nobody waited; a1 was first in line.
    assert order[:7] == [b"a0", b"a1", b"b0", b"c0", b"a2", b"b1", b"a3"]
    assert order[7:] == [b"a%d" % number for number in range(4, 100)]


async def test_who_comes_back_goes_to_the_end_of_the_turns(ask: Ask) -> None:
    gate = Turnstile()
    async with serve(gate) as server:
        tasks = await queued(ask, server, "x", "x0")
        tasks += await queued(ask, server, "a", "a0", "a1", "a2")
        tasks += await queued(ask, server, "b", "b0")
        assert await gate.order(2) == [b"x0", b"a0"]
        assert await gate.served.get() == b"b0"  # it holds the only connection; a1 and a2 wait
        tasks += await queued(ask, server, "b", "b1")
        gate.permits.release()
        assert await gate.order(3) == [b"a1", b"b1", b"a2"]
        await asyncio.gather(*tasks)


async def test_slots_and_connections_alike_go_by_turn(ask: Ask) -> None:
    """Where the connection in use dies, its slot is what is handed on."""
    cut = asyncio.Semaphore(0)
    served: asyncio.Queue[bytes] = asyncio.Queue()

    async def script(peer: Peer) -> None:
        served.put_nowait((await peer.request()).body)
        await cut.acquire()
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")

    async with serve(script) as server:
        tasks = await queued(ask, server, "a", "a0", "a1", "a2")
        tasks += await queued(ask, server, "b", "b0")
        order = []
        for _ in range(4):
            order.append(await served.get())
            cut.release()
        await asyncio.gather(*tasks)
    assert order == [b"a0", b"a1", b"b0", b"a2"]


async def test_one_tenants_part_of_the_line_is_bounded(clients: Clients) -> None:
    ask = clients.new(ClientLimits(max_waiting=10, max_waiting_per_tenant=2))
    gate = Turnstile()
    async with serve(gate) as server:
        tasks = await queued(ask, server, "a", "a0", "a1", "a2")
        with pytest.raises(LineFull) as caught:
            await ask(server.origin, tenant="a", max_connections=1)
        assert caught.value.blame is Blame.GATEWAY
        assert str(caught.value) == (
            f"2 requests wait for one of 1 connections to {server.origin.authority},"
            " 2 of them of the same team; no more may"
        )
        tasks += await queued(ask, server, "b", "b0")
        assert ask.client.stats()[server.origin] == OriginStats(open=1, idle=0, waiting=3)
        await gate.order(4)
        await asyncio.gather(*tasks)


async def test_the_whole_line_is_bounded(clients: Clients) -> None:
    ask = clients.new(ClientLimits(max_waiting=3, max_waiting_per_tenant=2))
    gate = Turnstile()
    async with serve(gate) as server:
        tasks = await queued(ask, server, "a", "a0", "a1", "a2")
        tasks += await queued(ask, server, "b", "b0")
        with pytest.raises(LineFull, match=r"3 requests wait .* 0 of them of the same team"):
            await ask(server.origin, tenant="c", max_connections=1)
        await gate.order(4)
        await asyncio.gather(*tasks)


async def test_deadline_in_line_says_how_long_the_line_was(ask: Ask) -> None:
    gate = Turnstile()
    async with serve(gate) as server:
        tasks = await queued(ask, server, "a", "a0", "a1")
        tasks += await queued(ask, server, "b", "b0")
        with pytest.raises(UpstreamTimeout) as caught:
            await ask(
                server.origin, tenant="a", max_connections=1, deadlines=Deadlines(connect=0.05)
            )
        assert (caught.value.phase, caught.value.blame) == ("pool", Blame.GATEWAY)
        assert str(caught.value) == (
            "pool deadline of 0.05 s passed: 3 requests wait for one of 1 connections to"
            f" {server.origin.authority}, 2 of them of the same team"
        )
        assert ask.client.stats()[server.origin].waiting == 2
        await gate.order(3)
        await asyncio.gather(*tasks)


async def test_cancelled_waiters_lose_no_turn_of_others(ask: Ask) -> None:
    gate = Turnstile()
    async with serve(gate) as server:
        tasks = await queued(ask, server, "a", "a0", "a1", "a2")
        gone = await queued(ask, server, "b", "b0", "b1")
        tasks += await queued(ask, server, "c", "c0")
        for task in (tasks.pop(1), gone[0], gone[1]):
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        assert ask.client.stats()[server.origin].waiting == 2
        assert await gate.order(3) == [b"a0", b"a2", b"c0"]
        await asyncio.gather(*tasks)
        assert ask.client.stats()[server.origin] == OriginStats(open=1, idle=1, waiting=0)

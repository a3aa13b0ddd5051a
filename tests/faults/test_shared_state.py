"""Counters in a real Redis that is lost, emptied, restarted and failed over, under workers that go on."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.errors import LedgerBehind
from gateway.store.state import Admitted, Refusal
from gateway.store.state.redis import RedisCounters
from gateway.values import BudgetHold, Reservation
from tests.fakes.fleet import Books, Worker, hold, until
from tests.servers.redis_server import RedisServer

pytestmark = pytest.mark.faults

LIMIT = 3000
MOST = 20  # what one request may cost
BUCKET = "bud_1:total"
Harm = Callable[["Hammered"], Awaitable[None]]


def asked(loss: str = "lease") -> BudgetHold:
    return hold(MOST, LIMIT, loss=loss)


class Way:
    """A way to a server that can be led to another: what stands before a primary and its replica."""

    def __init__(self, port: int) -> None:
        self.target = port
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
            self._open.add(back)
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        writer.close()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
        writer.close()

    def lead(self, port: int) -> None:
        """Break what is open, and lead to another port."""
        self.target = port
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def aclose(self) -> None:
        assert self._server is not None
        self._server.close()
        self.lead(0)
        await self._server.wait_closed()


class Hammered:
    """Three workers on a server, and what they spent."""

    def __init__(self, server: RedisServer, way: Way, books: Books, workers: list[Worker]) -> None:
        self.server = server
        self.way = way
        self.books = books
        self.workers = workers
        self.loss = "lease"
        self.stop = False
        self.lost_spent = 0

    async def serve(self, worker: Worker) -> None:
        drawn = random.Random(worker.asked)  # noqa: S311 - nothing is kept secret
        while not self.stop:
            try:
                decision = await worker.begin(asked(self.loss))
            except LedgerBehind:
                continue
            if isinstance(decision, Admitted):
                name = f"{worker.name}-{worker.asked}"
                await asyncio.sleep(drawn.random() / 20)
                await worker.end(drawn.randrange(4), name if name in worker.held else None)
            await asyncio.sleep(0.005)

    async def hammer(self, harm: Harm) -> None:
        """Spend all the time, have harm done, and see that every sum is right after it."""
        serving = [
            asyncio.create_task(self.serve(worker)) for worker in self.workers for _ in range(3)
        ]
        await asyncio.sleep(1.5)  # leases are taken
        await harm(self)
        await self.healed()
        await asyncio.sleep(0.5)
        self.stop = True
        await asyncio.gather(*serving)
        await self.check()

    async def healed(self) -> None:
        for worker in self.workers:
            await until(worker.is_up, 15)

    async def check(self) -> None:
        await until(lambda: not self._unsettled(), 10)
        for worker in self.workers:
            await worker.ledger.ship()
        spent = sum(worker.spent for worker in self.workers)
        assert self.books.total(BUCKET) == spent
        assert spent <= LIMIT
        found: dict[str, int] = {}

        async def told() -> bool:
            probe = hold(LIMIT * 2, LIMIT)
            refusal = await self.workers[0].state.admit(Reservation("probe", (probe,)))
            assert isinstance(refusal, Refusal)
            found["spent"], found["held"] = refusal.spent_nano, refusal.held_nano
            return refusal.spent_nano == spent

        async with asyncio.timeout(10):
            while not await told():  # noqa: ASYNC110 - the store has no event for it
                await asyncio.sleep(0.1)
        leased = sum(
            lease.hold.amount_nano
            for worker in self.workers
            for lease in worker.state._bond.leases._leases.values()
        )
        assert found["held"] == leased

    def _unsettled(self) -> bool:
        return any(w.state._bond.queue or w.held for w in self.workers)


@pytest.fixture
async def hammered(tmp_path: Path) -> AsyncIterator[Hammered]:
    with RedisServer(tmp_path / "redis") as server:
        way = Way(server.port)
        await way.start()
        books = Books(SystemClock())
        workers = [
            Worker(
                f"w{n}",
                RedisCounters(f"redis://127.0.0.1:{way.port}/0", timeout=0.3),
                books,
                share=0.05,
                ttl=5.0,
            )
            for n in range(3)
        ]
        for worker in workers:
            assert await worker.state.start()
        yield Hammered(server, way, books, workers)
        for worker in workers:
            await worker.state.aclose()
        await way.aclose()


async def lost(hammered: Hammered) -> None:
    """All workers have noticed."""
    await until(lambda: not any(worker.is_up() for worker in hammered.workers), 10)


async def test_stopped_for_a_while(hammered: Hammered) -> None:
    async def harm(_: Hammered) -> None:
        hammered.server.pause()
        await lost(hammered)
        before = sum(worker.spent for worker in hammered.workers)
        await asyncio.sleep(1)
        hammered.server.resume()
        assert sum(worker.spent for worker in hammered.workers) > before  # of the leases

    await hammered.hammer(harm)


async def test_killed_and_restarted_empty(hammered: Hammered) -> None:
    async def harm(_: Hammered) -> None:
        hammered.server.kill()
        await lost(hammered)
        await asyncio.sleep(0.5)
        hammered.server.start()

    await hammered.hammer(harm)


async def test_emptied_under_load(hammered: Hammered) -> None:
    async def harm(_: Hammered) -> None:
        for _time in range(3):
            hammered.server.empty()
            await asyncio.sleep(0.7)

    await hammered.hammer(harm)


async def test_nothing_of_a_budget_that_refuses_is_spent_while_it_is_lost(
    hammered: Hammered,
) -> None:
    hammered.loss = "refuse"

    async def harm(_: Hammered) -> None:
        hammered.server.kill()
        await lost(hammered)
        asked_before = [worker.asked for worker in hammered.workers]
        held = [dict(worker.held) for worker in hammered.workers]
        await asyncio.sleep(0.5)
        for worker, before, was in zip(hammered.workers, asked_before, held, strict=True):
            assert worker.asked > before
            assert set(worker.held) <= set(was)  # nobody new was let in
        hammered.server.start()

    await hammered.hammer(harm)


async def test_restarted_with_all_its_data_it_is_another_epoch(tmp_path: Path) -> None:
    books = Books(SystemClock())
    with RedisServer(tmp_path / "redis", persistence=True) as server:
        worker = Worker("w0", RedisCounters(server.url, timeout=0.5), books)
        assert await worker.state.start()
        await worker.begin(hold(5))
        await worker.begin(hold(7))
        await worker.end(4)
        epoch = worker.state._bond._epoch
        server.restart()
        await until(lambda: worker.state._bond._epoch != epoch)
        await until(worker.is_up)
        refusal = await worker.begin(hold(100))
        assert isinstance(refusal, Refusal)
        assert (refusal.spent_nano, refusal.held_nano) == (4, 7)
        await worker.state.aclose()


async def test_failed_over_to_a_replica(hammered: Hammered, tmp_path: Path) -> None:
    with RedisServer(tmp_path / "replica", replica_of=hammered.server) as other:

        async def harm(_: Hammered) -> None:
            await until(other.is_synchronised)
            bonds = [worker.state._bond for worker in hammered.workers]
            before = [bond.generation for bond in bonds]
            hammered.server.kill()
            assert other.call("REPLICAOF", "NO", "ONE").startswith("+OK")
            hammered.way.lead(other.port)
            await until(
                lambda: all(bond.generation > old for bond, old in zip(bonds, before, strict=True))
            )

        await hammered.hammer(harm)


async def test_lost_and_emptied_while_the_database_is_lost_too(hammered: Hammered) -> None:
    async def harm(_: Hammered) -> None:
        hammered.books.away = True
        hammered.server.kill()
        await lost(hammered)
        await asyncio.sleep(0.5)
        hammered.server.start()
        await hammered.healed()
        spent = sum(worker.spent + sum(MOST for _ in worker.held) for worker in hammered.workers)
        await asyncio.sleep(0.5)
        assert sum(worker.spent for worker in hammered.workers) <= spent  # nothing new
        hammered.books.away = False

    await hammered.hammer(harm)

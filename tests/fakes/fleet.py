"""Several workers over one store, with a ledger and a registry of workers in memory."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager

from typing_extensions import override

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.store.state import Admitted, Decision, SharedCounters
from gateway.store.state.loading import Ledger, Workers
from gateway.store.state.shared import SharedState
from gateway.store.state.untold import Untold
from gateway.store.workers import STALE, Behind
from gateway.values import BudgetHold, Reservation
from tests.fakes.counters import FakeCounters, Store, turn
from tests.fakes.virtual_time import LoopClock

TTL = 6.0


class Books:
    """The database: what was charged, and which workers there are.

    Attributes:
        away: it cannot be reached.
        slow: seconds that each use takes.
        charged: generations in the ledger: their buckets, and what they cost.
        flushed: by worker that has a row, for which epoch it has flushed.
        beaten: when the dead were last alive.
        orphaned: what is in the journals of the dead that are within reach.
        clean: those of the dead whose journals are, and who spent of no lease.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.away = False
        self.slow = 0.0
        self.charged: dict[str, tuple[tuple[str, ...], int]] = {}
        self.flushed: dict[str, str] = {}
        self.beaten: dict[str, float] = {}
        self.orphaned: dict[str, tuple[tuple[str, ...], int]] = {}
        self.clean: set[str] = set()

    async def use(self) -> None:
        await asyncio.sleep(self.slow)
        if self.away:
            raise Unavailable("the database is away")

    def total(self, bucket: str) -> int:
        return sum(charge for buckets, charge in self.charged.values() if bucket in buckets)


class FakeLedger(Ledger):
    """One worker's way to the ledger; `recent` is what has ended and is not there yet."""

    def __init__(self, books: Books) -> None:
        self.books = books
        self.recent: dict[str, tuple[tuple[str, ...], int]] = {}
        self.sums = 0

    @override
    async def spent_nano(self, bucket: str, excluding: Collection[str]) -> int:
        self.sums += 1
        await self.books.use()
        found = sum(
            charge
            for name, (buckets, charge) in self.books.charged.items()
            if bucket in buckets and name not in excluding
        )
        await asyncio.sleep(0)
        return found

    @override
    async def charges_nano(self, generation_ids: Collection[str]) -> Mapping[str, int]:
        await self.books.use()
        known = self.books.charged
        return {name: known[name][1] for name in generation_ids if name in known}

    @override
    async def ship(self) -> None:
        await self.books.use()
        for name, ended in list(self.recent.items()):
            self.books.charged[name] = ended
            self.recent.pop(name, None)
            await asyncio.sleep(0)

    @override
    async def adopt(self) -> None:
        await self.books.use()
        self.books.charged.update(self.books.orphaned)
        self.books.orphaned = {}
        for name in self.books.clean:
            self.books.flushed.pop(name, None)
        self.books.clean = set()


class FakeWorkers(Workers):
    """One worker's row, which is beaten as long as it lives."""

    def __init__(self, books: Books, name: str) -> None:
        self.books = books
        self.name = name
        self.alive = True
        books.flushed[name] = ""

    @property
    @override
    def fresh(self) -> bool:
        return self.alive and not self.books.away

    @override
    async def note_flushed(self, epoch: str) -> None:
        await self.books.use()
        self.books.flushed[self.name] = epoch

    @override
    async def behind(self, epoch: str) -> Behind:
        await self.books.use()
        late = [name for name, flushed in self.books.flushed.items() if flushed != epoch]
        since = self.books.beaten
        now = self.books.clock.monotonic()
        dead = [name for name in late if now - since.get(name, now) >= STALE]
        return Behind(tuple(name for name in late if name not in dead), tuple(dead))

    @override
    async def give_up(self, names: tuple[str, ...], epoch: str) -> None:
        for name in names:
            self.books.flushed[name] = epoch

    @override
    async def rows(self) -> Collection[str]:
        await self.books.use()
        return set(self.books.flushed)


class FakeUntold(Untold):
    """A mark in memory.

    Attributes:
        refuses: it cannot be set.
    """

    def __init__(self) -> None:
        self._marked = False
        self.refuses = False

    @property
    @override
    def marked(self) -> bool:
        return self._marked

    @override
    def mark(self) -> bool:
        self._marked = not self.refuses
        return self._marked

    @override
    def clear(self) -> None:
        self._marked = False


class Worker:
    """A gateway process: admits, ends and books requests."""

    def __init__(
        self,
        name: str,
        counters: SharedCounters,
        books: Books,
        *,
        share: float = 0.0,
        ttl: float = TTL,
    ) -> None:
        self.name = name
        self.ledger = FakeLedger(books)
        self.workers = FakeWorkers(books, name)
        self.untold = FakeUntold()
        self.state = SharedState(
            counters,
            self.ledger,
            self.workers,
            self.untold,
            books.clock,
            worker=name,
            hold_ttl=ttl,
            lease_share=share,
        )
        self.asked = 0
        self.held: dict[str, Reservation] = {}
        self.spent = 0

    async def begin(self, *holds: BudgetHold) -> Decision:
        """A request that asks to be let in."""
        self.asked += 1
        reservation = Reservation(f"gen-{self.asked}-{self.name}", holds)
        decision = await self.state.admit(reservation)
        if isinstance(decision, Admitted):
            self.held[reservation.id] = reservation
        return decision

    async def end(self, charge_nano: int, name: str | None = None) -> str:
        """The request `name`, or the oldest one, ends."""
        name = name or next(iter(self.held))
        reservation = self.held.pop(name)
        self.ledger.recent[name] = tuple(hold.bucket for hold in reservation.holds), charge_nano
        self.spent += charge_nano
        await self.state.settle(name, charge_nano)
        return name

    def cut(self, *, off: bool = True) -> None:
        """Part this worker alone from the store, or bring it back."""
        counters = self.state._counters
        assert isinstance(counters, FakeCounters)
        counters.cut = off

    def is_up(self) -> bool:
        """Whether it is in touch with the store."""
        return self.state._bond.up.is_set()

    def die(self, *, journal: bool = True) -> None:
        """Be killed: nothing more is done, and the journal is left for others, if they can have it."""
        self.workers.alive = False
        books = self.ledger.books
        books.beaten[self.name] = books.clock.monotonic()
        if journal:
            books.orphaned.update(self.ledger.recent)
            if not self.untold.marked:
                books.clean.add(self.name)
        for task in [*self.state._bond._tasks, *self.state._loader._loads.values()]:
            task.cancel()


def hold(
    amount: int, limit: int = 100, bucket: str = "bud_1:total", *, loss: str = "lease"
) -> BudgetHold:
    """What a request holds of a budget."""
    return BudgetHold(bucket, limit, amount, None, "team", loss)


@asynccontextmanager
async def fleet(
    count: int, share: float = 0.0, pause: Callable[[], Awaitable[None]] = turn
) -> AsyncIterator[tuple[Store, Books, list[Worker]]]:
    """Workers that have begun, over one store and one database, in virtual time."""
    clock = LoopClock()
    store, books = Store(clock, pause), Books(clock)
    workers = [Worker(f"w{n}", FakeCounters(store), books, share=share) for n in range(count)]
    for worker in workers:
        assert await worker.state.start()
    yield store, books, workers
    for worker in workers:
        await worker.state.aclose()


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for what happens in the background."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - whoever does it knows nothing of tests
            await asyncio.sleep(0.01)  # in the fakes' time this is none

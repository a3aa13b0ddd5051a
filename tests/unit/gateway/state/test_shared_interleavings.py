"""Three workers whose store is emptied, lost and slow, at any point of anything: the sums are right."""

import asyncio
import random
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import LedgerBehind, Unavailable
from gateway.store.state import Admitted
from tests.fakes.counters import Store
from tests.fakes.fleet import Books, Worker, fleet, hold, until
from tests.fakes.virtual_time import run

BUCKET = "bud_1:total"


class Chance:
    """What happens when, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.drawn = random.Random(seed)  # noqa: S311 - nothing is kept secret

    async def pause(self) -> None:
        for _ in range(self.drawn.randrange(4)):
            await asyncio.sleep(0)
        if self.drawn.random() < 0.05:
            await asyncio.sleep(self.drawn.random())

    async def wait(self, most: float) -> None:
        await asyncio.sleep(self.drawn.random() * most)

    async def serve(self, worker: Worker, limit: int) -> None:
        for _ in range(10):
            try:
                decision = await worker.begin(hold(20, limit))
            except LedgerBehind:
                await self.wait(1)
                continue
            if isinstance(decision, Admitted):
                await self.wait(self.drawn.choice([0, 0.01, 3]))
                await worker.end(self.drawn.randrange(21))
                if self.drawn.random() < 0.3:
                    with suppress(Unavailable):
                        await worker.ledger.ship()

    async def harm(self, store: Store, books: Books, workers: list[Worker]) -> None:
        for _ in range(5):
            await self.wait(3)
            match self.drawn.randrange(5):
                case 0:
                    store.empty()
                case 1:
                    store.down = True
                    await self.wait(4)
                    if self.drawn.random() < 0.5:
                        store.empty()
                    store.down = False
                case 2:
                    store.deaf = True
                    await self.wait(1)
                    store.deaf = False
                case 3:
                    books.away = True
                    await self.wait(2)
                    books.away = False
                case _:
                    worker = self.drawn.choice(workers)
                    worker.cut()
                    await self.wait(4)
                    worker.cut(off=False)


async def hammer(seed: int) -> None:
    chance = Chance(seed)
    limit = chance.drawn.choice([200, 1000])
    async with fleet(3, chance.drawn.choice([0.0, 0.1]), chance.pause) as (store, books, workers):
        serving = [chance.serve(worker, limit) for worker in workers for _ in range(4)]
        await asyncio.gather(*serving, chance.harm(store, books, workers))
        for worker in workers:
            await until(worker.is_up, 30)
        await asyncio.sleep(70)  # what was doubtful is told, what is leased and unused goes back
        await asyncio.gather(*(worker.ledger.ship() for worker in workers))
        assert isinstance(await workers[0].begin(hold(0, limit)), Admitted)  # it is loaded
        await workers[0].end(0)
        await asyncio.sleep(70)
        spent = sum(worker.spent for worker in workers)
        assert books.total(BUCKET) == spent
        assert store.spent(BUCKET) == spent
        assert store.held(BUCKET) == 0
        assert spent <= limit


@settings(max_examples=30)
@given(seed=st.integers(0, 2**32))
def test_each_outcome_is_counted_once_and_no_budget_is_exceeded(seed: int) -> None:
    run(hammer(seed))

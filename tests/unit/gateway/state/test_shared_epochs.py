"""What happens to counters that workers share when they are emptied, and who waits for it."""

import asyncio

import pytest

from gateway.errors import LedgerBehind
from gateway.store.state import ADMITTED, Admitted, Refusal
from gateway.store.workers import STALE
from gateway.values import Reservation
from tests.fakes.fleet import fleet, hold, until
from tests.fakes.virtual_time import run

BUCKET = "bud_1:total"


def test_a_budget_is_loaded_from_the_ledger_by_the_first_request_that_needs_it() -> None:
    async def work() -> None:
        async with fleet(1) as (_store, books, (worker,)):
            books.charged["old"] = (BUCKET,), 90
            assert isinstance(await worker.begin(hold(10)), Admitted)
            refusal = await worker.begin(hold(1))
            assert isinstance(refusal, Refusal)
            assert (refusal.spent_nano, refusal.held_nano) == (90, 10)
            assert not refusal.lost

    run(work())


def test_many_requests_of_one_budget_read_the_ledger_once() -> None:
    async def work() -> None:
        async with fleet(1) as (store, books, (worker,)):
            books.slow = 0.1
            await asyncio.gather(*(worker.begin(hold(1)) for _ in range(20)))
            assert worker.ledger.sums == 1
            assert store.held(BUCKET) == 20

    run(work())


def test_what_is_live_when_the_store_is_emptied_is_held_in_the_new_epoch() -> None:
    async def work() -> None:
        async with fleet(2) as (store, _books, workers):
            for worker in workers:
                await worker.begin(hold(20))
                await worker.begin(hold(20))
                await worker.end(7)
            store.empty()
            assert isinstance(await workers[0].begin(hold(30)), Admitted)
            assert (store.spent(BUCKET), store.held(BUCKET)) == (14, 70)
            assert isinstance(await workers[1].begin(hold(30)), Refusal)

    run(work())


def test_an_idle_worker_notices_by_itself_that_the_store_was_emptied() -> None:
    async def work() -> None:
        async with fleet(1) as (store, books, (worker,)):
            await worker.begin(hold(20))
            store.empty()
            await until(lambda: store.held(BUCKET) == 20)
            await until(lambda: books.flushed["w0"] == store.epoch)

    run(work())


def test_budgets_wait_for_a_worker_that_has_not_flushed_and_nobody_else_does() -> None:
    async def work() -> None:
        async with fleet(2) as (store, books, (one, other)):
            await other.begin(hold(60))
            await other.end(60)
            other.cut()  # alive, and not there to say what it spent
            await until(lambda: not other.is_up())
            store.empty()
            loop = asyncio.get_running_loop()
            began = loop.time()
            with pytest.raises(LedgerBehind) as behind:
                await one.begin(hold(60))
            assert loop.time() - began == pytest.approx(2.0, abs=0.7)
            assert behind.value.retry_after
            began = loop.time()
            assert await one.state.admit(Reservation("free")) == ADMITTED
            assert isinstance(await one.begin(), Admitted)
            assert loop.time() == began
            other.cut(off=False)
            await until(lambda: books.flushed["w1"] == store.epoch)
            assert isinstance(await one.begin(hold(60)), Refusal)
            assert isinstance(await one.begin(hold(40)), Admitted)

    run(work())


def test_a_dead_worker_is_waited_for_no_longer_and_its_journal_counts() -> None:
    async def work() -> None:
        async with fleet(2) as (store, _books, (one, other)):
            await other.begin(hold(60))
            await other.end(60)
            other.die()
            store.empty()
            with pytest.raises(LedgerBehind):
                await one.begin(hold(60))
            await asyncio.sleep(STALE)
            assert isinstance(await one.begin(hold(60)), Refusal)
            assert isinstance(await one.begin(hold(40)), Admitted)

    run(work())


def test_while_the_database_is_away_a_new_epoch_has_no_budgets_and_then_the_right_ones() -> None:
    async def work() -> None:
        async with fleet(1) as (store, books, (worker,)):
            await worker.begin(hold(60))
            await worker.end(60)
            books.away = True
            store.empty()
            with pytest.raises(LedgerBehind):
                await worker.begin(hold(1))
            assert await worker.state.admit(Reservation("free")) == ADMITTED
            books.away = False
            await until(lambda: books.flushed["w0"] == store.epoch)
            assert isinstance(await worker.begin(hold(41)), Refusal)
            assert isinstance(await worker.begin(hold(40)), Admitted)

    run(work())


def test_what_ends_while_the_new_epoch_is_told_is_counted_once() -> None:
    async def work() -> None:
        async with fleet(1) as (store, _books, (worker,)):
            for _ in range(4):
                await worker.begin(hold(20))
            await worker.end(5)
            store.empty()
            asking = asyncio.create_task(worker.begin(hold(1)))
            while worker.is_up():  # noqa: ASYNC110 - each step matters here
                await asyncio.sleep(0)
            await worker.end(6)
            await asyncio.sleep(0)
            await worker.end(7)
            assert isinstance(await asking, Admitted)
            await until(lambda: store.spent(BUCKET) == 18)
            assert store.held(BUCKET) == 21

    run(work())


def test_an_admission_that_was_answered_in_an_epoch_that_is_over_is_made_again() -> None:
    async def work() -> None:
        async with fleet(1) as (store, _books, (worker,)):
            await worker.begin(hold(1))
            await worker.end(1)
            await until(lambda: store.spent(BUCKET) == 1)
            arrived, answered = asyncio.Event(), asyncio.Event()

            async def slow_answer() -> None:
                if arrived.is_set():
                    await answered.wait()
                arrived.set()

            store.pause, before = slow_answer, store.pause
            asking = asyncio.create_task(worker.begin(hold(30)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert store.held(BUCKET) == 30  # and the answer is on its way
            store.pause = before
            store.empty()
            await until(lambda: worker.state._bond.generation == 2)
            answered.set()
            assert isinstance(await asking, Admitted)
            assert (store.spent(BUCKET), store.held(BUCKET)) == (1, 30)

    run(work())

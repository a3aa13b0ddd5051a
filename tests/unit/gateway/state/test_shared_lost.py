"""What a worker admits while it does not reach the counters that it shares, and what it tells them then."""

import asyncio

import pytest
from msgspec.structs import replace

from gateway.store.state import Admitted, Limited, Refusal
from gateway.store.state.leases import KEPT
from gateway.values import RateTake, Reservation, SlotTake
from tests.fakes.fleet import TTL, Worker, fleet, hold, until
from tests.fakes.virtual_time import run

BUCKET = "bud_1:total"
SLOT = SlotTake("key-1:concurrency", 2, "key")
RATE = RateTake("key-1:requests", 3, 60, 1, "requests", "key")


async def used(*workers: Worker) -> None:
    """Each worker has used the budget, and has its lease by now."""
    for worker in workers:
        assert isinstance(await worker.begin(hold(1)), Admitted)
        await worker.end(0)
    await asyncio.sleep(3)


def test_requests_without_budgets_are_let_in_and_limits_are_counted_here() -> None:
    async def work() -> None:
        async with fleet(1) as (store, _books, (worker,)):
            store.down = True
            state = worker.state
            for n in range(2):
                asked = Reservation(f"a{n}", (), (RATE,), (SLOT,))
                assert isinstance(await state.admit(asked), Admitted)
            full = await state.admit(Reservation("a2", (), (RATE,), (SLOT,)))
            assert isinstance(full, Limited)
            assert full.what == "concurrency"
            await state.settle("a0", 0)
            assert isinstance(await state.admit(Reservation("a3", (), (RATE,), (SLOT,))), Admitted)
            over = await state.admit(Reservation("a4", (), (RATE,)))
            assert isinstance(over, Limited)
            assert over.what == "requests"

    run(work())


def test_no_budget_is_spent_without_a_lease() -> None:
    async def work() -> None:
        async with fleet(1, 0.0) as (store, _books, (worker,)):
            await used(worker)
            store.down = True
            refusal = await worker.begin(hold(1))
            assert isinstance(refusal, Refusal)
            assert refusal.lost
            assert not worker.held

    run(work())


def test_a_lease_is_spent_and_no_more_than_it() -> None:
    async def work() -> None:
        async with fleet(2, 0.1) as (store, _books, workers):
            await used(*workers)
            assert store.held(BUCKET) == 20  # leases count as spent
            assert isinstance(await workers[0].begin(hold(81)), Refusal)
            store.down = True
            assert isinstance(await workers[0].begin(hold(6)), Admitted)
            refusal = await workers[0].begin(hold(6))
            assert isinstance(refusal, Refusal)
            assert refusal.lost
            await workers[0].end(3)
            assert isinstance(await workers[0].begin(hold(6)), Admitted)
            assert isinstance(await workers[1].begin(hold(10)), Admitted)

    run(work())


def test_a_budget_that_refuses_spends_nothing_while_the_store_is_lost() -> None:
    async def work() -> None:
        async with fleet(1, 0.1) as (store, _books, (worker,)):
            strict = hold(1, loss="refuse", bucket="bud_2:total")
            await worker.begin(strict)
            await worker.end(0)
            await used(worker)
            assert store.held("bud_2:total") == 0
            store.down = True
            assert isinstance(await worker.begin(hold(1)), Admitted)
            for holds in ((strict,), (hold(1), strict)):
                refusal = await worker.begin(*holds)
                assert isinstance(refusal, Refusal)
                assert refusal.lost
                assert refusal.bucket == "bud_2:total"

    run(work())


def test_what_was_spent_of_a_lease_is_booked_on_return_and_a_new_one_taken() -> None:
    async def work() -> None:
        async with fleet(1, 0.1) as (store, _books, (worker,)):
            await used(worker)
            await worker.begin(hold(20))
            store.down = True
            await worker.begin(hold(6))
            await worker.begin(hold(4))
            await worker.end(5, "gen-3-w0")
            await worker.end(18, "gen-2-w0")  # it was let in before
            store.down = False
            await until(worker.is_up)
            assert store.spent(BUCKET) == 23
            assert store.held(BUCKET) == 4  # of the request that is still under way
            await worker.end(1)
            await asyncio.sleep(2)
            assert (store.spent(BUCKET), store.held(BUCKET)) == (24, 10)

    run(work())


def test_leases_of_an_epoch_that_is_gone_are_not_booked_beside_the_ledger() -> None:
    async def work() -> None:
        async with fleet(1, 0.1) as (store, _books, (worker,)):
            await used(worker)
            store.down = True
            await worker.begin(hold(6))
            await worker.begin(hold(4))
            await worker.end(5)
            store.empty()
            store.down = False
            await until(worker.is_up)
            await worker.begin(hold(1))
            await worker.end(1, "gen-4-w0")
            assert store.spent(BUCKET) + store.held(BUCKET) - 4 in (5, 6, 7)
            await worker.end(2)
            await asyncio.sleep(KEPT + 5)
            assert (store.spent(BUCKET), store.held(BUCKET)) == (8, 0)

    run(work())


def test_a_worker_that_may_count_as_dead_spends_no_lease() -> None:
    async def work() -> None:
        async with fleet(1, 0.1) as (store, books, (worker,)):
            await used(worker)
            store.down = books.away = True
            refusal = await worker.begin(hold(1))
            assert isinstance(refusal, Refusal)
            assert refusal.lost

    run(work())


def test_an_admission_without_an_answer_holds_nothing_for_long() -> None:
    async def work() -> None:
        async with fleet(1) as (store, _books, (worker,)):
            await used(worker)
            store.deaf = True
            refusal = await worker.begin(hold(7))
            assert isinstance(refusal, Refusal)
            assert store.held(BUCKET) == 7
            store.deaf = False
            await until(lambda: store.held(BUCKET) == 0)
            assert store.spent(BUCKET) == 0

    run(work())


def test_an_admission_that_is_cancelled_holds_nothing_for_long() -> None:
    async def work() -> None:
        async with fleet(1) as (store, _books, (worker,)):
            await used(worker)
            asking = asyncio.create_task(worker.begin(hold(7)))
            while not store.held(BUCKET):  # noqa: ASYNC110 - not a step later
                await asyncio.sleep(0)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await until(lambda: store.held(BUCKET) == 0)
            assert worker.state.held_count == 0

    run(work())


def test_settling_never_waits_for_the_store() -> None:
    async def work() -> None:
        async with fleet(1) as (store, _books, (worker,)):
            await worker.begin(hold(7))
            await worker.begin(hold(7))

            async def for_ever() -> None:
                await asyncio.sleep(3600)

            store.pause, before = for_ever, store.pause
            settling = worker.state.settle("gen-1-w0", 5)
            with pytest.raises(StopIteration):
                settling.send(None)  # done without a wait
            store.pause = before
            store.down = True
            await worker.begin(hold(7))
            await worker.end(6, "gen-2-w0")
            store.down = False
            await until(lambda: store.spent(BUCKET) == 11)

    run(work())


def test_live_requests_and_leases_are_renewed_and_unused_leases_given_back() -> None:
    async def work() -> None:
        async with fleet(1, 0.1) as (store, _books, (worker,)):
            await worker.begin(hold(7))
            await asyncio.sleep(5 * TTL)
            deadlines = [deadline for _, deadline in store.live.values()]
            assert len(deadlines) == 2
            assert min(deadlines) > store.clock.monotonic()
            await asyncio.sleep(KEPT)
            assert store.held(BUCKET) == 7

    run(work())


def test_a_changed_limit_changes_the_lease() -> None:
    async def work() -> None:
        async with fleet(1, 0.1) as (store, _books, (worker,)):
            await used(worker)
            await worker.begin(replace(hold(1), limit_nano=500))
            await worker.end(0)
            await asyncio.sleep(3)
            assert store.held(BUCKET) == 50

    run(work())


def test_stopping_gives_leases_back() -> None:
    async def work() -> None:
        async with fleet(1, 0.1) as (store, _books, (worker,)):
            await used(worker)
            assert store.held(BUCKET) == 10
            await worker.state.aclose()
            assert store.held(BUCKET) == 0

    run(work())


def test_a_worker_starts_without_the_store_and_finds_it_later() -> None:
    async def work() -> None:
        async with fleet(1) as (store, books, (worker,)):
            store.down = True
            other = Worker("late", worker.state._counters, books)
            other.cut()
            assert not await other.state.start(0.5)
            assert isinstance(await other.begin(), Admitted)
            assert isinstance(await other.begin(hold(1)), Refusal)
            store.down = False
            other.cut(off=False)
            await until(other.is_up)
            await other.state.aclose()

    run(work())


def test_what_the_dead_held_is_settled_with_what_their_journal_says() -> None:
    async def work() -> None:
        async with fleet(2) as (store, _books, (one, other)):
            for amount in (20, 30):
                await other.begin(hold(amount))
            await one.begin(hold(9))
            store.pause, before = (lambda: asyncio.sleep(5)), store.pause
            await other.end(11)  # its journal has it, the store was not told
            other.die()
            store.pause = before
            await asyncio.sleep(TTL + 1)
            # Of the second it has nothing: that had not been sent to a provider.
            assert await one.state.sweep() == 2
            assert (store.spent(BUCKET), store.held(BUCKET)) == (11, 9)
            assert ("tidegate_state_estimated_holds_total", (), 0) in set(one.state.samples())

    run(work())


def test_what_the_dead_held_is_settled_in_full_where_nobody_has_their_journal() -> None:
    async def work() -> None:
        async with fleet(2) as (store, _books, (one, other)):
            await other.begin(hold(30))
            await one.begin(hold(9))
            other.die(journal=False)
            await asyncio.sleep(TTL + 1)
            assert await one.state.sweep() == 0  # somebody may yet come who has it
            await asyncio.sleep(20)
            assert await one.state.sweep() == 1
            assert (store.spent(BUCKET), store.held(BUCKET)) == (30, 9)
            assert ("tidegate_state_estimated_holds_total", (), 1) in set(one.state.samples())

    run(work())


def test_the_lease_of_a_dead_worker_that_never_lost_the_store_cost_nothing() -> None:
    async def work() -> None:
        async with fleet(2, share=0.1) as (store, _books, (one, other)):
            await other.begin(hold(2))
            await until(lambda: store.held(BUCKET) == 2 + 10)
            await other.end(2)
            await until(lambda: store.held(BUCKET) == 10)
            other.die()
            await asyncio.sleep(TTL + 1)
            assert await one.state.sweep() == 1
            assert (store.spent(BUCKET), store.held(BUCKET)) == (2, 0)

    run(work())


def test_the_lease_of_a_dead_worker_that_spent_of_it_counts_as_spent() -> None:
    async def work() -> None:
        async with fleet(2, share=0.1) as (store, _books, (one, other)):
            await other.begin(hold(2))
            await until(lambda: store.held(BUCKET) == 2 + 10)
            await other.end(2)
            await until(lambda: store.held(BUCKET) == 10)
            other.cut()
            assert isinstance(await other.begin(hold(5)), Admitted)
            await other.end(4)
            other.die()
            await asyncio.sleep(TTL + 1)
            assert await one.state.sweep() == 0
            await asyncio.sleep(20)
            assert await one.state.sweep() == 1
            assert (store.spent(BUCKET), store.held(BUCKET)) == (2 + 10, 0)

    run(work())


def test_a_worker_is_marked_for_just_as_long_as_the_store_was_not_told_of_its_leases() -> None:
    async def work() -> None:
        async with fleet(1, share=0.1) as (store, _books, (worker,)):
            await worker.begin(hold(2))
            await until(lambda: store.held(BUCKET) == 2 + 10)
            worker.cut()
            assert isinstance(await worker.begin(hold(5, bucket="bud_2:total")), Refusal)
            assert isinstance(await worker.begin(), Admitted)
            marks = [worker.untold.marked]
            assert isinstance(await worker.begin(hold(5)), Admitted)
            marks.append(worker.untold.marked)
            worker.cut(off=False)
            await until(worker.is_up)
            marks.append(worker.untold.marked)
            assert marks == [False, True, False]
            for _ in range(3):
                await worker.end(1)

    run(work())


def test_nothing_is_spent_of_leases_where_the_mark_cannot_be_set() -> None:
    async def work() -> None:
        async with fleet(1, share=0.1) as (store, _books, (worker,)):
            await worker.begin(hold(2))
            await until(lambda: store.held(BUCKET) == 2 + 10)
            await worker.end(2)
            worker.cut()
            worker.untold.refuses = True
            refused = await worker.begin(hold(5))
            assert isinstance(refused, Refusal)
            assert refused.lost
            worker.cut(off=False)
            await until(worker.is_up)

    run(work())

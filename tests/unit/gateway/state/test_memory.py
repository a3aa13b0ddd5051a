"""Counters in memory: all or nothing, and settled once."""

import pytest

from gateway.store.state import ADMITTED, Admitted, Limited, Refusal
from gateway.store.state.memory import MemoryState
from gateway.values import BudgetHold, RateTake, Reservation
from tests.fakes.clock import HandClock


def hold(bucket: str, amount: int, limit: int = 100, resets_at: float | None = None) -> BudgetHold:
    return BudgetHold(bucket, limit, amount, resets_at, "key")


def reservation(name: str, *holds: BudgetHold) -> Reservation:
    return Reservation(name, holds)


async def free(state: MemoryState, bucket: str, limit: int = 100) -> int:
    """What could still be admitted, found out by asking for more than there can be."""
    refusal = await state.admit(reservation("probe", hold(bucket, 10**9, limit)))
    assert isinstance(refusal, Refusal)
    return refusal.limit_nano - refusal.spent_nano - refusal.held_nano


async def test_holds_up_to_the_limit_are_admitted_and_one_more_is_not() -> None:
    state = MemoryState()
    assert await state.admit(reservation("a", hold("k", 60))) == ADMITTED
    assert await state.admit(reservation("b", hold("k", 40))) == ADMITTED
    refusal = await state.admit(reservation("c", hold("k", 1)))
    assert isinstance(refusal, Refusal)
    assert (refusal.limit_nano, refusal.spent_nano, refusal.held_nano) == (100, 0, 100)


async def test_a_refusal_says_which_bucket_when_it_resets_and_how_full_it_is() -> None:
    state = MemoryState()
    await state.load("team:2026-11", 70)
    await state.admit(reservation("a", hold("team:2026-11", 20)))
    refusal = await state.admit(
        reservation("b", BudgetHold("team:2026-11", 100, 11, 1_796_083_200.0, "team"))
    )
    assert isinstance(refusal, Refusal)
    assert refusal.bucket == "team:2026-11"
    assert refusal.scope == "team"
    assert refusal.limit_nano == 100
    assert refusal.spent_nano == 70
    assert refusal.held_nano == 20
    assert refusal.amount_nano == 11
    assert refusal.resets_at == 1_796_083_200.0


async def test_a_refused_reservation_holds_nothing_anywhere() -> None:
    state = MemoryState()
    refused = await state.admit(
        reservation("a", hold("roomy", 50), hold("other", 50), hold("full", 50, limit=49))
    )
    assert isinstance(refused, Refusal)
    assert refused.bucket == "full"
    assert await free(state, "roomy") == 100
    assert await free(state, "other") == 100
    assert await state.open_holds() == ()


async def test_settling_frees_the_hold_and_books_the_charge_in_each_bucket() -> None:
    state = MemoryState()
    await state.admit(reservation("a", hold("key", 80), hold("team", 80)))
    await state.settle("a", 30)
    assert await free(state, "key") == 70
    assert await free(state, "team") == 70


async def test_a_charge_above_its_hold_is_booked_in_full() -> None:
    state = MemoryState()
    await state.admit(reservation("a", hold("key", 10)))
    await state.settle("a", 130)
    assert await free(state, "key") == -30


async def test_settling_twice_books_once() -> None:
    state = MemoryState()
    await state.admit(reservation("a", hold("key", 80)))
    await state.settle("a", 30)
    await state.settle("a", 30)
    assert await free(state, "key") == 70
    assert state.unknown_settlements == 1


async def test_settling_what_was_never_held_changes_nothing_and_is_counted() -> None:
    state = MemoryState()
    await state.settle("never", 30)
    assert await free(state, "key") == 100
    assert state.unknown_settlements == 1


async def test_admitting_the_same_reservation_twice_holds_once() -> None:
    state = MemoryState()
    await state.admit(reservation("a", hold("key", 40)))
    await state.admit(reservation("a", hold("key", 40)))
    assert await free(state, "key") == 60


async def test_a_negative_charge_is_an_error_and_leaves_the_hold() -> None:
    state = MemoryState()
    await state.admit(reservation("a", hold("key", 40)))
    with pytest.raises(ValueError, match="negative"):
        await state.settle("a", -1)
    assert await state.open_holds() == ("a",)


async def test_a_loaded_bucket_counts_what_was_spent_before_and_keeps_live_holds() -> None:
    state = MemoryState()
    await state.admit(reservation("a", hold("key", 10)))
    await state.load("key", 75)
    assert await free(state, "key") == 15


async def test_open_holds_lists_what_is_not_settled() -> None:
    state = MemoryState()
    for name in ("a", "b", "c"):
        await state.admit(reservation(name, hold("key", 1)))
    await state.settle("b", 1)
    assert await state.open_holds() == ("a", "c")


async def test_a_reservation_without_budgets_is_admitted_and_settled() -> None:
    state = MemoryState()
    assert await state.admit(reservation("a")) == ADMITTED
    await state.settle("a", 5)
    assert await state.open_holds() == ()
    assert state.unknown_settlements == 0


async def test_past_windows_are_forgotten_once_nothing_is_held_in_them() -> None:
    state = MemoryState()
    await state.load("monthly", 3, resets_at=50.0)
    await state.load("total", 3)
    await state.admit(reservation("late", hold("daily", 1, resets_at=50.0)))
    assert await state.expire(49.0) == 0
    assert await state.expire(50.0) == 1  # the month; the day still holds something
    await state.settle("late", 1)
    assert await state.expire(50.0) == 1
    assert await free(state, "total") == 97


async def test_rates_that_are_full_again_take_no_memory() -> None:
    clock = HandClock()
    state = MemoryState(clock)

    async def burst(count: int, first: int) -> None:
        for user in range(first, first + count):
            take = RateTake(f"user-{user}", 10, 60, 5, "requests", "key", "end_user")
            name = f"r{user}"
            await state.admit(Reservation(name, rates=(take,)))
            await state.settle(name, 0)

    await burst(1000, 0)
    assert len(state._rates) == 1000  # all of them count still
    clock.advance(31)
    await burst(1000, 1000)
    assert len(state._rates) < 1010  # each that came looked at two others
    clock.advance(31)
    assert await state.expire(clock.now()) >= 1000  # nobody comes any more
    assert not state._rates


async def test_a_rate_is_not_forgotten_while_it_is_taken_from() -> None:
    clock = HandClock()
    state = MemoryState(clock)
    old = RateTake("old", 1, 60, 1, "requests", "key")
    new = RateTake("new", 1, 60, 1, "requests", "key")
    await state.admit(Reservation("a", rates=(old,)))
    clock.advance(60)  # idle, when the new one looks around
    await state.admit(Reservation("b", rates=(old, new)))
    assert set(state._rates) == {"old", "new"}


async def test_tokens_are_given_back_to_no_rate_that_has_them_already() -> None:
    clock = HandClock()
    state = MemoryState(clock)
    take = RateTake("t", 1000, 60, 900, "tokens", "key")
    await state.admit(Reservation("a", rates=(take,)))
    clock.advance(60)
    await state.settle("a", 0, 0)
    decision = await state.admit(Reservation("b", rates=(take,)))
    assert isinstance(decision, Admitted)
    assert decision.rates[0].remaining == 100


async def test_a_rate_comes_back_exactly_when_it_was_said_to() -> None:
    clock = HandClock()
    state = MemoryState(clock)
    take = RateTake("t", 7, 60, 5, "tokens", "key")
    assert isinstance(await state.admit(Reservation("a", rates=(take,))), Admitted)
    limited = await state.admit(Reservation("b", rates=(take,)))
    assert isinstance(limited, Limited)
    assert limited.retry_after is not None
    clock.advance(limited.retry_after - 2e-6)
    assert isinstance(await state.admit(Reservation("b", rates=(take,))), Limited)
    clock.advance(3e-6)
    admitted = await state.admit(Reservation("b", rates=(take,)))
    assert isinstance(admitted, Admitted)
    assert admitted.rates[0].remaining == 0

"""What every state store counts: the same over memory and over Redis."""

import pytest

from gateway.store.state import ADMITTED, Admitted, Limited, RateLeft, Refusal
from gateway.values import Reservation
from tests.contract.state.stores import DAY, Store, hold, rate, slot

HUGE = 4 * 10**16  # nano-units: 40,000,000 of a currency, where doubles count by eights


async def refused(store: Store, reservation: Reservation) -> Refusal:
    decision = await store.admit(reservation)
    assert isinstance(decision, Refusal)
    return decision


async def limited(store: Store, reservation: Reservation) -> Limited:
    decision = await store.admit(reservation)
    assert isinstance(decision, Limited)
    return decision


async def rates_of(store: Store, reservation: Reservation) -> tuple[RateLeft, ...]:
    decision = await store.admit(reservation)
    assert isinstance(decision, Admitted)
    return decision.rates


async def free(store: Store, bucket: str, limit: int = 100) -> int:
    refusal = await refused(store, Reservation("probe", (hold(bucket, limit * 1000, limit),)))
    return refusal.limit_nano - refusal.spent_nano - refusal.held_nano


async def used(store: Store, bucket: str, limit: int) -> int:
    """How much of a rate is taken, found out by asking for more than there can be."""
    asked = Reservation("probe", rates=(rate(bucket, limit, limit + 1),))
    return limit - (await limited(store, asked)).remaining


async def test_a_budget_is_held_to_its_last_unit_and_no_further(store: Store) -> None:
    assert await store.admit(Reservation("a", (hold("k", 60),))) == ADMITTED
    assert await store.admit(Reservation("b", (hold("k", 40),))) == ADMITTED
    refusal = await refused(store, Reservation("c", (hold("k", 1),)))
    assert (refusal.bucket, refusal.scope, refusal.resets_at) == ("k", "key", None)
    assert (refusal.limit_nano, refusal.spent_nano) == (100, 0)
    assert (refusal.held_nano, refusal.amount_nano) == (100, 1)


async def test_settling_books_the_charge_and_frees_the_rest_once(store: Store) -> None:
    await store.admit(Reservation("a", (hold("k", 80), hold("t", 80))))
    await store.settle("a", 30)
    await store.settle("a", 30)
    await store.settle("never", 30)
    assert await free(store, "k") == 70
    assert await free(store, "t") == 70


async def test_a_charge_above_its_hold_is_booked_in_full(store: Store) -> None:
    await store.admit(Reservation("a", (hold("k", 10),)))
    await store.settle("a", 130)
    assert await free(store, "k") == -30
    assert (await refused(store, Reservation("b", (hold("k", 0),)))).spent_nano == 130


async def test_a_negative_charge_is_an_error(store: Store) -> None:
    await store.admit(Reservation("a", (hold("k", 10),)))
    with pytest.raises(ValueError, match="negative"):
        await store.settle("a", -1)
    assert await free(store, "k") == 90


async def test_what_was_spent_before_counts(store: Store) -> None:
    await store.load("k", 75)
    await store.admit(Reservation("a", (hold("k", 10),)))
    assert await free(store, "k") == 15


async def test_a_changed_limit_counts_from_the_next_request_on(store: Store) -> None:
    await store.admit(Reservation("a", (hold("k", 60, 100),)))
    assert isinstance(await store.admit(Reservation("b", (hold("k", 41, 100),))), Refusal)
    assert await store.admit(Reservation("b", (hold("k", 41, 101),))) == ADMITTED
    refusal = await refused(store, Reservation("c", (hold("k", 1, 50),)))
    assert (refusal.limit_nano, refusal.held_nano, refusal.spent_nano) == (50, 101, 0)
    await store.settle("a", 1)
    await store.settle("b", 2)
    assert await free(store, "k", 50) == 47


async def test_sums_are_exact_where_doubles_are_not(store: Store) -> None:
    limit = HUGE * 100 + 7
    await store.load("k", HUGE * 99 + 1)
    assert await store.admit(Reservation("a", (hold("k", HUGE + 5, limit),))) == ADMITTED
    assert await free(store, "k", limit) == 1
    assert await store.admit(Reservation("b", (hold("k", 1, limit),))) == ADMITTED
    assert isinstance(await store.admit(Reservation("c", (hold("k", 1, limit),))), Refusal)
    await store.settle("a", 3)
    await store.settle("b", 1)
    refusal = await refused(store, Reservation("c", (hold("k", HUGE + 3, limit),)))
    assert refusal.spent_nano == HUGE * 99 + 5
    assert refusal.held_nano == 0
    assert await store.admit(Reservation("d", (hold("k", HUGE + 2, limit),))) == ADMITTED


async def test_a_rate_lets_through_its_limit_at_once_and_tells_what_is_left(store: Store) -> None:
    for taken in (1, 2, 3):
        (left,) = await rates_of(store, Reservation(f"r{taken}", rates=(rate("m", 3),)))
        assert (left.what, left.scope, left.limit) == ("requests", "team", 3)
        assert left.remaining == 3 - taken
        assert left.reset_after == pytest.approx(taken * DAY / 3, abs=30)
    why = await limited(store, Reservation("r4", rates=(rate("m", 3),)))
    assert (why.bucket, why.what, why.scope, why.each) == ("m", "requests", "team", "end_user")
    assert (why.limit, why.period, why.remaining) == (3, DAY, 0)
    assert why.reset_after == pytest.approx(DAY, abs=30)
    assert why.retry_after == pytest.approx(DAY / 3, abs=30)


async def test_more_than_a_rate_ever_allows_is_never_let_through(store: Store) -> None:
    why = await limited(store, Reservation("a", rates=(rate("m", 3, 4),)))
    assert why.retry_after is None
    assert (why.remaining, why.reset_after) == (3, 0.0)


async def test_a_rate_of_nothing_allows_nothing_but_nothing(store: Store) -> None:
    why = await limited(store, Reservation("a", rates=(rate("m", 0),)))
    assert (why.remaining, why.retry_after) == (0, None)
    assert (await rates_of(store, Reservation("a", rates=(rate("m", 0, 0),))))[0].remaining == 0


async def test_of_rates_that_refuse_the_one_with_the_longest_wait_is_told(store: Store) -> None:
    short, long = rate("minute", 1, period=3600), rate("day", 1)
    await store.admit(Reservation("a", rates=(short, long)))
    assert (await limited(store, Reservation("b", rates=(short, long)))).bucket == "day"
    assert (await limited(store, Reservation("b", rates=(long, short)))).bucket == "day"
    never = rate("minute", 1, 2, period=3600)
    why = await limited(store, Reservation("b", rates=(long, never)))
    assert (why.bucket, why.retry_after) == ("minute", None)


async def test_places_are_taken_and_given_back(store: Store) -> None:
    one = slot("c", 2)
    assert await store.admit(Reservation("a", slots=(one,))) == ADMITTED
    assert await store.admit(Reservation("b", slots=(one,))) == ADMITTED
    why = await limited(store, Reservation("c", slots=(one,)))
    assert (why.what, why.bucket, why.scope, why.each) == ("concurrency", "c", "member", "model")
    assert (why.limit, why.remaining, why.period) == (2, 0, 0)
    assert (why.reset_after, why.retry_after) == (0.0, None)
    await store.settle("a", 0)
    assert await store.admit(Reservation("c", slots=(one,))) == ADMITTED
    assert isinstance(await store.admit(Reservation("d", slots=(one,))), Limited)


@pytest.mark.parametrize("full", ["rate", "slot", "budget"])
async def test_what_is_refused_takes_nothing_anywhere(store: Store, full: str) -> None:
    blocks = {
        "rate": Reservation("x", rates=(rate("rate", 5, 5),)),
        "slot": Reservation("x", slots=(slot("slot", 1),)),
        "budget": Reservation("x", (hold("budget", 100),)),
    }
    assert isinstance(await store.admit(blocks[full]), Admitted)
    everything = Reservation(
        "a",
        (hold("other", 50), hold("budget", 50)),
        (rate("roomy", 10, 4), rate("rate", 5, 4)),
        (slot("wide", 1), slot("slot", 1)),
    )
    assert not isinstance(await store.admit(everything), Admitted)
    await store.settle("a", 99)  # was never held
    assert await free(store, "other") == 100
    assert await free(store, "budget") == (0 if full == "budget" else 100)
    assert await used(store, "roomy", 10) == 0
    assert await used(store, "rate", 5) == (5 if full == "rate" else 0)
    assert isinstance(await store.admit(Reservation("b", slots=(slot("wide", 1),))), Admitted)
    await store.settle("x", 0)
    assert isinstance(await store.admit(Reservation("c", slots=(slot("slot", 1),))), Admitted)


async def test_limits_are_told_before_budgets_and_rates_before_places(store: Store) -> None:
    budget, place, one = hold("k", 101), slot("c", 0), rate("m", 0)
    assert isinstance(await store.admit(Reservation("a", (budget,))), Refusal)
    assert (await limited(store, Reservation("a", (budget,), (), (place,)))).bucket == "c"
    assert (await limited(store, Reservation("a", (budget,), (one,), (place,)))).bucket == "m"


async def test_an_admission_may_be_repeated(store: Store) -> None:
    asked = Reservation("a", (hold("k", 100),), (rate("m", 3, 3),), (slot("c", 1),))
    first = await rates_of(store, asked)
    again = await rates_of(store, asked)
    assert again[0].remaining == first[0].remaining == 0
    await store.settle("a", 10)
    assert await free(store, "k") == 90
    assert await used(store, "m", 3) == 3
    assert isinstance(await store.admit(Reservation("b", slots=(slot("c", 1),))), Admitted)


async def test_unused_tokens_are_given_back(store: Store) -> None:
    asked = (rate("t", 1000, 900, what="tokens"), rate("m", 10))
    await store.admit(Reservation("a", rates=asked))
    await store.settle("a", 0, 150)
    assert await used(store, "t", 1000) == 150
    assert await used(store, "m", 10) == 1  # a request stays one


async def test_tokens_beyond_the_estimate_count_beyond_the_limit(store: Store) -> None:
    await store.admit(Reservation("a", rates=(rate("t", 1000, 900, what="tokens"),)))
    await store.settle("a", 0, 1500)
    why = await limited(store, Reservation("b", rates=(rate("t", 1000, 100, what="tokens"),)))
    assert why.remaining == 0
    assert why.reset_after == pytest.approx(DAY * 1.5, abs=30)
    assert why.retry_after == pytest.approx(DAY * 0.6, abs=30)


async def test_tokens_that_nobody_knows_stay_as_estimated(store: Store) -> None:
    await store.admit(Reservation("a", rates=(rate("t", 1000, 900, what="tokens"),)))
    await store.settle("a", 0)
    assert await used(store, "t", 1000) == 900


async def test_a_rate_never_has_more_free_than_its_limit(store: Store) -> None:
    # Its estimate has long come back by itself when the request ends.
    await store.admit(Reservation("a", rates=(rate("t", 10**9, 1000, what="tokens", period=1),)))
    await store.settle("a", 0, 0)
    (left,) = await rates_of(
        store, Reservation("b", rates=(rate("t", 10**9, 0, what="tokens", period=1),))
    )
    assert left.remaining == 10**9


async def test_names_may_be_anything(store: Store) -> None:
    odd = 'user:"ü\r\n$3 \x00'
    asked = Reservation(odd, (hold(odd, 100),), (rate(odd, 1),), (slot(odd, 1),))
    assert isinstance(await store.admit(asked), Admitted)
    await store.settle(odd, 60)
    assert await free(store, odd) == 40
    assert await used(store, odd, 1) == 1

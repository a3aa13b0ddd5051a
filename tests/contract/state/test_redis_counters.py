"""What only a shared store does: epochs, loading, reservations that outlive their process."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator

import hiredis
import pytest

from gateway.store.state import ADMITTED, Admitted, EpochChanged, Limited, NotLoaded, StateLost
from gateway.store.state.redis import RedisCounters
from gateway.store.state.resp import Connection, address, connect, pack
from gateway.values import Reservation
from tests.contract.state.stores import TTL, RedisStore, hold, rate, slot
from tests.servers.redis_server import RedisServer


@pytest.fixture
async def raw(redis_server: RedisServer) -> AsyncIterator[Connection]:
    """A connection of the test's own to the server that all share."""
    connection = await connect(address(redis_server.url), timeout=20.0)
    yield connection
    await connection.aclose()


async def load(counters: RedisCounters, bucket: str, spent: int = 0) -> None:
    begun = await counters.begin_load(hold(bucket, 0))
    assert begun is not None
    assert await counters.finish_load(hold(bucket, 0), spent, begun[0])


async def spent_and_held(counters: RedisCounters, bucket: str) -> tuple[int, int]:
    refusal = await counters.admit(Reservation("probe", (hold(bucket, 10**6),)), TTL)
    assert not isinstance(refusal, Admitted | Limited)
    return refusal.spent_nano, refusal.held_nano


async def test_budgets_that_are_not_loaded_are_all_named_and_nothing_is_taken(
    counters: RedisCounters,
) -> None:
    await load(counters, "known")
    asked = Reservation(
        "a", (hold("x", 1), hold("known", 1), hold("y", 1)), (rate("m", 1),), (slot("c", 1),)
    )
    with pytest.raises(NotLoaded) as caught:
        await counters.admit(asked, TTL)
    assert caught.value.buckets == ("x", "y")
    assert await spent_and_held(counters, "known") == (0, 0)
    limits = Reservation("b", (), (rate("m", 1),), (slot("c", 1),))
    assert isinstance(await counters.admit(limits, TTL), Admitted)


async def test_a_budget_that_loads_is_not_used_until_it_is_loaded(counters: RedisCounters) -> None:
    assert await counters.begin_load(hold("k", 0)) == (0, ())
    with pytest.raises(NotLoaded):
        await counters.admit(Reservation("a", (hold("k", 1),)), TTL)
    assert await counters.finish_load(hold("k", 0), 90, 0)
    assert await counters.begin_load(hold("k", 0)) is None
    assert await counters.finish_load(hold("k", 0), 90, 0)  # another process had begun as well
    assert await spent_and_held(counters, "k") == (90, 0)


async def test_what_moves_while_a_budget_loads_is_counted_once(counters: RedisCounters) -> None:
    begun = await counters.begin_load(hold("k", 0))
    assert begun == (0, ())
    await counters.reassert(Reservation("a", (hold("k", 30),)), TTL)
    assert not await counters.finish_load(hold("k", 0), 5, 0)  # the sum may have had it
    await counters.reassert(Reservation("b", (hold("k", 7),)), TTL)
    await counters.reassert(Reservation("b", (hold("k", 7),)), TTL)
    assert await counters.settle("a", 20)
    begun = await counters.begin_load(hold("k", 0))
    assert begun is not None
    assert sorted(begun[1]) == ["a", "b"]
    assert await counters.finish_load(hold("k", 0), 5, begun[0])
    assert await spent_and_held(counters, "k") == (25, 7)


async def test_what_is_asserted_again_is_tested_by_nothing_and_takes_no_rate(
    counters: RedisCounters,
) -> None:
    await load(counters, "k", 95)
    one = rate("m", 10, 8, what="tokens")
    await counters.reassert(Reservation("a", (hold("k", 30),), (one,), (slot("c", 0),)), TTL)
    assert await spent_and_held(counters, "k") == (95, 30)
    left = await counters.admit(Reservation("b", rates=(rate("m", 10, 1, what="tokens"),)), TTL)
    assert isinstance(left, Admitted)
    assert left.rates[0].remaining == 9
    assert await counters.settle("a", 1, 2)  # gives nothing back of a rate that it did not take
    left = await counters.admit(Reservation("c", rates=(rate("m", 10, 1, what="tokens"),)), TTL)
    assert isinstance(left, Admitted)
    assert left.rates[0].remaining == 8


async def test_a_budget_that_was_forgotten_accounts_for_what_settles_in_it(
    counters: RedisCounters, raw: Connection
) -> None:
    await load(counters, "k", 10)
    await counters.admit(Reservation("a", (hold("k", 30),)), TTL)
    for key in await raw.call(pack("KEYS", f"{counters._prefix}:*:b:k")):
        await raw.call(pack("DEL", key))
    assert await counters.settle("a", 20)
    begun = await counters.begin_load(hold("k", 0))
    assert begun is not None
    assert begun[1] == ("a",)
    assert await counters.finish_load(hold("k", 0), 10, begun[0])
    assert await spent_and_held(counters, "k") == (30, 0)


async def test_reservations_that_nobody_renews_are_told_with_their_greatest_hold(
    counters: RedisCounters,
) -> None:
    for bucket in ("k", "t"):
        await load(counters, bucket)
    await counters.admit(Reservation("dead", (hold("k", 9), hold("t", 30))), 0)
    await counters.admit(Reservation("free", slots=(slot("c", 5),)), 0)
    await counters.admit(Reservation("kept", (hold("k", 1),)), 0)
    await counters.renew(["kept", "never held"], TTL)
    assert sorted(await counters.expired(10)) == [("dead", 30), ("free", 0)]
    assert len(await counters.expired(1)) == 1
    assert await counters.settle("dead", 30)
    assert await counters.settle("free", 0)
    assert await counters.expired(10) == ()
    assert await spent_and_held(counters, "k") == (30, 1)


async def test_a_rate_drains_by_its_limit_each_period(
    counters: RedisCounters, raw: Connection
) -> None:
    epoch = await counters.connect()
    key = f"{counters._prefix}:{epoch}:r:m"
    seconds, micros = [int(part) for part in await raw.call(pack("TIME"))]
    now = seconds * 1e6 + micros
    for ago, filled, left in ((0, 10, 0), (6, 10, 1), (59, 10, 9), (60, 10, 10), (30, 20, 0)):
        # Ten a minute: one comes back each six seconds.
        level = struct.pack("<ddd", filled * 60e6, now - ago * 1e6, 0)
        await raw.call(pack("SET", key, level))
        decision = await counters.admit(
            Reservation(f"r{ago}", rates=(rate("m", 10, 11, period=60),)), TTL
        )
        assert isinstance(decision, Limited)
        assert left <= decision.remaining <= left + 1  # what the test itself took
        expected = max(0.0, filled * 6 - ago)
        assert expected - 5 < decision.reset_after <= expected


async def test_a_clock_that_was_set_back_does_not_lock_anybody_out(
    counters: RedisCounters, raw: Connection
) -> None:
    epoch = await counters.connect()
    later = (time.time() + 3600) * 1e6
    level = struct.pack("<ddd", 10 * 60e6, later, 0)
    await raw.call(pack("SET", f"{counters._prefix}:{epoch}:r:m", level))
    decision = await counters.admit(Reservation("a", rates=(rate("m", 10, 1, period=60),)), TTL)
    assert isinstance(decision, Limited)
    assert decision.retry_after == 6.0  # not an hour and six seconds


async def test_every_key_of_an_epoch_vanishes_by_itself(
    counters: RedisCounters, raw: Connection
) -> None:
    await load(counters, "k")
    every = Reservation("a", (hold("k", 1),), (rate("m", 5),), (slot("c", 5),))
    again = Reservation("b", (hold("new", 1), hold("k", 1)), (), (slot("d", 1),))

    async def lasting() -> tuple[int, list[bytes]]:
        names = await raw.call(pack("KEYS", f"{counters._prefix}:*"))
        return len(names), [name for name in names if await raw.call(pack("TTL", name)) <= 0]

    await counters.admit(every, TTL)
    assert await lasting() == (8, [])
    await counters.reassert(again, TTL)
    assert await lasting() == (14, [])
    await counters.settle("a", 1)
    await counters.settle("b", 1)
    names, endless = await lasting()
    assert (names, endless) == (10, [])  # neither reservations nor places are left
    await counters.admit(Reservation("c", (hold("k", 1),)), TTL)
    assert await lasting() == (11, [])


async def test_tokens_are_given_back_to_no_rate_that_has_them_already(
    counters: RedisCounters, raw: Connection
) -> None:
    one = rate("t", 1000, 900, what="tokens")
    await counters.admit(Reservation("a", rates=(one,)), TTL)
    (key,) = await raw.call(pack("KEYS", f"{counters._prefix}:*:r:t"))
    await raw.call(pack("DEL", key))  # as if it were full again
    assert await counters.settle("a", 0, 0)
    decision = await counters.admit(Reservation("b", rates=(rate("t", 1000, 1001),)), TTL)
    assert isinstance(decision, Limited)
    assert decision.remaining == 1000


async def test_workers_that_connect_at_once_are_in_one_epoch(own_server: RedisServer) -> None:
    workers = [RedisCounters(own_server.url, timeout=20.0) for _ in range(5)]
    epochs = await asyncio.gather(*(worker.connect() for worker in workers))
    assert len(set(epochs)) == 1
    assert await workers[0].connect() == epochs[0]
    for worker in workers:
        await worker.aclose()


async def test_a_server_that_was_emptied_is_in_another_epoch(
    own_server: RedisServer,
) -> None:
    counters = RedisCounters(own_server.url, timeout=20.0)
    first = await counters.connect()
    other = await connect(address(own_server.url), timeout=20.0)
    await other.call(pack("FLUSHALL"))
    await other.aclose()
    one = hold("k", 1)
    for asked in (
        counters.admit(Reservation("a", (one,)), TTL),
        counters.settle("a", 0),
        counters.renew([], TTL),
        counters.reassert(Reservation("a", (one,)), TTL),
        counters.begin_load(one),
        counters.finish_load(one, 0, 0),
        counters.expired(1),
    ):
        with pytest.raises(EpochChanged):
            await asked
    assert await counters.connect() != first
    assert await counters.expired(1) == ()
    await counters.aclose()


async def test_a_restarted_server_that_kept_its_data_is_in_another_epoch(
    own_server: RedisServer,
) -> None:
    counters = RedisCounters(own_server.url, timeout=20.0)
    first = await counters.connect()
    await load(counters, "k", 5)
    own_server.kill()
    with pytest.raises(StateLost):
        await counters.settle("a", 0)
    with pytest.raises(StateLost, match="cannot be reached"):
        await counters.connect()
    own_server.start()
    assert await counters.connect() != first
    with pytest.raises(NotLoaded):
        await counters.admit(Reservation("a", (hold("k", 1),)), TTL)
    await counters.aclose()


async def test_a_server_that_took_over_without_a_break_is_seen_when_holds_are_renewed(
    counters: RedisCounters, raw: Connection
) -> None:
    epoch = await counters.connect()
    elsewhere = f"0123456789ab{epoch[12:]}"  # as a replica has it that became the primary
    await raw.call(pack("SET", f"{counters._prefix}:epoch", elsewhere))
    counters._work_in(elsewhere)
    assert not await counters.settle("a", 0)
    with pytest.raises(EpochChanged):
        await counters.renew([], TTL)


async def test_scripts_that_were_flushed_are_loaded_again(own_server: RedisServer) -> None:
    counters = RedisCounters(own_server.url, timeout=20.0)
    await counters.connect()
    other = await connect(address(own_server.url), timeout=20.0)
    await other.call(pack("SCRIPT", "FLUSH"))
    await other.aclose()
    one = Reservation("a", slots=(slot("c", 1),))
    assert await counters.admit(one, TTL) == ADMITTED
    await counters.aclose()


async def test_a_server_that_refuses_counts_as_lost_and_says_why(own_server: RedisServer) -> None:
    counters = RedisCounters(own_server.url, timeout=20.0)
    await counters.connect()
    other = await connect(address(own_server.url), timeout=20.0)
    assert not isinstance(
        await other.call(pack("REPLICAOF", "127.0.0.1", own_server.port)), hiredis.ReplyError
    )
    with pytest.raises(StateLost, match=r"READONLY|can't write"):
        await counters.admit(Reservation("a", slots=(slot("c", 1),)), TTL)
    await other.aclose()
    await counters.aclose()


async def test_many_reservations_are_renewed_in_several_calls(counters: RedisCounters) -> None:
    names = [f"r{number}" for number in range(2500)]
    one = slot("c", 10_000)
    await asyncio.gather(*(counters.admit(Reservation(name, slots=(one,)), 0) for name in names))
    await counters.renew(names[:-1], TTL)
    assert await counters.expired(10) == (("r2499", 0),)


async def test_the_suite_s_own_adapter_loads_what_it_was_told(counters: RedisCounters) -> None:
    store = RedisStore(counters)
    await store.load("k", 100)
    assert await store.admit(Reservation("a", (hold("k", 1),))) != ADMITTED

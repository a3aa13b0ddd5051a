"""How long what Redis keeps lives: what is in use for ever, what is not used vanishes."""

import struct
import time
from collections.abc import AsyncIterator

import pytest

from gateway.store.state import Admitted, NotLoaded, Refusal
from gateway.store.state.redis import RedisCounters
from gateway.store.state.resp import Connection, address, connect, pack
from gateway.values import Reservation
from tests.contract.state.stores import TTL, hold, rate, slot
from tests.servers.redis_server import RedisServer

_WEEK = 7 * 86_400
_PLACE = 1_048_576  # as in prelude.lua


@pytest.fixture
async def raw(redis_server: RedisServer) -> AsyncIterator[Connection]:
    """A connection of the test's own to the server that all share."""
    connection = await connect(address(redis_server.url), timeout=20.0)
    yield connection
    await connection.aclose()


@pytest.fixture
async def begins(counters: RedisCounters) -> str:
    return f"{counters._prefix}:{await counters.connect()}:"


async def load(counters: RedisCounters, bucket: str, spent: int = 0) -> None:
    begun = await counters.begin_load(hold(bucket, 0))
    assert begun is not None
    assert await counters.finish_load(hold(bucket, 0), spent, begun[0])


async def refusal_of(counters: RedisCounters, bucket: str) -> Refusal:
    refusal = await counters.admit(Reservation("probe", (hold(bucket, 10**6),)), TTL)
    assert isinstance(refusal, Refusal)
    return refusal


async def test_a_budget_in_use_lives_on(
    counters: RedisCounters, raw: Connection, begins: str
) -> None:
    await load(counters, "k", 5)
    names = [f"{begins}{kind}:k" for kind in "bck"]
    await raw.call(pack("SET", names[2], int(time.time()) + 1000))
    for name in names:
        await raw.call(pack("EXPIRE", name, 1000))
    await counters.admit(Reservation("a", (hold("k", 1),)), TTL)
    for name in names:
        assert _WEEK - 60 < await raw.call(pack("TTL", name)) <= _WEEK
    assert int(await raw.call(pack("GET", names[2]))) > time.time() + _WEEK - 60
    assert (await refusal_of(counters, "k")).spent_nano == 5


async def test_places_in_use_live_on_and_are_gone_when_free(
    counters: RedisCounters, raw: Connection, begins: str
) -> None:
    name = f"{begins}s:c"
    await counters.admit(Reservation("a", slots=(slot("c", 3),)), TTL)
    await raw.call(pack("SET", name, (int(time.time()) + 1000) * _PLACE + 1, "EX", 1000))
    await counters.admit(Reservation("b", slots=(slot("c", 3),)), TTL)
    assert await raw.call(pack("TTL", name)) > _WEEK - 60
    await counters.admit(Reservation("c", slots=(slot("c", 3),)), TTL)
    assert int(await raw.call(pack("GET", name))) % _PLACE == 3
    for reservation in "abc":
        assert await counters.settle(reservation, 0)
    assert await raw.call(pack("EXISTS", name)) == 0


async def test_a_rate_lives_until_all_of_it_has_come_back(
    counters: RedisCounters, raw: Connection, begins: str
) -> None:
    name = f"{begins}r:m"
    reset = 0.0
    for turn in range(1, 9):
        asked = Reservation(f"r{turn}", rates=(rate("m", 1000, turn * 20),))
        decision = await counters.admit(asked, TTL)
        assert isinstance(decision, Admitted)
        reset = decision.rates[0].reset_after
        assert await raw.call(pack("PTTL", name)) >= reset * 1000
    # Nor longer than it must: callers' end users are without number.
    assert await raw.call(pack("PTTL", name)) <= reset * 2000 + 60_000


async def test_a_rate_whose_correction_takes_more_lives_longer(
    counters: RedisCounters, raw: Connection, begins: str
) -> None:
    one = rate("t", 1000, 1, what="tokens")
    await counters.admit(Reservation("a", rates=(one,)), TTL)
    assert await counters.settle("a", 0, 900)
    assert await raw.call(pack("PTTL", f"{begins}r:t")) >= 0.89 * 86_400_000
    level, at, lasts = struct.unpack("<ddd", await raw.call(pack("GET", f"{begins}r:t")))
    assert lasts - at >= level / 1000


async def test_all_that_a_forgotten_budget_held_settles_in_it_once(
    counters: RedisCounters, raw: Connection, begins: str
) -> None:
    await load(counters, "k", 10)
    await counters.admit(Reservation("a", (hold("k", 30),)), TTL)
    await counters.admit(Reservation("b", (hold("k", 40),)), TTL)
    await raw.call(pack("DEL", *(f"{begins}{kind}:k" for kind in "bck")))
    assert await counters.settle("a", 20)
    version, _ = await counters.begin_load(hold("k", 0)) or (0, ())
    assert await counters.settle("b", 5)
    assert not await counters.finish_load(hold("k", 0), 10, version)
    begun = await counters.begin_load(hold("k", 0))
    assert begun is not None
    assert sorted(begun[1]) == ["a", "b"]
    assert await counters.finish_load(hold("k", 0), 10, begun[0])
    refusal = await refusal_of(counters, "k")
    assert (refusal.spent_nano, refusal.held_nano) == (35, 0)


@pytest.mark.parametrize("kind", "bck")
async def test_a_budget_of_which_a_part_was_forgotten_is_loaded_anew(
    counters: RedisCounters, raw: Connection, begins: str, kind: str
) -> None:
    await load(counters, "k", 10)
    await raw.call(pack("DEL", f"{begins}{kind}:k"))
    with pytest.raises(NotLoaded):
        await counters.admit(Reservation("a", (hold("k", 1),)), TTL)
    await load(counters, "k", 12)
    refusal = await refusal_of(counters, "k")
    assert (refusal.spent_nano, refusal.held_nano) == (12, 0)


async def test_callers_without_number_take_no_more_memory_here(counters: RedisCounters) -> None:
    for number in range(20_000):
        counters._packed("admit", Reservation("a", slots=(slot(f"c{number}", 1),)), TTL)
    assert counters._calls is not None
    assert 0 < len(counters._calls._shapes) <= 4096
    assert 0 < len(counters._calls._parts) <= 16_384

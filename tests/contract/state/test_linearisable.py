"""Several processes with clocks of their own take no more than one could."""

import asyncio
import sys
import time
from pathlib import Path

from gateway.store.state import Limited, Refusal
from gateway.store.state.redis import RedisCounters
from gateway.values import Reservation
from tests.contract.state.hammer import BUDGET, PLACES, RATE
from tests.servers.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[3]
SKEWS = (-3600, 0, 7200)


async def run(url: str, skew: int) -> int:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.contract.state.hammer", url, f"w{skew}", str(skew), "1.5"),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return int(out)


async def test_three_processes_with_skewed_clocks_pass_no_limit(own_server: RedisServer) -> None:
    counters = RedisCounters(own_server.url, timeout=20.0)
    await counters.connect()
    assert await counters.finish_load(BUDGET, 0, 0) is False  # nobody began
    begun = await counters.begin_load(BUDGET)
    assert begun is not None
    assert await counters.finish_load(BUDGET, 0, begun[0])
    began = time.monotonic()
    admitted = sum(await asyncio.gather(*(run(own_server.url, skew) for skew in SKEWS)))
    took = time.monotonic() - began
    # All at once, and ten more each second that passed: never more than that, and hardly less.
    assert RATE.limit < admitted <= RATE.limit + RATE.limit * took / RATE.period
    # All that was admitted is booked, and every place is free again.
    asked = Reservation("probe", (BUDGET.__class__("budget", 1, 2, None, "team"),))
    refusal = await counters.admit(asked, 60.0)
    assert isinstance(refusal, Refusal)
    assert (refusal.spent_nano, refusal.held_nano) == (10 * admitted, 0)
    full = PLACES.__class__("places", 0, "team")
    limited = await counters.admit(Reservation("probe", slots=(full,)), 60.0)
    assert isinstance(limited, Limited)
    places = [
        await counters.admit(Reservation(f"p{number}", slots=(PLACES,)), 60.0)
        for number in range(9)
    ]
    assert [isinstance(place, Limited) for place in places] == [False] * 8 + [True]
    await counters.aclose()


async def test_three_processes_spend_a_budget_to_its_end_and_no_further(
    own_server: RedisServer,
) -> None:
    counters = RedisCounters(own_server.url, timeout=20.0)
    await counters.connect()
    begun = await counters.begin_load(BUDGET)
    assert begun is not None
    spent = BUDGET.limit_nano - 1005  # for a hundred requests, and half of one
    assert await counters.finish_load(BUDGET, spent, begun[0])
    assert sum(await asyncio.gather(*(run(own_server.url, skew) for skew in SKEWS))) == 100
    await counters.aclose()

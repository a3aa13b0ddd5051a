"""A process that asks for one limit and one budget as often as it can, with a wall clock of its own.

Arguments: URL, name, seconds by which its clock is wrong, seconds to go on. Prints how many were admitted.
"""

import asyncio
import sys
import time

from gateway.store.state import Admitted
from gateway.store.state.redis import RedisCounters
from gateway.values import BudgetHold, RateTake, Reservation, SlotTake

RATE = RateTake("rate", 600, 60, 1, "requests", "team")
BUDGET = BudgetHold("budget", 10_000, 10, None, "team")
PLACES = SlotTake("places", 8, "team")


async def hammer(url: str, name: str, seconds: float) -> int:
    counters = RedisCounters(url, timeout=20.0)
    await counters.connect()
    end = time.monotonic() + seconds
    admitted = 0

    async def one(lane: int) -> None:
        nonlocal admitted
        turn = 0
        while time.monotonic() < end:
            turn += 1
            asked = Reservation(f"{name}-{lane}-{turn}", (BUDGET,), (RATE,), (PLACES,))
            if isinstance(await counters.admit(asked, 60.0), Admitted):
                admitted += 1
                await counters.settle(asked.id, 10)

    await asyncio.gather(*(one(lane) for lane in range(8)))
    await counters.aclose()
    return admitted


if __name__ == "__main__":
    _, server, worker, skew, duration = sys.argv
    right = time.time
    time.time = lambda: right() + float(skew)
    sys.stdout.write(f"{asyncio.run(hammer(server, worker, float(duration)))}\n")

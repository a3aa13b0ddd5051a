"""What admission and settlement cost with few keys in use, and with very many: `python -m bench.keys`.

Each key has a rate, a place and a budget of its own, and shares two rates and two budgets with its team and
organisation. Both stores are measured in turns, round by round, and the least counts: what else the machine
does only adds. CPU time of this process, of Redis in brackets.
"""

import asyncio
import time
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

import uvloop

from bench.procfs import footprint
from bench.report import machine
from gateway.store.state import Admitted, Decision, NotLoaded
from gateway.store.state.memory import MemoryState
from gateway.store.state.redis import RedisCounters
from gateway.values import BudgetHold, RateTake, Reservation, SlotTake
from tests.servers.redis_server import RedisServer

FEW, MANY = 10, 100_000
IN_FLIGHT = 16
ROUNDS, PAIRS = 4, 20_000
TTL = 30.0
AMOUNT, CHARGE, ESTIMATE, USED = 1_234_567, 987_654, 900, 700
LIMIT = 9 * 10**15


class Store(Protocol):
    """What both stores can do."""

    async def admit(self, reservation: Reservation, /) -> Decision:
        """As `State.admit`."""

    async def settle(self, reservation_id: str, charge_nano: int, tokens: int, /) -> object:
        """As `State.settle`."""


class Shared:
    """Counters in Redis, loaded as soon as they are asked for."""

    def __init__(self, counters: RedisCounters) -> None:
        self.settle = counters.settle
        self._counters = counters

    async def admit(self, reservation: Reservation) -> Decision:
        """As `State.admit`."""
        try:
            return await self._counters.admit(reservation, TTL)
        except NotLoaded as missing:
            for hold in reservation.holds:
                if hold.bucket in missing.buckets:
                    begun = await self._counters.begin_load(hold)
                    if begun is not None:
                        await self._counters.finish_load(hold, 0, begun[0])
            return await self.admit(reservation)


def reservation(number: int, key: int) -> Reservation:
    """What a request of this key takes."""
    return Reservation(
        f"gen-{number}",
        tuple(
            [
                BudgetHold(f"{owner}:2026-11", LIMIT, AMOUNT, None, "key")
                for owner in (f"bud_key_{key}", "bud_team", "bud_organisation")
            ]
        ),
        (
            RateTake(f"key_requests:{key}", 10**8, 60, 1, "requests", "key"),
            RateTake("team_requests", 10**8, 60, 1, "requests", "team"),
            RateTake("team_tokens", 10**11, 60, ESTIMATE, "tokens", "team"),
        ),
        (SlotTake(f"key_places:{key}", 1000, "key"),),
    )


async def drive(store: Store, reservations: Sequence[Reservation]) -> None:
    """Admit and settle each, some at a time.

    Raises:
        TypeError: one was refused.
    """
    waiting = iter(reservations)

    async def lane() -> None:
        for each in waiting:
            if not isinstance(await store.admit(each), Admitted):
                raise TypeError(f"{each.id} was refused")
            await store.settle(each.id, CHARGE, USED)

    await asyncio.gather(*(lane() for _ in range(IN_FLIGHT)))


async def measure(store: Store, server: int | None) -> dict[int, tuple[float, float]]:
    """By number of keys, CPU microseconds of an admission and its settlement: here, and in `server`."""
    least: dict[int, tuple[float, float]] = {}
    everyone = (reservation(number, number) for number in range(MANY))
    while some := list(islice(everyone, PAIRS)):
        await drive(store, some)
    for turn in range(ROUNDS):
        for keys in (FEW, MANY):
            # Neighbours in time are strangers to each other, as a stride has it that is prime to both.
            asked = [
                reservation(number, (turn * PAIRS + number) * 7919 % keys)
                for number in range(PAIRS)
            ]
            begun, served = time.process_time(), footprint(server).cpu_s
            await drive(store, asked)
            spent = (time.process_time() - begun, footprint(server).cpu_s - served)
            cost = (spent[0] * 1e6 / PAIRS, spent[1] * 1e6 / PAIRS)
            least[keys] = min(least.get(keys, cost), cost)
    return least


async def main() -> None:
    """Print both stores' rows."""
    print(machine())
    with RedisServer() as server:
        counters = RedisCounters(server.url, timeout=20.0)
        await counters.connect()
        rows = {
            "memory": await measure(MemoryState(), None),
            "Redis": await measure(Shared(counters), server.pid),
        }
        await counters.aclose()
    for name, costs in rows.items():
        for keys, (here, there) in costs.items():
            beside = f" ({there:.0f})" if there else ""
            print(f"{name:7} {keys:7,} keys: {here:.1f}{beside} µs")


if __name__ == "__main__":
    uvloop.run(main())

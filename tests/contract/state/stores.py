"""What the suite asks of a store, and Redis in that form."""

from typing import Protocol

from gateway.store.state import Decision, NotLoaded
from gateway.store.state.redis import RedisCounters
from gateway.values import BudgetHold, RateTake, Reservation, SlotTake

TTL = 600.0
DAY = 86_400


class Store(Protocol):
    """The part of `gateway.store.state.State` that counts."""

    async def admit(self, reservation: Reservation) -> Decision: ...

    async def settle(
        self, reservation_id: str, charge_nano: int, tokens: int | None = None
    ) -> object: ...

    async def load(self, bucket: str, spent_nano: int) -> None: ...


class RedisStore:
    """Raw counters whose buckets are loaded as soon as they are asked for; `loads` says with what."""

    def __init__(self, counters: RedisCounters) -> None:
        self.counters = counters
        self.loads: dict[str, int] = {}

    async def load(self, bucket: str, spent_nano: int) -> None:
        self.loads[bucket] = spent_nano

    async def admit(self, reservation: Reservation) -> Decision:
        while True:
            try:
                return await self.counters.admit(reservation, TTL)
            except NotLoaded as error:
                for hold in reservation.holds:
                    if hold.bucket in error.buckets:
                        await self._load(hold)

    async def _load(self, hold: BudgetHold) -> None:
        begun = await self.counters.begin_load(hold)
        assert begun is not None
        assert await self.counters.finish_load(hold, self.loads.get(hold.bucket, 0), begun[0])

    async def settle(
        self, reservation_id: str, charge_nano: int, tokens: int | None = None
    ) -> object:
        return await self.counters.settle(reservation_id, charge_nano, tokens)


def hold(bucket: str, amount: int, limit: int = 100) -> BudgetHold:
    return BudgetHold(bucket, limit, amount, None, "key")


def rate(
    bucket: str, limit: int, amount: int = 1, *, what: str = "requests", period: int = DAY
) -> RateTake:
    """A rate a day: so slow that what comes back while a test runs is not one of anything."""
    return RateTake(bucket, limit, period, amount, what, "team", "end_user")


def slot(bucket: str, limit: int) -> SlotTake:
    return SlotTake(bucket, limit, "member", "model")

"""A store that several workers share, in memory, which can be emptied, lost, and made slow.

Every operation takes a while before it happens and again before its answer is there, so that others come
in between; `Store.pause` says how long.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection

from typing_extensions import override

from gateway.clock import Clock
from gateway.store.state import (
    Admitted,
    Decision,
    EpochChanged,
    NotLoaded,
    Refusal,
    SharedCounters,
    StateLost,
)
from gateway.store.state.memory import MemoryState
from gateway.values import BudgetHold, Reservation


class _Bucket:
    def __init__(self) -> None:
        self.loaded = False
        self.spent = 0
        self.held: dict[str, int] = {}
        self.ids: set[str] = set()
        self.version = 0


async def turn() -> None:
    """Let whatever is ready come first."""
    await asyncio.sleep(0)


class Store:
    """What the workers share.

    Attributes:
        down: nothing reaches it any more.
        deaf: what reaches it is done, and the answer is lost.
        pause: awaited before and after each operation.
    """

    def __init__(self, clock: Clock, pause: Callable[[], Awaitable[None]] = turn) -> None:
        self.clock = clock
        self.pause = pause
        self.down = False
        self.deaf = False
        self.emptied = 0
        self.limits = MemoryState(clock)
        self.buckets: dict[str, _Bucket] = {}
        self.live: dict[str, tuple[Reservation, float]] = {}

    @property
    def epoch(self) -> str:
        return f"epoch-{self.emptied}"

    def empty(self) -> None:
        """Lose everything, as a restart does: another epoch begins."""
        self.emptied += 1
        self.buckets, self.live = {}, {}
        self.limits = MemoryState(self.clock)

    def bucket(self, name: str) -> _Bucket:
        return self.buckets.setdefault(name, _Bucket())

    def spent(self, name: str) -> int:
        return self.bucket(name).spent

    def held(self, name: str) -> int:
        return sum(self.bucket(name).held.values())


class FakeCounters(SharedCounters):
    """One worker's way to a `Store`.

    Attributes:
        cut: this worker alone does not reach it.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.cut = False
        self.epoch = ""
        self.calls: list[str] = []

    async def _reach(self, what: str) -> None:
        self.calls.append(what)
        await self.store.pause()
        if self.store.down or self.cut:
            raise StateLost
        if what != "connect" and self.store.epoch != self.epoch:
            raise EpochChanged

    async def _answer(self) -> None:
        deaf = self.store.deaf
        await self.store.pause()
        if deaf or self.store.down or self.cut:
            raise StateLost

    @override
    async def connect(self) -> str:
        await self._reach("connect")
        found = self.store.epoch
        await self._answer()
        self.epoch = found
        return found

    @override
    async def admit(self, reservation: Reservation, ttl: float) -> Decision:
        await self._reach("admit")
        try:
            return await self._admit(reservation, ttl)
        finally:
            await self._answer()

    async def _admit(self, reservation: Reservation, ttl: float) -> Decision:
        store, name = self.store, reservation.id
        if name in store.live:
            return Admitted()
        missing = tuple(
            hold.bucket for hold in reservation.holds if not store.bucket(hold.bucket).loaded
        )
        if missing:
            raise NotLoaded(missing)
        for hold in reservation.holds:
            bucket = store.bucket(hold.bucket)
            held = sum(bucket.held.values())
            if bucket.spent + held + hold.amount_nano > hold.limit_nano:
                return Refusal(
                    bucket=hold.bucket,
                    scope=hold.scope,
                    limit_nano=hold.limit_nano,
                    spent_nano=bucket.spent,
                    held_nano=held,
                    amount_nano=hold.amount_nano,
                    resets_at=hold.resets_at,
                )
        decision = await store.limits.admit(
            Reservation(name, (), reservation.rates, reservation.slots)
        )
        if isinstance(decision, Admitted):
            self._hold(reservation, ttl)
        return decision

    def _hold(self, reservation: Reservation, ttl: float) -> None:
        store = self.store
        store.live[reservation.id] = reservation, store.clock.monotonic() + ttl
        for hold in reservation.holds:
            bucket = store.bucket(hold.bucket)
            bucket.held[reservation.id] = hold.amount_nano
            bucket.ids.add(reservation.id)
            bucket.version += 1

    @override
    async def settle(
        self, reservation_id: str, charge_nano: int, tokens: int | None = None
    ) -> bool:
        await self._reach("settle")
        found = self.store.live.pop(reservation_id, None)
        if found is not None:
            await self.store.limits.settle(reservation_id, 0, tokens)
            for hold in found[0].holds:
                bucket = self.store.bucket(hold.bucket)
                del bucket.held[reservation_id]
                bucket.spent += charge_nano
                bucket.version += 1
        await self._answer()
        return found is not None

    @override
    async def renew(self, reservation_ids: Collection[str], ttl: float) -> None:
        await self._reach("renew")
        for name in reservation_ids:
            if name in self.store.live:
                reservation, _ = self.store.live[name]
                self.store.live[name] = reservation, self.store.clock.monotonic() + ttl
        await self._answer()

    @override
    async def reassert(self, reservation: Reservation, ttl: float) -> None:
        await self._reach("reassert")
        if reservation.id not in self.store.live:
            await self.store.limits.admit(Reservation(reservation.id, (), (), reservation.slots))
            self._hold(reservation, ttl)
        await self._answer()

    @override
    async def begin_load(self, hold: BudgetHold) -> tuple[int, tuple[str, ...]] | None:
        await self._reach("begin_load")
        bucket = self.store.bucket(hold.bucket)
        found = None if bucket.loaded else (bucket.version, tuple(bucket.ids))
        await self._answer()
        return found

    @override
    async def finish_load(self, hold: BudgetHold, spent_nano: int, version: int) -> bool:
        await self._reach("finish_load")
        bucket = self.store.bucket(hold.bucket)
        done = bucket.loaded or bucket.version == version
        if done and not bucket.loaded:
            bucket.loaded = True
            bucket.spent += spent_nano
        await self._answer()
        return done

    @override
    async def expired(self, count: int) -> tuple[tuple[str, int], ...]:
        await self._reach("expired")
        now = self.store.clock.monotonic()
        late = [
            (name, max([hold.amount_nano for hold in reservation.holds], default=0))
            for name, (reservation, until) in self.store.live.items()
            if until <= now
        ]
        await self._answer()
        return tuple(late[:count])

    @override
    async def aclose(self) -> None:
        """Nothing is open."""

"""Counters that several workers share, for as long as they can be reached and when they cannot.

A worker is *up*, *returning* (the store answers, but does not know all yet that this worker holds), or the
store is *lost* to it. What follows is why each outcome is counted exactly once, whatever comes in between.

1. Within an epoch nothing is lost, and each step in the store is atomic. What was admitted is held until
   it is settled; a settlement that got no answer is sent again, and settling twice changes nothing.
2. When the epoch changes, a worker takes the set of what is live at one instant (`Bond._begin_epoch`).
   What ended before is in memory or in the ledger, as outcomes are put there before they are settled: it
   is shipped, and only then does the worker note that it has flushed; its settlements that are still queued
   are dropped. What is live is said anew to the store, which from then on accounts for it; if it ends
   meanwhile it is settled after it was said, for settling waits until the store has confirmed.
   A bucket is loaded when all workers have flushed, from the ledger without what the store accounts for.
   So each outcome is in exactly one of two sets: ended before the instant, or live at it.
3. An admission that was answered in an epoch that is no more, is made again in the new one.
4. While the store is lost, holds are taken from leases, which the store counts as spent all the time. What
   ends is added to its lease, which on return is settled with the sum. What is still live is first said to
   the store, and then let go from its lease: counted twice for a moment, and never not at all. If the epoch
   changed instead, leases are forgotten, for 2. accounts for all that they covered.
5. An admission that got no answer may have been done. If it is refused here, or ends in the care of a
   lease, the store is told that it cost nothing, several times, as the command may still be on its way.
6. A worker that does not beat in the `workers` table may have been taken for dead, and a new epoch begun
   without it. So it spends no lease then.

What dies with a worker is settled by the sweeper: see `sweeping`. What a worker cut off from both the store
and the database had under way then, others do not know of until it returns.
"""

import asyncio
import logging
from collections.abc import Collection, Coroutine, Iterable
from typing import Any, Final

from typing_extensions import override

from gateway.clock import Clock
from gateway.errors import LedgerBehind, Unavailable
from gateway.store.state import (
    ADMITTED,
    Admitted,
    Decision,
    EpochChanged,
    NotLoaded,
    Refusal,
    SharedCounters,
    State,
    StateLost,
)
from gateway.store.state.bond import Bond
from gateway.store.state.leases import Leases
from gateway.store.state.live import KNOWN, LOCAL, Ended, Live
from gateway.store.state.loading import Ledger, Loader, Workers
from gateway.store.state.sweeping import Sweeper
from gateway.store.state.untold import Untold
from gateway.telemetry import metrics
from gateway.values import Reservation

PATIENCE: Final = 2.0
"""Seconds for which a request waits at most until its budgets are known."""

log = logging.getLogger(__name__)


class SharedState(State):
    """State for one of several workers.

    Attributes:
        unknown_settlements: how many settlements named a reservation that was not held.
    """

    def __init__(
        self,
        counters: SharedCounters,
        ledger: Ledger,
        workers: Workers,
        untold: Untold,
        clock: Clock,
        *,
        worker: str,
        hold_ttl: float = 30.0,
        lease_share: float = 0.01,
    ) -> None:
        """What it stands on.

        Args:
            counters: the shared store.
            ledger: what buckets are loaded from.
            workers: who else is alive.
            untold: what says of this worker, once it is dead, whether it spent of its leases.
            clock: the time.
            worker: the id of this worker.
            hold_ttl: seconds after which what a dead worker held is settled.
            lease_share: of each budget in use that is leased; 0: none.
        """
        self._counters = counters
        self._workers = workers
        self._clock = clock
        self._ttl = hold_ttl
        self._loader = Loader(counters, ledger, workers, clock)
        self._sweeper = Sweeper(counters, ledger, workers, clock)
        leases = Leases(lease_share, worker, untold)
        self._bond = Bond(counters, self._loader, leases, clock, hold_ttl)
        self.unknown_settlements = 0

    async def start(self, wait: float = PATIENCE) -> bool:
        """Begin; whether the store was there within `wait` seconds."""
        self._bond.start()
        try:
            async with asyncio.timeout(wait):
                await self._bond.up.wait()
        except TimeoutError:
            log.warning("state store: it does not answer; budgets are closed until it does")
        return self._bond.up.is_set()

    @property
    def reachable(self) -> bool:
        """Whether the store is there just now, and knows all that this worker holds."""
        return self._bond.up.is_set()

    @property
    def owing(self) -> bool:
        """Whether the store was not told of all that was spent of leases."""
        return self._bond.leases.untold.marked

    # Requests

    @override
    async def admit(self, reservation: Reservation) -> Decision:
        holds, name = reservation.holds, reservation.id
        if not (holds or reservation.rates or reservation.slots) or name in self._bond.live:
            self._bond.live.setdefault(name, Live(reservation))
            return ADMITTED
        if holds:
            self._bond.leases.note(holds)
        until, doubtful = 0.0, False
        try:
            while True:
                if not self._bond.up.is_set():
                    until = until or self._clock.monotonic() + PATIENCE
                    if self._bond.lost or not await self._within(until, self._bond.up.wait()):
                        return await self._admit_locally(reservation, doubtful=doubtful)
                    continue
                generation, serial = self._bond.generation, self._bond.serial
                try:
                    decision = await self._counters.admit(reservation, self._ttl)
                except StateLost:
                    doubtful = True
                    self._bond.note_lost(serial)
                except EpochChanged:
                    self._bond.note_changed(serial)
                except NotLoaded as missing:
                    until = until or self._clock.monotonic() + PATIENCE
                    await self._load(reservation, missing.buckets, until)
                except asyncio.CancelledError:
                    doubtful = True  # it may have been taken, and nobody will settle it
                    raise
                else:
                    if not isinstance(decision, Admitted):
                        return decision
                    if generation == self._bond.generation:
                        self._bond.live[name] = Live(reservation, doubtful=doubtful)
                        return decision
        finally:
            if doubtful and name not in self._bond.live:
                self._bond.release(name)

    async def _within(self, until: float, waiting: Coroutine[Any, Any, Any]) -> bool:
        try:
            async with asyncio.timeout(max(0.0, until - self._clock.monotonic())):
                await waiting
        except TimeoutError:
            return False
        return True

    async def _load(self, reservation: Reservation, buckets: Collection[str], until: float) -> None:
        """Have buckets loaded.

        Raises:
            LedgerBehind: it takes too long.
        """
        loads = [self._loader.load(hold) for hold in reservation.holds if hold.bucket in buckets]
        left = max(0.0, until - self._clock.monotonic())
        done, pending = await asyncio.wait(loads, timeout=left)
        faults = [task.exception() for task in done if not task.cancelled()]
        if pending or left <= 0.0 or any(isinstance(fault, Unavailable) for fault in faults):
            raise LedgerBehind(
                "what this budget has spent is not known yet after an interruption; try again",
                retry_after=1.0,
            )
        for fault in faults:
            if isinstance(fault, StateLost):
                self._bond.note_lost(self._bond.serial)
            elif isinstance(fault, EpochChanged):
                self._bond.note_changed(self._bond.serial)
            elif fault is not None:
                raise fault

    async def _admit_locally(self, reservation: Reservation, *, doubtful: bool) -> Decision:
        """Admit without the store. Never waits."""
        name, holds = reservation.id, reservation.holds
        if holds and not self._bond.lost:
            raise LedgerBehind(
                "the counters of this budget are being rebuilt; try again", retry_after=1.0
            )
        trusted = self._workers.fresh and not self._bond.changed
        bare = self._bond.leases.uncovered(holds) if trusted else next(iter(holds), None)
        if bare is None and holds and not self._bond.leases.untold.mark():
            bare = holds[0]
        if bare is not None:
            left = self._bond.leases.left(bare.bucket)
            return Refusal(
                bucket=bare.bucket,
                scope=bare.scope,
                limit_nano=bare.limit_nano,
                spent_nano=max(0, bare.limit_nano - left),
                held_nano=0,
                amount_nano=bare.amount_nano,
                resets_at=bare.resets_at,
                lost=True,
            )
        decision = await self._bond.local.admit(
            Reservation(name, (), reservation.rates, reservation.slots)
        )
        if isinstance(decision, Admitted):
            self._bond.leases.take(holds)
            self._bond.live[name] = Live(reservation, self._bond.local, doubtful=doubtful)
        return decision

    @override
    async def settle(
        self, reservation_id: str, charge_nano: int, tokens: int | None = None
    ) -> None:
        if charge_nano < 0:
            raise ValueError("a charge cannot be negative; a correction is a ledger entry")
        live = self._bond.live.pop(reservation_id, None)
        if live is None:
            self.unknown_settlements += 1
            return
        reservation = live.reservation
        if not (reservation.holds or reservation.rates or reservation.slots):
            return
        if live.local is not None:
            await live.local.settle(reservation_id, 0, tokens)
        ended = Ended(live, charge_nano, tokens)
        if live.standing == LOCAL:
            self._bond.leases.free(reservation.holds, charge_nano)
            if live.doubtful:
                self._bond.doubt(reservation_id)
        elif live.standing == KNOWN and self._bond.up.is_set():
            self._bond.spawn(self._bond.deliver(ended))
        else:
            self._bond.queue[reservation_id] = ended

    async def sweep(self) -> int:
        """Settle what dead workers held; how many. For the leader, every few seconds; harmless elsewhere.

        Where the store was away, it waits until every worker can have renewed what it holds.
        """
        steady = self._clock.monotonic() - self._bond.up_since >= self._ttl
        if not self._bond.up.is_set() or not steady:
            return 0
        serial = self._bond.serial
        try:
            return await self._sweeper.sweep(
                {*self._bond.live, *self._bond.queue, *self._bond.leases.ids()}
            )
        except Unavailable:
            return 0
        except StateLost:
            self._bond.note_lost(serial)
        except EpochChanged:
            self._bond.note_changed(serial)
        return 0

    def samples(self) -> Iterable[metrics.Sample]:
        """Gauges of the shared store, as this worker sees it."""
        yield metrics.STATE_UP, (), float(self._bond.up.is_set())
        yield metrics.STATE_EPOCHS, (), max(0, self._bond.generation - 1)
        yield metrics.STATE_LEASES, (), len(self._bond.leases)
        yield metrics.STATE_QUEUED, (), len(self._bond.queue)
        yield metrics.STATE_ESTIMATED, (), self._sweeper.estimated

    @override
    async def load(self, bucket: str, spent_nano: int, resets_at: float | None = None) -> None:
        """Nothing: buckets are loaded when the store says that it does not know them."""

    @property
    @override
    def held_count(self) -> int:
        """How many reservations this worker holds now."""
        return len(self._bond.live)

    @override
    async def open_holds(self) -> tuple[str, ...]:
        return tuple(self._bond.live)

    @override
    async def expire(self, now: float) -> int:
        """Nothing: the store forgets by itself."""
        return 0

    async def aclose(self) -> None:
        """Give leases back, tell what is queued if the store is there, and close it. After all requests."""
        await self._bond.close()
        await self._loader.aclose()
        await self._counters.aclose()

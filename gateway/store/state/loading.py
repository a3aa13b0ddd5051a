"""Budget buckets of the shared store, filled from the ledger once that can be relied upon.

The ledger can be added up for an epoch only when all that ended before it is there. So each worker, once
it has said anew what it holds, brings to the ledger what had ended before that, and then notes in the
`workers` table that it has flushed for the epoch. A bucket is loaded only after every worker has that is
alive; of those that died, the journals are adopted first.
"""

import asyncio
import logging
from collections.abc import Collection, Mapping
from typing import Final, Protocol

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.store.state import EpochChanged, SharedCounters, StateLost
from gateway.store.workers import Behind
from gateway.values import BudgetHold

_AGAIN: Final = 0.1  # seconds between looks at who has flushed, and after a failure
_MOST: Final = 1.0
_GIVE_UP: Final = 5.0  # seconds; the next request begins anew

log = logging.getLogger(__name__)


class Ledger(Protocol):
    """What the shared counters need of the ledger. All raise Unavailable where the database is away."""

    async def spent_nano(self, bucket: str, excluding: Collection[str]) -> int:
        """What a bucket's budget has spent in its window, but for these generations; nano-units."""

    async def charges_nano(self, generation_ids: Collection[str]) -> Mapping[str, int]:
        """What was charged for those of the generations that are in the ledger; nano-units."""

    async def ship(self) -> object:
        """Bring all that has ended in this process by now to the ledger."""

    async def adopt(self) -> object:
        """Bring what dead processes left in journals within reach to the ledger."""


class Workers(Protocol):
    """What the shared counters need of the registry of workers: see `gateway.store.workers`."""

    @property
    def fresh(self) -> bool:
        """Whether nobody can have taken this worker for dead."""

    async def note_flushed(self, epoch: str) -> None:
        """Say that all that ended here before `epoch` is in the ledger."""

    async def behind(self, epoch: str) -> Behind:
        """Who has not."""

    async def give_up(self, names: tuple[str, ...], epoch: str) -> None:
        """Wait no more for the dead to flush for `epoch`."""

    async def rows(self) -> Collection[str]:
        """Workers of which the ledger may lack something: the living, and dead whose journal nobody had."""


class Loader:
    """Loads buckets, each once at a time, in the epoch that was begun last."""

    def __init__(
        self, counters: SharedCounters, ledger: Ledger, workers: Workers, clock: Clock
    ) -> None:
        self._counters = counters
        self._ledger = ledger
        self._workers = workers
        self._clock = clock
        self._epoch = ""
        self._flushed = asyncio.Event()
        self._all_flushed = False
        self._flushing: asyncio.Task[None] | None = None
        self._loads: dict[str, asyncio.Task[None]] = {}

    def begin(self, epoch: str) -> None:
        """Another epoch: nothing is flushed for it, and loads for the one before are given up."""
        self._epoch = epoch
        self._flushed.clear()
        self._all_flushed = False
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        for task in self._loads.values():
            task.cancel()
        self._loads = {}

    def flush(self) -> None:
        """Flush for the epoch, in the background. Call it when all that is held has been said anew."""
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush(self._epoch))

    async def _flush(self, epoch: str) -> None:
        delay, told = _AGAIN, False
        while True:
            try:
                await self._ledger.ship()
                await self._workers.note_flushed(epoch)
            except Exception as fault:  # noqa: BLE001 - whatever it is, budgets stay closed until it works
                if not told:
                    log.warning("state store: budgets wait, the ledger is behind: %s", fault)
                told = True
                await asyncio.sleep(delay)
                delay = min(2 * delay, _MOST)
            else:
                self._flushed.set()
                return

    def load(self, hold: BudgetHold) -> asyncio.Task[None]:
        """The load of a bucket that is under way or, if none is, a new one. Do not cancel it."""
        task = self._loads.get(hold.bucket)
        if task is None:
            task = self._loads[hold.bucket] = asyncio.create_task(self._load(hold))
            task.add_done_callback(lambda done: self._done(hold.bucket, done))
        return task

    def _done(self, bucket: str, task: asyncio.Task[None]) -> None:
        if self._loads.get(bucket) is task:
            del self._loads[bucket]
        if not task.cancelled() and (fault := task.exception()) is not None:
            expected = isinstance(fault, Unavailable | StateLost | EpochChanged)
            log.log(
                logging.INFO if expected else logging.ERROR,
                "state store: a budget was not loaded: %s",
                repr(fault),
            )

    async def _load(self, hold: BudgetHold) -> None:
        until = self._clock.monotonic() + _GIVE_UP
        while True:
            try:
                await self._flushed.wait()
                await self._flushed_by_all()
                begun = await self._counters.begin_load(hold)
                if begun is None:
                    return
                version, ids = begun
                # A budget may be new while its team is busy: that is in the ledger first.
                await self._ledger.ship()
                spent = await self._ledger.spent_nano(hold.bucket, ids)
                if await self._counters.finish_load(hold, max(0, spent), version):
                    return
            except Unavailable:
                if self._clock.monotonic() >= until:
                    raise
                await asyncio.sleep(_AGAIN)

    async def _flushed_by_all(self) -> None:
        epoch = self._epoch
        while not self._all_flushed:
            behind = await self._workers.behind(epoch)
            if behind.alive:
                await asyncio.sleep(_AGAIN)
                continue
            if behind.dead:
                # What they had not shipped is in their journals, as far as those can be reached.
                log.warning("state store: dead workers are given up: %s", ", ".join(behind.dead))
                await self._ledger.adopt()
                await self._workers.give_up(behind.dead, epoch)
            self._all_flushed = True

    async def aclose(self) -> None:
        """End what is under way."""
        tasks = [*self._loads.values()]
        if self._flushing is not None:
            tasks.append(self._flushing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

"""A worker's tie to the shared store: whether that is there, and all that it has to be told.

Why nothing is told twice or not at all is written in `shared`.
"""

import asyncio
import logging
import random
from collections.abc import Coroutine, Iterable, Iterator
from typing import Any, Final

from gateway.clock import Clock
from gateway.store.state import Admitted, EpochChanged, NotLoaded, SharedCounters, StateLost
from gateway.store.state.leases import Leases
from gateway.store.state.live import ASSERTING, KNOWN, Ended, Live
from gateway.store.state.loading import Loader
from gateway.store.state.memory import MemoryState
from gateway.values import Reservation

_BEAT: Final = 0.5  # seconds between looks at whether the store is there
_UPKEEP: Final = 1.0  # between looks at leases
_BACKOFF: Final = (0.05, 2.0)
_BATCH: Final = 500
_RELEASES: Final = 3  # times that the store is told that a reservation cost nothing

log = logging.getLogger(__name__)


class Bond:
    """What this worker holds, and how the store stands to it.

    Attributes:
        live: reservations that are held, by id.
        queue: settlements that the store has to be told, by id, in their order.
        leases: what may be spent while the store is lost.
        local: limits while it is.
        up: the store is there, and knows all that is live.
        lost: it does not answer. Neither `up` nor `lost`: it is being told.
        changed: it is known to be in another epoch than the leases.
        generation: how many epochs this worker has seen.
        serial: of spans in which the store was there.
        up_since: monotonic; when the last of those began.
    """

    def __init__(
        self, counters: SharedCounters, loader: Loader, leases: Leases, clock: Clock, ttl: float
    ) -> None:
        self._counters = counters
        self._loader = loader
        self._clock = clock
        self._ttl = ttl
        self.live: dict[str, Live] = {}
        self.queue: dict[str, Ended] = {}
        self.leases = leases
        self.local = MemoryState(clock)
        self.up = asyncio.Event()
        self.lost = True
        self.changed = False
        self.generation = 0
        self.serial = 0
        self.up_since = 0.0
        # What may be held there in error, and how often to say so.
        self._releases: dict[str, int] = {}
        self._epoch = ""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._returning: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to look for the store, and never stop."""
        self._return()
        self.spawn(self._watch())

    def doubt(self, name: str) -> None:
        """Have the store told, again and again, that it may hold a reservation that has ended."""
        self._releases[name] = _RELEASES

    async def deliver(self, ended: Ended) -> None:
        """Settle in the store, or queue it; what an epoch loses in which it was held, the ledger has."""
        generation, serial, name = self.generation, self.serial, ended.live.reservation.id
        try:
            await self._counters.settle(name, ended.charge_nano, ended.tokens)
        except EpochChanged:
            self.note_changed(serial)
        except StateLost:
            self.note_lost(serial)
            if generation != self.generation:
                return
            if self.up.is_set():  # it is back already
                self.spawn(self.deliver(ended))
            else:
                self.queue[name] = ended
        else:
            self._settled(ended)

    def _settled(self, ended: Ended) -> None:
        if ended.live.doubtful:
            self.doubt(ended.live.reservation.id)

    def release(self, name: str) -> None:
        """Have the store told, at once if it is there, that a reservation cost nothing."""
        self.doubt(name)
        if self.up.is_set():
            self.spawn(self.deliver(Ended(Live(Reservation(name)), 0, None)))

    # Loss and return

    def note_lost(self, serial: int) -> None:
        """The store gave no answer to what was asked of it in the span `serial`."""
        if serial == self.serial and self.up.is_set():
            log.error(
                "state store: lost; budgets spend what is leased, limits are this process's own"
            )
            self.lost = True
            self.local = MemoryState(self._clock)
            self._return()

    def note_changed(self, serial: int) -> None:
        """The store said, in the span `serial`, that its epoch is another."""
        if serial == self.serial and self.up.is_set():
            log.warning("state store: emptied or replaced; its counters are rebuilt")
            self.changed = True
            self._return()

    def _return(self) -> None:
        self.up.clear()
        if self._returning is None and not self._closed:
            self._returning = self.spawn(self._come_back())

    async def _come_back(self) -> None:
        first, most = _BACKOFF
        delay = 0.0
        began = self._clock.monotonic()
        try:
            while True:
                if delay:
                    await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - spreads workers
                delay = min(most, max(first, 2 * delay))
                try:
                    epoch = await self._counters.connect()
                    if epoch != self._epoch:
                        self._begin_epoch(epoch)
                    self.lost = self.changed = False
                    await self.catch_up()
                except StateLost:
                    self.lost = True
                except EpochChanged:
                    self.changed = True
                except Exception:
                    log.exception("state store: no return, next try in %.1f s", delay)
                else:
                    break
        finally:
            self._returning = None
        self.leases.untold.clear()  # leases that were spent from are settled, or went with their epoch
        self.serial += 1
        self.up_since = self._clock.monotonic()
        self.up.set()
        self._loader.flush()
        log.warning("state store: there, after %.1f s; epoch %s", self.up_since - began, epoch)

    def _begin_epoch(self, epoch: str) -> None:
        """Take the instant that parts what has ended from what is live. Never waits."""
        self._epoch = epoch
        self.generation += 1
        self.queue = {}
        self._releases = {}
        self.leases.drop()
        self._loader.begin(epoch)
        for live in self.live.values():
            live.standing = ASSERTING
            live.leased = False

    def _unknown(self) -> Iterator[Live]:
        for live in self.live.values():
            if live.standing != KNOWN and live.taking:
                yield live
        for ended in self.queue.values():
            if ended.live.standing != KNOWN:
                yield ended.live

    async def catch_up(self) -> None:
        """Tell the store all that it does not know; on return nothing is left.

        Raises:
            StateLost, EpochChanged: the rest is told the next time.
        """
        while True:
            unknown = list(self._unknown())[:_BATCH]
            if unknown:
                for live in unknown:
                    live.standing = ASSERTING
                await _all(self._assert(live) for live in unknown)
                continue
            queue = list(self.queue.items())[:_BATCH]
            if queue:
                await _all(self._settle_queued(name, ended) for name, ended in queue)
                continue
            over = self.leases.returned()
            if not over:
                return
            for lease in over:
                await self._counters.settle(lease.id, lease.spent)
                self.leases.gone(lease)

    async def _assert(self, live: Live) -> None:
        await self._counters.reassert(live.reservation, self._ttl)
        live.standing = KNOWN
        if live.leased:
            live.leased = False
            self.leases.free(live.reservation.holds, 0)

    async def _settle_queued(self, name: str, ended: Ended) -> None:
        await self._counters.settle(name, ended.charge_nano, ended.tokens)
        self.queue.pop(name, None)
        self._settled(ended)

    # Upkeep

    async def _watch(self) -> None:
        renew_at = upkeep_at = 0.0
        while True:
            await asyncio.sleep(_BEAT)
            if not self.up.is_set():
                continue
            serial, now = self.serial, self._clock.monotonic()
            try:
                due = now >= renew_at
                # Without any it still asks whether the store is the same.
                await self._counters.renew(self._names() if due else (), self._ttl)
                if due:
                    renew_at = now + self._ttl / 3
                    await self._tell_releases()
                if now >= upkeep_at:
                    upkeep_at = now + _UPKEEP
                    await self._keep_leases(now)
            except StateLost:
                self.note_lost(serial)
            except EpochChanged:
                self.note_changed(serial)
            except Exception:
                log.exception("state store: upkeep failed")

    def _names(self) -> list[str]:
        held = [name for name, live in self.live.items() if live.taking]
        return held + self.leases.ids()

    async def _tell_releases(self) -> None:
        for name, left in list(self._releases.items()):
            if name not in self.live and name not in self.queue:
                await self._counters.settle(name, 0)
            if left > 1 and name not in self.live:
                self._releases[name] = left - 1
            else:
                self._releases.pop(name, None)

    async def _keep_leases(self, now: float) -> None:
        wanted = self.leases.wanted(now)
        for lease in self.leases.returned():
            await self._counters.settle(lease.id, lease.spent)
            self.leases.gone(lease)
        for lease in wanted:
            generation = self.generation
            try:
                decision = await self._counters.admit(lease.reservation(), self._ttl)
            except NotLoaded:
                self._loader.load(lease.hold)
            except StateLost:
                self._releases[lease.id] = _RELEASES
                raise
            else:
                if isinstance(decision, Admitted) and generation == self.generation:
                    self.leases.add(lease)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Have something done in the background, until `close`."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def close(self) -> None:
        """Give leases back and tell what is queued, if the store is there; then look for it no more."""
        self._closed = True
        if self.up.is_set():
            try:
                await asyncio.sleep(0)  # settlements of this tick
                for lease in self.leases.close():
                    await self._counters.settle(lease.id, lease.spent)
                    self.leases.gone(lease)
                await self.catch_up()
                self.leases.untold.clear()
            except (StateLost, EpochChanged):
                log.warning("state store: away while stopping; what is left there is estimated")
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it, each for itself, and raise the first failure when every one has ended."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result

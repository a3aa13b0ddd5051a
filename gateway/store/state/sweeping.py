"""The end of what dead workers held: with its true charge where that can be known, else an estimate."""

from collections.abc import Collection
from typing import Final

from gateway.clock import Clock
from gateway.ids import boot_of
from gateway.store.state import SharedCounters
from gateway.store.state.loading import Ledger, Workers

_AT_ONCE: Final = 500
PATIENCE: Final = 15.0
"""Seconds for which the journal of a dead worker may still be found, and its outcome be shipped."""


class Sweeper:
    """Settles reservations that nobody renewed in time.

    What a worker held is not freed because nobody knows of it, but because it is known that nothing came
    of it: all that its journal has is in the ledger, and it spent of no lease.

    Attributes:
        estimated: how many were settled with all that they held, as nobody knew what they cost.
    """

    def __init__(
        self, counters: SharedCounters, ledger: Ledger, workers: Workers, clock: Clock
    ) -> None:
        self._counters = counters
        self._ledger = ledger
        self._workers = workers
        self._clock = clock
        self._seen: dict[str, float] = {}
        self.estimated = 0

    async def sweep(self, ours: Collection[str]) -> int:
        """Settle those that can be; how many.

        Args:
            ours: reservations of this process, which is alive, however late it renews them.

        Raises:
            Unavailable: the ledger cannot be read; nothing was settled.
            StateLost, EpochChanged: the store went away meanwhile.
        """
        late = {
            name: held for name, held in await self._counters.expired(_AT_ONCE) if name not in ours
        }
        now = self._clock.monotonic()
        self._seen = {name: self._seen.get(name, now) for name in late}
        if not late:
            return 0
        await self._ledger.adopt()
        # In this order: of those that have no row, the ledger has all by now.
        unknown = await self._workers.rows()
        known = await self._ledger.charges_nano(list(late))
        count = 0
        for name, held in late.items():
            charge = known.get(name)
            estimated = False
            if charge is None:
                estimated = boot_of(name) in unknown
                if estimated and now - self._seen[name] < PATIENCE:
                    continue
                charge = held if estimated else 0
            if await self._counters.settle(name, charge):
                count += 1
                self.estimated += estimated
        return count

    def forget(self) -> None:
        """Begin anew: another epoch."""
        self._seen = {}

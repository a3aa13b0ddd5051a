"""The end of what dead workers held: with its true charge where a journal has it, else an estimate."""

from collections.abc import Collection
from typing import Final

from gateway.clock import Clock
from gateway.store.state import SharedCounters
from gateway.store.state.loading import Ledger

_AT_ONCE: Final = 500
PATIENCE: Final = 15.0
"""Seconds for which the journal of a dead worker may still be found, and its outcome be shipped."""


class Sweeper:
    """Settles reservations that nobody renewed in time.

    Attributes:
        estimated: how many were settled with all that they held, as nobody knew what they cost.
    """

    def __init__(self, counters: SharedCounters, ledger: Ledger, clock: Clock) -> None:
        self._counters = counters
        self._ledger = ledger
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
        known = await self._ledger.charges_nano(list(late))
        count = 0
        for name, held in late.items():
            charge = known.get(name)
            if charge is None and now - self._seen[name] < PATIENCE:
                continue
            if await self._counters.settle(name, held if charge is None else charge):
                count += 1
                self.estimated += charge is None
        return count

    def forget(self) -> None:
        """Begin anew: another epoch."""
        self._seen = {}

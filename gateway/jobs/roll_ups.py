"""Summing hours of the ledger: by one process for all, beside the requests.

An hour is summed when it is over. What comes later, of requests that took long or of a dead process's
journal, has it summed again. Reports need not wait for any of it: they read the entries of hours that are
not summed yet.
"""

from typing import Final

from gateway.clock import Clock
from gateway.store.database import Database
from gateway.store.tables.roll_ups import HOUR_MS
from gateway.usage import roll_ups

INTERVAL: Final = 30.0
PACE: Final = 3.0
"""Seconds between passes while there is much left to do."""

_AT_ONCE: Final = 10  # hours of one pass: it should not outlast its lease


class RollUps:
    """Sums hours that are over and have new entries.

    Args:
        database: where the ledger is.
        clock: tells which hour is not over.
        interval: seconds between passes, counted from the beginning of one.
    """

    def __init__(self, database: Database, clock: Clock, interval: float = INTERVAL) -> None:
        self._database = database
        self._clock = clock
        self._interval = interval
        self._next = float("-inf")

    async def look(self) -> None:
        """A pass, if it is time for one: the job of `gateway.jobs.leader.lead`."""
        now = self._clock.monotonic()
        if now < self._next:
            return
        left = await self.roll()
        # After a migration there are hours of years; the next ones then follow at once.
        self._next = now if left else now + self._interval

    async def roll(self) -> bool:
        """Sum the hours that are over; of the others make one mark each.

        Returns:
            Whether some were left for the next pass.

        Raises:
            Unavailable: the database cannot be used.
        """
        current = int(self._clock.now() * 1000) // HOUR_MS
        hours = await roll_ups.marked(self._database)
        over = [hour for hour in hours if hour < current]
        for hour in over[-_AT_ONCE:]:  # the newest first of all: they are asked for most
            await roll_ups.sum_hour(self._database, hour)
        for hour in hours:
            if hour >= current:
                await roll_ups.fold_marks(self._database, hour)
        return len(over) > _AT_ONCE

"""Seeing that what changes of accounts is known in this process soon.

    announced over Redis   at once, where `state.url` is set
    noted in the database  each `auth.poll_interval`, whatever else fails

What is announced can be missed, so the notes are read as well. Their ids do not tell in which order they
were committed: on PostgreSQL a transaction may commit behind one with a higher id. So the notes of the last
minute are read again and again, and those that were seen already do not count.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.exc import DBAPIError

from gateway.clock import Clock
from gateway.errors import Unavailable
from gateway.store import leases
from gateway.store.database import Database
from gateway.store.tables.operations import account_changes

OVERLAP: Final = 60.0
"""Seconds for which a transaction may be open and its note still be seen: far longer than any is."""

KEPT: Final = 86_400.0
_PRUNE: Final = 3600.0

Invalidate = Callable[[Iterable[tuple[str, str]]], None]
Listen = Callable[[], AsyncIterator[tuple[tuple[str, str], ...]]]

_log = logging.getLogger(__name__)
_ID = account_changes.c.id


class ChangeWatch:
    """Hands on what changed, each note once.

    Args:
        database: where changes are noted.
        invalidate: told pairs of kind and id.
        clock: the monotonic one is used.
        interval: seconds between looks.
        listen: what is announced; an empty announcement asks to look at once.
    """

    def __init__(
        self,
        database: Database,
        invalidate: Invalidate,
        clock: Clock,
        *,
        interval: float,
        listen: Listen | None = None,
    ) -> None:
        self._database = database
        self._invalidate = invalidate
        self._clock = clock
        self._interval = interval
        self._listen = listen
        self._floor = 0  # every note up to here was seen, and none can still come
        self._seen: dict[int, float] = {}  # those above, with the monotonic time of the first look
        self._begun = False
        self._asked = asyncio.Event()
        self._failing = False

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._poll())
            if self._listen is not None:
                both.create_task(self._hear(self._listen))

    async def look(self) -> int:
        """Hand on what was noted since the last look.

        Returns:
            How many notes were new.

        Raises:
            Unavailable: the database cannot be reached.
        """
        now = self._clock.monotonic()
        query = select(_ID, account_changes.c.kind, account_changes.c.ref)
        async with self._database.reading() as connection:
            if not self._begun:
                # Nothing is remembered yet of before; but what is not committed may become visible later.
                newest = await connection.scalar(select(func.max(_ID)))
                self._floor = max(0, (newest or 0) - 1000)
            later = query.where(_ID > self._floor).order_by(_ID)  # noqa: SIM300 - a column, no constant
            rows = (await connection.execute(later)).all()
        fresh = [(row.kind, row.ref) for row in rows if row.id not in self._seen]
        for row in rows:
            self._seen.setdefault(row.id, now)
        old = [known for known, since in self._seen.items() if since < now - OVERLAP]
        if old:
            self._floor = max(old)
            self._seen = {known: at for known, at in self._seen.items() if known > self._floor}
        if not self._begun:
            self._begun = True
            return 0
        if fresh:
            self._invalidate(fresh)
        return len(fresh)

    async def _poll(self) -> None:
        while True:
            self._asked.clear()  # before the look: whoever asks during it asks for another
            try:
                await self.look()
                self._failing = False
            except Exception as fault:  # noqa: BLE001 - whatever it is, the next look may go better
                if not self._failing:
                    _log.warning("changes of accounts cannot be read: %s", fault)
                self._failing = True
            try:
                async with asyncio.timeout(self._interval):
                    await self._asked.wait()
            except TimeoutError:
                continue

    async def _hear(self, listen: Listen) -> None:
        while True:
            try:
                async for changes in listen():
                    if changes:
                        self._invalidate(changes)
                    else:
                        self._asked.set()
            except Exception:  # noqa: BLE001 - polling, which stands beside, must never end with it
                _log.exception("announcements of changes are not heard; it is tried again")
            await asyncio.sleep(self._interval)


async def prune(database: Database, clock: Clock, holder: str) -> None:
    """Delete notes that everybody has seen long ago, each hour, until cancelled.

    One of the processes that do this deletes, for as long as it lives.

    Args:
        database: where the notes are.
        clock: the time.
        holder: the id of this process.
    """
    while True:
        try:
            await prune_once(database, clock, holder)
        except (Unavailable, DBAPIError) as fault:
            _log.warning("old notes of changes are not deleted: %s", fault)
        await asyncio.sleep(_PRUNE)


async def prune_once(database: Database, clock: Clock, holder: str) -> bool:
    """Do it now, as `prune`; False: it is another's to do.

    Raises:
        Unavailable: the database is away.
    """
    # A lease for longer than until the next time: one that is renewed each few seconds is not worth it.
    if not await leases.take(database, "changes", holder, ttl=_PRUNE * 1.1):
        return False
    before = int((clock.now() - KEPT) * 1000)
    async with database.transaction() as connection:
        await connection.execute(delete(account_changes).where(account_changes.c.at_ms < before))
    return True

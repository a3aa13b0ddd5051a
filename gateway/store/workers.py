"""Which processes of the gateway are alive, and what each has brought to the ledger.

A worker is alive as long as its row changes. Whether it does is judged by looking again, and never by
comparing two machines' clocks; a look that fails forgets what was seen, for while the database was away
nobody's row could change.

A row goes when all that its worker did is in the ledger. So of what the worker still holds in the shared
counters nothing was spent, but what the ledger knows; where the row is still there, nobody knows.
"""

from typing import Final

from msgspec import Struct
from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.clock import Clock
from gateway.store.database import Database
from gateway.store.tables.operations import workers

BEAT: Final = 2.0
"""Seconds between two changes of a worker's row."""
STALE: Final = 10.0
"""Seconds without a change after which a worker counts as dead."""
_FRESH: Final = STALE - 2 * BEAT
_KEPT: Final = 3600.0
"""Seconds for which the row of a dead worker is kept, for what others may hold it to account for."""


class Identity(Struct, frozen=True):
    """Who a worker is."""

    id: str
    host: str
    pid: int
    version: str


class Behind(Struct, frozen=True):
    """Other workers that have not flushed for an epoch: those alive, and those that seem dead."""

    alive: tuple[str, ...] = ()
    dead: tuple[str, ...] = ()


class WorkerRegistry:
    """This worker's row, and what it sees of the others'.

    Every method but `fresh` raises Unavailable where the database is away.
    """

    def __init__(self, database: Database, identity: Identity, clock: Clock) -> None:
        self.identity = identity
        self._database = database
        self._clock = clock
        self._started_ms = int(clock.now() * 1000)
        self._flushed: str | None = None
        self._staying = False
        # By worker: what its row said, and since when, on our monotonic clock, it has said so.
        self._seen: dict[str, tuple[int, float]] = {}
        self._looked = self._beaten = -STALE  # monotonic

    @property
    def fresh(self) -> bool:
        """Whether no other worker can have taken this one for dead yet."""
        return self._clock.monotonic() - self._beaten < _FRESH

    async def beat(self) -> None:
        """Say that this worker is alive, and see who else is. Writes the row if it is not there."""
        began = self._clock.monotonic()
        mine = workers.c.id == self.identity.id
        try:
            values = {
                "seen_ms": int(self._clock.now() * 1000),
                "flushed_epoch": self._flushed,
            }
            async with self._database.transaction() as connection:
                changed = await connection.execute(update(workers).where(mine).values(values))
                if changed.rowcount == 0:
                    await connection.execute(
                        insert(workers).values(
                            id=self.identity.id,
                            host=self.identity.host[:120],
                            pid=self.identity.pid,
                            version=self.identity.version[:40],
                            started_ms=self._started_ms,
                            **values,
                        )
                    )
                for name, seen_ms in self._forgettable(began):
                    row = (workers.c.id == name) & (workers.c.seen_ms == seen_ms)
                    await connection.execute(delete(workers).where(row))
                query = select(workers.c.id, workers.c.seen_ms)
                rows = {row.id: row.seen_ms for row in await connection.execute(query)}
        except BaseException:
            self._seen = {}
            raise
        self._beaten = began
        self._look(rows)

    def _look(self, rows: dict[str, int]) -> None:
        now, before = self._clock.monotonic(), self._seen
        if now - self._looked > STALE / 2:
            before = {}  # the database may have been away, and nobody could write
        self._looked = now
        self._seen = {}
        for name, seen_ms in rows.items():
            known = before.get(name)
            same = known is not None and known[0] == seen_ms
            self._seen[name] = known if known is not None and same else (seen_ms, now)

    def _dead(self, name: str, now: float) -> bool:
        known = self._seen.get(name)
        return known is not None and now - known[1] >= STALE

    async def note_flushed(self, epoch: str) -> None:
        """Say that all that ended here before `epoch` began is in the ledger."""
        self._flushed = epoch
        await self.beat()

    async def behind(self, epoch: str) -> Behind:
        """Who has not flushed for `epoch`."""
        query = select(workers.c.id, workers.c.seen_ms, workers.c.flushed_epoch)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        self._look({row.id: row.seen_ms for row in rows})
        now = self._clock.monotonic()
        late = [row.id for row in rows if row.flushed_epoch != epoch]
        return Behind(
            tuple(name for name in late if not self._dead(name, now)),
            tuple(name for name in late if self._dead(name, now)),
        )

    def _forgettable(self, now: float) -> list[tuple[str, int]]:
        return [
            (name, seen_ms) for name, (seen_ms, since) in self._seen.items() if now - since >= _KEPT
        ]

    async def give_up(self, names: tuple[str, ...], epoch: str) -> None:
        """Wait no more for dead workers to flush for `epoch`, unless they changed since the last look.

        Their rows stay: what they had under way may be unknown for ever.
        """
        async with self._database.transaction() as connection:
            for name in names:
                if name in self._seen:
                    row = (workers.c.id == name) & (workers.c.seen_ms == self._seen[name][0])
                    given_up = update(workers).where(row).values(flushed_epoch=epoch)
                    await connection.execute(given_up)

    async def rows(self) -> dict[str, int]:
        """All rows, also of the dead: when each was changed last, in epoch milliseconds of its machine."""
        query = select(workers.c.id, workers.c.seen_ms)
        async with self._database.reading() as connection:
            return {row.id: row.seen_ms for row in await connection.execute(query)}

    async def alive(self) -> int:
        """How many there are, this one included."""
        now = self._clock.monotonic()
        return sum(not self._dead(name, now) for name in self._seen)

    def stay(self) -> None:
        """Have `remove` do nothing: the ledger does not have all that this worker did."""
        self._staying = True

    async def remove(self) -> None:
        """Say that this worker has stopped for good, with all that it did in the ledger."""
        if not self._staying:
            async with self._database.transaction() as connection:
                await remove(connection, self.identity.id)


async def remove(connection: AsyncConnection, worker: str) -> None:
    """Say of a worker that has stopped for good, that all that it did is in the ledger. Harmless twice."""
    await connection.execute(delete(workers).where(workers.c.id == worker))

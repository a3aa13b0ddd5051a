"""Which of several processes does a job that must be done by one at a time: rows of `leases`.

Whether a lease has ended is decided by the database's clock alone, so that processes whose clocks differ
agree. (SQLite's is that of the machine, which all of its processes share.) The holder itself counts from
before it asked, by its monotonic clock: it stops believing before anyone else may take the lease.
"""

from msgspec import Struct
from sqlalchemy import text

from gateway.clock import Clock
from gateway.store.database import Database

_NOW_MS = {
    "postgresql": "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)",
    "sqlite": "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)",
}
_DRIFT = 0.9  # of its time that a holder uses: clocks may run at somewhat different speeds


def _take(now: str) -> str:
    return (
        "INSERT INTO leases (name, holder, until_ms)"  # noqa: S608 -- our own expressions of time
        f" VALUES (:name, :holder, {now} + :ttl_ms) ON CONFLICT (name) DO UPDATE"
        " SET holder = excluded.holder, until_ms = excluded.until_ms"
        f" WHERE leases.holder = excluded.holder OR leases.until_ms <= {now} RETURNING holder"
    )


_TAKE = {dialect: text(_take(now)) for dialect, now in _NOW_MS.items()}
_STANDING = {
    dialect: text(
        f"SELECT holder, until_ms FROM leases WHERE name = :name AND until_ms > {now}"  # noqa: S608 -- as above
    )
    for dialect, now in _NOW_MS.items()
}
_RELEASE = text("DELETE FROM leases WHERE name = :name AND holder = :holder")


async def take(database: Database, name: str, holder: str, *, ttl: float) -> bool:
    """Take a lease that nobody holds, or renew one's own; False: another holds it.

    Args:
        database: where the leases are.
        name: of the job, at most 40 characters.
        holder: the id of this process, unique among all that ever ask.
        ttl: seconds from now after which another may take it.

    Raises:
        Unavailable: the database is away; whether the lease was taken is not known.
    """
    asked = {"name": name, "holder": holder, "ttl_ms": round(ttl * 1000)}
    async with database.transaction() as connection:
        row = (await connection.execute(_TAKE[database.dialect], asked)).one_or_none()
    return row is not None


class Lease(Struct, frozen=True):
    """A lease that somebody has; `until_ms`, on the database's clock, changes whenever it is renewed."""

    holder: str
    until_ms: int


async def standing(database: Database, name: str) -> Lease | None:
    """Who has a lease; None: nobody.

    Raises:
        Unavailable: the database is away.
    """
    async with database.reading() as connection:
        found = await connection.execute(_STANDING[database.dialect], {"name": name})
        row = found.one_or_none()
    return None if row is None else Lease(row.holder, row.until_ms)


async def release(database: Database, name: str, holder: str) -> None:
    """Give a lease back before its time; harmless when another has it.

    Raises:
        Unavailable: the database is away; the lease ends by itself.
    """
    async with database.transaction() as connection:
        await connection.execute(_RELEASE, {"name": name, "holder": holder})


class LeaderLock:
    """One process's view of one lease.

    Args:
        database: where the leases are.
        name: of the job, at most 40 characters.
        holder: the id of this process.
        ttl: seconds that a lease lasts unless renewed; renew it each third of that.
        clock: of this process; only its monotonic time is used.
    """

    def __init__(
        self, database: Database, name: str, holder: str, *, ttl: float, clock: Clock
    ) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._ttl = ttl
        self._clock = clock
        self._until = float("-inf")

    @property
    def held(self) -> bool:
        """Whether this process may do the job now. Asks nobody."""
        return self._clock.monotonic() < self._until

    async def renew(self) -> bool:
        """Take or renew the lease, and tell whether it is held.

        Raises:
            Unavailable: the database is away; what was held is held until its time is over.
        """
        asked = self._clock.monotonic()
        taken = await take(self._database, self._name, self._holder, ttl=self._ttl)
        self._until = asked + self._ttl * _DRIFT if taken else float("-inf")
        return self.held

    async def release(self) -> None:
        """Stop holding it, and let another take it at once.

        Raises:
            Unavailable: the database is away; it is not held any more all the same.
        """
        self._until = float("-inf")
        await release(self._database, self._name, self._holder)

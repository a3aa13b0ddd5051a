"""How the installation is, for who administers all of it: its processes and its database."""

from msgspec import Struct
from sqlalchemy import select

from gateway.accounts import roles
from gateway.accounts.office import Office
from gateway.accounts.roles import Actor
from gateway.errors import Forbidden
from gateway.store.tables.operations import workers
from gateway.store.workers import STALE


class WorkerRow(Struct, frozen=True, kw_only=True):
    """A process that serves; times are epoch ms. `alive`: as far as this machine's clock can tell."""

    id: str
    host: str
    pid: int
    version: str
    started_ms: int
    seen_ms: int
    alive: bool


class Status(Struct, frozen=True, kw_only=True):
    """`database`: "sqlite" or "postgresql". A process that shares its counters with none is not listed."""

    database: str
    workers: tuple[WorkerRow, ...]


async def status(office: Office, actor: Actor) -> Status:
    """The processes of the installation, the oldest first.

    Raises:
        Forbidden: the actor belongs to an organisation; codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        if not look.actor.everywhere:
            raise Forbidden("this is for who administers the whole installation")
        roles.require(look.actor, "organisations:read", None)
        query = select(workers).order_by(workers.c.started_ms, workers.c.id)
        rows = (await look.connection.execute(query)).all()
        found = tuple(
            WorkerRow(
                id=row.id,
                host=row.host,
                pid=row.pid,
                version=row.version,
                started_ms=row.started_ms,
                seen_ms=row.seen_ms,
                alive=look.now_ms - row.seen_ms < STALE * 1000,
            )
            for row in rows
        )
    return Status(database=office.database.dialect, workers=found)

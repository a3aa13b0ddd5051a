"""Organisations: the owners of teams."""

from sqlalchemy import insert, select

from gateway.accounts.ids import new_id
from gateway.accounts.names import checked_name
from gateway.accounts.rows import Organisation
from gateway.clock import Clock
from gateway.errors import InvalidRequest
from gateway.store.database import Database
from gateway.store.tables.accounts import organisations


async def create(db: Database, name: str, *, clock: Clock) -> Organisation:
    """Make an organisation.

    Raises:
        InvalidRequest: the name is unfit (invalid_name) or taken (name_taken).
    """
    row = Organisation(
        new_id("org"), checked_name(name, what="organisation"), int(clock.now() * 1000)
    )
    async with db.transaction() as connection:
        taken = select(organisations.c.id).where(organisations.c.name == row.name)
        if await connection.scalar(taken) is not None:
            raise InvalidRequest(
                f"there is an organisation named {row.name!r}; choose another name",
                code="name_taken",
                param="name",
            )
        await connection.execute(
            insert(organisations).values(id=row.id, name=row.name, created_ms=row.created_ms)
        )
    return row


async def list_all(db: Database) -> list[Organisation]:
    """Every organisation, oldest first."""
    query = select(organisations).order_by(organisations.c.created_ms, organisations.c.id)
    async with db.reading() as connection:
        rows = await connection.execute(query)
        return [Organisation(row.id, row.name, row.created_ms) for row in rows]

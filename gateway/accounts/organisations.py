"""Organisations: the owners of teams."""

from sqlalchemy import insert, or_, select, update

from gateway.accounts.ids import new_id
from gateway.accounts.names import checked_name
from gateway.accounts.privacy import Change, privacy_of
from gateway.accounts.rows import Organisation
from gateway.clock import Clock
from gateway.errors import InvalidRequest, NotFound
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
        return [Organisation(row.id, row.name, row.created_ms, privacy_of(row)) for row in rows]


async def set_privacy(db: Database, id_or_name: str, change: Change) -> Organisation:
    """Change what an organisation demands of those who see its requests; as `keys.set_privacy`.

    Raises:
        NotFound: no such organisation; code organisation_not_found.
        InvalidRequest: nothing to set.
    """
    values = change.values()
    query = select(organisations).where(
        or_(organisations.c.id == id_or_name, organisations.c.name == id_or_name)
    )
    async with db.transaction() as connection:
        rows = (await connection.execute(query)).all()
        # An id decides, even if somebody named another organisation after it.
        rows = [row for row in rows if row.id == id_or_name] or rows
        if not rows:
            raise NotFound(
                f"no organisation {id_or_name!r}; `tidegate organisations list` shows them",
                code="organisation_not_found",
                param="organisation",
            )
        is_it = organisations.c.id == rows[0].id
        await connection.execute(update(organisations).where(is_it).values(**values))
        row = (await connection.execute(select(organisations).where(is_it))).one()
    return Organisation(row.id, row.name, row.created_ms, privacy_of(row))

"""The installation itself: one row, and whether the pepper beside the database belongs to it."""

import hashlib

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.ids import new_id
from gateway.errors import ConfigurationError
from gateway.store.tables.accounts import installation

_FIRST_START = 0x7464_6669  # any number that nobody else locks

_OTHER_PEPPER = (
    "the pepper (`auth.pepper`, else the file `pepper` in the data folder) is not the one that this"
    " database's keys were made with; restore it from the backup of the data folder, or give all"
    " replicas the same `auth.pepper`"
)


async def claim(connection: AsyncConnection, pepper: bytes, *, now_ms: int) -> str:
    """The id of the installation, made with this pepper if it is new.

    Raises:
        ConfigurationError: its keys were hashed with another pepper: none of them would be known.
    """
    if connection.dialect.name == "postgresql":
        # Of several first starts at once, one after the other: SQLite's transactions do that by themselves.
        await connection.execute(select(func.pg_advisory_xact_lock(_FIRST_START)))
    check = hashlib.blake2b(b"tidegate pepper check", digest_size=16, key=pepper).hexdigest()
    row = (await connection.execute(select(installation))).one_or_none()
    if row is None:
        new = new_id("ins")
        await connection.execute(
            insert(installation).values(only=1, id=new, pepper_check=check, created_ms=now_ms)
        )
        return new
    if row.pepper_check != check:
        raise ConfigurationError([_OTHER_PEPPER])
    return str(row.id)

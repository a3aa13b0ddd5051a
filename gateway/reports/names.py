"""What people call teams, keys and members."""

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.store.tables.accounts import api_keys, members, teams

_TABLES: Final = {"team": teams, "key": api_keys, "member": members}
_AT_ONCE: Final = 1000


async def names_of(
    connection: AsyncConnection, ids: Mapping[str, Collection[str]]
) -> dict[str, dict[str, str]]:
    """Names by kind (`team`, `key`, `member`) and id; what is not there any more has none."""
    found: dict[str, dict[str, str]] = {}
    for kind, wanted in ids.items():
        table, every = _TABLES[kind], sorted(wanted)
        names = found[kind] = {}
        for start in range(0, len(every), _AT_ONCE):
            query = select(table.c.id, table.c.name).where(
                table.c.id.in_(every[start : start + _AT_ONCE])
            )
            names.update({row.id: row.name for row in await connection.execute(query)})
    return found


async def members_of(connection: AsyncConnection) -> dict[str, str]:
    """By key the member whose it is now; keys that are nobody's are left out."""
    query = select(api_keys.c.id, api_keys.c.member_id).where(api_keys.c.member_id.is_not(None))
    return {row.id: row.member_id for row in await connection.execute(query)}

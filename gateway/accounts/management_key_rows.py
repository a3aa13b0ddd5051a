"""Management keys as the tables have them."""

from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.names import can_be_meant
from gateway.accounts.roles import Actor
from gateway.accounts.rows import ManagementKey
from gateway.errors import NotFound
from gateway.store.tables import accounts as tables

KEYS = tables.management_keys
_decode_scopes = msgspec.json.Decoder(tuple[str, ...]).decode


async def find(
    connection: AsyncConnection, actor: Actor, key_id: str, *, for_update: bool = False
) -> ManagementKey:
    """A management key among those of the actor's organisation. Rights are the caller's to check.

    Raises:
        NotFound: none there; code management_key_not_found.
    """
    query = select(KEYS).where(KEYS.c.id == key_id)
    if not actor.everywhere:
        query = query.where(KEYS.c.organisation_id == actor.organisation_id)
    if for_update:
        query = query.with_for_update()
    row = None
    if can_be_meant(key_id):
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(
            f"no management key {key_id!r}; `tidegate management-keys list` shows them",
            code="management_key_not_found",
            param="id",
        )
    return key_of(row)


def key_of(row: Row[Any]) -> ManagementKey:
    """The value of a row."""
    return ManagementKey(
        id=row.id,
        organisation_id=row.organisation_id,
        member_id=row.member_id,
        name=row.name,
        prefix=row.prefix,
        last4=row.last4,
        scopes=_decode_scopes(row.scopes),
        created_ms=row.created_ms,
        created_by=row.created_by,
        expires_ms=row.expires_ms,
        disabled_ms=row.disabled_ms,
        old_expires_ms=row.old_expires_ms,
        revision=row.revision,
    )


def audited(row: ManagementKey) -> dict[str, Any]:
    """What the audit log says of one: never the key, nor its hash."""
    return {
        "name": row.name,
        "member_id": row.member_id,
        "scopes": list(row.scopes),
        "expires_ms": row.expires_ms,
        "disabled_ms": row.disabled_ms,
        "last4": row.last4,
        "old_expires_ms": row.old_expires_ms,
    }

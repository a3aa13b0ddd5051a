"""API keys as the tables have them: how they are found, and how their rows become values."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts.names import can_be_meant
from gateway.accounts.privacy import privacy_of
from gateway.accounts.revisions import flat, settings_of
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Key
from gateway.errors import NotFound
from gateway.store.tables import accounts as tables

KEYS = tables.api_keys
LISTED = (
    select(
        KEYS,
        tables.teams.c.name.label("team_name"),
        tables.teams.c.organisation_id,
        tables.teams.c.zdr.label("team_zdr"),
        tables.teams.c.no_training.label("team_no_training"),
        tables.organisations.c.zdr.label("organisation_zdr"),
        tables.organisations.c.no_training.label("organisation_no_training"),
    )
    .join(tables.teams, tables.teams.c.id == KEYS.c.team_id)
    .join(tables.organisations, tables.organisations.c.id == tables.teams.c.organisation_id)
)


async def find(
    connection: AsyncConnection, actor: Actor, key_id: str, *, for_update: bool = False
) -> Key:
    """A key among those of the actor's organisation. Rights are the caller's to check.

    Raises:
        NotFound: none there; code key_not_found.
    """
    query = LISTED.where(KEYS.c.id == key_id)
    if not actor.everywhere:
        query = query.where(tables.teams.c.organisation_id == actor.organisation_id)
    if for_update:
        query = query.with_for_update(of=KEYS)
    row = None
    if can_be_meant(key_id):
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(
            f"no key {key_id!r}; `tidegate keys list` shows their ids, which begin with `key_`",
            code="key_not_found",
            param="id",
        )
    return key_of(row)


def key_of(row: Row[Any]) -> Key:
    """The value of a row of `LISTED`."""
    return Key(
        id=row.id,
        name=row.name,
        team_id=row.team_id,
        team_name=row.team_name,
        organisation_id=row.organisation_id,
        prefix=row.prefix,
        last4=row.last4,
        created_ms=row.created_ms,
        expires_ms=row.expires_ms,
        disabled_ms=row.disabled_ms,
        updated_ms=row.updated_ms,
        member_id=row.member_id,
        created_by=row.created_by,
        old_expires_ms=row.old_expires_ms,
        privacy=privacy_of(row),
        team_privacy=privacy_of(row, "team_"),
        organisation_privacy=privacy_of(row, "organisation_"),
        settings=settings_of(row),
        revision=row.revision,
    )


def audited(key: Key) -> dict[str, Any]:
    """What the audit log says of a key: never the key, nor its hash."""
    return {
        "name": key.name,
        "team_id": key.team_id,
        "member_id": key.member_id,
        "expires_ms": key.expires_ms,
        "disabled_ms": key.disabled_ms,
        "last4": key.last4,
        "old_expires_ms": key.old_expires_ms,
        **flat(key.settings, key.privacy),
    }

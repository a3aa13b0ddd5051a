"""Members as they stand in the database, with their teams; rights are for the callers to check."""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts import revisions
from gateway.accounts.names import can_be_meant
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Member, TeamMembership
from gateway.errors import InvalidRequest, NotFound
from gateway.store.tables import accounts as tables

_MEMBERS = tables.members


async def find(
    connection: AsyncConnection, actor: Actor, ref: str, *, for_update: bool = False
) -> Member:
    """A member among those that the actor can know of, by its id, or by its email where that says which.

    Rights are the caller's to check.

    Raises:
        NotFound: none; code member_not_found.
        InvalidRequest: several organisations have a member of that email; code member_ambiguous.
    """
    query = select(_MEMBERS).where((_MEMBERS.c.id == ref) | (_MEMBERS.c.email == ref.lower()))
    if not actor.everywhere:
        query = query.where(_MEMBERS.c.organisation_id == actor.organisation_id)
    if for_update:
        query = query.with_for_update()
    rows = (await connection.execute(query)).all() if can_be_meant(ref) else []
    if not rows:
        raise NotFound(f"no member {ref!r}", code="member_not_found", param="member")
    if len(rows) > 1:
        raise InvalidRequest(
            f"several organisations have a member {ref!r}; give the member's id",
            code="member_ambiguous",
            param="member",
        )
    (found,) = await with_teams(connection, [member_of(rows[0])])
    return found


async def with_teams(connection: AsyncConnection, found: Sequence[Member]) -> list[Member]:
    """Members with their roles in teams."""
    query = (
        select(
            tables.team_members.c.member_id,
            tables.team_members.c.role,
            tables.teams.c.id,
            tables.teams.c.name,
        )
        .join(tables.teams, tables.teams.c.id == tables.team_members.c.team_id)
        .where(tables.team_members.c.member_id.in_([member.id for member in found]))
        .order_by(tables.teams.c.name)
    )
    of_member: dict[str, list[TeamMembership]] = {member.id: [] for member in found}
    names = {member.id: member.name for member in found}
    for row in await connection.execute(query):
        of_member[row.member_id].append(
            TeamMembership(
                team_id=row.id,
                team_name=row.name,
                member_id=row.member_id,
                member_name=names[row.member_id],
                role=row.role,
            )
        )
    return [msgspec.structs.replace(member, teams=tuple(of_member[member.id])) for member in found]


def member_of(row: Row[Any]) -> Member:
    """A member of its row, without its teams."""
    return Member(
        id=row.id,
        organisation_id=row.organisation_id,
        kind=row.kind,
        name=row.name,
        email=row.email,
        role=row.role,
        created_ms=row.created_ms,
        disabled_ms=row.disabled_ms,
        settings=revisions.settings_of(row),
        revision=row.revision,
    )

"""The levels that settings and budgets are of: organisations, teams, members and keys."""

from typing import Final, Literal

from msgspec import Struct
from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.accounts import member_rows, organisations, revisions, teams
from gateway.accounts.names import can_be_meant
from gateway.accounts.roles import Actor
from gateway.errors import InvalidRequest, NotFound
from gateway.policies.levels import LevelSettings
from gateway.store.tables import accounts as tables

LevelName = Literal["organisation", "team", "member", "key"]
LEVELS: Final = ("organisation", "team", "member", "key")

TABLES: Final[dict[str, Table]] = {
    "organisation": tables.organisations,
    "team": tables.teams,
    "member": tables.members,
    "key": tables.api_keys,
}


class Owner(Struct, frozen=True, kw_only=True):
    """An organisation, a team, a member or a key, and what it stands in.

    `team_id` is that of a team and of a key; `member_id` that of a member and of a member's key.
    """

    level: LevelName
    id: str
    name: str
    organisation_id: str
    settings: LevelSettings
    revision: int
    team_id: str | None = None
    member_id: str | None = None


def checked_level(level: str) -> None:
    """Refuse what is not a level.

    Raises:
        InvalidRequest: code invalid_level.
    """
    if level not in LEVELS:
        raise InvalidRequest(
            f"unknown level {level!r}; use one of {', '.join(LEVELS)}",
            code="invalid_level",
            param="level",
        )


async def find(
    connection: AsyncConnection,
    actor: Actor,
    level: LevelName,
    ref: str,
    *,
    for_update: bool = False,
) -> Owner:
    """What is meant by an id (or a name of an organisation or a team, or the email of a member).

    Rights are the caller's to check. `for_update`: until the end of the transaction nobody else can
    change it.

    Raises:
        NotFound: none that the actor can know of; codes organisation_not_found, team_not_found,
            member_not_found, key_not_found.
        InvalidRequest: it does not say which; codes invalid_level, team_ambiguous, member_ambiguous.
    """
    checked_level(level)
    if level == "key":
        return await _key(connection, actor, ref, for_update=for_update)
    if level == "organisation":
        of = await organisations.find(connection, actor, ref, for_update=for_update)
        return Owner(
            level=level,
            id=of.id,
            name=of.name,
            organisation_id=of.id,
            settings=of.settings,
            revision=of.revision,
        )
    if level == "team":
        team = await teams.find(connection, actor, ref, for_update=for_update)
        return Owner(
            level=level,
            id=team.id,
            name=team.name,
            organisation_id=team.organisation_id,
            settings=team.settings,
            revision=team.revision,
            team_id=team.id,
        )
    member = await member_rows.find(connection, actor, ref, for_update=for_update)
    return Owner(
        level=level,
        id=member.id,
        name=member.name,
        organisation_id=member.organisation_id,
        settings=member.settings,
        revision=member.revision,
        member_id=member.id,
    )


async def _key(connection: AsyncConnection, actor: Actor, ref: str, *, for_update: bool) -> Owner:
    query = (
        select(tables.api_keys, tables.teams.c.organisation_id)
        .join(tables.teams, tables.teams.c.id == tables.api_keys.c.team_id)
        .where(tables.api_keys.c.id == ref)
    )
    if not actor.everywhere:
        query = query.where(tables.teams.c.organisation_id == actor.organisation_id)
    if for_update:
        query = query.with_for_update(of=tables.api_keys)
    row = (await connection.execute(query)).one_or_none() if can_be_meant(ref) else None
    if row is None:
        raise NotFound(
            f"no key {ref!r}; `tidegate keys list` shows their ids, which begin with `key_`",
            code="key_not_found",
            param="key",
        )
    return Owner(
        level="key",
        id=row.id,
        name=row.name,
        organisation_id=row.organisation_id,
        settings=revisions.settings_of(row),
        revision=row.revision,
        team_id=row.team_id,
        member_id=row.member_id,
    )

"""Who belongs to which team, and as what. A change counts as one of the member: it raises its revision.

A team's admins manage their own team, and no other.
"""

from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.engine import Row

from gateway.accounts import member_rows, pages, revisions, roles, teams
from gateway.accounts.office import Act, Office
from gateway.accounts.roles import Actor
from gateway.accounts.rows import Member, Page, Team, TeamMembership
from gateway.errors import NotFound
from gateway.store.tables import accounts as tables

_MINE = tables.team_members
_LISTED = (
    select(
        tables.members.c.id,
        tables.members.c.created_ms,
        tables.members.c.name,
        tables.teams.c.id.label("team_id"),
        tables.teams.c.name.label("team_name"),
        _MINE.c.role,
    )
    .join(_MINE, _MINE.c.member_id == tables.members.c.id)
    .join(tables.teams, tables.teams.c.id == _MINE.c.team_id)
)


async def list_page(
    office: Office,
    actor: Actor,
    team: str,
    *,
    limit: int = pages.DEFAULT_LIMIT,
    cursor: str | None = None,
) -> Page[TeamMembership]:
    """The members of a team, by its id or name, with their roles in it; oldest members first.

    Raises:
        NotFound, InvalidRequest: as `teams.find`; also codes invalid_limit, invalid_cursor.
        Forbidden: codes permission_denied, insufficient_scope.
    """
    async with office.look(actor) as look:
        asked = await teams.find(look.connection, look.actor, team)
        roles.require(look.actor, "members:read", asked.organisation_id, asked.id)
        return await pages.read_page(
            look.connection,
            _LISTED.where(_MINE.c.team_id == asked.id),
            (tables.members.c.created_ms, tables.members.c.id),
            _membership,
            limit=limit,
            cursor=cursor,
        )


async def put(
    office: Office,
    actor: Actor,
    team: str,
    member: str,
    role: str,
    *,
    revision: int | None = None,
) -> TeamMembership:
    """Take a member (id or email) into a team (id or name), or give it another role there.

    `revision` is the member's. A change that changes nothing leaves revision and audit log alone.

    Raises:
        NotFound: no such team or member there; codes team_not_found, member_not_found.
        Forbidden: codes permission_denied, insufficient_scope, role_not_covered.
        InvalidRequest: no role of teams (invalid_role), or as `teams.find` and `members.find`.
        RevisionConflict: `revision` is not the current one; code revision_conflict.
    """
    roles.checked_role(role, roles.TEAM_ROLES)
    async with office.act(actor) as act:
        into, who = await _both(act, team, member)
        old = _role_in(who, into)
        if old is not None:
            roles.require_cover(act.actor, old, into.organisation_id, into.id)
        roles.require_cover(act.actor, role, into.organisation_id, into.id)
        revisions.check_revision("member", current=who.revision, revision=revision)
        new = TeamMembership(
            team_id=into.id,
            team_name=into.name,
            member_id=who.id,
            member_name=who.name,
            role=role,
        )
        if old == role:
            return new
        if old is None:
            await act.connection.execute(
                insert(_MINE).values(team_id=into.id, member_id=who.id, role=role)
            )
        else:
            await act.connection.execute(
                update(_MINE)
                .where(_MINE.c.team_id == into.id, _MINE.c.member_id == who.id)
                .values(role=role)
            )
        await _noted(act, into, who, old, role)
    return new


async def remove(
    office: Office,
    actor: Actor,
    team: str,
    member: str,
    *,
    revision: int | None = None,
) -> None:
    """Take a member out of a team; its keys stay the team's. `revision` is the member's.

    Raises:
        NotFound: no such team or member, or it is not in the team; codes team_not_found,
            member_not_found, membership_not_found.
        Forbidden: codes permission_denied, insufficient_scope, role_not_covered.
        InvalidRequest: as `teams.find` and `members.find`.
        RevisionConflict: `revision` is not the current one; code revision_conflict.
    """
    async with office.act(actor) as act:
        out_of, who = await _both(act, team, member)
        old = _role_in(who, out_of)
        if old is None:
            raise NotFound(
                f"{who.name!r} is not in the team {out_of.name!r}",
                code="membership_not_found",
                param="member",
            )
        roles.require_cover(act.actor, old, out_of.organisation_id, out_of.id)
        revisions.check_revision("member", current=who.revision, revision=revision)
        await act.connection.execute(
            delete(_MINE).where(_MINE.c.team_id == out_of.id, _MINE.c.member_id == who.id)
        )
        await _noted(act, out_of, who, old, None)


async def _both(act: Act, team: str, member: str) -> tuple[Team, Member]:
    """Team and member of one organisation, the member not to be changed by others until the end."""
    found = await teams.find(act.connection, act.actor, team)
    roles.require(act.actor, "teams:write", found.organisation_id, found.id)
    in_there = roles.within(act.actor, found.organisation_id)
    who = await member_rows.find(act.connection, in_there, member, for_update=True)
    return found, who


async def _noted(act: Act, team: Team, who: Member, old: str | None, new: str | None) -> None:
    await revisions.raise_revision(
        act.connection,
        tables.members,
        who.id,
        {},
        what="member",
        current=who.revision,
        revision=None,
    )
    words = {(True, False): "add", (False, True): "remove", (False, False): "set_role"}
    act.record(
        f"membership.{words[old is None, new is None]}",
        "member",
        who.id,
        organisation_id=team.organisation_id,
        before={"teams": {} if old is None else {team.id: old}},
        after={"teams": {} if new is None else {team.id: new}},
    )
    act.changed("member", who.id)


def _role_in(member: Member, team: Team) -> str | None:
    return next((one.role for one in member.teams if one.team_id == team.id), None)


def _membership(row: Row[Any]) -> TeamMembership:
    return TeamMembership(
        team_id=row.team_id,
        team_name=row.team_name,
        member_id=row.id,
        member_name=row.name,
        role=row.role,
    )

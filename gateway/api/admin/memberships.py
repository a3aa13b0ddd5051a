"""Who belongs to which team, and as what."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from gateway.accounts import memberships
from gateway.accounts.rows import TeamMembership
from gateway.api.admin.caller import AdminRoute, Caller, Desks
from gateway.api.admin.errors import CHANGE, READ, REMOVE
from gateway.api.admin.members import MembershipAnswer, TeamRole
from gateway.api.admin.revisions import Revision
from gateway.api.admin.shapes import PAGE, Body, Cursor, Limit, MemberId, Part, TeamId

router = APIRouter(route_class=AdminRoute, tags=["memberships"])

_WHICH = "`If-Match` has the revision of the member, which this raises."


class Membership(Body):
    """What a member is to be in a team."""

    role: TeamRole = Field(examples=["member"])


@router.get(
    "/teams/{team_id}/members",
    operation_id="list_team_members",
    summary="List the members of a team",
    responses=READ,
)
async def list_team_members(
    caller: Caller, office: Desks, team_id: TeamId, limit: Limit = PAGE, cursor: Cursor = None
) -> Part[MembershipAnswer]:
    """Who is in the team, and as what; oldest members first."""
    page = await memberships.list_page(office, caller, team_id, limit=limit, cursor=cursor)
    return Part(data=[_shown(row) for row in page.items], next_cursor=page.next_cursor)


@router.put(
    "/teams/{team_id}/members/{member_id}",
    operation_id="set_team_member",
    summary="Take a member into a team",
    description=f"Or give it another role there. {_WHICH}",
    responses=CHANGE,
)
async def set_team_member(
    caller: Caller,
    office: Desks,
    team_id: TeamId,
    member_id: MemberId,
    revision: Revision,
    body: Membership,
) -> MembershipAnswer:
    """See the description."""
    return _shown(
        await memberships.put(office, caller, team_id, member_id, body.role, revision=revision)
    )


@router.delete(
    "/teams/{team_id}/members/{member_id}",
    operation_id="remove_team_member",
    summary="Take a member out of a team",
    description=f"Keys that it has there stay the team's. {_WHICH}",
    status_code=204,
    responses=REMOVE,
)
async def remove_team_member(
    caller: Caller, office: Desks, team_id: TeamId, member_id: MemberId, revision: Revision
) -> None:
    """See the description."""
    await memberships.remove(office, caller, team_id, member_id, revision=revision)


def _shown(row: TeamMembership) -> MembershipAnswer:
    found: dict[str, Any] = {
        "team_id": row.team_id,
        "team_name": row.team_name,
        "member_id": row.member_id,
        "member_name": row.member_name,
        "role": row.role,
    }
    return MembershipAnswer.model_validate(found)

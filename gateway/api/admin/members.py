"""Members of organisations: people, and service accounts."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from gateway.accounts import members
from gateway.accounts.rows import Member
from gateway.api.admin.caller import AdminRoute, Caller, Desks
from gateway.api.admin.errors import CHANGE, CREATE, READ
from gateway.api.admin.revisions import Revision
from gateway.api.admin.shapes import (
    CREATED,
    PAGE,
    TAGGED,
    Answer,
    Body,
    Cursor,
    Limit,
    MemberId,
    Name,
    OrganisationId,
    Part,
    Patch,
    Time,
    location,
    shown_time,
    shown_time_or_none,
    stated,
    tag,
)

router = APIRouter(route_class=AdminRoute, tags=["members"])

Role = Literal["owner", "admin", "member", "viewer", "billing"]
TeamRole = Literal["admin", "member", "viewer", "billing"]
Email = Annotated[
    str,
    Field(
        min_length=3,
        max_length=254,
        examples=["ada@example.com"],
        json_schema_extra={"format": "email"},
    ),
]


class MembershipAnswer(Answer):
    """The role of a member in a team."""

    team_id: str
    team_name: str
    member_id: str
    member_name: str
    role: TeamRole


class MemberAnswer(Answer):
    """A member; its settings and budget have paths of their own."""

    id: str
    organisation_id: str
    kind: Literal["person", "service"]
    name: str
    email: str | None = Field(description="Null: not known, or a service account.")
    role: Role = Field(description="In the organisation.")
    teams: list[MembershipAnswer] = Field(description="The roles in single teams.")
    created_at: Time
    disabled: bool = Field(description="Whether its rights are over and its keys refused.")
    disabled_at: Time | None
    revision: int


class NewMember(Body):
    """A person to be taken in."""

    name: Name
    email: Email | None = None
    role: Role


class NewServiceAccount(Body):
    """A service account to be made."""

    name: Name
    role: Role


class MemberChange(Patch):
    """What is to change of a member."""

    name: Name = ""
    email: Email = ""
    role: Role = "viewer"
    disabled: bool = False


Team = Annotated[
    str | None, Query(max_length=60, description="Only those who are in this team, by its id.")
]


@router.get(
    "/organisations/{organisation_id}/members",
    operation_id="list_members",
    summary="List members",
    responses=READ,
)
async def list_members(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    team: Team = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Part[MemberAnswer]:
    """People and service accounts, oldest first."""
    page = await members.list_page(
        office, caller, organisation=organisation_id, team=team, limit=limit, cursor=cursor
    )
    return Part(data=[shown(row) for row in page.items], next_cursor=page.next_cursor)


@router.post(
    "/organisations/{organisation_id}/members",
    operation_id="create_member",
    summary="Take in a member",
    status_code=201,
    responses={**CREATED, **CREATE},
)
async def create_member(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    body: NewMember,
    response: Response,
) -> MemberAnswer:
    """A person. Nobody can give a role whose rights he does not have himself."""
    row = await members.create(
        office,
        caller,
        name=body.name,
        role=body.role,
        email=body.email,
        organisation=organisation_id,
    )
    return _made(response, row)


@router.post(
    "/organisations/{organisation_id}/service-accounts",
    operation_id="create_service_account",
    summary="Make a service account",
    tags=["service accounts"],
    status_code=201,
    responses={**CREATED, **CREATE},
)
async def create_service_account(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    body: NewServiceAccount,
    response: Response,
) -> MemberAnswer:
    """A member of kind `service`: a program with a role of its own, and keys. It is at `/members/{id}`."""
    row = await members.create(
        office,
        caller,
        name=body.name,
        role=body.role,
        kind="service",
        organisation=organisation_id,
    )
    return _made(response, row)


@router.get(
    "/members/{member_id}",
    operation_id="get_member",
    summary="Read a member",
    responses={**TAGGED, **READ},
)
async def get_member(
    caller: Caller, office: Desks, member_id: MemberId, response: Response
) -> MemberAnswer:
    """One member, with its teams. Everybody may read itself."""
    row = await members.get(office, caller, member_id)
    tag(response, row.revision)
    return shown(row)


@router.patch(
    "/members/{member_id}",
    operation_id="update_member",
    summary="Change or disable a member",
    responses={**TAGGED, **CHANGE},
)
async def update_member(
    caller: Caller,
    office: Desks,
    member_id: MemberId,
    revision: Revision,
    body: MemberChange,
    response: Response,
) -> MemberAnswer:
    """Name, email address, role, and whether its rights are over.

    Whose rights the key does not cover it cannot change at all. An organisation keeps an owner.
    """
    said = stated(body)
    row = await members.update(
        office,
        caller,
        member_id,
        name=said.get("name"),
        email=said.get("email"),
        role=said.get("role"),
        disabled=said.get("disabled"),
        revision=revision,
    )
    tag(response, row.revision)
    return shown(row)


def _made(response: Response, row: Member) -> MemberAnswer:
    location(response, f"/members/{row.id}")
    tag(response, row.revision)
    return shown(row)


def shown(row: Member) -> MemberAnswer:
    """A member as it is answered."""
    return MemberAnswer.model_validate(
        {
            "id": row.id,
            "organisation_id": row.organisation_id,
            "kind": row.kind,
            "name": row.name,
            "email": row.email,
            "role": row.role,
            "teams": [
                {
                    "team_id": one.team_id,
                    "team_name": one.team_name,
                    "member_id": one.member_id,
                    "member_name": one.member_name,
                    "role": one.role,
                }
                for one in row.teams
            ],
            "created_at": shown_time(row.created_ms),
            "disabled": row.disabled_ms is not None,
            "disabled_at": shown_time_or_none(row.disabled_ms),
            "revision": row.revision,
        }
    )

"""Teams: whom keys are issued to."""

from fastapi import APIRouter, Response
from pydantic import Field

from gateway.accounts import teams
from gateway.accounts.rows import Team
from gateway.api.admin.caller import AdminRoute, Caller, Desks
from gateway.api.admin.demands import DataCollection, Zdr, collection, privacy, privacy_change
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
    Name,
    OrganisationId,
    Part,
    Patch,
    TeamId,
    Time,
    location,
    shown_time,
    shown_time_or_none,
    stated,
    tag,
)

router = APIRouter(route_class=AdminRoute, tags=["teams"])


class TeamAnswer(Answer):
    """A team; its members, keys, settings and budget have paths of their own."""

    id: str
    organisation_id: str
    name: str
    created_at: Time
    disabled: bool = Field(description="Whether its keys are refused.")
    disabled_at: Time | None
    zdr: Zdr
    data_collection: DataCollection
    revision: int


class NewTeam(Body):
    """A team to be made."""

    name: Name
    zdr: Zdr = False
    data_collection: DataCollection = "allow"


class TeamChange(Patch):
    """What is to change of a team."""

    name: Name = ""
    disabled: bool = False
    zdr: Zdr = False
    data_collection: DataCollection = "allow"


@router.get(
    "/organisations/{organisation_id}/teams",
    operation_id="list_teams",
    summary="List teams",
    responses=READ,
)
async def list_teams(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Part[TeamAnswer]:
    """The teams of an organisation that the key may see, oldest first."""
    page = await teams.list_page(
        office, caller, organisation=organisation_id, limit=limit, cursor=cursor
    )
    return Part(data=[shown(row) for row in page.items], next_cursor=page.next_cursor)


@router.post(
    "/organisations/{organisation_id}/teams",
    operation_id="create_team",
    summary="Make a team",
    status_code=201,
    responses={**CREATED, **CREATE},
)
async def create_team(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    body: NewTeam,
    response: Response,
) -> TeamAnswer:
    """A team of an organisation, without keys, settings or budget at first."""
    row = await teams.create(
        office,
        caller,
        body.name,
        organisation=organisation_id,
        privacy=privacy(zdr=body.zdr, data_collection=body.data_collection),
    )
    location(response, f"/teams/{row.id}")
    tag(response, row.revision)
    return shown(row)


@router.get(
    "/teams/{team_id}",
    operation_id="get_team",
    summary="Read a team",
    responses={**TAGGED, **READ},
)
async def get_team(
    caller: Caller, office: Desks, team_id: TeamId, response: Response
) -> TeamAnswer:
    """One team."""
    row = await teams.get(office, caller, team_id)
    tag(response, row.revision)
    return shown(row)


@router.patch(
    "/teams/{team_id}",
    operation_id="update_team",
    summary="Change or disable a team",
    responses={**TAGGED, **CHANGE},
)
async def update_team(
    caller: Caller,
    office: Desks,
    team_id: TeamId,
    revision: Revision,
    body: TeamChange,
    response: Response,
) -> TeamAnswer:
    """Its name, what it demands of those who see its requests, and whether its keys are refused.

    Teams are not deleted: what they spent goes on naming them.
    """
    said = stated(body)
    row = await teams.update(
        office,
        caller,
        team_id,
        name=said.get("name"),
        privacy=privacy_change(said),
        disabled=said.get("disabled"),
        revision=revision,
    )
    tag(response, row.revision)
    return shown(row)


def shown(row: Team) -> TeamAnswer:
    """A team as it is answered."""
    return TeamAnswer(
        id=row.id,
        organisation_id=row.organisation_id,
        name=row.name,
        created_at=shown_time(row.created_ms),
        disabled=row.disabled_ms is not None,
        disabled_at=shown_time_or_none(row.disabled_ms),
        zdr=row.privacy.zdr,
        data_collection=collection(row.privacy),
        revision=row.revision,
    )

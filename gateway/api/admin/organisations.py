"""Organisations: the owners of teams."""

from fastapi import APIRouter, Response

from gateway.accounts import organisations
from gateway.accounts.rows import Organisation
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
    Time,
    location,
    shown_time,
    stated,
    tag,
)

router = APIRouter(route_class=AdminRoute, tags=["organisations"])


class OrganisationAnswer(Answer):
    """An organisation; its settings and budget have paths of their own."""

    id: str
    name: str
    created_at: Time
    zdr: Zdr
    data_collection: DataCollection
    revision: int


class NewOrganisation(Body):
    """An organisation to be made."""

    name: Name
    zdr: Zdr = False
    data_collection: DataCollection = "allow"


class OrganisationChange(Patch):
    """What is to change of an organisation."""

    name: Name = ""
    zdr: Zdr = False
    data_collection: DataCollection = "allow"


@router.get(
    "/organisations",
    operation_id="list_organisations",
    summary="List organisations",
    responses=READ,
)
async def list_organisations(
    caller: Caller, office: Desks, limit: Limit = PAGE, cursor: Cursor = None
) -> Part[OrganisationAnswer]:
    """The organisations that the key may see: its own, or all if it administers the installation."""
    page = await organisations.list_page(office, caller, limit=limit, cursor=cursor)
    return Part(data=[shown(row) for row in page.items], next_cursor=page.next_cursor)


@router.post(
    "/organisations",
    operation_id="create_organisation",
    summary="Make an organisation",
    status_code=201,
    responses={**CREATED, **CREATE},
)
async def create_organisation(
    caller: Caller, office: Desks, body: NewOrganisation, response: Response
) -> OrganisationAnswer:
    """Only a key that administers the whole installation can."""
    row = await organisations.create(
        office,
        caller,
        body.name,
        privacy=privacy(zdr=body.zdr, data_collection=body.data_collection),
    )
    location(response, f"/organisations/{row.id}")
    tag(response, row.revision)
    return shown(row)


@router.get(
    "/organisations/{organisation_id}",
    operation_id="get_organisation",
    summary="Read an organisation",
    responses={**TAGGED, **READ},
)
async def get_organisation(
    caller: Caller, office: Desks, organisation_id: OrganisationId, response: Response
) -> OrganisationAnswer:
    """One organisation."""
    row = await organisations.get(office, caller, organisation_id)
    tag(response, row.revision)
    return shown(row)


@router.patch(
    "/organisations/{organisation_id}",
    operation_id="update_organisation",
    summary="Change an organisation",
    responses={**TAGGED, **CHANGE},
)
async def update_organisation(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    revision: Revision,
    body: OrganisationChange,
    response: Response,
) -> OrganisationAnswer:
    """Its name, and what it demands of those who see its requests. Owners only rename."""
    said = stated(body)
    row = await organisations.update(
        office,
        caller,
        organisation_id,
        name=said.get("name"),
        privacy=privacy_change(said),
        revision=revision,
    )
    tag(response, row.revision)
    return shown(row)


def shown(row: Organisation) -> OrganisationAnswer:
    """An organisation as it is answered."""
    return OrganisationAnswer(
        id=row.id,
        name=row.name,
        created_at=shown_time(row.created_ms),
        zdr=row.privacy.zdr,
        data_collection=collection(row.privacy),
        revision=row.revision,
    )

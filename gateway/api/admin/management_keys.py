"""Management keys: they administer, and cannot do inference. Shown once, when they are made or rotated."""

from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from gateway.accounts import management_keys
from gateway.accounts.rows import ManagementKey
from gateway.api.admin.caller import AdminRoute, Caller, Desks
from gateway.api.admin.errors import CHANGE, CREATE, READ
from gateway.api.admin.keys import Ref, Rotation
from gateway.api.admin.revisions import Revision
from gateway.api.admin.shapes import (
    CREATED,
    PAGE,
    TAGGED,
    Answer,
    Body,
    Cursor,
    Limit,
    ManagementKeyId,
    Moment,
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

router = APIRouter(route_class=AdminRoute, tags=["management keys"])

Scope = Literal[
    "organisations:read",
    "organisations:write",
    "teams:read",
    "teams:write",
    "members:read",
    "members:write",
    "keys:read",
    "keys:write",
    "management_keys:read",
    "management_keys:write",
    "budgets:read",
    "budgets:write",
    "settings:read",
    "settings:write",
    "audit:read",
    "usage:read",
]
Scopes = Annotated[
    list[Scope],
    Field(
        min_length=1,
        max_length=16,
        description="What it may do, as far as its member's role allows; `keys:write` covers"
        " `keys:read`, and so on. Never more than who makes it may.",
        examples=[["teams:read", "keys:write"]],
    ),
]


class ManagementKeyAnswer(Answer):
    """A management key, without the key."""

    id: str
    organisation_id: str | None = Field(description="Null: it administers the whole installation.")
    member_id: str | None = Field(description="The member whose roles it has; null: nobody's.")
    name: str
    prefix: str
    last4: str
    scopes: list[str]
    created_by: str | None
    created_at: Time
    expires_at: Time | None
    disabled: bool
    disabled_at: Time | None
    old_secret_until: Time | None = Field(
        description="Until when the secret before the last rotation is taken; null: there was none."
    )
    revision: int


class IssuedManagementKey(ManagementKeyAnswer):
    """A management key with the key itself."""

    secret: str = Field(description="The key. Nobody can ever read it again.")


class NewManagementKey(Body):
    """A management key to be made."""

    name: Name
    scopes: Scopes
    member_id: Ref | None = Field(
        None, description="Whose roles it is to have; absent: nobody's, and its scopes alone count."
    )
    expires_at: Moment | None = Field(None, description="Null or absent: never.")


class ManagementKeyChange(Patch):
    """What is to change of a management key."""

    name: Name = ""
    disabled: bool = False


@router.get(
    "/organisations/{organisation_id}/management-keys",
    operation_id="list_management_keys",
    summary="List management keys",
    responses=READ,
)
async def list_management_keys(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Part[ManagementKeyAnswer]:
    """Those of an organisation, oldest first."""
    page = await management_keys.list_page(
        office, caller, organisation=organisation_id, limit=limit, cursor=cursor
    )
    return Part(data=[shown(row) for row in page.items], next_cursor=page.next_cursor)


@router.post(
    "/organisations/{organisation_id}/management-keys",
    operation_id="create_management_key",
    summary="Make a management key",
    status_code=201,
    responses={**CREATED, **CREATE},
)
async def create_management_key(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    body: NewManagementKey,
    response: Response,
) -> IssuedManagementKey:
    """For an organisation. Those for the whole installation are made at the command line only."""
    row, secret = await management_keys.create(
        office,
        caller,
        organisation=organisation_id,
        member=body.member_id,
        name=body.name,
        scopes=frozenset(body.scopes),
        expires_ms=body.expires_at,
    )
    location(response, f"/management-keys/{row.id}")
    return _issued(response, row, secret)


@router.get(
    "/management-keys/{management_key_id}",
    operation_id="get_management_key",
    summary="Read a management key",
    responses={**TAGGED, **READ},
)
async def get_management_key(
    caller: Caller, office: Desks, management_key_id: ManagementKeyId, response: Response
) -> ManagementKeyAnswer:
    """One management key."""
    row = await management_keys.get(office, caller, management_key_id)
    tag(response, row.revision)
    return shown(row)


@router.patch(
    "/management-keys/{management_key_id}",
    operation_id="update_management_key",
    summary="Change or disable a management key",
    responses={**TAGGED, **CHANGE},
)
async def update_management_key(
    caller: Caller,
    office: Desks,
    management_key_id: ManagementKeyId,
    revision: Revision,
    body: ManagementKeyChange,
    response: Response,
) -> ManagementKeyAnswer:
    """Its name, and whether it is refused. Its scopes are what they were when it was made."""
    said = stated(body)
    row = await management_keys.update(
        office,
        caller,
        management_key_id,
        name=said.get("name"),
        disabled=said.get("disabled"),
        revision=revision,
    )
    tag(response, row.revision)
    return shown(row)


@router.post(
    "/management-keys/{management_key_id}/rotate",
    operation_id="rotate_management_key",
    summary="Rotate a management key",
    responses={**TAGGED, **CREATE},
)
async def rotate_management_key(
    caller: Caller,
    office: Desks,
    management_key_id: ManagementKeyId,
    body: Rotation,
    response: Response,
) -> IssuedManagementKey:
    """The same key with another secret; the old one is taken too until the overlap is over."""
    row, secret = await management_keys.rotate(
        office, caller, management_key_id, overlap=body.overlap_seconds
    )
    return _issued(response, row, secret)


def _issued(response: Response, row: ManagementKey, secret: str) -> IssuedManagementKey:
    tag(response, row.revision)
    return IssuedManagementKey(secret=secret, **shown(row).model_dump())


def shown(row: ManagementKey) -> ManagementKeyAnswer:
    """A management key as it is answered."""
    return ManagementKeyAnswer(
        id=row.id,
        organisation_id=row.organisation_id,
        member_id=row.member_id,
        name=row.name,
        prefix=row.prefix,
        last4=row.last4,
        scopes=list(row.scopes),
        created_by=row.created_by,
        created_at=shown_time(row.created_ms),
        expires_at=shown_time_or_none(row.expires_ms),
        disabled=row.disabled_ms is not None,
        disabled_at=shown_time_or_none(row.disabled_ms),
        old_secret_until=shown_time_or_none(row.old_expires_ms),
        revision=row.revision,
    )

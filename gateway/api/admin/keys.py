"""Inference keys: shown once, when they are made or rotated."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from gateway.accounts import keys
from gateway.accounts.key_secrets import LONGEST_OVERLAP
from gateway.accounts.rows import Key
from gateway.api.admin.caller import AdminRoute, Caller, Desks
from gateway.api.admin.demands import DataCollection, Zdr, collection, privacy, privacy_change
from gateway.api.admin.errors import CHANGE, CREATE, READ
from gateway.api.admin.revisions import Revision
from gateway.api.admin.shapes import (
    CREATED,
    PAGE,
    TAGGED,
    WHOLE,
    Answer,
    Body,
    Cursor,
    KeyId,
    Limit,
    Moment,
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

router = APIRouter(route_class=AdminRoute, tags=["keys"])

Ref = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")]
Overlap = Annotated[
    int,
    Field(
        ge=0,
        le=LONGEST_OVERLAP,
        description="Seconds for which the old key goes on being taken; 0: not at all.",
    ),
    WHOLE,
]


class KeyAnswer(Answer):
    """A key, without the key: `prefix` and `last4` are for recognising it."""

    id: str
    organisation_id: str
    team_id: str
    team_name: str
    name: str
    prefix: str
    last4: str
    member_id: str | None = Field(description="Whose key it is, where it is somebody's.")
    created_by: str | None = Field(description="Who made it: a member, a key, or `operator`.")
    created_at: Time
    updated_at: Time | None
    expires_at: Time | None
    disabled: bool
    disabled_at: Time | None
    old_secret_until: Time | None = Field(
        description="Until when the secret before the last rotation is taken; null: there was none."
    )
    zdr: Zdr
    data_collection: DataCollection
    revision: int


class IssuedKey(KeyAnswer):
    """A key with the key itself."""

    secret: str = Field(description="The key. Nobody can ever read it again.")


class NewKey(Body):
    """A key to be made."""

    name: Name
    member_id: Ref | None = Field(None, description="Whose it is to be; absent: nobody's.")
    expires_at: Moment | None = Field(None, description="Null or absent: never.")
    zdr: Zdr = False
    data_collection: DataCollection = "allow"


class KeyChange(Patch):
    """What is to change of a key."""

    name: Name = ""
    disabled: bool = False
    expires_at: Moment | None = Field(None, description="Null: it never expires.")
    zdr: Zdr = False
    data_collection: DataCollection = "allow"


class Rotation(Body):
    """How a key is rotated."""

    overlap_seconds: Overlap = 86_400


@router.get(
    "/organisations/{organisation_id}/keys",
    operation_id="list_keys",
    summary="List keys",
    responses=READ,
)
async def list_keys(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    team: Annotated[
        str | None, Query(pattern=r"^[A-Za-z0-9_-]{1,60}$", description="Only this team's, by id.")
    ] = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Part[KeyAnswer]:
    """The keys of an organisation that the caller may see, oldest first."""
    page = await keys.list_page(
        office, caller, organisation=organisation_id, team=team, limit=limit, cursor=cursor
    )
    return Part(data=[shown(row) for row in page.items], next_cursor=page.next_cursor)


@router.post(
    "/teams/{team_id}/keys",
    operation_id="create_key",
    summary="Make a key",
    status_code=201,
    responses={**CREATED, **CREATE},
)
async def create_key(
    caller: Caller, office: Desks, team_id: TeamId, body: NewKey, response: Response
) -> IssuedKey:
    """`secret` is the key, which is told this once."""
    row, secret = await keys.create(
        office,
        caller,
        team=team_id,
        name=body.name,
        member=body.member_id,
        expires_ms=body.expires_at,
        privacy=privacy(zdr=body.zdr, data_collection=body.data_collection),
    )
    location(response, f"/keys/{row.id}")
    return _issued(response, row, secret)


@router.get(
    "/keys/{key_id}",
    operation_id="get_key",
    summary="Read a key",
    responses={**TAGGED, **READ},
)
async def get_key(caller: Caller, office: Desks, key_id: KeyId, response: Response) -> KeyAnswer:
    """One key."""
    row = await keys.get(office, caller, key_id)
    tag(response, row.revision)
    return shown(row)


@router.patch(
    "/keys/{key_id}",
    operation_id="update_key",
    summary="Change or disable a key",
    responses={**TAGGED, **CHANGE},
)
async def update_key(
    caller: Caller,
    office: Desks,
    key_id: KeyId,
    revision: Revision,
    body: KeyChange,
    response: Response,
) -> KeyAnswer:
    """Name, expiry, whether it is refused, and what it demands of those who see its requests."""
    said = stated(body)
    more: dict[str, Any] = {"expires_ms": said["expires_at"]} if "expires_at" in said else {}
    row = await keys.update(
        office,
        caller,
        key_id,
        name=said.get("name"),
        privacy=privacy_change(said),
        disabled=said.get("disabled"),
        revision=revision,
        **more,
    )
    tag(response, row.revision)
    return shown(row)


@router.post(
    "/keys/{key_id}/rotate",
    operation_id="rotate_key",
    summary="Rotate a key",
    responses={**TAGGED, **CREATE},
)
async def rotate_key(
    caller: Caller, office: Desks, key_id: KeyId, body: Rotation, response: Response
) -> IssuedKey:
    """The same key with another secret; the old one is taken too until the overlap is over."""
    row, secret = await keys.rotate(office, caller, key_id, overlap=body.overlap_seconds)
    return _issued(response, row, secret)


def _issued(response: Response, row: Key, secret: str) -> IssuedKey:
    tag(response, row.revision)
    return IssuedKey(secret=secret, **shown(row).model_dump())


def shown(row: Key) -> KeyAnswer:
    """A key as it is answered."""
    return KeyAnswer(
        id=row.id,
        organisation_id=row.organisation_id,
        team_id=row.team_id,
        team_name=row.team_name,
        name=row.name,
        prefix=row.prefix,
        last4=row.last4,
        member_id=row.member_id,
        created_by=row.created_by,
        created_at=shown_time(row.created_ms),
        updated_at=shown_time_or_none(row.updated_ms),
        expires_at=shown_time_or_none(row.expires_ms),
        disabled=row.disabled_ms is not None,
        disabled_at=shown_time_or_none(row.disabled_ms),
        old_secret_until=shown_time_or_none(row.old_expires_ms),
        zdr=row.privacy.zdr,
        data_collection=collection(row.privacy),
        revision=row.revision,
    )

"""The audit log: every administrative act, who did it, from where, and what it changed."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import Field

from gateway.accounts import audit
from gateway.accounts.office import Office
from gateway.accounts.roles import Actor
from gateway.accounts.rows import AuditLine
from gateway.api.admin.caller import AdminRoute, Caller, Desks
from gateway.api.admin.errors import READ
from gateway.api.admin.shapes import (
    PAGE,
    Answer,
    Cursor,
    Limit,
    Moment,
    OrganisationId,
    Part,
    Time,
    shown_time,
)

router = APIRouter(route_class=AdminRoute, tags=["audit"])

_ID = r"^[ -~]{1,60}$"
By = Annotated[str | None, Query(pattern=_ID, description="The id of who did it.")]
Target = Annotated[str | None, Query(pattern=_ID, description="The id of what it was done to.")]
Action = Annotated[
    str | None,
    Query(
        pattern=r"^[a-z_.]{1,40}$",
        description="Such as `key.create`; `key.` finds all of keys.",
    ),
]
Since = Annotated[Moment | None, Query(description="Not before this time.")]
Until = Annotated[Moment | None, Query(description="Before this time.")]


class AuditAnswer(Answer):
    """One administrative act."""

    id: int
    at: Time
    organisation_id: str | None = Field(description="Null: the installation itself.")
    actor_kind: str = Field(description="`operator`, `management_key`, `key` or `system`.")
    actor_id: str
    actor_name: str
    via: str = Field(description="`cli`, `api`, `apply` or `start`.")
    source: str | None = Field(description="The caller's address, or the command line's machine.")
    action: str
    target_kind: str
    target_id: str
    before: dict[str, Any] | None = Field(description="What differs, as it was; null: not there.")
    after: dict[str, Any] | None = Field(description="And as it is; null: it is gone.")
    request_id: str | None


@router.get(
    "/organisations/{organisation_id}/audit",
    operation_id="list_audit",
    summary="Read the audit log of an organisation",
    responses=READ,
)
async def list_audit(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    by: By = None,
    target: Target = None,
    action: Action = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Part[AuditAnswer]:
    """Newest first; with filters, what all of them fit."""
    filters = {"by": by, "target": target, "action": action, "since_ms": since, "until_ms": until}
    return await _page(office, caller, organisation_id, filters, limit, cursor)


@router.get(
    "/audit",
    operation_id="list_whole_audit",
    summary="Read the audit log",
    responses=READ,
)
async def list_whole_audit(
    caller: Caller,
    office: Desks,
    by: By = None,
    target: Target = None,
    action: Action = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Part[AuditAnswer]:
    """All that the key may see, newest first: of its organisation, or of all and of the installation."""
    filters = {"by": by, "target": target, "action": action, "since_ms": since, "until_ms": until}
    return await _page(office, caller, None, filters, limit, cursor)


async def _page(
    office: Office,
    caller: Actor,
    organisation: str | None,
    filters: dict[str, Any],
    limit: int,
    cursor: str | None,
) -> Part[AuditAnswer]:
    page = await audit.list_page(
        office, caller, organisation=organisation, limit=limit, cursor=cursor, **filters
    )
    return Part(data=[_shown(line) for line in page.items], next_cursor=page.next_cursor)


def _shown(line: AuditLine) -> AuditAnswer:
    return AuditAnswer(
        id=line.id,
        at=shown_time(line.at_ms),
        organisation_id=line.organisation_id,
        actor_kind=line.actor_kind,
        actor_id=line.actor_id,
        actor_name=line.actor_name,
        via=line.via,
        source=line.source,
        action=line.action,
        target_kind=line.target_kind,
        target_id=line.target_id,
        before=line.before,
        after=line.after,
        request_id=line.request_id,
    )

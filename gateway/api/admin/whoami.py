"""Who calls, as the gateway sees it."""

from fastapi import APIRouter
from pydantic import Field

from gateway.accounts.roles import Actor, allowed
from gateway.api.admin.caller import AdminRoute, Caller, Desks
from gateway.api.admin.errors import refusals
from gateway.api.admin.shapes import Answer

router = APIRouter(route_class=AdminRoute, tags=["whoami"])


class Whoami(Answer):
    """The caller's own key and rights."""

    kind: str = Field(description="What calls: `management_key`.")
    id: str = Field(description="The id of the key.")
    name: str
    organisation_id: str | None = Field(
        description="The organisation it belongs to; null: it administers the whole installation."
    )
    member_id: str | None = Field(description="The member whose key it is; null: nobody's.")
    role: str | None = Field(
        description="Its role in the organisation; null: in single teams only."
    )
    team_roles: dict[str, str] = Field(description="Its roles in single teams, by their ids.")
    scopes: list[str] = Field(description="What it may do in all of the organisation.")
    team_scopes: dict[str, list[str]] = Field(description="What it may do in single teams.")


@router.get("/whoami", operation_id="whoami", summary="Who am I?", responses=refusals(403))
async def whoami(caller: Caller, office: Desks) -> Whoami:
    """The key that this is asked with, and what it may do."""
    async with office.look(caller) as look:
        return _shown(look.actor)


def _shown(actor: Actor) -> Whoami:
    where = actor.organisation_id
    return Whoami(
        kind=actor.kind,
        id=actor.id,
        name=actor.name,
        organisation_id=where,
        member_id=actor.member_id,
        role=actor.role,
        team_roles=dict(actor.team_roles),
        scopes=sorted(allowed(actor, where)),
        team_scopes={team: sorted(allowed(actor, where, team)) for team in actor.team_roles},
    )

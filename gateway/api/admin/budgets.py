"""Budgets: at most one for each organisation, team, member and key."""

from typing import Annotated, Literal

from fastapi import APIRouter, Response
from pydantic import Field

from gateway.accounts import budgets
from gateway.accounts.rows import Budget
from gateway.api.admin.caller import AdminRoute, Caller, Desks
from gateway.api.admin.errors import CHANGE, READ, REMOVE
from gateway.api.admin.levels import LEVELS, LevelPath
from gateway.api.admin.revisions import Revision
from gateway.api.admin.shapes import (
    PAGE,
    TAGGED,
    Answer,
    Body,
    Cursor,
    Limit,
    OrganisationId,
    Part,
    Time,
    shown_time,
    tag,
)
from gateway.errors import NotFound

router = APIRouter(route_class=AdminRoute, tags=["budgets"])

Period = Literal["total", "daily", "weekly", "monthly"]
OnStateLoss = Literal["lease", "refuse"]
Amount = Annotated[
    str,
    Field(
        pattern=r"^[0-8]?[0-9]{1,6}(\.[0-9]{1,12})?$",
        description="A decimal in a string, exact: up to 12 decimals, below 9,000,000.",
        examples=["50.00"],
    ),
]


class BudgetAnswer(Answer):
    """A limit on spend."""

    id: str
    scope: Literal["organisation", "team", "member", "key"]
    owner_id: str
    owner_name: str
    organisation_id: str
    amount: str = Field(description="A decimal, exact.")
    currency: str
    period: Period
    on_state_loss: OnStateLoss
    created_at: Time
    revision: int


class NewBudget(Body):
    """A budget, instead of the one that there was."""

    amount: Amount
    period: Period = Field(
        description="UTC; weeks begin on Monday. `total` never begins anew.", examples=["monthly"]
    )
    currency: str = Field("USD", pattern="^[A-Z]{3}$")
    on_state_loss: OnStateLoss | None = Field(
        None,
        description="What a process may do while the shared counters are out of reach: spend what it had"
        " leased, or nothing. Null or absent: as it was, at first `lease`.",
    )


@router.get(
    "/organisations/{organisation_id}/budgets",
    operation_id="list_budgets",
    summary="List budgets",
    responses=READ,
)
async def list_budgets(
    caller: Caller,
    office: Desks,
    organisation_id: OrganisationId,
    limit: Limit = PAGE,
    cursor: Cursor = None,
) -> Part[BudgetAnswer]:
    """Those of an organisation, its teams, members and keys that the key may see, oldest first."""
    page = await budgets.list_page(
        office, caller, organisation=organisation_id, limit=limit, cursor=cursor
    )
    return Part(data=[shown(row) for row in page.items], next_cursor=page.next_cursor)


def _add(level: LevelPath) -> None:
    path = f"{level.of_one}/budget"

    @router.get(
        path,
        operation_id=f"get_{level.name}_budget",
        summary=f"Read the budget of {level.article}",
        responses={**TAGGED, **READ},
    )
    async def get_budget(
        caller: Caller, office: Desks, owner: Annotated[str, level.id_in_path()], response: Response
    ) -> BudgetAnswer:
        """404 with code `budget_not_found` where there is none."""
        row = await budgets.get_budget(office, caller, level.name, owner)
        if row is None:
            raise NotFound(f"this {level.name} has no budget", code="budget_not_found")
        tag(response, row.revision)
        return shown(row)

    @router.put(
        path,
        operation_id=f"set_{level.name}_budget",
        summary=f"Set the budget of {level.article}",
        responses={**TAGGED, **CHANGE},
    )
    async def set_budget(
        caller: Caller,
        office: Desks,
        owner: Annotated[str, level.id_in_path()],
        revision: Revision,
        body: NewBudget,
        response: Response,
    ) -> BudgetAnswer:
        """Instead of the one that it had: what was spent in the period goes on counting.

        `If-Match: "0"` sets it only where there is none yet.
        """
        row = await budgets.set_budget(
            office,
            caller,
            level.name,
            owner,
            budgets.limit(body.amount, body.period, body.currency),
            on_state_loss=body.on_state_loss,
            revision=revision,
        )
        tag(response, row.revision)
        return shown(row)

    @router.delete(
        path,
        operation_id=f"remove_{level.name}_budget",
        summary=f"Take the budget of {level.article} away",
        status_code=204,
        responses=REMOVE,
    )
    async def remove_budget(
        caller: Caller, office: Desks, owner: Annotated[str, level.id_in_path()], revision: Revision
    ) -> None:
        """Its spend has no limit of its own any more."""
        await budgets.remove(office, caller, level.name, owner, revision=revision)


for _level in LEVELS:
    _add(_level)


def shown(row: Budget) -> BudgetAnswer:
    """A budget as it is answered."""
    return BudgetAnswer.model_validate(
        {
            "id": row.id,
            "scope": row.scope,
            "owner_id": row.owner_id,
            "owner_name": row.owner_name,
            "organisation_id": row.organisation_id,
            "amount": row.limit.decimal_string(),
            "currency": row.limit.currency,
            "period": row.period,
            "on_state_loss": row.on_state_loss,
            "created_at": shown_time(row.created_ms),
            "revision": row.revision,
        }
    )

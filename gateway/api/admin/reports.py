"""Reports: what was used and what it cost, as JSON or CSV."""

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from pydantic import Field

from gateway.accounts.usage_readers import reach
from gateway.api.admin.caller import AdminRoute, Caller, Desks
from gateway.api.admin.errors import READ
from gateway.api.admin.shapes import Answer, Moment, Time
from gateway.reports import asking, export, usage, windows

router = APIRouter(route_class=AdminRoute, tags=["reports"])

_MOST = 100  # filters
Decimal = Annotated[str, Field(description="A decimal, exact.", examples=["12.000345"])]
By = Annotated[
    str,
    Query(
        max_length=100,
        description=f"What each row is for: up to {usage.MOST_GROUPS} of {', '.join(usage.GROUPS)}, with"
        " commas between; empty for totals only.",
        examples=["team,model"],
    ),
]
Organisation = Annotated[
    str | None,
    Query(
        max_length=120,
        description="Id or name: only what is its. Absent: all that the key may see.",
    ),
]
Last = Annotated[
    str | None,
    Query(
        max_length=10,
        description="Up to now, such as `24h`, `7d` or `4w`; `7d` if no time is given.",
        examples=["7d"],
    ),
]
From = Annotated[
    Moment | None, Query(alias="from", description="Not before this time; a full hour, UTC.")
]
To = Annotated[
    Moment | None, Query(description="Before this time; a full hour, UTC. Absent: up to now.")
]
Only = Annotated[
    list[Annotated[str, Field(max_length=400)]] | None,
    Query(
        max_length=_MOST,
        description=f"`GROUP=ID`: only what is of this one; GROUP is one of {', '.join(usage.COLUMNS)}."
        " Several of a group are alternatives.",
        examples=[["model=moonshotai/kimi-k2.6"]],
    ),
]
Sort = Annotated[
    Literal["charge", "cost", "requests", "attempts", "failures", "tokens", "input", "output"]
    | None,
    Query(description="Largest first. Absent: by time, where that is in `by`; else by charge."),
]
Top = Annotated[
    int,
    Query(ge=1, le=usage.MOST_ROWS, description="Rows of each pair of currencies; see `others`."),
]


class UsageSums(Answer):
    """What was used. Corrections count in amounts and tokens; requests and attempts are as they were."""

    cost: Decimal
    cost_currency: str
    charge: Decimal
    charge_currency: str
    requests: int = Field(description="That reached a provider, each once.")
    attempts: int
    failures: int = Field(description="Attempts in which the provider failed.")
    fresh_input: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    output: int = Field(description="Reasoning included.")
    reasoning: int
    searches: int
    ttft_count: int = Field(description="Attempts with a first token: the sample of these times.")
    ttft_mean_ms: int | None
    ttft_p50_at_most_ms: int | None = Field(
        description="A bound below which the quantile is; null: none counted, or above a minute."
    )
    ttft_p90_at_most_ms: int | None
    ttft_p99_at_most_ms: int | None
    duration_count: int = Field(description="Attempts that succeeded: the sample of these times.")
    duration_mean_ms: int | None
    duration_p50_at_most_ms: int | None
    duration_p90_at_most_ms: int | None
    duration_p99_at_most_ms: int | None


class UsageRow(UsageSums):
    """The sums of one group in one pair of currencies."""

    group: dict[str, str] = Field(description="By the names in `by`; empty for others and totals.")
    names: dict[str, str] = Field(description="What teams, keys and members of it are called.")
    groups: int = Field(description="How many groups it stands for.")
    before: UsageSums | None = Field(description="Of the window before, if `compare` asks for it.")


class UsageReport(Answer):
    """What was used in a window of time. Amounts of two currencies are never added."""

    from_: Time = Field(alias="from")
    to: Time
    by: list[str]
    sandbox: bool
    rows: list[UsageRow]
    others: list[UsageRow] = Field(description="Those beyond `top`, as one row of each currency.")
    totals: list[UsageRow] = Field(description="Of all, one row of each pair of currencies.")


_CSV: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The report.",
        "content": {"text/csv": {"schema": {"type": "string"}}},
    }
}


@router.get(
    "/reports/usage",
    operation_id="get_usage_report",
    summary="Report usage and what it cost",
    response_model=UsageReport,
    responses={**_CSV, **READ},
)
async def get_usage_report(
    caller: Caller,
    office: Desks,
    *,
    by: By = "team",
    organisation: Organisation = None,
    last: Last = None,
    from_: From = None,
    to: To = None,
    only: Only = None,
    sandbox: Annotated[
        bool, Query(description="Traffic to stand-ins, which is left out otherwise.")
    ] = False,
    compare: Annotated[bool, Query(description="Tell of the same time before as well.")] = False,
    sort: Sort = None,
    top: Top = 100,
    format: Annotated[  # noqa: A002 - the name of the parameter
        Literal["json", "csv"] | None,
        Query(description="Absent: CSV if `Accept` names `text/csv`, else JSON."),
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Sums over the ledger, exact, to the last half second. What reached no provider is in none.

    Cost is what providers bill, charge what teams pay. A window has 400 days at most.
    """
    seen = await reach(office, caller, organisation)
    question = usage.Question(
        window=asking.between_or_last(office.clock.now(), last, from_, to),
        by=asking.groups(by),
        only=asking.filters(only or ()),
        organisation_id=seen.organisation_id,
        team_ids=seen.team_ids,
        sandbox=sandbox,
        sort=sort,
        top=top,
        compare=compare,
    )
    found = await usage.report(office.database, question)
    if format == "csv" or (format is None and "text/csv" in accept.lower()):
        name = f"usage-{windows.shown(question.window.begin)[:10]}.csv"
        return Response(
            await asyncio.to_thread(export.csv_text, found),
            media_type="text/csv; charset=utf-8",
            headers={"content-disposition": f'attachment; filename="{name}"'},
        )
    answer = UsageReport.model_validate(export.body(found))
    return Response(answer.model_dump_json(by_alias=True), media_type="application/json")

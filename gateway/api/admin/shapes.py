"""What bodies and answers have in common: strict models, times, ids and pages."""

import datetime as dt
import re
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Path, Query, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from gateway.accounts.pages import DEFAULT_LIMIT, MAX_LIMIT
from gateway.api.admin.edge import BASE

Shown = TypeVar("Shown", bound=BaseModel)

_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


class Body(BaseModel):
    """What a caller sends: nothing is converted, and nothing is let through that is not named.

    So no caller can set what is not his to set, such as an id or a revision.
    """

    model_config = ConfigDict(strict=True, extra="forbid")


def _without_defaults(schema: dict[str, Any]) -> None:
    for field in schema.get("properties", {}).values():
        field.pop("default", None)


class Patch(Body):
    """What is to change: a JSON merge patch (RFC 7396). What is absent stays; null clears, where it may.

    The defaults of its fields are never looked at, nor documented: see `stated`.
    """

    model_config = ConfigDict(strict=True, extra="forbid", json_schema_extra=_without_defaults)


class Answer(BaseModel):
    """What a caller is told."""

    model_config = ConfigDict(extra="forbid")


class Part(Answer, Generic[Shown]):
    """Part of a list, oldest first unless it says otherwise."""

    data: list[Shown]
    next_cursor: str | None = Field(
        description="What `cursor` asks for the next part with; null at the end."
    )


def stated(body: Body) -> dict[str, Any]:
    """The fields that a body has, null or not: what is absent is to be left as it is."""
    return {name: getattr(body, name) for name in body.model_fields_set}


def tag(response: Response, revision: int) -> None:
    """Name the revision that a response is of."""
    response.headers["etag"] = f'"{revision}"'


def location(response: Response, path: str) -> None:
    """Say where what was made is; `path` within the administrative API."""
    response.headers["location"] = BASE + path


_ETAG = {"description": "The revision, for `If-Match`.", "schema": {"type": "string"}}
_LOCATION = {"description": "Where it is.", "schema": {"type": "string"}}
TAGGED: dict[int | str, dict[str, Any]] = {200: {"headers": {"ETag": _ETAG}}}
"""Of what answers with a revision."""
CREATED: dict[int | str, dict[str, Any]] = {
    201: {"headers": {"ETag": _ETAG, "Location": _LOCATION}}
}
"""Of what makes something."""


def shown_time(milliseconds: int) -> str:
    """Epoch milliseconds as RFC 3339 in UTC, to the millisecond."""
    seconds, rest = divmod(milliseconds, 1000)
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.UTC).replace(tzinfo=None)
    return f"{moment.isoformat()}.{rest:03}Z"


def shown_time_or_none(milliseconds: int | None) -> str | None:
    """As `shown_time`."""
    return None if milliseconds is None else shown_time(milliseconds)


def _milliseconds(value: object) -> object:
    if not isinstance(value, str):
        return value if value is None else str(type(value))  # refused by the type, in its words
    if not _RFC_3339.fullmatch(value):
        raise ValueError("a time must be as in 2027-01-31T12:00:00Z")
    try:
        moment = dt.datetime.fromisoformat(value.upper())
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"there is no such time: {error}") from error


def _integral(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_integral)
"""Of whole numbers, behind their bounds: JSON may write one as 5.0 too (JSON Schema, 6.1.1)."""

_DATE_TIME = {"type": "string", "format": "date-time", "examples": ["2027-01-31T12:00:00Z"]}

Moment = Annotated[int, BeforeValidator(_milliseconds), WithJsonSchema(_DATE_TIME)]
"""A time that a caller sends, in epoch milliseconds."""

Time = Annotated[str, WithJsonSchema(_DATE_TIME)]
"""A time that a caller is told, from `shown_time`."""

Name = Annotated[
    str,
    Field(min_length=1, max_length=120, examples=["search"], json_schema_extra={"format": "name"}),
]
"""A name, of printable characters: the accounts check that (format `name`)."""

ID_PATTERN = r"^[A-Za-z0-9_-]{1,60}$"


def path_id(example: str) -> Any:
    """An id in a path. What cannot be one is not found, as any other that is not there."""
    return Path(pattern=ID_PATTERN, examples=[example])


OrganisationId = Annotated[str, path_id("org_2Yh0mWkZ9sQd8Rr1TtUuVv")]
TeamId = Annotated[str, path_id("team_2Yh0mWkZ9sQd8Rr1TtUuVv")]
MemberId = Annotated[str, path_id("mem_2Yh0mWkZ9sQd8Rr1TtUuVv")]
KeyId = Annotated[str, path_id("key_2Yh0mWkZ9sQd8Rr1TtUuVv")]
ManagementKeyId = Annotated[str, path_id("mgt_2Yh0mWkZ9sQd8Rr1TtUuVv")]

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="How many things a part has at most.")]
Cursor = Annotated[
    str | None,
    Query(
        max_length=200,
        description="`next_cursor` of the part before; without it the first part.",
        json_schema_extra={"format": "cursor"},
    ),
]
PAGE = DEFAULT_LIMIT

"""Optimistic concurrency: reads give a revision as `ETag`, changes say in `If-Match` which they are for."""

import re
from typing import Annotated

from fastapi import Depends, Header, Request

from gateway.api.routes import one_header
from gateway.errors import InvalidRequest, RevisionRequired

_TAG = re.compile(r'"([0-9]{1,9})"', re.ASCII)


async def _revision(
    request: Request,
    _: Annotated[
        str | None,
        Header(
            alias="If-Match",
            description='The `ETag` of the thing as it was read, such as `"3"`; `*` for whatever is there.',
            json_schema_extra={"pattern": r'^(\*|"[0-9]{1,9}")$'},
            examples=['"3"', "*"],
        ),
    ] = None,
) -> int | None:
    sent = (one_header(request, b"if-match") or b"").decode("latin-1").strip()
    if not sent:
        raise RevisionRequired(
            "say which revision the change is for: `If-Match` with the `ETag` of the thing as you read it,"
            " or `*` for whatever is there",
            param="If-Match",
        )
    if sent == "*":
        return None
    found = _TAG.fullmatch(sent)
    if found is None:
        raise InvalidRequest(
            '`If-Match` must be one strong tag as `ETag` has it, such as "3" with the quotes, or `*`',
            code="invalid_header",
            param="If-Match",
        )
    return int(found[1])


Revision = Annotated[int | None, Depends(_revision)]
"""The revision that a change is for; None: any."""

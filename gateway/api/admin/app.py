"""The administrative API itself: what is mounted at `/admin/v1`, and the document that describes it.

Routes translate: a request to a call of `gateway.accounts`, what that gives to an answer. Who may do what
is decided there. See `edge` for what happens around them, `caller` for who calls, `errors` for refusals.
"""

import asyncio
import re
from typing import Any, Final, cast

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts

from gateway.api.admin import (
    audit,
    budgets,
    keys,
    level_settings,
    management_keys,
    members,
    memberships,
    organisations,
    reports,
    status,
    teams,
    whoami,
)
from gateway.api.admin.caller import AdminRoute, Desk
from gateway.api.admin.edge import BASE, MAX_BODY_BYTES
from gateway.api.admin.errors import Refusals
from gateway.errors import GatewayError

__all__ = ["Desk", "application", "document"]

_NOUNS: Final = (
    whoami,
    organisations,
    teams,
    members,
    memberships,
    keys,
    management_keys,
    budgets,
    level_settings,
    audit,
    reports,
    status,
)
_TAGS: Final = (
    ("whoami", "The key that calls."),
    ("organisations", "The owners of teams."),
    ("teams", "Whom keys are issued to."),
    ("members", "People and service accounts, with their roles."),
    ("service accounts", "Members that are programs."),
    ("memberships", "Who belongs to which team, and as what."),
    ("keys", "Inference keys. Each is shown once, when it is made or rotated."),
    ("management keys", "Keys that administer, and cannot do inference."),
    ("budgets", "Limits on spend."),
    ("settings", "Models, preferences, presets and limits of each level."),
    ("audit", "Every administrative act."),
    ("reports", "What was used, and what it cost."),
    ("status", "The gateway's processes."),
)
_ABOUT: Final = f"""\
Organisations, teams, members, keys, budgets and settings of a Tidegate gateway.

- **Authentication**: `Authorization: Bearer` with a management key. What belongs to another organisation is
  not found (404); what role or scopes do not allow is forbidden (403).
- **Changes**: reads answer with the revision in `ETag`. `PATCH`, `PUT` and `DELETE` of what has one need
  `If-Match` with it, or `*` for whatever is there: without it 428, with another revision 412. `PATCH` is a
  JSON merge patch (RFC 7396): what is absent stays, and null clears, where it may.
- **Lists** come in parts: `limit` says how many at most, `next_cursor` is the `cursor` of the next part.
- **Errors** are `{{"error": {{"message", "type", "param", "code"}}}}`, as elsewhere. What is not as
  documented is 400 with `param`; there is no 422. An unknown field is refused.
- `GET` paths take `HEAD` too. Any other method is 405 with `Allow`. A path is as it is written here:
  nothing is redirected. Bodies have {MAX_BODY_BYTES} bytes at most. Every answer has `x-request-id` (yours,
  if you send one) and `cache-control: no-store`.
"""


def application(desk: Desk) -> FastAPI:
    """The application; its document is at `openapi.json`, without authentication."""
    app = FastAPI(
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.desk = desk
    for noun in _NOUNS:  # not `include_router`, which makes every route a second time
        for route in noun.router.routes:
            if isinstance(route, AdminRoute):
                route.tags = route.tags or noun.router.tags
                app.router.routes.append(route)
    described: list[bytes] = []

    async def openapi(_: Request) -> Response:
        if not described:  # in a thread, as it takes a tenth of a second
            described.append(await asyncio.to_thread(lambda: msgspec.json.encode(document(app))))
        return Response(described[0], media_type="application/json")

    app.router.add_route("/openapi.json", openapi, include_in_schema=False)
    refusals = Refusals(_methods(app))
    for kind in (GatewayError, RequestValidationError, 400, 404, 405, Exception):
        app.add_exception_handler(kind, refusals)
    return app


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the application."""
    found = get_openapi(
        title="Tidegate administrative API",
        version="1",
        description=_ABOUT,
        routes=app.routes,
        tags=[{"name": name, "description": about} for name, about in _TAGS],
        servers=[{"url": BASE}],
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    # What FastAPI adds of itself and is not so here: its 422, and null where a parameter may be absent.
    for name in ("HTTPValidationError", "ValidationError"):
        found["components"]["schemas"].pop(name, None)
    for operations in found["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            for parameter in operation.get("parameters", ()):
                _without_null(parameter)
                # It is looked at after who calls, and has a status of its own: see `revisions`.
                parameter["required"] |= parameter["name"] == "If-Match"
    return found


def _without_null(parameter: dict[str, Any]) -> None:
    schema = parameter["schema"]
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
    if kinds:
        (kind,) = kinds
        parameter["schema"] = {**kind, **schema}


class _Methods:
    """The methods that a path takes."""

    def __init__(self, routes: list[tuple[re.Pattern[str], frozenset[str]]]) -> None:
        self._routes = routes

    def __call__(self, path: str) -> frozenset[str]:
        path = path.removeprefix(BASE)
        found = frozenset(
            method for pattern, methods in self._routes if pattern.match(path) for method in methods
        )
        return found | {"HEAD"} if "GET" in found else found


def _methods(app: FastAPI) -> _Methods:
    routes = []
    for route in iter_route_contexts(app.routes):
        pattern = cast("re.Pattern[str]", route.path_regex)
        routes.append((pattern, frozenset(route.methods or ())))
    return _Methods(routes)

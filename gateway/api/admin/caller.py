"""Who calls: the management key in `Authorization`, looked at before anything else of a request is.

Every route of the administrative API is an `AdminRoute`: it finds out who calls before it looks at the
body, and leaves the answer in the request's state, where the dependency `Caller` takes it from. A route of
another class has no answer there, and fails closed.
"""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import Depends, Request, Response, Security
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from typing_extensions import override

from gateway.accounts import management_callers
from gateway.accounts.office import Office
from gateway.accounts.roles import Actor
from gateway.api.routes import one_header
from gateway.auth.header import bearer_token
from gateway.errors import InvalidRequest
from gateway.services import Services


@dataclass(frozen=True, slots=True)
class Desk:
    """What routes work with; both are asked at each request, for they exist only once the gateway runs."""

    services: Callable[[], Services]
    office: Callable[[], Office]


class AdminRoute(APIRoute):
    """A route that knows who calls before it reads what is sent."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        takes_body = self.body_field is not None

        async def handler(request: Request) -> Response:
            request.state.actor = await _authenticated(request)
            if takes_body:
                _check_media_type(request)
            return await handle(request)

        return handler


def desk(request: Request) -> Desk:
    """What the application was made with."""
    return cast("Desk", request.app.state.desk)


async def _authenticated(request: Request) -> Actor:
    token = bearer_token(one_header(request, b"authorization"))
    return await management_callers.authenticate_management(
        desk(request).office(),
        token,
        source=request.client.host if request.client else None,
        request_id=request.scope["request_id"],
    )


def _check_media_type(request: Request) -> None:
    sent = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent not in {"application/json", "application/merge-patch+json"}:
        raise InvalidRequest(
            "the body must be JSON: send it with `Content-Type: application/json`",
            code="unsupported_media_type",
            status=415,
        )
    if request.headers.get("content-encoding", "identity") != "identity":
        raise InvalidRequest(
            "the body is compressed; send the JSON as it is",
            code="invalid_content_encoding",
            status=415,
        )


_bearer = HTTPBearer(
    scheme_name="management_key",
    description="A management key, as in `Authorization: Bearer sk-tg-…`. Inference keys are refused.",
    auto_error=False,
)


async def _caller(request: Request, _: Annotated[object, Security(_bearer)]) -> Actor:
    return cast("Actor", request.state.actor)


async def _office(request: Request) -> Office:
    return desk(request).office()


async def _services(request: Request) -> Services:
    return desk(request).services()


Caller = Annotated[Actor, Depends(_caller)]
Desks = Annotated[Office, Depends(_office)]
Running = Annotated[Services, Depends(_services)]
